"""The one place that calls the C library by hand: numbers of system calls, and errno → OSError.

Calls that every libc wraps (mount, umount2, unshare, setns, prctl) go by name; the newer ones go by number through
syscall(2). Since Linux 5.1 new calls have the same number on all architectures but alpha and mips, which add a base;
the few older ones are in a table. The numbers are those of the kernel's own syscall tables (arch/*/…/syscall.tbl,
include/uapi/asm-generic/unistd.h).
"""

from __future__ import annotations

import errno
import os
from functools import cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ctypes

__all__ = ["AT_EMPTY_PATH", "AT_FDCWD", "AT_RECURSIVE", "call", "machine", "syscall"]

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000

StrPath = str | bytes | os.PathLike[str]

# Numbers that are the same everywhere, before the base of alpha and mips is added.
_COMMON = {
    "pidfd_send_signal": 424,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "pidfd_open": 434,
    "openat2": 437,
    "mount_setattr": 442,
}

# renameat2 is older than that agreement. What is not named here uses the generic table (aarch64, riscv64, loongarch64).
_RENAMEAT2 = {
    "x86_64": 316,
    "i386": 353,
    "i586": 353,
    "i686": 353,
    "armv6l": 382,
    "armv7l": 382,
    "armv8l": 382,
    "ppc": 357,
    "ppc64": 357,
    "ppc64le": 357,
    "s390x": 347,
    "sparc64": 345,
    "alpha": 510,
    "mips": 4351,
    "mips64": 5311,
}
_RENAMEAT2_GENERIC = 276

_BASES = {"alpha": 110, "mips": 4000, "mips64": 5000}


def machine() -> str:
    """The architecture of this process: a 32-bit Python on a 64-bit kernel has the 32-bit numbers."""
    import struct

    name = os.uname().machine
    if struct.calcsize("P") == 4:
        return {"x86_64": "i686", "aarch64": "armv8l", "mips64": "mips"}.get(name, name)
    return name


def number_of(name: str, architecture: str) -> int:
    """The number of a system call."""
    if name == "renameat2":
        return _RENAMEAT2.get(architecture, _RENAMEAT2_GENERIC)
    return _COMMON[name] + _BASES.get(architecture, 0)


@cache
def _libc() -> ctypes.CDLL:
    import ctypes  # slow to import, and most commands never come here

    return ctypes.CDLL(None, use_errno=True)


@cache
def _function(name: str) -> ctypes._NamedFuncPointer:
    """A wrapper of libc; AttributeError, which is an ENOSYS to `call`, where the libc has none."""
    return getattr(_libc(), name)  # type: ignore[no-any-return]


def call(name: str, *arguments: object, path: StrPath | None = None, other: StrPath | None = None) -> int:
    """Call the libc function `name`; -1 becomes an OSError about `path` (and `other`).

    Arguments are ints (longs), bytes (NUL-terminated by ctypes), None or ctypes objects.
    """
    try:
        function = _function(name)
    except AttributeError:
        raise _error(errno.ENOSYS, path, other) from None
    return _checked(function, arguments, path, other)


def syscall(name: str, *arguments: object, path: StrPath | None = None, other: StrPath | None = None) -> int:
    """The system call `name`, by its number; -1 becomes an OSError about `path` (and `other`)."""
    return _checked(_function("syscall"), (number_of(name, machine()), *arguments), path, other)


def _checked(
    function: ctypes._NamedFuncPointer, arguments: tuple[object, ...], path: StrPath | None, other: StrPath | None
) -> int:
    import ctypes

    result: int = function(*(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments))
    if result == -1:
        raise _error(ctypes.get_errno(), path, other)
    return result


def _error(number: int, path: StrPath | None, other: StrPath | None) -> OSError:
    # A name of bytes would come back as bytes; a message wants text.
    names = [None if name is None else os.fsdecode(name) for name in (path, other)]
    return OSError(number, os.strerror(number), names[0], None, names[1])


def text(path: StrPath) -> bytes:
    """A path as the kernel takes it. ctypes would cut it at a NUL, and what comes behind would be unseen."""
    raw = os.fsencode(path)
    if b"\0" in raw:
        raise OSError(errno.EINVAL, "a NUL byte in a path", os.fsdecode(raw))
    return raw
