"""Where `--output` goes: a file that appears whole or not at all, or a pipe or device that is written as bytes come."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from oci.cli.failures import blamed_on

__all__ = ["written_to"]


@contextmanager
def written_to(path: str) -> Iterator[Callable[[bytes | bytearray | memoryview], object]]:
    """A function that writes; at the end of the block, if nothing failed, the file is there under its name."""
    from oci.streams.atomic import AtomicFile

    with blamed_on(path):
        if not _streams(path):
            with AtomicFile(path) as file:
                yield file.write
                file.commit()
            return
        # Appended, and nothing cut off: /dev/stdout may be a file that others write to as well.
        with open(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC), "wb") as stream:
            yield stream.write


def _streams(path: str) -> bool:
    """Whether that name stands for a pipe or a device, or for an open file (/dev/stdout, /proc/self/fd/N)."""
    try:
        kind = os.stat(path).st_mode
    except OSError:
        return False  # whoever makes it says why it can't be made
    folder = os.path.realpath(os.path.dirname(os.path.abspath(path)))
    return stat.S_ISFIFO(kind) or stat.S_ISCHR(kind) or folder == "/dev" or folder.startswith("/proc/")
