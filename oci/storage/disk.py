"""How many bytes a tree takes on the disk: blocks, each file once however many names it has, no link followed.

Containers write these trees, also while they are counted: every step goes from an open directory (O_NOFOLLOW), and a
tree deeper than a process may have open files is counted all the same. What vanishes meanwhile counts nothing.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from oci.changeset.removal import DIRECTORY

__all__ = ["disk_bytes"]

MAX_OPEN_LEVELS = 128  # directories of one path that are open at a time; those above are found again by ".."


class _Level:
    __slots__ = ("fd", "identity", "names")

    def __init__(self, fd: int) -> None:
        status = os.fstat(fd)
        self.fd, self.identity = fd, (status.st_dev, status.st_ino)
        self.names: list[str] = []


def disk_bytes(path: str | int) -> int:
    """Bytes on disk of all that is in a directory (a path or a descriptor), without the directory itself; 0 without it.

    Counted as du(1) counts: blocks of 512 bytes, a hard-linked file once.
    """
    try:
        fd = os.open(f"/proc/self/fd/{path}" if isinstance(path, int) else path, DIRECTORY & ~os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return 0
    levels = [_Level(fd)]
    seen: set[tuple[int, int]] = set()
    try:
        total = _list(levels[-1], seen)
        while levels:
            level = levels[-1]
            if not level.names:
                _leave(levels)
                continue
            try:
                fd = os.open(level.names.pop(), DIRECTORY, dir_fd=level.fd)
            except OSError:  # gone, exchanged for something else, or closed to us
                continue
            levels.append(_Level(fd))
            if len(levels) > MAX_OPEN_LEVELS and (spare := levels[-1 - MAX_OPEN_LEVELS]).fd >= 0:
                os.close(spare.fd)
                spare.fd = -1
            total += _list(levels[-1], seen)
        return total
    finally:
        for level in levels:
            if level.fd >= 0:
                os.close(level.fd)


def _list(level: _Level, seen: set[tuple[int, int]]) -> int:
    """Bytes of what is in one directory; the directories in it are left in `names`."""
    total = 0
    with suppress(OSError), os.scandir(level.fd) as entries:
        for entry in entries:
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            if stat.S_ISDIR(status.st_mode):
                level.names.append(entry.name)
            elif status.st_nlink > 1:
                if (status.st_dev, status.st_ino) in seen:
                    continue
                seen.add((status.st_dev, status.st_ino))
            total += status.st_blocks * 512
    return total


def _leave(levels: list[_Level]) -> None:
    level = levels.pop()
    if levels and (parent := levels[-1]).fd < 0:
        parent.fd = os.open("..", DIRECTORY, dir_fd=level.fd)
        status = os.fstat(parent.fd)
        if (status.st_dev, status.st_ino) != parent.identity:  # moved while it was counted: the rest is not ours
            parent.names.clear()
    os.close(level.fd)
