"""Files of a tree that somebody else filled: opened inside its root, whatever its links say (openat2(2)).

`open_in_root` takes a path as a program would that is chrooted to the root: absolute links begin there, `..` ends
there. The kernel does it in one step (RESOLVE_IN_ROOT); where it can't (before Linux 5.6, or a filter that forbids the
call) the same is done by hand, one component at a time with O_NOFOLLOW.
"""

from __future__ import annotations

import errno
import os
import stat
from functools import cache

from oci.linux import calls
from oci.linux.calls import StrPath

__all__ = ["clone", "copy_range", "exchange", "open_in_root"]

RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_IN_ROOT = 0x10

_RENAME_EXCHANGE = 2

MAX_LINKS = 40  # symbolic links in one path, as the kernel has it
MAX_PATH = 4096  # bytes of a path, with its NUL, as the kernel has it
MAX_RACES = 256  # how often a walk begins anew because somebody renamed below it


def open_in_root(root_fd: int, path: bytes | str, flags: int, mode: int = 0) -> int:
    """Open `path` as if `root_fd` were the root directory; the descriptor is close-on-exec.

    `flags` are those of open(2): O_CREAT makes the file inside the root even through a dangling link, O_NOFOLLOW
    refuses a link as the last component. The magic links of /proc (`/proc/self/fd/3`, `/proc/1/root`) are refused with
    ELOOP. OSErrors name the path as given. A pipe without O_NONBLOCK blocks, as it does with open(2).
    """
    if not _has_openat2():
        return open_by_hand(root_fd, path, flags, mode)
    for _ in range(MAX_RACES):
        try:
            return openat2(root_fd, path, flags, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
        except BlockingIOError:  # EAGAIN: something was renamed while '..' was being checked
            continue
        except PermissionError as error:
            # Old seccomp filters answer EPERM to calls that they don't know; so does a real refusal.
            if error.errno == errno.EPERM:
                return open_by_hand(root_fd, path, flags, mode)
            raise
    return open_by_hand(root_fd, path, flags, mode)


def openat2(dir_fd: int, path: bytes | str, flags: int, mode: int, resolve: int) -> int:
    """openat2(2) as it is; O_CLOEXEC always."""
    import ctypes
    import struct

    raw = calls.text(path)
    if not flags & (os.O_CREAT | (os.O_TMPFILE & ~os.O_DIRECTORY)):
        mode = 0  # the call refuses a mode that would have no use
    how = struct.pack("=QQQ", flags | os.O_CLOEXEC, mode, resolve)
    return calls.syscall("openat2", dir_fd, raw, ctypes.create_string_buffer(how, len(how)), len(how), path=path)


@cache
def _has_openat2() -> bool:
    try:
        fd = openat2(calls.AT_FDCWD, b"/", os.O_PATH | os.O_DIRECTORY, 0, RESOLVE_IN_ROOT)
    except OSError:
        return False
    os.close(fd)
    return True


def open_by_hand(root_fd: int, path: bytes | str, flags: int, mode: int = 0) -> int:
    """`open_in_root` without openat2."""
    raw = calls.text(path)
    try:
        if not raw:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        if len(raw) >= MAX_PATH:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        for _ in range(MAX_RACES):
            walk = _Walk(root_fd)
            try:
                return walk.open(raw, flags | os.O_CLOEXEC, mode)
            except _ChangedError:
                continue
            finally:
                walk.close()
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.fsdecode(raw)) from None


class _ChangedError(Exception):
    """Somebody renamed what the walk stands on."""


