"""Unpacking an image: its merged root filesystem in a directory, all of it or nothing.

The tree is made in a directory beside the destination, `.NAME.ocikit-XXXXXXXX`, and renamed when everything in it is
right and every digest has been checked; until then the destination is as it was. The maker holds a lock (flock) on that
directory: what a killed run left has no lock, and the next run for the same destination removes it.

Nothing is fsynced: a rename is atomic for every process on the machine, an image can be unpacked again, and waiting for
the disk would take longer than the work. Who needs the tree to survive a power cut calls sync(1) afterwards.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from oci.changeset.apply import LayerSource, apply_layers
from oci.changeset.removal import DIRECTORY, remove_tree
from oci.errors import DestinationError

__all__ = ["UnpackableImage", "unpack"]

_MARK = b".ocikit-"
_OLD = b".old"  # the former destination, for the moment in which neither has its name
_INHERITED = ("system.posix_acl_default", "system.posix_acl_access")


class UnpackableImage(Protocol):
    """What `unpack` needs of an image."""

    @property
    def layers(self) -> Sequence[LayerSource]:
        """The layers, the bottom one first."""


def unpack(
    image: UnpackableImage,
    dest: str | os.PathLike[str],
    *,
    force: bool = False,
    rootless: bool | None = None,
    map_root: bool = False,
    warn: Callable[[str], None] | None = None,
) -> Path:
    """Unpack the merged root filesystem of `image` to `dest`, which must be empty or absent; return its real path.

    `force` replaces a directory with content, in one step where the system can. `rootless` is chosen by who calls
    when None: an ordinary user can't set owners, so all files are his, owners are noted in `user.rootlesscontainers`,
    and devices are left out. `map_root` does the same for root. `warn` gets one line for each kind of thing left out.
    To be told how far it is, give it `image.watched(progress)`.

    Raises DestinationError for an unusable `dest`, UnsafeEntry and UnpackError for entries, and whatever reading the
    layers raises (VerificationError, CorruptStream, TarError); `dest` is then as it was before.
    """
    if rootless is None:
        rootless = os.geteuid() != 0
    parent, name = _locate(os.fsencode(dest))
    try:
        parent_fd = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise DestinationError(os.fsdecode(dest), f"its folder {_reason(error)}") from error
    try:
        where = os.fsdecode(os.path.join(parent, name))
        _check(parent_fd, name, where, force)
        _clear_leftovers(parent_fd, name)
        with _scratch(parent_fd, name, where) as (scratch, root_fd):
            apply_layers(image.layers, root_fd, rootless=rootless or map_root, warn=warn)
            _put(parent_fd, scratch, name, where, force)
    finally:
        os.close(parent_fd)
    return Path(where)


def _locate(dest: bytes) -> tuple[bytes, bytes]:
    """Return the folder and the name that `dest` leads to, over symbolic links."""
    shown = os.fsdecode(dest)
    if not dest:
        raise DestinationError(shown, "an empty name")
    stripped = dest.rstrip(b"/") or b"/"
    folder = os.path.dirname(stripped) or b"."
    try:
        # The kernel's word on links first: in folders like /tmp it refuses to follow those that others put there
        # (fs.protected_symlinks), where realpath, which reads them, follows any.
        os.stat(folder)
    except PermissionError as error:
        raise DestinationError(shown, f"its folder {_reason(error)}") from error
    except OSError:
        pass  # realpath's business, and said where the folder is opened
    if os.path.islink(stripped) and not os.path.exists(stripped):
        raise DestinationError(shown, "a symbolic link to something that isn't there")
    real = os.path.realpath(stripped)
    parent, name = os.path.split(real)
    if not name:
        raise DestinationError(shown, "the root directory can't be replaced; name a folder in it")
    return parent, name


def _check(parent_fd: int, name: bytes, where: str, force: bool) -> None:
    """Refuse early what the rename would refuse in the end."""
    try:
        fd = os.open(name, DIRECTORY, dir_fd=parent_fd)
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise DestinationError(where, "exists and is not a directory") from None
    except PermissionError as error:
        raise DestinationError(where, _reason(error)) from error
    try:
        if not force:
            with os.scandir(fd) as entries:
                if next(entries, None) is not None:
                    raise DestinationError(where, "is not empty; choose another folder, or replace it with --force")
        if os.fstat(fd).st_dev != os.fstat(parent_fd).st_dev:
            raise DestinationError(where, "is a mount point, which can't be replaced; name a folder in it")
    finally:
        os.close(fd)


@contextlib.contextmanager
def _scratch(parent_fd: int, name: bytes, where: str) -> Iterator[tuple[bytes, int]]:
    """Make a locked directory beside the destination; remove it unless it has been renamed by the end."""
    scratch, root_fd = _make_scratch(parent_fd, name, where)
    try:
        yield scratch, root_fd
    except BaseException:
        # Under the lock, so that no other run takes it for a leftover meanwhile.
        _discard(parent_fd, scratch)
        raise
    finally:
        os.close(root_fd)


def _make_scratch(parent_fd: int, name: bytes, where: str) -> tuple[bytes, int]:
    while True:
        # NAME is shortened, so that a long one leaves room for the rest.
        scratch = _prefix(name) + secrets.token_hex(4).encode()
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


def _put(parent_fd: int, scratch: bytes, name: bytes, where: str, force: bool) -> None:
    """Give the finished tree its name."""
    try:
        os.rename(scratch, name, src_dir_fd=parent_fd, dst_dir_fd=parent_fd)
        return
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise DestinationError(where, _reason(error)) from error
        if not force:
            raise DestinationError(where, "was filled by another program meanwhile") from None
    # The former tree takes the scratch name, and is removed like it.
    if not _exchange(parent_fd, scratch, name):
        old = scratch + _OLD
        os.rename(name, old, src_dir_fd=parent_fd, dst_dir_fd=parent_fd)
        os.rename(scratch, name, src_dir_fd=parent_fd, dst_dir_fd=parent_fd)
        scratch = old
    _discard(parent_fd, scratch)


def _exchange(parent_fd: int, one: bytes, other: bytes) -> bool:
    """Exchange two names in one step (renameat2); False if the file system or libc can't."""
    import ctypes  # slow to import, and wanted only here

    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        return False
    return bool(renameat2(parent_fd, one, parent_fd, other, 2) == 0)  # 2: RENAME_EXCHANGE


def _clear_leftovers(parent_fd: int, name: bytes) -> None:
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
            if leftover.endswith(_OLD) and not _exists(parent_fd, name):
                os.rename(leftover, name, src_dir_fd=parent_fd, dst_dir_fd=parent_fd)
            else:
                _discard(parent_fd, leftover)
        finally:
            os.close(fd)


def _prefix(name: bytes) -> bytes:
    return b"." + name[:200] + _MARK


def _is_ours(rest: bytes) -> bool:
    rest = rest.removesuffix(_OLD)
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


def _discard(parent_fd: int, scratch: bytes) -> None:
    """Remove a tree that nobody wants; a failure to must not hide the reason for it."""
    with contextlib.suppress(OSError):
        remove_tree(scratch, dir_fd=parent_fd)


def _reason(error: OSError) -> str:
    return {
        errno.ENOENT: "doesn't exist; make it first",
        errno.ENOTDIR: "is not a directory",
        errno.EACCES: "may not be entered by this user",
        errno.EPERM: "may not be changed by this user",
        errno.EBUSY: "is in use as a mount point; name a folder in it",
    }.get(error.errno or 0, error.strerror or str(error))
