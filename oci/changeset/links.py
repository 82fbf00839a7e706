"""Hard links whose target is not on disk when the link comes: in a lower layer, or hidden by a higher one.

Layers are written from the top down, so a link to a file of a lower layer comes before the file, and a file that a
higher layer replaced or deleted is never written at all. Such a link gets an empty placeholder, and is settled at the
end:

- Where the target shows in the finished tree and no layer down to the linking one hides it, it is linked to. It is the
  file that the linking layer saw: a lower layer's, or one of its own that stands behind the link in its tar.
- Otherwise the linking layer and those below it are read once more, for the target as the linking layer saw it.
  A target that only the linking layer's own whiteout deletes counts as there (a rename of a hard-linked file).

image-spec v1.1.1 layer.md#hardlinks says such links may fail; images made by docker have them, so here they work.
"""

from __future__ import annotations

import errno
import os
import stat
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, suppress

from oci.changeset.limits import Budget, Hops, check_target
from oci.changeset.nodes import NEW_FILE, NodeMaker
from oci.changeset.paths import ancestors, clean, join, split
from oci.changeset.shadow import Shadow
from oci.changeset.tree import Directory, Tree
from oci.changeset.whiteout import PREFIX, classify
from oci.errors import UnpackError, UnsafeEntry, show
from oci.tar import DIR, FILE, HARDLINK, SYMLINK, Entry, TarReader
from oci.typed import Protocol

__all__ = ["LayerSource", "PendingLinks"]


class LayerSource(Protocol):
    """A layer that can be read any number of times."""

    def open(self) -> AbstractContextManager[Iterator[bytes]]:
        """Return the layer's tar bytes, verified by the time they have been read to the end."""


class _Wanted:
    """A target to be looked for: `path` as the search stands now, `names` the placeholders that wait for it."""

    __slots__ = ("layer", "names", "path", "target")

    def __init__(self, layer: int, target: bytes) -> None:
        self.layer = layer
        self.target = target
        self.path = target
        self.names: list[bytes] = []


