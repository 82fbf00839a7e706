"""Paths inside a container: with links of the image settled within its root, never here.

Two runtimes that follow a hostile link at different moments end in different places (CVE-2021-30465), and a working
directory that leads to a descriptor of the runtime's own ends on the host (CVE-2024-21626). So the document names no
path through a link: what it says is the place itself.
"""

from __future__ import annotations

import errno
import os
import posixpath
from collections.abc import Collection, Mapping

from oci.errors import InvalidInput, show

__all__ = ["absolute", "below", "is_kernels", "settle"]

MAX_LINKS = 40  # symbolic links in one path, as the kernel has it
MAX_PATH = 4095  # bytes of a path, as the kernel has it
MAX_LEVELS = 500  # directories on the way to a path, each of them held open; a process may often have 1024

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# No link, no directory, nothing there, or closed to us: the name stays as written. After any other error it isn't known
# what is there, and a link that was taken for none would lead wherever it says (CVE-2024-21626).
_NO_WAY = (errno.EINVAL, errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EACCES)


def absolute(path: str, what: str) -> str:
    """A path as it was written, in its plain form: `/a//b/.` → `/a/b`. Raises InvalidInput."""
    if not path.startswith("/"):
        raise InvalidInput(f"{what} {show(path)!r}: an absolute path is needed")
    if "\0" in path:
        raise InvalidInput(f"{what} {show(path)!r}: a NUL in it, which no path can have")
    try:
        raw = path.encode()
    except UnicodeEncodeError:
        raise InvalidInput(f"{what} {show(path)!r}: not UTF-8, which a runtime-spec document can't say") from None
    if len(raw) > MAX_PATH:
        raise InvalidInput(f"{what} {show(path)!r}: longer than {MAX_PATH} bytes")
    return posixpath.normpath("/" + path.lstrip("/"))


def below(path: str, place: str) -> bool:
    """Whether a plain path is this place, or in it."""
    return path == place or path.startswith(place.rstrip("/") + "/")


def is_kernels(path: str) -> bool:
    """Whether a plain path is where a container has no files of its image, but the kernel's."""
    return any(below(path, place) for place in ("/proc", "/sys", "/dev"))


def settle(root_fd: int, path: str, what: str, mounted: Collection[str] | Mapping[str, str | None] = ()) -> str:
    """Where `path` leads inside the root, without links; what isn't there stays as written. Raises InvalidInput.

    `..` goes away before links are looked at, as docker has it. Below a place of `mounted` the image isn't looked at:
    what will be there is not in this tree. As a map, it says which folder of this machine will be there, None where
    that isn't known.
    """
    path = absolute(path, what)
    walk = _Walk(mounted)
    try:
        walk.begin(root_fd)
        return absolute(walk.go(path), what)
    except RecursionError:
        raise InvalidInput(f"{what} {show(path)!r}: more than {MAX_LINKS} symbolic links in the image") from None
    except _TooDeepError:
        raise InvalidInput(f"{what} {show(path)!r}: more than {MAX_LEVELS} directories deep") from None
    except OSError as error:
        raise InvalidInput(f"{what} {show(path)!r} can't be looked for: {error.strerror}") from None
    finally:
        walk.close()


class _TooDeepError(Exception):
    """More directories than may be held open."""


class _Walk:
    """The names so far, and open directories of as many of them as are there."""

    def __init__(self, mounted: Collection[str] | Mapping[str, str | None]) -> None:
        self._mounted = mounted if isinstance(mounted, Mapping) else dict.fromkeys(mounted)
        self._names: list[str] = []
        self._open: list[int] = []

    def begin(self, root_fd: int) -> None:
        self._open.append(os.dup(root_fd))

    def close(self) -> None:
        self._keep(0)

    def _keep(self, count: int) -> None:
        while len(self._open) > count:
            os.close(self._open.pop())

    def go(self, path: str) -> str:
        left, links = path.split("/")[::-1], 0
        while left:
            name = left.pop()
            if name in ("", "."):
                continue
            if name == "..":
                self._up()
                continue
            target = self._enter(name)
            if target is not None:
                links += 1
                if links > MAX_LINKS:
                    raise RecursionError
                left += target.split("/")[::-1]
                if target.startswith("/"):
                    self._names.clear()
                    self._keep(1)
        return "/" + "/".join(self._names)

    def _up(self) -> None:
        if self._names:
            self._names.pop()
            self._keep(len(self._names) + 1)

    def _enter(self, name: str) -> str | None:
        """Go into `name`; or, where it is a link, stay and say where it leads."""
        here = self._open[-1] if len(self._open) == len(self._names) + 1 else None
        place = "/" + "/".join([*self._names, name])
        if place in self._mounted:
            self._enter_mount(place)
        elif here is not None:
            try:
                return os.readlink(name, dir_fd=here)
            except OSError as error:
                if error.errno not in _NO_WAY:
                    raise
            if len(self._open) > MAX_LEVELS:
                raise _TooDeepError
            try:
                self._open.append(os.open(name, _DIRECTORY, dir_fd=here))
            except OSError as error:  # a file, or nothing there: what follows stays as written
                if error.errno not in _NO_WAY:
                    raise
        self._names.append(name)
        return None

    def _enter_mount(self, place: str) -> None:
        """Go on in the folder that will be mounted there, where it is known and the way to it is."""
        source = self._mounted[place]
        if source is not None and len(self._open) == len(self._names) + 1:
            try:
                self._open.append(os.open(source, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
            except OSError as error:  # a file
                if error.errno not in _NO_WAY:
                    raise
