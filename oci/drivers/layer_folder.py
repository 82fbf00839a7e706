"""One layer → a directory tree that overlay mounts can stack: the layer's own files, and marks for what it deletes.

What an image's layers mean together is the rule of image-spec v1.1.1 layer.md#applying-changesets; how one of them
looks on disk by itself is the kernel's (Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories"):

* a whiteout is a character device 0/0. Where the layer has a file of that name too, there is nothing to hide; where it
  has a directory, the directory is opaque: what the layer deletes it never deletes from itself;
* an opaque directory has `overlay.opaque` = "y" (in `trusted.`, or in `user.` inside a user namespace);
* a directory with whiteouts in it has an empty `overlay.origin`. Overlayfs looks for whiteouts only in directories that
  several layers have, and in those that were copied up; without that attribute ("copied up from somewhere unknown") it
  would list the device where the layer happens to be the only one that has the directory;
* overlay's own attributes in a layer are left out, and a real device 0/0 too, which hides nothing.

Most layers need nothing but themselves, so one folder serves every image that has the layer. Two things can't be told
without the layers below, and then `write_layer_folder` says so, since such a folder is right only above those layers:

* a hard link to a file of a lower layer: that file is copied into the folder, under its own name (unless the layer
  deletes it) and all names that link to it, which are one file then;
* a directory that the layer implies but doesn't name (it has `a/b`, and no entry `a`): it shows as the lower one does.

The root directory alone is not treated so, for most layers don't name it. Where a layer doesn't, its folder's root has
the attribute `overlay.ocikit.unnamed`; roots.py tells whose root counts. No mount shows attributes of that namespace.
Of an opaque root overlayfs takes no notice: whoever stacks layers leaves out those below it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet

from oci.changeset.apply import Applier, LayerSource
from oci.changeset.limits import Budget, Hops
from oci.changeset.links import link
from oci.changeset.nodes import NodeMaker, is_refusal
from oci.changeset.ownership import Warnings
from oci.changeset.paths import ancestors, join, split
from oci.changeset.scan import Data
from oci.changeset.tree import Directory
from oci.drivers.driver import Form
from oci.drivers.lower import LowerName
from oci.drivers.marks import make_whiteout
from oci.drivers.parents import Below
from oci.drivers.roots import UNNAMED
from oci.errors import UnpackError, UnsafeEntry, show
from oci.tar import CHAR, FILE, SYMLINK, Entry, TarReader

__all__ = ["FolderMaker", "LowerLinks", "Parents", "write_layer_folder"]

Parents = Sequence[str] | Callable[[], Sequence[str]]
"""The trees of all lower layers, the bottom one first; or what gives them, and may wait until they are there."""

MAX_LOOKUPS = 1_000_000  # some ten seconds; each directory of a link's target takes as many as its path has names


class LowerLinks(Exception):  # noqa: N818 - no error: the caller has to come again with the lower layers
    """The layer needs the layers below, and none were given."""


def write_layer_folder(
    layer: LayerSource,
    root_fd: int,
    *,
    form: Form,
    parents: Parents | None = None,
    rootless: bool,
    warn: Callable[[str], None] | None = None,
    maker: type[FolderMaker] | None = None,
) -> bool:
    """Write one layer into the empty directory `root_fd`; True: the folder is right only above these lower layers.

    `rootless`: everything belongs to the caller, owners are noted and devices left out. `parents` are asked for at the
    end, and only by a layer that needs them; None: LowerLinks then. `warn` gets one line for each kind of thing left
    out. The tree is of no use after any error; errors are those of `apply_layers`.
    """
    warnings = Warnings()
    applier = _FolderApplier(root_fd, (maker or FolderMaker)(root_fd, rootless=rootless, warnings=warnings), form)
    with layer.open() as chunks:
        applier.apply(chunks, 0)
        reached = applier.finish_folder(parents)
    if warn is not None:
        warnings.tell(warn)
    return reached


class FolderMaker(NodeMaker):
    """Makes the files of a layer's folder."""

    def _no_owner(self, error: OSError, name: bytes, uid: int, gid: int) -> UnpackError:
        if error.errno != errno.EINVAL:
            return super()._no_owner(error, name, uid, gid)
        more = "give your user more ids in /etc/subuid and /etc/subgid, then make a new store"
        return UnpackError(name, f"its owner {uid}:{gid} is not among the ids of this user namespace; {more}")