class PendingLinks:
    """The links of all layers that wait. Layers are numbered from the bottom, 0 upwards, and visited downwards."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._own: dict[bytes, bytes] = {}  # of the layer being applied: placeholder → target
        self._outward: list[tuple[bytes, bytes]] = []  # those of them that no file of the layer itself is the target of
        self._late: list[tuple[bytes, bytes]] = []  # to be linked to what shows
        self._wanted: dict[tuple[int, bytes], _Wanted] = {}

    # While layers are applied.

    def add(self, directory: Directory, name: bytes, target: bytes) -> None:
        """Put a placeholder where a link will be; the name is free."""
        self._budget.take(len(directory.path) + len(name) + len(target) + 300)
        os.close(os.open(name, NEW_FILE, 0o600, dir_fd=directory.fd))
        self._own[join(directory.path, name)] = target

    def __contains__(self, path: bytes) -> bool:
        return path in self._own

    def drop(self, paths: Iterable[bytes]) -> None:
        """Forget placeholders that later entries of the same layer removed."""
        if self._own:
            for path in paths:
                self._own.pop(path, None)

    def close_layer(self, layer: int, shadow: Shadow) -> None:
        """Tell links to files of the layer itself, which came later, from others; call it before `Shadow.end_layer`."""
        own = self._own
        settled: dict[bytes, bytes] = {}  # placeholder → the target behind a chain of placeholders
        for path in own:
            chain: dict[bytes, None] = {}
            at = path
            while at in own and at not in settled:
                if at in chain:
                    break  # a loop: its own name is wanted, and that only a real file can be
                chain[at] = None
                at = own[at]
            target = settled.get(at, at)
            for link in chain:
                settled[link] = target
        for path, target in settled.items():
            parent, name = split(target)
            if target in own:
                self._want(layer, path, target)
            elif name in shadow.own_names(parent):
                self._late.append((path, target))
            else:
                self._outward.append((path, target))
        self._own = {}

    def end_layer(self, layer: int, shadow: Shadow) -> None:
        """Decide how each other link of the layer is settled; call it after `Shadow.end_layer`."""
        for path, target in self._outward:
            if shadow.shows(target, HARDLINK) and PREFIX not in target:
                self._late.append((path, target))
            else:
                self._want(layer, path, target)
        self._outward = []

    def _want(self, layer: int, path: bytes, target: bytes) -> None:
        key = (layer, target)
        if key not in self._wanted:
            self._wanted[key] = _Wanted(layer, target)
        self._wanted[key].names.append(path)

    def take(self) -> list[tuple[bytes, bytes]]:
        """Hand over the links of the only layer, as (placeholder, target): somebody else settles them.

        UnsafeEntry for one that can't be settled by anybody.
        """
        for wanted in self._wanted.values():
            raise _missing(wanted.names[0], wanted.target)
        return self._late

    # When all are.

    def settle(self, layers: Sequence[LayerSource], tree: Tree, maker: NodeMaker, left_out: AbstractSet[bytes]) -> None:
        """Put the files in place of the placeholders. Raises UnsafeEntry for a target that is nowhere."""
        tree.begin_finishing()
        if self._wanted:
            self._fetch(layers, tree, maker)
        # Lower layers first: what a higher layer's link leads to may itself be one of theirs.
        for path, target in reversed(self._late):
            if not _link(tree, target, path) and target not in left_out:
                raise _missing(path, target)

    def _fetch(self, layers: Sequence[LayerSource], tree: Tree, maker: NodeMaker) -> None:
        waiting = sorted(self._wanted.values(), key=lambda wanted: wanted.layer)
        searching: list[_Wanted] = []
        for number in range(waiting[-1].layer, -1, -1):
            while waiting and waiting[-1].layer == number:
                searching.append(waiting.pop())
            if searching:
                searching = _Search(layers[number], number, searching, tree, maker).run()
        for wanted in searching:
            raise _missing(wanted.names[0], wanted.target)


class _Cuts:
    """What a layer hides of the wanted paths: by whiteouts and opaque marks, and by files where they have directories.

    Only marks that matter are kept, and each once: a layer may say the same thing about all of them a million times.
    """

    def __init__(self, wanted: Iterable[bytes]) -> None:
        self._wanted = sorted(wanted)
        self._whole: set[bytes] = set()  # hidden with all below
        self._above: set[bytes] = set()  # what is below is hidden

    def add(self, path: bytes, *, itself: bool) -> None:
        """Note that what is below `path` is hidden, and with `itself` the path too."""
        if path not in self._above and self._any_below(path):
            self._above.add(path)
        if itself and self._is_wanted(path):
            self._whole.add(path)

    def hide(self, path: bytes) -> bool:
        """Return whether a wanted path is hidden."""
        if path in self._whole:
            return True
        cuts = self._above
        if len(cuts) < path.count(b"/"):
            return any(not cut or path.startswith(cut + b"/") for cut in cuts)
        return bool(cuts) and any(above in cuts for above in ancestors(path))

    def _any_below(self, path: bytes) -> bool:
        if not path:
            return bool(self._wanted)
        # "0" is what comes behind "/" in the order of bytes.
        return bisect_left(self._wanted, path + b"/") < bisect_left(self._wanted, path + b"0")

    def _is_wanted(self, path: bytes) -> bool:
        at = bisect_left(self._wanted, path)
        return at < len(self._wanted) and self._wanted[at] == path


class _Search:
    """One layer, read for what is wanted of it."""

    def __init__(self, layer: LayerSource, number: int, searching: list[_Wanted], tree: Tree, maker: NodeMaker) -> None:
        self._layer = layer
        self._number = number
        self._searching = searching
        self._tree = tree
        self._maker = maker
        self._links: dict[bytes, bytes] = {}  # the layer's symbolic links, to find names that lead over them

    def run(self) -> list[_Wanted]:
        """Return what was not found here but may be lower down."""
        hardlinks = self._read_links()
        by_path: dict[bytes, list[_Wanted]] = {}
        ends: dict[bytes, bytes] = {}  # where chains of links lead: each is followed once, however many want to know
        for wanted in self._searching:
            at = wanted.path
            seen: dict[bytes, None] = {}
            while at not in ends and (target := hardlinks.get(at)) is not None:
                if at in seen:
                    raise UnsafeEntry(wanted.target, "a hard link that leads to itself")
                seen[at] = None
                at = target
            wanted.path = ends.get(at, at)
            ends.update(dict.fromkeys(seen, wanted.path))
            by_path.setdefault(wanted.path, []).append(wanted)
        found, cuts = self._extract(by_path)
        for path, group in by_path.items():
            if path in found:
                # The first name has been made; the others are linked to it. A device may have been left out.
                names = [name for wanted in group for name in wanted.names]
                for name in names[1:]:
                    _link(self._tree, names[0], name)
        left = [wanted for wanted in self._searching if wanted.path not in found]
        for wanted in left:
            if wanted.layer != self._number and cuts.hide(wanted.path):
                raise _missing(wanted.names[0], wanted.target)
        return left

    def _read_links(self) -> dict[bytes, bytes]:
        """Return the layer's hard links, the last of each name: path → target."""
        hardlinks: dict[bytes, bytes] = {}
        for entry, path, _ in self._entries():
            if entry.kind == HARDLINK:
                target = self._resolve(clean(entry.linkname))
                if target != path:  # a link to itself changes nothing
                    hardlinks[path] = target
                    self._links.pop(path, None)
                continue
            hardlinks.pop(path, None)
            if entry.kind == SYMLINK:
                check_target(path, entry.linkname)
                self._links[path] = entry.linkname
            else:
                self._links.pop(path, None)
        return hardlinks

    def _extract(self, by_path: dict[bytes, list[_Wanted]]) -> tuple[set[bytes], _Cuts]:
        """Write the wanted files; return which were here, and what the layer hides in lower ones."""
        found: set[bytes] = set()
        cuts = _Cuts(by_path)
        for entry, path, reader in self._entries():
            mark = classify(path)
            if mark is not None and mark[0] != "skip":
                cuts.add(mark[1], itself=mark[0] == "whiteout")
            elif path in by_path and entry.kind != HARDLINK:
                if entry.kind == DIR:
                    raise UnsafeEntry(by_path[path][0].names[0], f"a hard link to the directory {show(path)!r}")
                self._write(entry, by_path[path][0].names[0], reader)
                found.add(path)
            elif entry.kind != DIR:
                cuts.add(path, itself=True)
        return found, cuts

    def _write(self, entry: Entry, path: bytes, reader: TarReader) -> None:
        directory, name = _placeholder(self._tree, path)
        with suppress(FileNotFoundError):  # a device that was left out, and now comes again
            os.unlink(name, dir_fd=directory.fd)
        if entry.kind == FILE:
            self._maker.file(directory.fd, name, entry, reader)
        elif entry.kind == SYMLINK:
            self._maker.symlink(directory.fd, name, entry)
        else:
            self._maker.special(directory.fd, name, entry)

    def _entries(self) -> Iterator[tuple[Entry, bytes, TarReader]]:
        with self._layer.open() as chunks:
            reader = TarReader(chunks)
            for entry in reader:
                path = clean(entry.name)
                yield entry, self._resolve(path) if self._links else path, reader

    def _resolve(self, path: bytes) -> bytes:
        """Follow the layer's own symbolic links in the directory part of a path, within the root, in name only."""
        parent, name = split(path)
        done: list[bytes] = []
        todo = parent.split(b"/")[::-1] if parent else []
        hops = Hops(path)
        while todo:
            component = todo.pop()
            if component in (b"", b"."):
                continue
            if component == b"..":
                del done[-1:]
                continue
            done.append(component)
            target = self._links.get(b"/".join(done))
            if target is not None:
                names = hops.follow(target)
                done = [] if target.startswith(b"/") else done[:-1]
                todo.extend(names[::-1])
        return join(b"/".join(done), name)


