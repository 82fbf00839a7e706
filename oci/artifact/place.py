"""The directory that an artifact is pulled to: everything waits in a scratch directory inside it, then gets its name.

Every step below the directory is `openat(O_NOFOLLOW)`: no symbolic link in it is followed, whoever put it there. A name
that is taken stays as it is, unless it is to be replaced; then the new file takes the old one's place by rename, which
never writes through a link. Nothing is fsynced, as in unpack/rootfs.py and for its reasons.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from oci.artifact.plan import Item
from oci.changeset.removal import DIRECTORY, remove_tree
from oci.errors import DestinationError
from oci.unpack.scratch import clear_leftovers, discard, scratch_directory

__all__ = ["Target", "open_target"]

_SCRATCH = b"pull"


class Target:
    """An open directory with a scratch directory in it; `scratch_fd` is where items wait, named by their numbers."""

    def __init__(self, path: str, fd: int, scratch_fd: int) -> None:
        self.path, self._fd, self.scratch_fd = path, fd, scratch_fd

    # Before anything is fetched

    def folds_case(self) -> bool:
        """Say whether the file system takes names that differ in case for one."""
        os.close(os.open(b"probe", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=self.scratch_fd))
        try:
            os.stat(b"PROBE", dir_fd=self.scratch_fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        else:
            return True
        finally:
            os.unlink(b"probe", dir_fd=self.scratch_fd)

    def check(self, item: Item, *, force: bool) -> None:
        """Refuse early what `place` would refuse: a name that is taken, a folder that is none. DestinationError."""
        if not item.path:
            return
        with self._folder(item, make=False) as folder:
            if folder is None:
                return
            try:
                status = os.stat(item.names[-1], dir_fd=folder, follow_symlinks=False)
            except FileNotFoundError:
                return
            self._check_taken(item, folder, status, force=force)

    def _check_taken(self, item: Item, folder: int, status: os.stat_result, *, force: bool) -> None:
        where = self._where(item.names)
        if stat.S_ISDIR(status.st_mode):
            if not item.folder:
                raise DestinationError(where, "is a directory, and would have to be a file")
            if not force and not _is_empty(item.names[-1], folder):
                raise DestinationError(where, "is not empty; pull to another directory, or replace it with --force")
        elif item.folder:
            raise DestinationError(where, "is no directory, and would have to be one")
        elif not force:
            raise DestinationError(where, "exists already; pull to another directory, or replace it with --force")

    # When everything is there

    def place(self, item: Item, name: bytes, *, force: bool) -> None:
        """Give what waits under `name` its path. DestinationError where that is taken, or lies behind a link."""
        if not item.path:
            self._place_contents(name, force=force)
            return
        with self._folder(item, make=True) as folder:
            assert folder is not None
            self._put(self.scratch_fd, name, folder, item.names[-1], self._where(item.names), force=force)

    def _place_contents(self, name: bytes, *, force: bool) -> None:
        """What is in the directory `name` becomes what is in the target."""
        inner = os.open(name, DIRECTORY, dir_fd=self.scratch_fd)
        try:
            names = sorted(map(os.fsencode, os.listdir(inner)))
            if not force:
                taken = set(names).intersection(map(os.fsencode, os.listdir(self._fd)))
                if taken:
                    raise DestinationError(self._where((min(taken),)), "exists already; replace it with --force")
            for child in names:
                self._put(inner, child, self._fd, child, self._where((child,)), force=force)
        finally:
            os.close(inner)

    def _put(self, here: int, name: bytes, folder: int, final: bytes, where: str, *, force: bool) -> None:
        new = os.stat(name, dir_fd=here, follow_symlinks=False)
        try:
            if stat.S_ISDIR(new.st_mode):
                self._put_directory(here, name, folder, final, force=force)
            elif force:
                os.rename(name, final, src_dir_fd=here, dst_dir_fd=folder)
            else:
                _rename_to_free(here, name, folder, final)
        except OSError as error:
            raise DestinationError(where, _reason(error)) from error

    def _put_directory(self, here: int, name: bytes, folder: int, final: bytes, *, force: bool) -> None:
        try:
            os.rename(name, final, src_dir_fd=here, dst_dir_fd=folder)  # takes the place of an empty one
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or not force:
                raise
            old = b"old"
            os.rename(final, old, src_dir_fd=folder, dst_dir_fd=self.scratch_fd)
            try:
                os.rename(name, final, src_dir_fd=here, dst_dir_fd=folder)
            except BaseException:
                os.rename(old, final, src_dir_fd=self.scratch_fd, dst_dir_fd=folder)
                raise
            with contextlib.suppress(OSError):  # it is out of the way; what can't be removed goes with the scratch
                remove_tree(old, dir_fd=self.scratch_fd)

    @contextmanager
    def _folder(self, item: Item, *, make: bool) -> Iterator[int | None]:
        """Open the folder that an item's last name lies in; None where it isn't there and isn't made."""
        fd = os.dup(self._fd)
        try:
            for number, name in enumerate(item.names[:-1], 1):
                where = self._where(item.names[:number])
                try:
                    deeper = self._step(fd, name, make=make)
                except OSError as error:
                    raise DestinationError(where, _reason(error)) from error
                if deeper is None:
                    yield None
                    return
                os.close(fd)
                fd = deeper
            yield fd
        finally:
            os.close(fd)

    @staticmethod
    def _step(fd: int, name: bytes, *, make: bool) -> int | None:
        try:
            return os.open(name, DIRECTORY, dir_fd=fd)
        except FileNotFoundError:
            if not make:
                return None
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, dir_fd=fd)
        return os.open(name, DIRECTORY, dir_fd=fd)

    def _where(self, names: tuple[bytes, ...]) -> str:
        return os.path.join(self.path, *map(os.fsdecode, names))


