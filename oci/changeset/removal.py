"""Removing a directory tree of any depth and any modes, holding two descriptors.

A hostile layer can be deeper than the process may have open files, longer than PATH_MAX and closed by its modes, so
neither recursion by descriptor nor paths will do. Instead the tree is made flat: a subdirectory that isn't empty is
moved up into the directory that is being removed, until nothing has a subdirectory that has content.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable

__all__ = ["DIRECTORY", "remove_tree"]

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

_BUSY = (errno.ENOTEMPTY, errno.EEXIST)


def remove_tree(name: bytes, *, dir_fd: int, removed: Callable[[bytes], None] | None = None) -> None:
    """Remove `name` in the directory `dir_fd` with all that is in it; symbolic links are removed, never followed.

    `removed` is told each path below `name`, relative to it, before it goes. OSErrors propagate.
    """
    try:
        os.unlink(name, dir_fd=dir_fd)
    except IsADirectoryError:
        pass
    except PermissionError:  # what unlink says of a directory on some file systems
        if not stat.S_ISDIR(os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_mode):
            raise
    else:
        return
    top = _open(name, dir_fd)
    try:
        _empty(top, removed)
    finally:
        os.close(top)
    os.rmdir(name, dir_fd=dir_fd)


def _empty(top: int, removed: Callable[[bytes], None] | None) -> None:
    counter = 0
    origin: dict[bytes, bytes] = {}  # where a directory that was moved up came from, if anybody wants to know
    while True:
        names = _names(top)
        if not names:
            return
        for name in names:
            path = origin.pop(name, name)
            if removed is not None:
                removed(path)
            if _gone(name, top):
                continue
            inner = _open(name, top)
            try:
                for child in _names(inner):
                    if _gone(child, inner):
                        if removed is not None:
                            removed(path + b"/" + child)
                        continue
                    counter, moved = _lift(child, inner, top, counter)
                    if removed is not None:
                        origin[moved] = path + b"/" + child
            finally:
                os.close(inner)
            os.rmdir(name, dir_fd=top)


def _names(directory: int) -> list[bytes]:
    return [os.fsencode(name) for name in os.listdir(directory)]


def _gone(name: bytes, dir_fd: int) -> bool:
    """Remove a file or an empty directory; say whether it was one."""
    try:
        os.unlink(name, dir_fd=dir_fd)
    except (IsADirectoryError, PermissionError):
        try:
            os.rmdir(name, dir_fd=dir_fd)
        except OSError as error:
            if error.errno in _BUSY:
                return False
            raise
    return True


def _lift(name: bytes, inner: int, top: int, counter: int) -> tuple[int, bytes]:
    """Move the directory `name` from `inner` to a free name in `top`."""
    os.close(_open(name, inner))  # makes it writable: moving a directory changes its ".."
    while True:
        moved = b"\1%d" % counter
        counter += 1
        try:
            os.rename(name, moved, src_dir_fd=inner, dst_dir_fd=top)
        except OSError as error:
            if error.errno not in (*_BUSY, errno.ENOTDIR):  # the name is taken in `top`
                raise
        else:
            return counter, moved


def _open(name: bytes, dir_fd: int) -> int:
    """Open a directory that is to be emptied, giving the owner the permissions that takes."""
    try:
        fd = os.open(name, DIRECTORY, dir_fd=dir_fd)
    except PermissionError:
        # No descriptor can be had without permission, so the name must do; that it is a directory, no link, is known
        # from the unlink that failed, and whoever could swap it owns the tree.
        os.chmod(name, 0o700, dir_fd=dir_fd)
        return os.open(name, DIRECTORY, dir_fd=dir_fd)
    with contextlib.suppress(PermissionError):  # then it isn't ours, and what is in it may be removable all the same
        os.fchmod(fd, 0o700)
    return fd
