"""Work in progress beside what it will become: `.NAME.ocikit-XXXXXXXX`, a locked directory that only its maker enters.

The maker holds a lock (flock) on it: what a killed run left has no lock, and the next run for the same name removes it.
Folders may be writable to others (/tmp), so nothing is done by name that could have been exchanged meanwhile.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Iterator

from oci.changeset.removal import DIRECTORY, remove_tree
from oci.errors import DestinationError

__all__ = ["MARK", "OLD", "clear_leftovers", "discard", "scratch_directory"]

MARK = b".ocikit-"
OLD = b".old"  # the former destination, for the moment in which neither has its name
_INHERITED = ("system.posix_acl_default", "system.posix_acl_access")


@contextlib.contextmanager
def scratch_directory(parent_fd: int, name: bytes, where: str) -> Iterator[tuple[bytes, int]]:
    """Make a locked directory beside the destination; remove it unless it has been renamed by the end."""
    scratch, root_fd = _make_scratch(parent_fd, name, where)
    try:
        yield scratch, root_fd
    except BaseException:
        # Under the lock, so that no other run takes it for a leftover meanwhile.
        discard(parent_fd, scratch)
        raise
    finally:
        os.close(root_fd)


def _make_scratch(parent_fd: int, name: bytes, where: str) -> tuple[bytes, int]:
    while True:
        # NAME is shortened, so that a long one leaves room for the rest.
        scratch = _prefix(name) + os.urandom(4).hex().encode()
        try:
            os.mkdir(scratch, 0o700, dir_fd=parent_fd)
            root_fd = _open_made(scratch, parent_fd)
        except FileExistsError:
            continue
        except FileNotFoundError:  # another run took it for a leftover before it was locked
            continue
        except OSError as error:
            raise DestinationError(where, f"its folder can't be written: {error.strerror}") from error
        if not _is_new(root_fd):
            os.close(root_fd)
            raise DestinationError(where, "somebody exchanged what was made beside it; unpack where only you can write")
        if _lock(root_fd) is not False and os.fstat(root_fd).st_nlink:
            break
        os.close(root_fd)
    # What the folder hands down must not reach the image's files: default ACLs, and its group (setgid).
    for acl in _INHERITED:
        with contextlib.suppress(OSError):
            os.removexattr(root_fd, acl)
    os.fchown(root_fd, -1, os.getegid())
    os.fchmod(root_fd, 0o700)
    return scratch, root_fd


def _open_made(scratch: bytes, parent_fd: int) -> int:
    """Open a directory just made, whatever the umask took from its mode.

    Nothing is done to it by name: in a folder where others may write, the name can be a link to a file of the host by
    now, and chmod would follow it.
    """
    handle = os.open(scratch, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent_fd)
    try:
        if os.fstat(handle).st_mode & 0o700 == 0o700:
            return os.open(scratch, DIRECTORY, dir_fd=parent_fd)
        this = f"/proc/self/fd/{handle}"  # leads to what was opened, never to another
        if os.fstat(handle).st_uid == os.geteuid():
            os.chmod(this, 0o700)
        return os.open(this, DIRECTORY & ~os.O_NOFOLLOW)
    finally:
        os.close(handle)


def _is_new(root_fd: int) -> bool:
    """Return whether an open directory can be the one just made: the caller's, closed to others, and empty."""
    status = os.fstat(root_fd)
    return status.st_uid == os.geteuid() and not status.st_mode & 0o077 and not os.listdir(root_fd)


def clear_leftovers(parent_fd: int, name: bytes) -> None:
    """Remove what killed runs for this destination left; put back a former tree that lost its name to one."""
    prefix = _prefix(name)
    folder = os.fstat(parent_fd)
    private = not folder.st_mode & 0o022
    # Where somebody else may rename what is there, a directory of ours can get a leftover's name, and lose its content.
    if folder.st_uid not in (0, os.geteuid()) or not (private or folder.st_mode & stat.S_ISVTX):
        return
    for found in os.listdir(parent_fd):
        leftover = os.fsencode(found)
        if not leftover.startswith(prefix) or not _is_ours(leftover[len(prefix) :]):
            continue
        try:
            fd = os.open(leftover, DIRECTORY, dir_fd=parent_fd)
        except OSError:  # no directory, or one that this user can't open, hence not remove either
            continue
        try:
            if not private and os.fstat(fd).st_uid != os.geteuid():
                continue  # in a folder like /tmp anybody may have put it there
            if not _lock(fd):  # without locks nothing tells a leftover from another run's work
                continue
            if leftover.endswith(OLD) and not _exists(parent_fd, name):
                os.rename(leftover, name, src_dir_fd=parent_fd, dst_dir_fd=parent_fd)
            else:
                discard(parent_fd, leftover)
        finally:
            os.close(fd)


def _prefix(name: bytes) -> bytes:
    return b"." + name[:200] + MARK


def _is_ours(rest: bytes) -> bool:
    rest = rest.removesuffix(OLD)
    return len(rest) == 8 and all(byte in b"0123456789abcdef" for byte in rest)


def _exists(parent_fd: int, name: bytes) -> bool:
    try:
        os.stat(name, dir_fd=parent_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _lock(fd: int) -> bool | None:
    """Take the lock of a scratch directory; False if another run has it, None if the file system has no locks."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in (errno.EWOULDBLOCK, errno.EACCES) else None
    return True


def discard(parent_fd: int, scratch: bytes) -> None:
    """Remove a tree that nobody wants; a failure to must not hide the reason for it."""
    with contextlib.suppress(OSError):
        remove_tree(scratch, dir_fd=parent_fd)
