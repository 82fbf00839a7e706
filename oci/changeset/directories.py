"""What the directories of a tree will be like once everything is in them.

A directory's times change with every file made in it, and its mode may keep even its owner out, so both wait for the
end. The records wait in one buffer, some 30 bytes and the path each: a million directories are told in less memory than
a million objects would take.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

from oci.changeset.limits import Budget
from oci.changeset.nodes import NodeMaker
from oci.changeset.tree import Tree
from oci.tar import DIR, Entry

__all__ = ["DirectoryLog"]

_RECORD = struct.Struct(
    "<HIIqIII"
)  # mode, uid, gid, seconds, nanoseconds, number of its xattrs + 1, length of the path
_BILLION = 1_000_000_000
_IMPLIED = 0xFFFFFFFF  # in place of the number of its xattrs


class DirectoryLog:
    """Directories with the attributes they shall have; of several records of one path the last one counts."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._log = bytearray()
        self._xattrs: list[dict[bytes, bytes]] = []

    def imply(self, path: bytes) -> None:
        """Note a directory that was made because something lies in it: 0755, root's, of 1970 on every machine."""
        self._budget.take(_RECORD.size + len(path))
        self._log += _RECORD.pack(0o755, 0, 0, 0, 0, _IMPLIED, len(path)) + path

    def implied(self) -> list[bytes]:
        """The directories that are implied and not named, sorted."""
        found: set[bytes] = set()
        for path, _, number in self._raw():
            if number == _IMPLIED:
                found.add(path)
            else:
                found.discard(path)
        return sorted(found)

    def give(
        self, path: bytes, *, mode: int, uid: int, gid: int, mtime_ns: int, xattrs: dict[bytes, bytes] | None
    ) -> None:
        """Note attributes for a directory that no entry names."""
        entry = Entry(name=path, kind=DIR, mode=mode, uid=uid, gid=gid, mtime_ns=mtime_ns)
        entry.xattrs = xattrs
        self.add(path, entry)

    def add(self, path: bytes, entry: Entry) -> None:
        """Note a directory that the layer names."""
        self._budget.take(_RECORD.size + len(path))
        number = 0
        if entry.xattrs:
            self._budget.take(sum(len(key) + len(value) + 200 for key, value in entry.xattrs.items()))
            self._xattrs.append(entry.xattrs)
            number = len(self._xattrs)
        seconds, nanoseconds = divmod(entry.mtime_ns, _BILLION)
        try:
            record = _RECORD.pack(entry.mode, entry.uid, entry.gid, seconds, nanoseconds, number, len(path))
        except struct.error:  # half a second before the first second; everything else the tar reader has checked
            raise OverflowError("timestamp out of range for platform time_t") from None
        self._log += record + path

    def finish(self, tree: Tree, maker: NodeMaker) -> None:
        """Give all directories their attributes. Nothing may be made in the tree after that."""
        tree.begin_finishing()
        closed: dict[bytes, int] = {}
        for path, mode, uid, gid, mtime, xattrs in self._records():
            directory = tree.find(path)
            if directory is None:  # replaced by a later entry of its layer
                continue
            # A directory that keeps its owner out is closed last, when nothing has to be reached through it.
            if mode & 0o700 == 0o700:
                closed.pop(path, None)
            else:
                closed[path] = mode
            maker.attributes(directory.fd, path, mode | 0o700, uid, gid, xattrs)
            os.utime(directory.fd, ns=(mtime, mtime))
        for path in sorted(closed, key=lambda path: path.count(b"/") + 1 if path else 0, reverse=True):  # deepest first
            directory = tree.find(path)
            if directory is not None:
                os.fchmod(directory.fd, closed[path])

    def _records(self) -> Iterator[tuple[bytes, int, int, int, int, dict[bytes, bytes] | None]]:
        for path, (mode, uid, gid, seconds, nanoseconds), number in self._raw():
            xattrs = self._xattrs[number - 1] if 0 < number < _IMPLIED else None
            yield path, mode, uid, gid, seconds * _BILLION + nanoseconds, xattrs

    def _raw(self) -> Iterator[tuple[bytes, tuple[int, int, int, int, int], int]]:
        log, at = self._log, 0
        while at < len(log):
            *numbers, number, length = _RECORD.unpack_from(log, at)
            at += _RECORD.size + length
            yield bytes(log[at - length : at]), tuple(numbers), number