def _is_empty(name: bytes, dir_fd: int) -> bool:
    try:
        fd = os.open(name, DIRECTORY, dir_fd=dir_fd)
    except OSError:
        return False  # whatever keeps us out: it is not known to be empty
    try:
        return not os.listdir(fd)
    finally:
        os.close(fd)


def _rename_to_free(here: int, name: bytes, folder: int, final: bytes) -> None:
    """Give a file a name that nothing has; FileExistsError otherwise. A hard link is what does both in one step."""
    try:
        os.link(name, final, src_dir_fd=here, dst_dir_fd=folder, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
            raise
        # A file system without hard links: look, then rename.
        try:
            os.stat(final, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            os.rename(name, final, src_dir_fd=here, dst_dir_fd=folder)
            return
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
    os.unlink(name, dir_fd=here)


def _reason(error: OSError) -> str:
    return {
        errno.EEXIST: "exists already; pull to another directory, or replace it with --force",
        errno.ENOTEMPTY: "is not empty; pull to another directory, or replace it with --force",
        errno.ELOOP: "is a symbolic link, which is not followed",
        errno.ENOTDIR: "is no directory, or a symbolic link to one, which is not followed",
        errno.EISDIR: "is a directory, and would have to be a file",
        errno.EXDEV: "lies on another file system; pull to a directory on it",
        errno.EACCES: "may not be entered or written by this user",
    }.get(error.errno or 0, error.strerror or str(error))


def _make(path: str) -> list[str]:
    """Make a directory and those above it; give the ones that were not there, the topmost first."""
    missing = []
    at = os.path.abspath(path)
    while not os.path.lexists(at):
        missing.append(at)
        at = os.path.dirname(at)
    missing.reverse()
    for number, folder in enumerate(missing):
        try:
            os.mkdir(folder)
        except FileExistsError:  # somebody else made it just now
            continue
        except OSError as error:
            for made in reversed(missing[:number]):
                with contextlib.suppress(OSError):
                    os.rmdir(made)
            raise DestinationError(path, f"can't be made: {error.strerror}") from error
    return missing


@contextmanager
def open_target(path: str) -> Iterator[Target]:
    """Open a directory to pull to; it is made if it isn't there, and goes again if nothing came into it."""
    made = _make(path)
    try:
        try:
            fd = os.open(path, DIRECTORY & ~os.O_NOFOLLOW)
        except OSError as error:
            raise DestinationError(path, _reason(error)) from error
        try:
            clear_leftovers(fd, _SCRATCH)
            with scratch_directory(fd, _SCRATCH, os.path.join(path, _SCRATCH.decode())) as (scratch, scratch_fd):
                yield Target(path, fd, scratch_fd)
                discard(fd, scratch)
        finally:
            os.close(fd)
    finally:
        for folder in reversed(made):
            with contextlib.suppress(OSError):  # not empty: something was pulled
                os.rmdir(folder)