_STEP = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class _Walk:
    """Where a walk is: a descriptor, and the names that lead to it from the root, none of them a link.

    `..` goes down again from the root by those names: asked of the descriptor, it would lead out of the root when
    the directory has been moved out meanwhile.
    """

    def __init__(self, root_fd: int) -> None:
        self.root = root_fd
        self.names: list[bytes] = []
        self.here = os.open(b".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=root_fd)
        self.links = 0

    def close(self) -> None:
        os.close(self.here)

    def open(self, path: bytes, flags: int, mode: int) -> int:
        todo = [name for name in reversed(path.split(b"/")) if name]
        must_be_directory = path.endswith(b"/") or not todo
        if path.startswith(b"/"):
            self._go_to([])
        while todo:
            name = todo.pop()
            if name == b".":
                must_be_directory = must_be_directory or not todo
                continue
            if name == b"..":
                must_be_directory = must_be_directory or not todo
                self._go_to(self.names[:-1])
                continue
            last = not todo
            found = self._look(name, missing_is_fine=last and bool(flags & os.O_CREAT))
            if found is None:
                return self._create(name, flags, mode, must_be_directory)
            fd, is_link = found
            try:
                if is_link and (not last or must_be_directory or self._follows(flags)):
                    target = self._read_link(fd)
                    if target.startswith(b"/"):
                        self._go_to([])
                    if last:
                        # The last component of a link is the last one of the path: a slash behind it counts.
                        must_be_directory = must_be_directory or target.endswith(b"/")
                    todo += [part for part in reversed(target.split(b"/")) if part]
                    must_be_directory = must_be_directory or not todo
                elif last:
                    return self._open_last(name, fd, flags, mode, must_be_directory)
                else:
                    fd = self._enter(name, fd)
            finally:
                os.close(fd)
        if flags & os.O_CREAT:
            code = errno.EEXIST if flags & os.O_EXCL else errno.EISDIR
            raise OSError(code, os.strerror(code))
        return os.open(b".", flags, dir_fd=self.here)

    @staticmethod
    def _follows(flags: int) -> bool:
        return not flags & os.O_NOFOLLOW and flags & (os.O_CREAT | os.O_EXCL) != os.O_CREAT | os.O_EXCL

    def _look(self, name: bytes, *, missing_is_fine: bool) -> tuple[int, bool] | None:
        try:
            fd = os.open(name, _STEP, dir_fd=self.here)
        except FileNotFoundError:
            if missing_is_fine:
                return None
            raise
        return fd, stat.S_ISLNK(os.fstat(fd).st_mode)

    def _read_link(self, fd: int) -> bytes:
        self.links += 1
        if self.links > MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        if os.fstat(fd).st_dev == _device_of_proc():
            target = os.readlink(b"", dir_fd=fd)
            # /proc/self and /proc/mounts are ordinary links with a relative text; the magic ones have none.
            if target.startswith(b"/") or b":" in target or b"(" in target:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            return target
        return os.readlink(b"", dir_fd=fd)

    def _enter(self, name: bytes, fd: int) -> int:
        """Stand on the directory `fd`; returns the descriptor to close instead."""
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        self.names.append(name)
        self.here, before = fd, self.here
        return before

    def _go_to(self, names: list[bytes]) -> None:
        """Stand on the directory that these names lead to from the root."""
        fd = os.open(b".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.root)
        try:
            for name in names:
                try:
                    deeper = os.open(name, _STEP | os.O_DIRECTORY, dir_fd=fd)
                except (FileNotFoundError, NotADirectoryError):
                    raise _ChangedError from None
                os.close(fd)
                fd = deeper
        except BaseException:
            os.close(fd)
            raise
        os.close(self.here)
        self.here, self.names = fd, list(names)

    def _create(self, name: bytes, flags: int, mode: int, must_be_directory: bool) -> int:
        if must_be_directory:
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
        try:
            return os.open(name, flags | os.O_NOFOLLOW, mode, dir_fd=self.here)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise _ChangedError from None  # a link has appeared there: it may have to be followed
            raise

    def _open_last(self, name: bytes, fd: int, flags: int, mode: int, must_be_directory: bool) -> int:
        """Open what `name` is, which was looked at by `fd` and is not to be followed if it is a link."""
        is_link = stat.S_ISLNK(os.fstat(fd).st_mode)
        if must_be_directory:
            if flags & os.O_CREAT:
                raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
            flags |= os.O_DIRECTORY
        try:
            made = os.open(name, flags | os.O_NOFOLLOW, mode, dir_fd=self.here)
        except FileNotFoundError:
            raise _ChangedError from None
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR) and not is_link and self._became_link(name):
                raise _ChangedError from None
            raise
        if flags & os.O_PATH and not is_link and stat.S_ISLNK(os.fstat(made).st_mode):
            os.close(made)
            raise _ChangedError
        return made

    def _became_link(self, name: bytes) -> bool:
        try:
            return stat.S_ISLNK(os.stat(name, dir_fd=self.here, follow_symlinks=False).st_mode)
        except FileNotFoundError:
            return True


@cache
def _device_of_proc() -> int:
    try:
        return os.stat("/proc/self/stat").st_dev
    except OSError:
        return -1


# _IOW(0x94, 9, int) of linux/fs.h; the bits of a direction differ on these architectures.
_FICLONE = 0x40049409
_FICLONE_OTHER = 0x80049409
_CANT_CLONE = (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.ETXTBSY, errno.EPERM)


def clone(src_fd: int, dst_fd: int) -> bool:
    """Make `dst_fd` share the blocks of `src_fd`, whole (ioctl_ficlone(2)); False where the file system can't."""
    import fcntl

    odd = calls.machine().startswith(("mips", "ppc", "sparc", "alpha"))
    try:
        fcntl.ioctl(dst_fd, _FICLONE_OTHER if odd else _FICLONE, src_fd)
    except OSError as error:
        if error.errno in _CANT_CLONE:
            return False
        raise
    return True


def copy_range(src_fd: int, dst_fd: int, size: int) -> int:
    """Copy up to `size` bytes between the two files' positions, in the kernel where it can; returns how many."""
    done = 0
    while done < size:
        try:
            count = os.copy_file_range(src_fd, dst_fd, min(size - done, 1 << 30))
        except OSError as error:
            if error.errno not in _CANT_CLONE and error.errno != errno.EBADF:
                raise
            return done + _copy_by_hand(src_fd, dst_fd, size - done)
        if not count:
            # The end of the file; but files of some file systems (proc) say so at once, and have more.
            return done or _copy_by_hand(src_fd, dst_fd, size)
        done += count
    return done


def _copy_by_hand(src_fd: int, dst_fd: int, size: int) -> int:
    done = 0
    while done < size and (data := os.read(src_fd, min(size - done, 1 << 20))):
        view = memoryview(data)
        while view:
            view = view[os.write(dst_fd, view) :]
        done += len(data)
    return done


def exchange(src_dir_fd: int, src: StrPath, dst_dir_fd: int, dst: StrPath) -> bool:
    """Exchange two names in one step (renameat2(2), RENAME_EXCHANGE).

    False, with nothing done, when the kernel, the file system or a filter refuses it, for whatever reason.
    """
    one, other = calls.text(src), calls.text(dst)
    try:
        calls.syscall("renameat2", src_dir_fd, one, dst_dir_fd, other, _RENAME_EXCHANGE, path=src, other=dst)
    except OSError:
        return False
    return True
