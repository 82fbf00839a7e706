"""Temporary files of a layout: one locked folder a writer, so that leftovers can be told from work in progress.

Each writer makes a folder `.ocikit-XXXXXXXXXXXXXXXX` beside `index.json` (never inside `blobs/`, where other tools take
every file for a blob) and keeps a flock on it for as long as it lives. The kernel drops the lock with the process, so a
folder that can be locked is a leftover of a killed writer and may be removed: no clock and no process ids are needed.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

__all__ = ["PREFIX", "Scratch", "flocked", "is_scratch_name", "sweep"]

PREFIX = ".ocikit-"
_RANDOM_DIGITS = 16


@contextmanager
def flocked(path: str, *, shared: bool = False, wait: bool = True) -> Iterator[int]:
    """Hold an advisory lock on a directory; BlockingIOError at once with wait=False when somebody else holds it.

    The lock is on the directory itself, so no lock file appears that other tools would see or copy.
    """
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
        yield fd
    finally:
        os.close(fd)  # closing the only descriptor of this open() drops the lock


def is_scratch_name(name: str) -> bool:
    """Say whether a file name is one of ours to remove."""
    digits = name.removeprefix(PREFIX)
    return name.startswith(PREFIX) and len(digits) == _RANDOM_DIGITS and all(c in "0123456789abcdef" for c in digits)


class Scratch:
    """A writer's folder for files that have no final name yet, in the layout's file system."""

    def __init__(self, root: str) -> None:
        self._count = 0
        while True:
            self.path = f"{root}/{PREFIX}{os.urandom(_RANDOM_DIGITS // 2).hex()}"
            os.mkdir(self.path, 0o700)
            # A sweep may come between making and locking the folder and remove it: then take another.
            with suppress(FileNotFoundError):
                self._fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                fcntl.flock(self._fd, fcntl.LOCK_SH)
                if os.fstat(self._fd).st_nlink:
                    return
                os.close(self._fd)

    def new(self) -> tuple[int, str]:
        """Make an empty file, open for reading and writing; give its descriptor and path."""
        self._count += 1
        path = f"{self.path}/{self._count}-{os.urandom(4).hex()}"
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644), path

    def close(self) -> None:
        """Remove the folder and whatever is left in it."""
        if self._fd >= 0:
            _remove(self.path)
            os.close(self._fd)
            self._fd = -1


def _remove(path: str) -> None:
    with suppress(FileNotFoundError):
        for name in os.listdir(path):
            with suppress(FileNotFoundError, IsADirectoryError, PermissionError):
                os.unlink(f"{path}/{name}")
        with suppress(OSError):  # something foreign is in it: not ours to remove
            os.rmdir(path)


def sweep(root: str, *, dry_run: bool = False) -> list[str]:
    """Remove the folders of writers that are no longer alive; give their names."""
    found = []
    for name in sorted(filter(is_scratch_name, os.listdir(root))):
        path = f"{root}/{name}"
        try:
            with flocked(path, wait=False):
                found.append(name)
                if not dry_run:
                    _remove(path)
        except (BlockingIOError, FileNotFoundError, NotADirectoryError):
            continue
    return found
