"""Directories below a few roots, by descriptors: every step without following a link, and never too many open.

An image may have 500 layers and directories a thousand levels deep, and a process often may have 1024 descriptors. So
the descriptors that were used last are kept, and others are found again, name by name from the nearest that is open.
A container may change its own files meanwhile: what is no directory any more is an error, never a way out of the root.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import OrderedDict
from collections.abc import Sequence
from types import TracebackType

from oci.changeset.paths import MAX_PATH
from oci.errors import SourceError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

__all__ = ["Folders", "GoneError", "open_file"]

MAX_OPEN = 200  # directories open at a time

_DIR_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

Key = tuple[int, bytes]


class GoneError(SourceError):
    """What was listed is not there any more, or is something else by now."""


class Folders:
    """Directories below `roots`, each known by the number of its root and its path there."""

    def __init__(self, roots: Sequence[str]) -> None:
        self.roots = tuple(roots)
        self._open: OrderedDict[Key, int] = OrderedDict()
        self._modes: dict[int, int] = {}  # descriptor → the mode that its directory gets back

    def fd(self, root: int, path: bytes) -> int:
        """A descriptor of a directory, to be used before the next call."""
        key = (root, path)
        known = self._open.get(key)
        if known is not None:
            self._open.move_to_end(key)
            return known
        if len(path) > MAX_PATH:
            raise SourceError(self.show(root, path), f"a path of more than {MAX_PATH} bytes")
        missing: list[bytes] = []  # names to go down by, the last one first
        while known is None and path:
            path, _, name = path.rpartition(b"/")
            missing.append(name)
            known = self._open.get((root, path))
        if known is None:
            known = self._keep((root, b""), self._top(root))
        while missing:
            name = missing.pop()
            path = path + b"/" + name if path else name
            known = self._keep((root, path), self._step(known, name, root, path))
        return known

    def show(self, root: int, path: bytes) -> str:
        """A path for messages."""
        return os.path.join(self.roots[root], os.fsdecode(path)) if path else self.roots[root]

    def lost(self, root: int, path: bytes, error: OSError) -> SourceError:
        """What to raise when something in a directory can't be read."""
        if isinstance(error, FileNotFoundError):
            return GoneError(self.show(root, path), "was removed while it was read")
        return SourceError(self.show(root, path), f"can't be read: {error.strerror}")

    def _top(self, root: int) -> int:
        try:
            return _open_directory(self.roots[root], None, self._modes)
        except OSError as error:
            raise SourceError(self.roots[root], f"can't be read: {error.strerror}") from error

    def _step(self, parent: int, name: bytes, root: int, path: bytes) -> int:
        try:
            return _open_directory(name, parent, self._modes)
        except NotADirectoryError:
            raise GoneError(self.show(root, path), "was replaced while it was read") from None
        except OSError as error:
            raise self.lost(root, path, error) from error

    def _keep(self, key: Key, fd: int) -> int:
        self._open[key] = fd
        if len(self._open) > MAX_OPEN:
            self._close(self._open.popitem(last=False)[1])
        return fd

    def _close(self, fd: int) -> None:
        mode = self._modes.pop(fd, None)
        try:
            if mode is not None:
                os.fchmod(fd, mode)
        finally:
            os.close(fd)

    def close(self) -> None:
        """Close all of them."""
        while self._open:
            self._close(self._open.popitem()[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _open_directory(name: str | bytes, parent: int | None, modes: dict[int, int]) -> int:
    """Open a directory; one that keeps its own owner out is opened to him, and its mode noted in `modes`.

    Only an ordinary user meets such a directory: root reads everything.
    """
    try:
        fd = os.open(name, _DIR_FLAGS, dir_fd=parent)
    except PermissionError:
        handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=parent)
    else:
        if not os.geteuid() or os.access(b".", os.X_OK, dir_fd=fd, effective_ids=True):
            return fd
        handle = fd  # it can be listed, but nothing in it reached
    try:
        status = os.fstat(handle)
        if status.st_uid != os.geteuid():
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)
        mode = status.st_mode & 0o7777
        this = f"/proc/self/fd/{handle}"  # leads to what was looked at, whatever has its name by now
        os.chmod(this, mode | 0o700)
        try:
            fd = os.open(this, _DIR_FLAGS & ~os.O_NOFOLLOW)
        except BaseException:
            os.chmod(this, mode)
            raise
    finally:
        os.close(handle)
    modes[fd] = mode
    return fd


def open_file(name: bytes, dir_fd: int) -> int:
    """Open a regular file for reading, one without permission for its own owner too. OSErrors propagate."""
    try:
        return os.open(name, _FILE_FLAGS, dir_fd=dir_fd)
    except PermissionError:
        handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        status = os.fstat(handle)
        if status.st_uid != os.geteuid() or not stat.S_ISREG(status.st_mode):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)
        mode = status.st_mode & 0o7777
        this = f"/proc/self/fd/{handle}"
        os.chmod(this, mode | 0o400)
        try:
            return os.open(this, _FILE_FLAGS & ~os.O_NOFOLLOW)
        finally:
            os.chmod(this, mode)
    finally:
        os.close(handle)
