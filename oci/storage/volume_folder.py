"""One volume's folder: its lock, and its data exchanged for other data in one step, or found again after a crash.

`data` is the volume; beside it lie for a while `.tmp-…` (data on its way in), and `data.old`, where two names can't be
exchanged in one step (renameat2(2)).
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from oci.changeset.removal import DIRECTORY
from oci.linux.files import exchange
from oci.storage.folders import remove_folder, sweep_folders

__all__ = ["DATA", "OLD", "locked", "put", "settle"]

DATA = "data"
OLD = "data.old"  # the data for the moment in which it has no name


def put(folder: str, made: str) -> None:
    """Give a filled folder the place of a volume's data, whatever is there; that goes."""
    fd = os.open(folder, DIRECTORY)
    try:
        name = os.path.basename(made)
        if exchange(fd, name, fd, DATA):
            os.fsync(fd)
            return  # what was there has the temporary name now, and goes with it
        os.rename(DATA, OLD, src_dir_fd=fd, dst_dir_fd=fd)
        os.rename(name, DATA, src_dir_fd=fd, dst_dir_fd=fd)
        os.fsync(fd)
    finally:
        os.close(fd)
    remove_folder(f"{folder}/{OLD}")


@contextmanager
def locked(folder: str, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock of one volume's folder; what killed processes left in it is removed first.

    FileNotFoundError when it isn't there, or was removed while we waited; BlockingIOError with wait=False when somebody
    has the lock.
    """
    fd = os.open(folder, DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        if not os.path.samestat(os.fstat(fd), os.stat(folder, follow_symlinks=False)):
            raise FileNotFoundError(errno.ENOENT, "is another one now", folder)
        settle(folder)
        yield
    finally:
        os.close(fd)


def settle(folder: str) -> None:
    """Remove what killed processes left in a volume's folder, whose lock is held; put back what they took away."""
    if os.path.lexists(f"{folder}/{OLD}"):
        if os.path.lexists(f"{folder}/{DATA}"):
            remove_folder(f"{folder}/{OLD}")
        else:
            os.rename(f"{folder}/{OLD}", f"{folder}/{DATA}")
    sweep_folders(folder)