class _FolderApplier(Applier):
    """The loop of apply.py, in which marks are kept and what leads out of the layer waits for the end."""

    def __init__(self, root_fd: int, maker: NodeMaker, form: Form) -> None:
        super().__init__(root_fd, maker)
        self._root_fd, self._form = root_fd, form
        self._whiteouts: set[bytes] = set()
        self._opaque: set[bytes] = set()
        self._no_devices: set[bytes] = set()  # devices 0/0: as if the layer had nothing there
        self._cut_off: dict[bytes, bool] = {b"": False}
        self._ways: dict[bytes, bytes | None] = {}  # directories of links' targets → where they really are
        self._covered: dict[bytes, bool] = {}
        self._lookups = Budget("names on the way to the targets of hard links into lower layers", MAX_LOOKUPS)

    # While the layer is read

    def _mark(self, what: str, path: bytes) -> None:
        self._budget.take(len(path) + 200)
        if what == "opaque":
            self._opaque.add(self._tree.directory(path).path)
        elif what == "whiteout":
            parent, name = split(path)
            self._whiteouts.add(join(self._tree.directory(parent).path, name))
        self._note_made()

    def _make(self, directory: Directory, name: bytes, path: bytes, entry: Entry, reader: TarReader) -> bool:
        if entry.kind == CHAR and not entry.devmajor and not entry.devminor:
            self._budget.take(len(path) + 200)
            self._no_devices.add(path)
        return super()._make(directory, name, path, entry, reader)

    def _link(self, directory: Directory, name: bytes, path: bytes, target: bytes) -> None:
        super()._link(directory, name, path, target)
        if target in self._no_devices and path in self._left_out:
            self._no_devices.add(path)

    # When it has been read

    def finish_folder(self, parents: Parents | None) -> bool:
        """Settle what had to wait; True if lower layers had a say in it."""
        try:
            self._tree.begin_finishing()
            links = self._own_links(self._pending.take())
            implied = [path for path in self._directories.implied() if path or path in self._opaque]
            reached = bool(links or implied)
            if reached:
                if parents is None:
                    raise LowerLinks
                with Below(parents() if callable(parents) else parents, self._form, self._budget) as below:
                    unsettled = {path for paths in links.values() for path in paths}
                    for target, paths in links.items():
                        self._copy_up(target, paths, below, unsettled)
                        unsettled.difference_update(paths)
                    self._note_made()
                    for path in self._directories.implied():
                        if path or path in self._opaque:
                            self._give_attributes(path, below)
            self._write_marks()
            self._directories.finish(self._tree, self._maker)
        finally:
            self._tree.close()
        return reached

    def _own_links(self, links: list[tuple[bytes, bytes]]) -> dict[bytes, list[bytes]]:
        """Make the links whose target came later in this layer; give the others: target → placeholders."""
        left: dict[bytes, list[bytes]] = {}
        for path, target in links:
            if self._find(target) is not None:
                self._relink(path, target)
            elif target in self._left_out:
                self._lose(path, target)
            else:
                left.setdefault(target, []).append(path)
        return left

    def _relink(self, path: bytes, target: bytes) -> None:
        """Put a link to `target`, which is on disk, in place of the placeholder at `path`."""
        directory, name = self._own(path)
        self._tree.pin(directory)
        try:
            source, target_name = self._own(target)
        finally:
            self._tree.pin(None)
        os.unlink(name, dir_fd=directory.fd)
        link(source.fd, target_name, directory.fd, name, path, target)

    def _lose(self, path: bytes, target: bytes) -> None:
        """A link to a device that was left out is left out."""
        directory, name = self._own(path)
        os.unlink(name, dir_fd=directory.fd)
        self._left_out.add(path)
        if target in self._no_devices:
            self._no_devices.add(path)

    def _own(self, path: bytes) -> tuple[Directory, bytes]:
        parent, name = split(path)
        directory = self._tree.find(parent)
        if directory is None:
            raise UnpackError(path, "its directory is gone")
        return directory, name

    def _find(self, path: bytes) -> os.stat_result | None:
        """What this layer has on disk at a path that leads over no links."""
        parent, name = split(path)
        directory = self._tree.find(parent)
        if directory is None:
            return None
        try:
            return os.stat(name, dir_fd=directory.fd, follow_symlinks=False)
        except FileNotFoundError:
            return None

    # What lower layers give

    def _copy_up(self, target: bytes, paths: list[bytes], below: Below, unsettled: AbstractSet[bytes]) -> None:
        """Make the file of a lower layer that these placeholders link to, and the links."""
        real, found = self._resolve(target, paths[0], below)
        if real in unsettled:
            raise UnsafeEntry(paths[0], f"a hard link to {show(target)!r}, which leads back to it over symbolic links")
        if found is None:
            for path in paths:
                self._relink(path, real)
            return
        first, rest = paths[0], paths[1:]
        if not self._hides(real):
            first, rest = real, paths
            self._tree.directory(split(real)[0])  # made where the layer has nothing in it yet
            self._note_made()
        if not self._copy(first, real, found, below):
            self._left_out.add(first)
            for path in rest:
                self._lose(path, first)
            return
        for path in rest:
            self._relink(path, first)

    def _resolve(self, target: bytes, path: bytes, below: Below) -> tuple[bytes, LowerName | None]:
        """Where a target really is, and what the lower layers have there; None: it is this layer's own after all.

        Directories may be links, of this layer or of a lower one. What this layer deletes counts as there: a rename
        of one of a file's names is told as a link and a whiteout.
        """
        parent, name = split(target)
        if parent not in self._ways:
            self._budget.take(2 * len(parent) + 200)
            self._ways[parent] = self._real_directory(parent, path, below)
        real = self._ways[parent]
        if real is not None:
            here = join(real, name)
            own = self._find(here)
            found = below.find(here) if own is None or stat.S_ISDIR(own.st_mode) else None
            mode = own.st_mode if own is not None else found.status.st_mode if found is not None else 0
            if stat.S_ISDIR(mode):
                raise UnsafeEntry(path, f"a hard link to the directory {show(target)!r}")
            if mode:
                return here, found
        raise UnsafeEntry(path, f"a hard link to {show(target)!r}, which is not in the image")

    def _real_directory(self, target: bytes, path: bytes, below: Below) -> bytes | None:
        """Where a directory is, of this layer or of lower ones; None if there is none."""
        done: list[bytes] = []
        todo = target.split(b"/")[::-1]
        hops = Hops(path)
        self._lookups.take(len(todo))
        while todo:
            name = todo.pop()
            if name == b"..":
                del done[-1:]
                continue
            if name in (b"", b"."):
                continue
            here = b"/".join((*done, name))
            own = self._find(here)
            if own is not None and not (stat.S_ISDIR(own.st_mode) or stat.S_ISLNK(own.st_mode)):
                own = None  # the layer's file took the place of a lower directory
            found = below.find(here) if own is None else None
            mode = own.st_mode if own is not None else found.status.st_mode if found is not None else 0
            if stat.S_ISLNK(mode):
                text = self._read_own(here) if found is None else below.read_link(here, found)
                todo += hops.follow(text)[::-1]
                self._lookups.take(len(todo))
                done = [] if text.startswith(b"/") else done
            elif stat.S_ISDIR(mode):
                done.append(name)
            else:
                return None
        return b"/".join(done)

    def _read_own(self, path: bytes) -> bytes:
        directory, name = self._own(path)
        return os.readlink(name, dir_fd=directory.fd)

    def _copy(self, path: bytes, source: bytes, found: LowerName, below: Below) -> bool:
        """Copy a lower layer's file to `path`, in place of a placeholder if there is one; False if it is left out."""
        directory, name = self._own(path)
        for entry, data in below.read(source, found):
            entry.name = path
            if self._find(path) is not None:
                os.unlink(name, dir_fd=directory.fd)
            if entry.kind == FILE:
                self._maker.file(directory.fd, name, entry, _Pieces(data))
            elif entry.kind == SYMLINK:
                self._maker.symlink(directory.fd, name, entry)
            else:
                return self._maker.special(directory.fd, name, entry)
        return True

    def _give_attributes(self, path: bytes, below: Below) -> None:
        """Let a directory that the layer doesn't name look like the one that it is merged with."""
        if self._deletes(path):
            return
        entry = below.read_directory(path) if path else below.read_root()
        if entry is not None:
            self._directories.add(path, entry)

    # Marks

    def _deletes(self, path: bytes) -> bool:
        """Whether the layer deletes what lower ones have at a path."""
        return path in self._whiteouts or (bool(path) and self._deletes_inside(split(path)[0]))

    def _deletes_inside(self, directory: bytes) -> bool:
        """Whether the layer deletes all that lower ones have below a directory; asked once for each that is above."""
        known, todo = self._cut_off, []
        known[b""] = b"" in self._opaque
        while directory not in known:
            todo.append(directory)
            directory = split(directory)[0]
        inside = known[directory]
        for below in reversed(todo):
            inside = known[below] = inside or below in self._whiteouts or below in self._opaque
        return inside

    def _hides(self, path: bytes) -> bool:
        """Whether what lower layers have at a path doesn't show, for this layer deletes it or has something else."""
        if self._deletes(path) or self._find(path) is not None:
            return True
        parent = split(path)[0]
        if parent not in self._covered:  # it stays so: what is made meanwhile are directories
            self._budget.take(len(parent) + 200)
            self._covered[parent] = self._is_covered(parent)
        return self._covered[parent]

    def _is_covered(self, path: bytes) -> bool:
        """Whether something else than a directory of this layer stands at a path or above it."""
        for place in (*reversed(ancestors(path)), path):  # from the top: each is found from the one before
            status = self._find(place) if place else None
            if place and status is None:
                return False
            if status is not None and not stat.S_ISDIR(status.st_mode):
                return True
        return False

    def _write_marks(self) -> None:
        holding = set()
        for path in sorted(self._opaque):
            self._attribute(path, "overlay.opaque", b"y")
        # A device that can't be made here hides what is below it all the same.
        for path in sorted(self._whiteouts | self._left_out - self._no_devices):
            parent, name = split(path)
            directory = self._tree.find(parent)
            if directory is None:
                continue  # replaced by a later entry of the layer
            try:
                self._whiteout(directory, name, path)
            except FileExistsError:
                if path in self._whiteouts:
                    self._attribute(path, "overlay.opaque", b"y")
            else:
                os.utime(name, ns=(0, 0), dir_fd=directory.fd, follow_symlinks=False)  # the same on every machine
                holding.add(parent)
        for path in sorted(holding):
            self._attribute(path, "overlay.origin", b"")
        if b"" in self._directories.implied():
            self._attribute(b"", UNNAMED, b"y")

    def _whiteout(self, directory: Directory, name: bytes, path: bytes) -> None:
        try:
            make_whiteout(directory.fd, name, self._form)
        except OSError as error:
            if is_refusal(error) and not isinstance(error, FileExistsError):
                reason = f"the file system takes no whiteouts ({error.strerror}); put the store on another one"
                raise UnpackError(path, reason) from error
            raise

    def _attribute(self, path: bytes, name: str, value: bytes) -> None:
        directory = self._tree.find(path)
        if directory is None:  # a file, or gone
            return
        try:
            os.setxattr(directory.fd, f"{self._form}.{name}", value)
        except OSError as error:
            if is_refusal(error):
                reason = f"the file system takes no attribute {self._form}.{name} ({error.strerror})"
                raise UnpackError(path, f"{reason}; put the store on another one") from error
            raise


class _Pieces:
    """The bytes of a file as NodeMaker wants them."""

    def __init__(self, data: Data) -> None:
        self._data = data

    def data(self) -> Iterator[memoryview]:
        return map(memoryview, self._data)
