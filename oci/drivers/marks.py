"""How a directory on disk says that something below it is gone: whiteouts and opaque marks.

The kernel's form (Linux Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories", "Nesting"):

* a whiteout is a character device 0/0;
* or, in a directory whose `overlay.opaque` is "x", an empty file that has the attribute `overlay.whiteout`;
* an opaque directory has `overlay.opaque` = "y".

The attributes are in the namespace `trusted.`, or in `user.` for mounts with `userxattr`. Only the namespace of the
mount is looked at: in the other one they are a container's own data.

fuse-overlayfs (1.10, its `create_whiteout` and `set_fd_opaque`) writes the device where it may, else an empty file
`.wh.NAME`; an opaque directory gets the first of `trusted.overlay.opaque` and `user.fuseoverlayfs.opaque` that it can
set, and a file `.wh..wh..opq`. It lets no container make files of these names, nor set these attributes.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from contextlib import suppress

from oci.changeset.whiteout import OPAQUE, PREFIX
from oci.drivers.driver import Form
from oci.typed import Protocol

__all__ = [
    "NOT_COPIED",
    "FuseMarks",
    "KernelMarks",
    "Listing",
    "Marks",
    "NoMarks",
    "is_whiteout_device",
    "make_whiteout",
]

NOT_COPIED = ("trusted.overlay.", "user.overlay.", "user.fuseoverlayfs.", "security.selinux")
"""Beginnings of the attributes that a copy of a layer's file doesn't get: marks of its place there, and the label that
the host gives to each file by itself. All others are copied, the note of an owner (changeset/ownership.py) too."""

_WHITEOUT_DEVICE = 0


class Listing:
    """One directory: what is in it by name, the names that it hides below it, and whether it hides all of them."""

    __slots__ = ("gone", "names", "opaque")

    def __init__(self) -> None:
        self.names: dict[bytes, os.stat_result] = {}
        self.gone: set[bytes] = set()
        self.opaque = False


class Marks(Protocol):
    """One form of these marks."""

    def read(self, fd: int, *, only: Iterable[bytes] | None = None) -> Listing:
        """List an open directory, or look for some names in it. OSErrors propagate."""


class NoMarks:
    """A whole tree: nothing is below it. What an image can't hold is left out, as if it weren't there.

    A character device 0/0 would be a whiteout wherever the image is unpacked; sockets mean nothing in an image.
    """

    def read(self, fd: int, *, only: Iterable[bytes] | None = None) -> Listing:
        listing = Listing()
        for name, status in _statuses(fd, only):
            if not is_whiteout_device(status):
                listing.names[name] = status
        listing.opaque = True
        return listing


class KernelMarks:
    """What overlayfs reads and writes."""

    def __init__(self, form: Form) -> None:
        self._opaque = f"{form}.overlay.opaque"
        self._whiteout = f"{form}.overlay.whiteout"

    def read(self, fd: int, *, only: Iterable[bytes] | None = None) -> Listing:
        listing = Listing()
        mark = _xattr(fd, self._opaque)
        listing.opaque = mark == b"y"
        for name, status in _statuses(fd, only):
            if is_whiteout_device(status) or (mark == b"x" and self._is_file_whiteout(fd, name, status)):
                listing.gone.add(name)
            else:
                listing.names[name] = status
        return listing

    def _is_file_whiteout(self, fd: int, name: bytes, status: os.stat_result) -> bool:
        if not stat.S_ISREG(status.st_mode) or status.st_size:
            return False
        return _xattr(b"/proc/self/fd/%d/%s" % (fd, name), self._whiteout) is not None


class FuseMarks:
    """What fuse-overlayfs writes into its upper directory."""

    _OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque", "user.fuseoverlayfs.opaque")

    def read(self, fd: int, *, only: Iterable[bytes] | None = None) -> Listing:
        listing = Listing()
        listing.opaque = any(_xattr(fd, name) == b"y" for name in self._OPAQUE)
        for name, status in _statuses(fd, only):
            if is_whiteout_device(status):
                listing.gone.add(name)
            elif name == OPAQUE:
                listing.opaque = True
            elif name.startswith(PREFIX):
                listing.gone.add(name[len(PREFIX) :])
            else:
                listing.names[name] = status
        listing.gone -= listing.names.keys()  # one that was written before the name came again
        return listing


def make_whiteout(dir_fd: int, name: bytes, form: Form) -> None:
    """Make a whiteout in an open directory of a layer: the device, or the file with an attribute where it is refused.

    It is refused on overlayfs itself, so wherever a store lies in a container of somebody else's. OSErrors propagate.
    """
    try:
        os.mknod(name, stat.S_IFCHR, _WHITEOUT_DEVICE, dir_fd=dir_fd)
        return
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EINVAL, errno.EOPNOTSUPP):
            raise
    if _xattr(dir_fd, f"{form}.overlay.opaque") == b"y":
        return  # nothing below shows anyway, and the file would
    os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=dir_fd))
    os.setxattr(b"/proc/self/fd/%d/%s" % (dir_fd, name), f"{form}.overlay.whiteout", b"y", follow_symlinks=False)
    os.setxattr(dir_fd, f"{form}.overlay.opaque", b"x")


def is_whiteout_device(status: os.stat_result) -> bool:
    """Whether it is a character device 0/0."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == _WHITEOUT_DEVICE


def _statuses(fd: int, only: Iterable[bytes] | None) -> Iterable[tuple[bytes, os.stat_result]]:
    # os.listdir takes a descriptor, and then gives text; surrogateescape brings the bytes back.
    for name in map(os.fsencode, os.listdir(fd)) if only is None else only:
        with suppress(FileNotFoundError):  # removed meanwhile, or not there
            yield name, os.stat(name, dir_fd=fd, follow_symlinks=False)


def _xattr(target: int | bytes, name: str) -> bytes | None:
    try:
        return os.getxattr(target, name, follow_symlinks=isinstance(target, int))
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.EOPNOTSUPP, errno.EPERM, errno.ENOENT):
            return None
        raise
