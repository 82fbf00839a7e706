"""Bringing a whole tree to the disk: syncfs(2).

An fsync of each of ten thousand files is ten thousand waits for the disk; syncfs is one, for all of the file system
that a descriptor lies in. It returns when what was written before is durable, and since Linux 5.8 it reports errors.
"""

from __future__ import annotations

import errno
import os

from oci.linux import calls

__all__ = ["sync_file_system"]


def sync_file_system(fd: int) -> None:
    """Make all that was written to the file system of `fd` durable; OSError when the disk couldn't take it."""
    try:
        calls.call("syncfs", fd)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        os.sync()