def _placeholder(tree: Tree, path: bytes) -> tuple[Directory, bytes]:
    parent, name = split(path)
    directory = tree.find(parent)
    if directory is None:
        raise UnpackError(path, "its directory is gone")
    return directory, name


def _link(tree: Tree, target: bytes, path: bytes) -> bool:
    """Put a link to `target` of the finished tree in place of the placeholder at `path`; False if nothing is there."""
    directory, name = _placeholder(tree, path)
    tree.pin(directory)
    try:
        parent, target_name = split(target)
        source = tree.find(parent)
    finally:
        tree.pin(None)
    os.unlink(name, dir_fd=directory.fd)
    if source is None:
        return False
    try:
        link(source.fd, target_name, directory.fd, name, path, target)
    except FileNotFoundError:
        return False
    return True


def link(source_fd: int, source: bytes, dir_fd: int, name: bytes, path: bytes, target: bytes) -> None:
    """Make a hard link within the tree; `path` and `target` are for messages. OSErrors propagate."""
    try:
        os.link(source, name, src_dir_fd=source_fd, dst_dir_fd=dir_fd, follow_symlinks=False)
    except OSError as error:
        if error.errno == errno.EPERM and stat.S_ISDIR(
            os.stat(source, dir_fd=source_fd, follow_symlinks=False).st_mode
        ):
            raise UnsafeEntry(path, f"a hard link to the directory {show(target)!r}") from None
        raise


def _missing(path: bytes, target: bytes) -> UnsafeEntry:
    return UnsafeEntry(path, f"a hard link to {show(target)!r}, which is not in the image")
