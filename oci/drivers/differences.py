"""A container's files against the layers below them: one walk for every driver.

What a driver has on disk is one directory: an upper directory that holds only what was touched (overlay,
fuse-overlayfs), or the whole tree (copy). They differ in one thing. In an upper directory a name that isn't there is
the layers' own, unless a whiteout or an opaque mark hides it; in a whole tree a name that isn't there is gone. A whole
tree is thus walked as an upper directory that is opaque at its root.

The layers are looked at only where the upper directory has something, so the work grows with what was touched.

The scaffold (mount points that the image lacks) counts as a layer: what is as it was there is no difference. What did
change is told as seen from the image: a file of the scaffold that was written is added, one that was removed is
nothing, and a directory of the scaffold is added together with the first thing that is told below it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator

from oci.drivers.facts import Facts, read_facts, same_bytes
from oci.drivers.folders import Folders, GoneError, open_file
from oci.drivers.lower import Lower, LowerDirectory, LowerName
from oci.drivers.marks import Listing, Marks
from oci.typed import Literal

__all__ = ["Difference", "Walk"]

Inode = tuple[int, int]
Kind = Literal["added", "modified", "deleted", "times", "same"]
Times = Callable[[int], int]
"""A modification time in nanoseconds → what of it counts."""


class Difference:
    """A path and how it differs. "times": in its modification time alone; "same": not, but it has other names.

    `before` and `after` are the identities of the file in the layers and now, where it has several names. `directory`
    is set where it is one now, and was.
    """

    __slots__ = ("after", "before", "directory", "kind", "path")

    def __init__(
        self,
        path: bytes,
        kind: Kind,
        before: Inode | None = None,
        after: Inode | None = None,
        *,
        directory: bool = False,
    ) -> None:
        self.path, self.kind, self.before, self.after, self.directory = path, kind, before, after, directory


class _Level:
    """A directory that is being walked."""

    __slots__ = ("directory", "found", "listing", "names", "path", "untold", "whole")

    def __init__(self, path: bytes, directory: LowerDirectory | None, whole: bool) -> None:
        self.path, self.directory, self.whole = path, directory, whole
        self.listing = Listing()
        self.found: dict[bytes, LowerName] = {}
        self.names: Iterator[bytes] = iter(())
        self.untold = False  # a directory of the scaffold, which the image gets only if something below is told


class Walk:
    """One walk over `upper`, read by `marks`, against the layers; iterate over it once.

    `settled` says of a file's status that nothing of it can have changed since it was as the one below; where the two
    look alike as well, no more is read. `owner` False leaves out who files belong to. `warn` is told of what can't be
    in an image; `leave_out` says of a path that it isn't to be looked at. `live`: what vanishes meanwhile has never
    been there; else it is an error.
    """

    def __init__(
        self,
        upper: Folders,
        marks: Marks,
        lower: Lower,
        *,
        times: Times = lambda mtime: mtime,
        owner: bool = True,
        settled: Callable[[os.stat_result], bool] = lambda _status: False,
        leave_out: Callable[[bytes], object] | None = None,
        warn: Callable[[bytes, str], object] | None = None,
        live: bool = False,
    ) -> None:
        self._live = live
        self._upper, self._marks, self._lower = upper, marks, lower
        self._times, self._owner, self._settled = times, owner, settled
        self._leave_out, self._warn = leave_out, warn
        self._levels: list[_Level] = []

    def __iter__(self) -> Iterator[Difference]:
        yield from self._root()
        levels = self._levels
        while levels:
            level = levels[-1]
            for name in level.names:
                depth = len(levels)
                yield from self._name(level, name)
                if len(levels) > depth:
                    break
            else:
                levels.pop()

    def _root(self) -> Iterator[Difference]:
        top = self._lower.root()
        if top.layers:
            status = os.fstat(self._upper.fd(0, b""))
            layer = self._lower.attributes_layer(top)
            below = LowerName(os.fstat(self._lower.folders.fd(layer, b"")), layer, True)
            kind = self._compare(b"", b".", status, below)
            if kind != "same":
                yield Difference(b"", kind, directory=True)
        self._enter(b"", top if top.layers else None, False)

    def _enter(self, path: bytes, directory: LowerDirectory | None, whole: bool) -> _Level:
        level = _Level(path, directory, whole)
        try:
            level.listing = self._marks.read(self._upper.fd(0, path))
        except OSError as error:
            raise self._upper.lost(0, path, error) from error
        level.whole = whole or level.listing.opaque or directory is None
        names = level.listing.names
        if directory is not None:
            only = None if level.whole else names.keys() | level.listing.gone
            level.found = self._lower.list(directory, only)
        level.names = iter(sorted(names.keys() | level.found.keys()))
        self._levels.append(level)
        return level

    def _name(self, level: _Level, name: bytes) -> Iterator[Difference]:
        path = level.path + b"/" + name if level.path else name
        if self._leave_out is not None and self._leave_out(path):
            return
        status = level.listing.names.get(name)
        below = level.found.get(name)
        if status is not None and stat.S_ISSOCK(status.st_mode):
            if self._warn is not None:
                self._warn(path, "is a socket, which an image can't hold: left out")
            status = None
        difference = None
        if status is not None:
            try:
                difference = self._there(path, name, status, below)
            except GoneError:
                if not self._live:
                    raise
                status = None
        if status is None or difference is None:
            if below is not None and below.in_image:
                yield from self._tell(Difference(path, "deleted"))
            return
        if difference.kind != "same":
            yield from self._tell(difference)
        elif difference.before or difference.after:
            yield difference
        if stat.S_ISDIR(status.st_mode):
            merged = None
            if below is not None and below.is_directory and level.directory is not None:
                merged = self._lower.enter(level.directory, name, below)
            try:
                entered = self._enter(path, merged, level.whole)
            except GoneError:
                if not self._live:
                    raise
            else:
                entered.untold = below is not None and not below.in_image and difference.kind == "same"

    def _there(self, path: bytes, name: bytes, status: os.stat_result, below: LowerName | None) -> Difference:
        """What there is to say of a name that is there."""
        directory = stat.S_ISDIR(status.st_mode)
        before = after = None
        if status.st_nlink > 1 and not directory:
            after = (status.st_dev, status.st_ino)
        if below is None:
            return Difference(path, "added", None, after, directory=directory)
        if below.status.st_nlink > 1 and not below.is_directory:
            before = (below.status.st_dev, below.status.st_ino)
        kind = self._compare(path, name, status, below)
        if not below.in_image:
            kind = "added" if kind == "modified" else "same"
        return Difference(path, kind, before, after, directory=directory)

    def _tell(self, difference: Difference) -> Iterator[Difference]:
        """A difference, and before it those directories of the scaffold that it needs."""
        for level in self._levels:
            if level.untold:
                level.untold = False
                yield Difference(level.path, "added")
        yield difference

    def _compare(self, path: bytes, name: bytes, status: os.stat_result, below: LowerName) -> Kind:
        if stat.S_IFMT(status.st_mode) != stat.S_IFMT(below.status.st_mode):
            return "modified"
        same_times = status.st_mtime_ns == below.status.st_mtime_ns
        settled = same_times and self._settled(status)
        if settled and _same_status(status, below.status):
            return "same"
        parent = path.rpartition(b"/")[0]
        now = self._facts(self._upper, 0, parent, name, path, status)
        was = self._facts(self._lower.folders, below.layer, parent, name, path, below.status)
        if not now.same(was, owner=self._owner):
            return "modified"
        if now.size and not settled and not self._same_bytes(path, now.size, below):
            return "modified"
        if not same_times and self._times(status.st_mtime_ns) != self._times(below.status.st_mtime_ns):
            return "times"
        return "same"

    def _facts(
        self, folders: Folders, root: int, parent: bytes, name: bytes, path: bytes, status: os.stat_result
    ) -> Facts:
        return read_facts(folders.fd(root, parent), name, status, folders.show(root, path))

    def _same_bytes(self, path: bytes, size: int, below: LowerName) -> bool:
        parent, _, name = path.rpartition(b"/")
        a = self._open(self._upper, 0, parent, name)
        try:
            b = self._open(self._lower.folders, below.layer, parent, name)
            try:
                return same_bytes(a, b, size)
            finally:
                os.close(b)
        finally:
            os.close(a)

    def _open(self, folders: Folders, root: int, parent: bytes, name: bytes) -> int:
        try:
            fd = open_file(name, folders.fd(root, parent))
        except OSError as error:
            raise folders.lost(root, parent + b"/" + name if parent else name, error) from error
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise GoneError(folders.show(root, parent + b"/" + name), "was replaced while it was read")
        return fd


def _same_status(a: os.stat_result, b: os.stat_result) -> bool:
    return (
        a.st_mode == b.st_mode
        and a.st_uid == b.st_uid
        and a.st_gid == b.st_gid
        and a.st_rdev == b.st_rdev
        and (a.st_size == b.st_size or stat.S_ISDIR(a.st_mode))
    )
