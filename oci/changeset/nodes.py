"""Making one file, link or device in an open directory, with all its attributes.

Everything is made new: `O_EXCL` and its likes fail where something exists, so no entry can write through what an
earlier one left there. Attributes go in the order in which none undoes another: content, owner (clears setuid and
capabilities), extended attributes, mode, times. System calls that would change nothing are left out; that is most of
the speed.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator

from oci.changeset.ownership import ROOTLESS_XATTR, Warnings, data_xattr_kept, note_rootless_owner, xattr_kept
from oci.errors import UnpackError, UnsafeEntry, show
from oci.tar import BLOCK, CHAR, FIFO, Entry
from oci.typed import Protocol

__all__ = ["DataSource", "NodeMaker", "is_refusal"]

# What the machine may say to any program. Everything else the file system says is about what the layer asks for.
_MACHINE_ERRORS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR}
)


def is_refusal(error: OSError) -> bool:
    """Return whether the file system refuses what an entry asks for, as against a machine in trouble."""
    return error.errno not in _MACHINE_ERRORS


NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
MAX_ID = 0xFFFFFFFE  # the id above means "no change" to chown(2)

_ACL_PREFIX = b"system.posix_acl_"
_TYPES = {CHAR: stat.S_IFCHR, BLOCK: stat.S_IFBLK, FIFO: stat.S_IFIFO}


class DataSource(Protocol):
    """What gives the stored bytes of the current entry: a TarReader."""

    def data(self) -> Iterator[memoryview]:
        """Return the pieces, in order."""


class NodeMaker:
    """Makes what entries describe. `rootless`: owners are noted, not set; devices are left out.

    `data`: what is made is no layer, so it may hold what overlayfs obeys in one. `thorough`: in directories that were
    there before, each with its own group, ACLs and file system, nothing is known of what creation gives: all is set.
    """

    def __init__(
        self, root_fd: int, *, rootless: bool, warnings: Warnings, data: bool = False, thorough: bool = False
    ) -> None:
        self.rootless = rootless
        self._data, self._kept = data, data_xattr_kept if data else xattr_kept
        self._warnings = warnings
        self._privileged = os.geteuid() == 0
        if thorough:
            self._uid = self._gid = -1
            self.strict_umask, self._fix = True, 0o7777
            return
        # What creation gives by itself: owner and umask, seen on a file rather than asked for, because mount options
        # (grpid), default ACLs and other threads' umask have a say in it too.
        probe = b".probe"
        fd = os.open(probe, NEW_FILE, 0o777, dir_fd=root_fd)
        try:
            made = os.fstat(fd)
        finally:
            os.close(fd)
            os.unlink(probe, dir_fd=root_fd)
        self._uid, self._gid = (0, 0) if rootless else (made.st_uid, made.st_gid)
        self.strict_umask = made.st_mode & 0o700 != 0o700
        self._fix = ~made.st_mode & 0o777 | 0o7000  # mode bits that creation doesn't set, or that chown clears

    def file(self, dir_fd: int, name: bytes, entry: Entry, source: DataSource) -> None:
        """Make a regular file with its content. Raises FileExistsError if the name is taken."""
        mode = entry.mode
        fd = os.open(name, NEW_FILE, mode & 0o777, dir_fd=dir_fd)
        try:
            if entry.size:
                if entry.sparse is None:
                    for chunk in source.data():
                        written = os.write(fd, chunk)
                        if written != len(chunk):
                            _write_rest(fd, chunk[written:])
                else:
                    _write_sparse(fd, entry, entry.sparse, source)
            if entry.uid != self._uid or entry.gid != self._gid or mode & self._fix or entry.xattrs:
                self.attributes(fd, entry.name, mode, entry.uid, entry.gid, entry.xattrs)
            mtime = entry.mtime_ns
            os.utime(fd, ns=(mtime, mtime))
        finally:
            os.close(fd)

    def symlink(self, dir_fd: int, name: bytes, entry: Entry) -> None:
        """Make a symbolic link; its target is kept as it is, never looked at."""
        os.symlink(entry.linkname, name, dir_fd=dir_fd)
        if entry.uid != self._uid or entry.gid != self._gid:
            self._chown_name(dir_fd, name, entry)
        if entry.xattrs:
            self._xattrs(_by_link(dir_fd, name), entry.name, entry.xattrs)
        os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=dir_fd, follow_symlinks=False)

    def special(self, dir_fd: int, name: bytes, entry: Entry) -> bool:
        """Make a FIFO or device node; False if it was left out, with a warning."""
        device = 0
        if entry.kind != FIFO:
            device = _device(entry)
            if entry.kind == CHAR and device == 0 and not self._data:
                self._warnings.add("left out a character device 0:0, which overlayfs takes for a whiteout", entry.name)
                return False
            if self.rootless:
                self._left_out(entry)
                return False
        try:
            os.mknod(name, _TYPES[entry.kind] | entry.mode & 0o777, device, dir_fd=dir_fd)
        except PermissionError:
            if entry.kind == FIFO:
                raise
            self._left_out(entry)  # root of a user namespace, or without CAP_MKNOD
            return False
        if entry.uid != self._uid or entry.gid != self._gid:
            self._chown_name(dir_fd, name, entry)
        if entry.xattrs:
            self._xattrs(_by_link(dir_fd, name), entry.name, entry.xattrs)
        if entry.mode & self._fix:
            _chmod_special(name, entry.mode, dir_fd)
        os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=dir_fd, follow_symlinks=False)
        return True

    def attributes(
        self, fd: int, name: bytes, mode: int, uid: int, gid: int, xattrs: dict[bytes, bytes] | None
    ) -> None:
        """Give an open file or directory its owner, extended attributes and mode; `name` is for messages."""
        if not self._privileged and not mode & 0o200 and (xattrs or uid or gid):
            os.fchmod(fd, mode | 0o200)  # an owner without write permission can't set user.* attributes
        if uid != self._uid or gid != self._gid:
            if uid > MAX_ID or gid > MAX_ID:
                raise UnpackError(name, f"no file can have the owner {uid}:{gid}")
            if self.rootless:
                self._note_owner(fd, name, uid, gid)
            else:
                self._chown(fd, name, uid, gid)
        if xattrs:
            self._xattrs(fd, name, xattrs)
        os.fchmod(fd, mode)

    def _chown(self, fd: int, name: bytes, uid: int, gid: int) -> None:
        try:
            os.fchown(fd, uid, gid)
        except OSError as error:
            raise self._no_owner(error, name, uid, gid) from error

    def _chown_name(self, dir_fd: int, name: bytes, entry: Entry) -> None:
        if self.rootless:
            return  # no place for a note: Linux allows user.* attributes on files and directories only
        if entry.uid > MAX_ID or entry.gid > MAX_ID:
            raise UnpackError(entry.name, f"no file can have the owner {entry.uid}:{entry.gid}")
        try:
            os.chown(name, entry.uid, entry.gid, dir_fd=dir_fd, follow_symlinks=False)
        except OSError as error:
            raise self._no_owner(error, entry.name, entry.uid, entry.gid) from error

    def _no_owner(self, error: OSError, name: bytes, uid: int, gid: int) -> UnpackError:
        """What to say of an owner that can't be set; where the reason may be another, a subclass says that."""
        hint = "unpack with --rootless or --map-root to note it"
        return UnpackError(name, f"its owner {uid}:{gid} can't be set ({error.strerror}); {hint}")

    def _note_owner(self, fd: int, name: bytes, uid: int, gid: int) -> None:
        value = note_rootless_owner(uid, gid)
        if value is not None:
            self._set_xattr(fd, name, ROOTLESS_XATTR, value)

    def _xattrs(self, target: int | bytes, name: bytes, xattrs: dict[bytes, bytes]) -> None:
        for key, value in xattrs.items():
            if not self._kept(key):
                self._warnings.add(f"left out the extended attribute {show(key)}, which is of another machine", name)
            elif self.rootless and key.startswith(_ACL_PREFIX):
                self._warnings.add("left out an access control list, whose users don't exist here", name)
            else:
                self._set_xattr(target, name, key, value)

    def _set_xattr(self, target: int | bytes, name: bytes, key: bytes, value: bytes) -> None:
        try:
            os.setxattr(target, key, value, follow_symlinks=isinstance(target, int))
        except OSError as error:
            if error.errno in (errno.EPERM, errno.EACCES):
                self._warnings.add(f"left out the extended attribute {show(key)}: not permitted", name)
            elif error.errno == errno.ENOTSUP:
                self._warnings.add("left out an extended attribute: the file system doesn't have them", name)
            else:
                raise UnpackError(name, f"extended attribute {show(key)}: {error.strerror}") from error

    def _left_out(self, entry: Entry) -> None:
        self._warnings.add("left out a device, which only root can make", entry.name)


