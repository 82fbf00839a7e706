"""Files that appear whole or not at all: temporary name, fsync, rename, fsync of the directory.

A crash at any moment (kill -9, power, a full disk) leaves the old file or the new one. What it may leave beside them
is a file named TEMPORARY… in the same directory, which no reader looks at and which `sweep` removes.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from contextlib import suppress
from types import TracebackType

__all__ = ["TEMPORARY", "AtomicFile", "fsync_dir", "sweep", "write_file"]

TEMPORARY = ".tmp-"  # the first characters of every temporary name

StrPath = str | os.PathLike[str]


class AtomicFile:
    """A file being written under a temporary name beside `path`; `commit` puts it in place.

    As a context manager it discards what was not committed. While it is open it holds a lock on itself, by which
    `sweep` tells a living writer's file from a dead one's.
    """

    def __init__(self, path: StrPath, *, mode: int = 0o644) -> None:
        self.path = os.fspath(path)
        _must_be_replaceable(self.path)
        self._directory = os.path.dirname(self.path) or "."
        self.temporary, self._descriptor = _create(self._directory, mode)
        self._open = True

    @classmethod
    def resume(cls, temporary: StrPath) -> AtomicFile:
        """Take over a file that was begun elsewhere, under any name: `commit(path)` puts it in place, else it goes.

        It needn't lie in the directory of `path`, but must be in the same file system. BlockingIOError when somebody
        else has it.
        """
        self = cls.__new__(cls)
        self.path = self.temporary = os.fspath(temporary)
        self._descriptor = os.open(self.temporary, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:
            os.close(self._descriptor)
            raise
        self._open = True
        return self

    def fileno(self) -> int:
        return self._descriptor

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Write all of `data`, at the present position."""
        size = len(data)
        written = os.write(self._descriptor, data)
        if written < size:  # a full disk or a signal; the next write says which
            view = memoryview(data)
            while written < size:
                written += os.write(self._descriptor, view[written:])
        return size

    def commit(self, path: StrPath | None = None) -> None:
        """Make the bytes durable, then give them their name (`path` in the same directory, if it's known only now)."""
        if path is not None:
            self.path = os.fspath(path)
        os.fsync(self._descriptor)
        os.rename(self.temporary, self.path)
        self._open = False
        os.close(self._descriptor)
        fsync_dir(os.path.dirname(self.path) or ".")

    def discard(self) -> None:
        """Remove the temporary file; does nothing after `commit`."""
        if self._open:
            self._open = False
            with suppress(FileNotFoundError):
                os.unlink(self.temporary)
            os.close(self._descriptor)

    def __enter__(self) -> AtomicFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()


def _must_be_replaceable(path: str) -> None:
    """Renaming a file over a device, such as /dev/null, would take it from everybody."""
    try:
        mode = os.stat(path).st_mode
    except OSError:  # not there; or it can't be made either, and that will be said
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # a directory can't be taken by that
        raise FileExistsError(errno.EEXIST, "is there, and no regular file", path)


def _create(directory: str, mode: int) -> tuple[str, int]:
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    while True:
        temporary = os.path.join(directory, TEMPORARY + os.urandom(8).hex())
        try:
            descriptor = os.open(temporary, flags, mode)
        except FileExistsError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # a `sweep` came between the two calls
            os.close(descriptor)
            continue
        if os.fstat(descriptor).st_nlink == 0:  # and was done before the second
            os.close(descriptor)
            continue
        return temporary, descriptor


def write_file(path: StrPath, data: bytes, *, mode: int = 0o644) -> None:
    """Replace the file at `path` by one with these bytes, whole or not at all."""
    with AtomicFile(path, mode=mode) as file:
        file.write(data)
        file.commit()


def fsync_dir(path: StrPath) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep(directory: StrPath, *, dry_run: bool = False) -> list[str]:
    """Remove the temporary files that dead writers left in `directory`; give their paths.

    A file that a living writer holds open is locked, and stays.
    """
    found: list[str] = []
    with os.scandir(directory) as entries:
        names = sorted(
            entry.name for entry in entries if entry.name.startswith(TEMPORARY) and entry.is_file(follow_symlinks=False)
        )
    for name in names:
        path = os.path.join(directory, name)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            continue  # gone, or not a file of ours
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue  # its writer lives
        else:
            found.append(path)
            if not dry_run:
                with suppress(FileNotFoundError):
                    os.unlink(path)
        finally:
            os.close(descriptor)
    return found
