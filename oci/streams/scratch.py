"""A folder for the time of one piece of work, locked meanwhile: one without its lock is what a killed process left.

It is named as temporary files are (atomic.py), so nobody reads it, and whoever tidies up knows it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from oci.streams.atomic import TEMPORARY

__all__ = ["make_locked", "scratch_folder", "temporary_name"]

TRIES = 3  # a program that was killed may have a child that writes a last line


@contextmanager
def scratch_folder(parent: str) -> Iterator[str]:
    """A new folder in `parent`, which goes with everything that is in it. OSErrors propagate."""
    path, fd = make_locked(parent)
    try:
        yield path
    finally:
        _remove(path)
        os.close(fd)


def temporary_name() -> str:
    """A name that no reader looks at, and nobody else has."""
    return TEMPORARY + os.urandom(8).hex()


def make_locked(parent: str) -> tuple[str, int]:
    """Make a folder with a temporary name in `parent`; its path, and its descriptor, which holds the lock."""
    while True:
        path = f"{parent}/{temporary_name()}"
        os.mkdir(path, 0o700)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:  # somebody took it for a leftover before it was locked
            continue
        except BaseException:
            with suppress(OSError):
                os.rmdir(path)
            raise
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # or is about to remove it
            os.close(fd)
            continue
        if os.fstat(fd).st_nlink:
            return path, fd
        os.close(fd)


def _remove(path: str) -> None:
    for _ in range(TRIES):
        with suppress(OSError):
            for name in os.listdir(path):
                if os.path.isdir(f"{path}/{name}") and not os.path.islink(f"{path}/{name}"):
                    import shutil

                    shutil.rmtree(f"{path}/{name}", ignore_errors=True)
                else:
                    os.unlink(f"{path}/{name}")
            os.rmdir(path)
            return