def _write_rest(fd: int, rest: memoryview) -> None:
    while rest:  # a full disk gives a short write first, and the error at the next
        rest = rest[os.write(fd, rest) :]


def _write_sparse(fd: int, entry: Entry, extents: tuple[tuple[int, int], ...], source: DataSource) -> None:
    """Write the pieces of a sparse file where they belong, and leave holes between them."""
    os.ftruncate(fd, entry.size)
    pieces = iter(extents)
    offset = left = 0
    for chunk in source.data():
        at = 0
        while at < len(chunk):
            while not left:
                offset, left = next(pieces)
            part = chunk[at : at + left]
            written = os.pwrite(fd, part, offset)
            at += written
            offset += written
            left -= written


def _device(entry: Entry) -> int:
    try:
        return os.makedev(entry.devmajor, entry.devminor)
    except (OverflowError, ValueError):
        raise UnsafeEntry(entry.name, f"no device has the number {entry.devmajor}:{entry.devminor}") from None


def _chmod_special(name: bytes, mode: int, dir_fd: int) -> None:
    """Set a mode without opening the device or FIFO, which has effects, and without following what has its name now."""
    handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        if not stat.S_ISLNK(os.fstat(handle).st_mode):
            os.chmod(f"/proc/self/fd/{handle}", mode)
    finally:
        os.close(handle)


def _by_link(dir_fd: int, name: bytes) -> bytes:
    """A path to a name in an open directory, for the calls that take no dir_fd (setxattr)."""
    return b"/proc/self/fd/%d/%s" % (dir_fd, name)
