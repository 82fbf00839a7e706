"""Layers → files below a directory descriptor: the merged tree of an image, and nothing else.

image-spec v1.1.1 layer.md#applying-changesets, with the layers taken from the top down: what a higher layer hides is
never written, so nothing is ever overwritten or removed again, except where one layer's tar names a path twice. What is
hidden is decided in shadow.py, where a name lies on disk in tree.py, how one file is made in nodes.py; hard links
that can't be made at once are in links.py, and what directories wait for in directories.py.

An archive of data (a volume's) is written the same way, except that it has no marks: a file may be named `.wh.x`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager

from oci.changeset.directories import DirectoryLog
from oci.changeset.limits import Budget, check_target
from oci.changeset.links import LayerSource, PendingLinks, link
from oci.changeset.nodes import NodeMaker, is_refusal
from oci.changeset.ownership import Warnings
from oci.changeset.paths import clean, join, split
from oci.changeset.shadow import Shadow
from oci.changeset.tree import Directory, Tree
from oci.changeset.whiteout import PREFIX, classify
from oci.errors import TarError, UnpackError, UnsafeEntry
from oci.tar import DIR, FILE, HARDLINK, SYMLINK, Entry, TarReader

__all__ = ["Applier", "LayerSource", "apply_archive", "apply_layers"]

MAX_MEMORY = 1 << 30  # bytes for what has to wait or be remembered: directories, links, whiteouts; millions of them
_NO_NAME = b"\0"  # in no name that a file system takes


def apply_layers(
    layers: Sequence[LayerSource],
    root_fd: int,
    *,
    rootless: bool,
    warn: Callable[[str], None] | None = None,
) -> None:
    """Write the merged tree of `layers` (the bottom one first) into the empty directory `root_fd`.

    With `rootless` everything belongs to the caller, owners are noted (see ownership.py) and devices left out. `warn`
    gets one line for each kind of thing that was left out, at the end.

    Raises what reading the layers raises (VerificationError, CorruptStream, TarError, …), UnsafeEntry for an entry that
    is refused, UnpackError for one that the file system refuses. The tree is of no use after any error.
    """
    warnings = Warnings()
    applier = Applier(root_fd, NodeMaker(root_fd, rootless=rootless, warnings=warnings))
    for layer in reversed(layers):
        _expect(layer)
    for number in range(len(layers) - 1, -1, -1):
        with layers[number].open() as chunks:
            applier.apply(chunks, number)
    applier.finish(layers)
    if warn is not None:
        warnings.tell(warn)


def apply_archive(
    chunks: Iterable[bytes], root_fd: int, *, rootless: bool, warn: Callable[[str], None] | None = None
) -> None:
    """Write one tar as it stands into the empty directory `root_fd`: data, in which no name and no device is a mark.

    What overlayfs would obey is kept too (its extended attributes, character devices 0:0): nobody mounts a volume as
    a layer, and whoever keeps layers in one wants them back. Errors as of `apply_layers`.
    """
    warnings = Warnings()
    maker = NodeMaker(root_fd, rootless=rootless, warnings=warnings, data=True)
    applier = Applier(root_fd, maker, marks=False)
    applier.apply(chunks, 0)
    applier.finish([_ReadOnce()])
    if warn is not None:
        warnings.tell(warn)


class _ReadOnce:
    """The archive, when somebody wants to read it again for a link that leads nowhere in one pass."""

    def open(self) -> AbstractContextManager[Iterator[bytes]]:
        raise TarError(0, "hard links that lead to each other, and to no file")


def _expect(layer: LayerSource) -> None:
    """Say in which order layers will be opened, where somebody listens: one that has to be fetched can come early."""
    told = getattr(layer, "expect", None)
    if told is not None:
        told()


class Applier:
    """The state between layers, and the loop over the entries of one.

    Also the base of what keeps one layer as a tree of its own (oci/drivers/layer_folder.py): it has the same loop, and
    other ideas of marks and of what is left at the end.
    """

    def __init__(self, root_fd: int, maker: NodeMaker, *, marks: bool = True) -> None:
        self._maker = maker
        self._marks = marks
        self._budget = Budget("bytes for the directories, links and whiteouts of an image", MAX_MEMORY)
        self._shadow = Shadow()
        self._tree = Tree(root_fd, self._shadow, self._budget, strict_umask=maker.strict_umask)
        self._pending = PendingLinks(self._budget)
        self._directories = DirectoryLog(self._budget)
        self._directories.imply(b"")
        self._left_out: set[bytes] = set()  # devices: on no disk, but links to them are no error

    def apply(self, chunks: Iterable[bytes], number: int) -> None:
        """Apply one layer; number 0 is the bottom one."""
        try:
            self._apply(TarReader(chunks), bottom=number == 0)
        finally:
            self._tree.close()
        self._pending.close_layer(number, self._shadow)
        self._shadow.end_layer()
        self._pending.end_layer(number, self._shadow)

    def finish(self, layers: Sequence[LayerSource]) -> None:
        """Settle what had to wait for all layers."""
        try:
            self._pending.settle(layers, self._tree, self._maker, self._left_out)
            self._directories.finish(self._tree, self._maker)
        finally:
            self._tree.close()

    def _apply(self, reader: TarReader, *, bottom: bool) -> None:
        shadow, tree = self._shadow, self._tree
        shadow.begin_layer(bottom=bottom)
        tree.begin_layer()
        make_file = self._maker.file
        made = tree.made
        keep = not bottom
        prefix = PREFIX if self._marks else _NO_NAME
        directory = tree.root
        last: bytes | None = None  # the parent as it stood in the last entry's name
        # The hot loop: entries come grouped by directory, and most are files that nothing hides.
        for entry in reader:
            name = entry.name
            try:
                parent, _, base = name.rpartition(b"/")
                if base[:1] in b"." and (not base or base in (b".", b"..") or base.startswith(prefix)):
                    self._special_name(entry, clean(name), reader)
                    last = None
                    continue
                if parent != last:
                    path = clean(name)
                    if prefix in parent and classify(path) is not None:  # below an AUFS leftover, or refused
                        continue
                    directory = tree.directory(path.rpartition(b"/")[0])
                    last = parent
                    if made:
                        self._note_made()
                kind = entry.kind
                if kind is FILE:
                    if directory.hidden or base in directory.taken:
                        if tree.has_hidden_links:
                            tree.drop_hidden_link(join(directory.path, base))
                        continue
                    try:
                        make_file(directory.fd, base, entry, reader)
                    except FileExistsError:
                        if not self._make_room(directory, base, FILE):
                            tree.drop_hidden_link(join(directory.path, base))
                            continue
                        make_file(directory.fd, base, entry, reader)
                        last = None
                    if keep:
                        directory.own.add(base)
                else:
                    self._other(directory, base, entry, reader)
                    if directory.fd < 0:  # closed to make room for others, or hidden
                        last = None
            except OSError as error:
                if is_refusal(error):
                    raise UnpackError(name, error.strerror or str(error)) from error
                raise
            except (ValueError, OverflowError) as error:  # a NUL in a name, a number that the system can't take
                raise UnsafeEntry(name, str(error)) from error

    def _note_made(self) -> None:
        for path in self._tree.made:
            self._directories.imply(path)
        self._tree.made.clear()
        self._pending.drop(self._tree.dropped)
        self._tree.dropped.clear()

    def _special_name(self, entry: Entry, path: bytes, reader: TarReader) -> None:
        """An entry whose last component is a mark, or needs cleaning."""
        mark = classify(path) if self._marks else None
        if mark is not None:
            self._mark(*mark)
        elif path:
            parent, name = split(path)
            directory = self._tree.directory(parent)
            self._note_made()
            self._other(directory, name, entry, reader)
        elif entry.kind != DIR:
            raise UnsafeEntry(entry.name, f"a {entry.kind} in place of the root directory")
        elif self._shadow.visible(b"", DIR):
            self._directories.add(b"", entry)
            self._shadow.add(b"", DIR)

    def _mark(self, what: str, path: bytes) -> None:
        """A whiteout or opaque mark. As in a layer of overlayfs, the directory it stands in is there."""
        # Where nothing of this layer shows, nothing of lower ones does either.
        if what == "opaque":
            directory = self._tree.directory(path)
            if not directory.hidden:
                self._shadow.opaque(directory.path)
        elif what == "whiteout":
            parent, name = split(path)
            directory = self._tree.directory(parent)
            if not directory.hidden:
                self._budget.take(len(name) + 200)
                self._shadow.whiteout(join(directory.path, name))
        self._note_made()

    def _other(self, directory: Directory, name: bytes, entry: Entry, reader: TarReader) -> None:
        """An entry that takes more than the hot loop knows."""
        tree, kind = self._tree, entry.kind
        path = join(directory.path, name)
        hidden = directory.hidden or name in directory.taken
        if kind == DIR:
            if not hidden:
                self._make_directory(directory, name)
                if self._shadow.visible(path, DIR):
                    self._directories.add(path, entry)
                    self._shadow.add(path, DIR)
            tree.drop_hidden_link(path)
            return
        if not hidden:
            try:
                made = self._make(directory, name, path, entry, reader)
            except FileExistsError:
                hidden = not self._make_room(directory, name, kind)
                made = not hidden and self._make(directory, name, path, entry, reader)
            if made:
                self._shadow.add(path, kind)
                return
        if kind == SYMLINK:
            check_target(path, entry.linkname)  # the file system isn't asked about this one
            tree.add_hidden_link(path, entry.linkname)
        else:
            tree.drop_hidden_link(path)

    def _make_directory(self, directory: Directory, name: bytes) -> None:
        try:
            self._tree.make(directory, name)
        except FileExistsError:
            if not _is_directory(name, directory.fd):
                self._vacate(directory, name)  # not hidden, so this layer's own
                self._tree.make(directory, name)

    def _make(self, directory: Directory, name: bytes, path: bytes, entry: Entry, reader: TarReader) -> bool:
        """Make anything but a directory; False if it doesn't show after all."""
        if entry.kind == FILE:
            self._maker.file(directory.fd, name, entry, reader)
        elif entry.kind == SYMLINK:
            self._maker.symlink(directory.fd, name, entry)
        elif entry.kind == HARDLINK:
            self._link(directory, name, path, clean(entry.linkname))
        elif not self._maker.special(directory.fd, name, entry):
            self._budget.take(len(path) + 200)
            self._left_out.add(path)
            # Nothing of the name must be left, as if the device were there.
            return not _exists(name, directory.fd) or self._make_room(directory, name, entry.kind)
        return True

    def _link(self, directory: Directory, name: bytes, path: bytes, target: bytes) -> None:
        """Make a hard link, at once if the target is this layer's and on disk."""
        if not target:
            raise UnsafeEntry(path, "a hard link to the root directory")
        tree, pending = self._tree, self._pending
        parent, target_name = split(target)
        tree.pin(directory)
        try:
            source = tree.find(parent)
        finally:
            tree.pin(None)
        if source is not None:
            target = join(source.path, target_name)
            if target == path and _exists(name, directory.fd):
                return
            if target.startswith(path + b"/"):
                raise UnsafeEntry(path, "a hard link to what lies below itself")
            # What is on disk and not hidden from this layer, this layer made; unless it is a higher one's directory.
            if not source.hidden and target_name not in source.taken and target not in pending:
                try:
                    link(source.fd, target_name, directory.fd, name, path, target)
                except FileNotFoundError:
                    if target in self._left_out:
                        self._left_out.add(path)
                        return
                except UnsafeEntry:
                    if self._shadow.shows(target, HARDLINK):
                        raise
                else:
                    return
        pending.add(directory, name, target)

    def _make_room(self, directory: Directory, name: bytes, kind: str) -> bool:
        """Something has the name: False if it is a higher layer's, otherwise remove it, as the later entry counts."""
        if not self._shadow.visible(join(directory.path, name), kind):
            return False
        self._vacate(directory, name)
        return True

    def _vacate(self, directory: Directory, name: bytes) -> None:
        self._tree.vacate(directory, name)
        self._note_made()


def _exists(name: bytes, dir_fd: int) -> bool:
    try:
        os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _is_directory(name: bytes, dir_fd: int) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_mode)
