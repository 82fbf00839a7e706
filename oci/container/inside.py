"""Paths of a container: what each leads to, walked so that nothing in the container can lead out of it.

A path is taken a name at a time, each from the open directory above it with O_NOFOLLOW; a symbolic link is read as text
and goes on from the root of the container, ".." goes back along the directories that were held on the way, never by the
kernel's own "..". So whatever a process of the container exchanges meanwhile, what is held is the container's
(CVE-2018-15664: docker resolved first and opened later; CVE-2019-14271 is about doing it in the wrong root).

Volumes and bind mounts are not in the tree that the storage driver gives: the walk goes on in their own folders at the
paths where the container has them, so that a container that isn't running has its data too.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from oci.changeset.limits import Hops
from oci.changeset.paths import MAX_PATH, join
from oci.errors import InvalidInput, LimitExceeded, NotFound, SourceError, UnsafeEntry, WrongState, show
from oci.spec.record import Record

__all__ = ["Inside", "Mounted", "Place"]

MAX_LEVELS = 500  # directories on the way to a path, each of them held open; a process may often have 1024

_HANDLE = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Mounted(Record):
    """What is mounted at a path of the container, as its settings say it: where that lies on this machine.

    Without a source it lies nowhere here: a tmpfs.
    """

    target: str
    source: str
    read_only: bool = False


class Place:
    """What a path leads to: an open directory, and the name in it (`b"."`: the directory itself).

    `real` is the path in the container with no link in it, `status` None where nothing has the name.
    """

    __slots__ = ("directory", "name", "read_only", "real", "status")

    def __init__(
        self, directory: int, name: bytes, real: bytes, status: os.stat_result | None, *, read_only: str
    ) -> None:
        self.directory, self.name, self.real, self.status, self.read_only = directory, name, real, status, read_only

    @property
    def is_directory(self) -> bool:
        return self.status is not None and stat.S_ISDIR(self.status.st_mode)

    def must_be_writable(self, container: str) -> None:
        """Raise WrongState where nothing may be written: `read_only` says why."""
        if self.read_only:
            raise WrongState(container, "not writable there", f"{show(b'/' + self.real)} is {self.read_only}")


class _Step:
    """A directory on the way: a descriptor that the walk owns, its real path, and why nothing may be written there."""

    __slots__ = ("fd", "path", "read_only")

    def __init__(self, fd: int, path: bytes, read_only: str) -> None:
        self.fd, self.path, self.read_only = fd, path, read_only


class Inside:
    """The tree at `root_fd` with what is mounted in it. `where` names the container in messages.

    `read_only` says why the tree itself must not be written; empty: it may be.
    """

    def __init__(
        self, root_fd: int, mounts: Sequence[Mounted] = (), *, read_only: str = "", where: str = "the container"
    ) -> None:
        self._root_fd, self._read_only, self.where = root_fd, read_only, where
        self._mounts: dict[bytes, Mounted] = {}
        for mount in sorted(mounts, key=lambda mount: mount.target.count("/")):
            # A target is resolved as the runtime does when it mounts: over links of the image, and of mounts above it.
            with suppress(NotFound, SourceError, UnsafeEntry), self.locate(os.fsencode(mount.target)) as place:
                self._mounts[place.real] = mount

    def mounts_below(self, real: bytes) -> list[tuple[bytes, Mounted]]:
        """What is mounted strictly below a real path and can be read here, in order."""
        above = real + b"/" if real else b""
        found = [item for item in sorted(self._mounts.items()) if item[0].startswith(above) and item[0] != real]
        return [(path, mount) for path, mount in found if mount.source]

    @contextmanager
    def locate(self, path: bytes, *, follow: bool = True) -> Iterator[Place]:
        """What a path leads to; all but its last name must be there. `follow`: the last one too, if it is a link.

        NotFound for a path to nothing, SourceError for one through a file, UnsafeEntry after too many links.
        """
        if b"\0" in path:
            raise InvalidInput(f"{show(path)!r}: a path with a NUL byte")
        if len(path) > MAX_PATH:
            raise InvalidInput(f"a path of {len(path)} bytes; the limit is {MAX_PATH}")
        way = [_Step(os.open(b".", _HANDLE | os.O_DIRECTORY, dir_fd=self._root_fd), b"", self._read_only)]
        try:
            if (mount := self._mounts.get(b"")) is not None:
                way.append(self._mounted(b"", mount))
            yield self._walk(way, path, follow)
        finally:
            for step in way:
                os.close(step.fd)

    def _walk(self, way: list[_Step], path: bytes, follow: bool) -> Place:
        bottom = len(way)
        todo = [name for name in reversed(path.split(b"/")) if name not in (b"", b".")]
        hops = Hops(path)
        while todo:
            here, name = way[-1], todo.pop()
            if name == b"..":
                if len(way) > bottom:
                    os.close(way.pop().fd)
                continue
            real = join(here.path, name)
            if (mount := self._mounts.get(real)) is not None:
                if not mount.source:
                    raise WrongState(
                        self.where,
                        "the only one to see that",
                        f"{show(b'/' + real)} is in memory, of its own processes",
                    )
                if not os.path.isdir(mount.source):
                    return self._mounted_file(way, real, mount, path, todo)
                way.append(self._mounted(real, mount))
                continue
            if len(way) > MAX_LEVELS:
                raise LimitExceeded("directories on the way to a path", MAX_LEVELS)
            try:
                fd = os.open(name, _HANDLE, dir_fd=here.fd)
            except FileNotFoundError:
                if todo:
                    raise self._missing(path, real) from None
                return Place(here.fd, name, real, None, read_only=here.read_only)
            except OSError as error:
                raise self._failed(path, real, error) from error
            try:
                status = os.fstat(fd)
                if stat.S_ISDIR(status.st_mode):
                    way.append(_Step(fd, real, here.read_only))
                    fd = -1
                elif stat.S_ISLNK(status.st_mode) and (follow or todo):
                    target = os.readlink(b"", dir_fd=fd)
                    todo.extend(part for part in reversed(hops.follow(target)) if part not in (b"", b"."))
                    if target.startswith(b"/"):
                        while len(way) > bottom:
                            os.close(way.pop().fd)
                elif todo:
                    raise SourceError(self._shown(path), f"{show(b'/' + real)} is not a directory")
                else:
                    return Place(here.fd, name, real, status, read_only=here.read_only)
            finally:
                if fd >= 0:
                    os.close(fd)
        here = way[-1]
        return Place(here.fd, b".", here.path, os.fstat(here.fd), read_only=here.read_only)

    def _mounted(self, real: bytes, mount: Mounted) -> _Step:
        try:
            fd = os.open(mount.source, _FOLDER)
        except OSError as error:
            raise SourceError(mount.source, f"is mounted in {self.where}, but {error.strerror}") from error
        return _Step(fd, real, "mounted read-only" if mount.read_only else "")

    def _mounted_file(self, way: list[_Step], real: bytes, mount: Mounted, path: bytes, todo: list[bytes]) -> Place:
        """A single file that is mounted: it can be read, and not be replaced."""
        if todo:
            raise SourceError(self._shown(path), f"{show(b'/' + real)} is not a directory")
        folder, name = os.path.split(os.path.realpath(os.fsencode(mount.source)))
        try:
            fd = os.open(folder, _FOLDER)
            way.append(_Step(fd, real, ""))
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except OSError as error:
            raise SourceError(mount.source, f"is mounted in {self.where}, but {error.strerror}") from error
        return Place(fd, name, real, status, read_only="a file mounted from outside")

    def _shown(self, path: bytes) -> str:
        return f"{self.where}:/{os.fsdecode(path).lstrip('/')}"

    def _missing(self, path: bytes, real: bytes) -> NotFound:
        return NotFound(f"{show(self._shown(path))}: there is no {show(b'/' + real)}")

    def _failed(self, path: bytes, real: bytes, error: OSError) -> SourceError:
        why = "a name that is too long" if error.errno == errno.ENAMETOOLONG else error.strerror or str(error)
        return SourceError(self._shown(path), f"{show(b'/' + real)}: {why}")
