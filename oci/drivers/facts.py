"""What one file is, and whether two of them are the same: the question behind `changes` and `delta`.

Compared is what a layer can carry (image-spec v1.1.1 layer.md#file-attributes, and changeset/ownership.py for the
extended attributes that mean something elsewhere): type, mode, owner (one that a rootless unpack noted counts), size,
target, device number, extended attributes of files and directories. Times are compared apart from all that, and bytes
only where nothing else decides.
"""

from __future__ import annotations

import errno
import os
import stat

from oci.changeset.ownership import ROOTLESS_XATTR, read_rootless_owner, xattr_kept
from oci.drivers.folders import GoneError, open_file
from oci.errors import SourceError

__all__ = ["Facts", "read_facts", "same_bytes"]

_CHUNK = 256 << 10
_NO_XATTRS = frozenset({errno.EOPNOTSUPP, errno.ENODATA, errno.ENOENT})


class Facts:
    """The attributes of one file that a layer carries."""

    __slots__ = ("device", "gid", "kind", "mode", "size", "target", "uid", "xattrs")

    def __init__(self, status: os.stat_result) -> None:
        self.kind = stat.S_IFMT(status.st_mode)
        self.mode = 0 if self.kind == stat.S_IFLNK else stat.S_IMODE(status.st_mode)
        self.uid, self.gid = status.st_uid, status.st_gid
        self.size = status.st_size if self.kind == stat.S_IFREG else 0
        self.device = status.st_rdev if self.kind in (stat.S_IFCHR, stat.S_IFBLK) else 0
        self.target = b""
        self.xattrs: dict[str, bytes] | None = None

    def same(self, other: Facts, *, owner: bool) -> bool:
        """Whether all of it is equal; without `owner` whoever they belong to."""
        return (
            self.kind == other.kind
            and self.mode == other.mode
            and self.size == other.size
            and self.device == other.device
            and self.target == other.target
            and (not owner or (self.uid == other.uid and self.gid == other.gid))
            and (self.xattrs or {}) == (other.xattrs or {})
        )


def read_facts(dir_fd: int, name: bytes, status: os.stat_result, shown: str) -> Facts:
    """The facts of a name in an open directory (b"." is the directory itself); `shown` is its path for messages."""
    facts = Facts(status)
    if facts.kind == stat.S_IFLNK:
        try:
            facts.target = os.readlink(name, dir_fd=dir_fd)
        except OSError as error:
            raise GoneError(shown, "was replaced or removed while it was read") from error
    elif facts.kind in (stat.S_IFREG, stat.S_IFDIR):
        facts.xattrs = _xattrs(dir_fd, name, shown)
        if facts.xattrs and (note := facts.xattrs.pop(ROOTLESS_XATTR.decode(), None)) is not None:
            if status.st_uid != os.geteuid():  # a rootless store has no files but its user's: a forgery
                return facts
            try:
                uid, gid = read_rootless_owner(note)
            except ValueError as error:
                raise SourceError(shown, f"{ROOTLESS_XATTR.decode()}: {error}") from None
            facts.uid = facts.uid if uid is None else uid
            facts.gid = facts.gid if gid is None else gid
    return facts


def _xattrs(dir_fd: int, name: bytes, shown: str) -> dict[str, bytes] | None:
    path = b"/proc/self/fd/%d/%s" % (dir_fd, name)
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError as error:
        if error.errno in _NO_XATTRS:
            return None
        raise SourceError(shown, f"its extended attributes can't be read: {error.strerror}") from error
    found = {}
    for key in names:
        raw = os.fsencode(key)
        if raw == ROOTLESS_XATTR or (xattr_kept(raw) and not raw.startswith(b"system.posix_acl_")):
            value = _xattr(dir_fd, name, path, key, shown)
            if value is not None:
                found[key] = value
    return found or None


def _xattr(dir_fd: int, name: bytes, path: bytes, key: str, shown: str) -> bytes | None:
    try:
        try:
            return os.getxattr(path, key, follow_symlinks=False)
        except PermissionError:  # an ordinary user's file that he may not read himself
            fd = open_file(name, dir_fd)
            try:
                return os.getxattr(fd, key)
            finally:
                os.close(fd)
    except OSError as error:
        if error.errno in _NO_XATTRS:
            return None
        raise SourceError(shown, f"its extended attributes can't be read: {error.strerror}") from error


def same_bytes(a: int, b: int, size: int) -> bool:
    """Whether two open files of the same length hold the same bytes; what is a hole in both isn't read."""
    at = 0
    buffers = memoryview(bytearray(_CHUNK)), memoryview(bytearray(_CHUNK))
    while at < size:
        at = min(_next_data(a, at, size), _next_data(b, at, size))
        if at >= size:
            return True
        lengths = os.preadv(a, [buffers[0]], at), os.preadv(b, [buffers[1]], at)
        length = min(lengths)
        if not length:
            return lengths[0] == lengths[1]
        if buffers[0][:length] != buffers[1][:length]:
            return False
        at += length
    return True


def _next_data(fd: int, at: int, size: int) -> int:
    try:
        return os.lseek(fd, at, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:  # nothing but a hole up to the end
            return size
        return at
