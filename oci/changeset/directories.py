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
from oci.tar import Entry

__all__ = ["DirectoryLog"]

_RECORD = struct.Struct(
    "<HIIqIII"
)  # mode, uid, gid, seconds, nanoseconds, number of its xattrs + 1, length of the path
_BILLION = 1_000_000_000


class DirectoryLog:
    """Directories with the attributes they shall have; of several records of one path the last one counts."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._log = bytearray()
        self._xattrs: list[dict[bytes, bytes]] = []

    def imply(self, path: bytes) -> None:
        """Note a directory that was made because something lies in it: 0755, root's, of 1970 on every machine."""
        self._budget.take(_RECORD.size + len(path))
        self._log += _RECORD.pack(0o755, 0, 0, 0, 0, 0, len(path)) + path

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
        log, at = self._log, 0
        while at < len(log):
            mode, uid, gid, seconds, nanoseconds, number, length = _RECORD.unpack_from(log, at)
            at += _RECORD.size + length
            xattrs = self._xattrs[number - 1] if number else None
            yield bytes(log[at - length : at]), mode, uid, gid, seconds * _BILLION + nanoseconds, xattrs
