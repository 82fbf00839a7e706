"""Entries written into directories that were there before: the writing half of `cp`.

Other than an unpacked image, this tree belongs to others, and may be changed by them meanwhile. So every directory is
found anew from an open one by a `Folders` (in a container: inside.py; on this machine: below one directory, no link
followed), every file is made new with O_EXCL after what had its name was unlinked, and attributes are set on what was
opened, never by name. As docker has it, a directory never replaces something else, nor something else a directory;
directories on both sides are merged, and take the attributes of the new one. Directories are closed to others until all
is in them, and get their attributes at the end.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from oci.changeset.limits import Budget
from oci.changeset.nodes import NodeMaker, is_refusal
from oci.changeset.ownership import Warnings
from oci.changeset.paths import clean, join, split
from oci.changeset.scan import Data
from oci.container.inside import Inside
from oci.errors import DestinationError, NotFound, OciError, SourceError, UnpackError, UnsafeEntry, show
from oci.tar.entry import DIR, FILE, HARDLINK, SYMLINK, Entry
from oci.typed import Protocol

__all__ = ["Folders", "HostFolders", "InsideFolders", "extract"]

MAX_MEMORY = 1 << 28  # bytes for the directories of one copy, whose attributes wait until all is in them
MAX_TRIES = 20  # of making a file whose name somebody else takes again and again

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Folders(Protocol):
    """Where directories are found and made; paths are clean and relative to the destination."""

    def open(self, path: bytes, *, make: bool = False) -> int:
        """A new descriptor of the directory; with `make`, it and all above it are made. OSError, or an OciError."""

    def shown(self, path: bytes) -> str:
        """The path for messages."""


class HostFolders:
    """Directories below one of this machine; a symbolic link on the way is refused."""

    def __init__(self, root_fd: int, where: str) -> None:
        self._root_fd, self._where = root_fd, where

    def open(self, path: bytes, *, make: bool = False) -> int:
        fd = os.open(b".", _FOLDER, dir_fd=self._root_fd)
        for name in path.split(b"/") if path else ():
            try:
                try:
                    below = os.open(name, _FOLDER, dir_fd=fd)
                except FileNotFoundError:
                    if not make:
                        raise
                    with suppress(FileExistsError):
                        os.mkdir(name, 0o755, dir_fd=fd)
                    below = os.open(name, _FOLDER, dir_fd=fd)
            finally:
                os.close(fd)
            fd = below
        return fd

    def shown(self, path: bytes) -> str:
        return os.path.join(self._where, os.fsdecode(path)) if path else self._where


class InsideFolders:
    """Directories of a container below a path of it; links are followed as the container would."""

    def __init__(self, inside: Inside, base: bytes) -> None:
        self._inside, self._base = inside, base

    def open(self, path: bytes, *, make: bool = False) -> int:
        with suppress(NotFound), self._inside.locate(join(self._base, path) if path else self._base) as place:
            if place.status is not None:
                place.must_be_writable(self._inside.where)
                return os.open(place.name, _FOLDER, dir_fd=place.directory)
        if not make:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        whole = self._base
        for name in path.split(b"/"):
            whole = join(whole, name)
            with self._inside.locate(whole) as place:
                if place.status is None:
                    place.must_be_writable(self._inside.where)
                    with suppress(FileExistsError):
                        os.mkdir(place.name, 0o755, dir_fd=place.directory)
        return self.open(path)

    def shown(self, path: bytes) -> str:
        return f"{self._inside.where}:/{os.fsdecode(join(self._base, path))}"


class _Pieces:
    """An entry's data as the maker takes it."""

    __slots__ = ("_data",)

    def __init__(self, data: Data) -> None:
        self._data = data

    def data(self) -> Iterator[memoryview]:
        return (memoryview(piece) for piece in self._data)


def extract(
    entries: Iterable[tuple[Entry, Data]],
    folders: Folders,
    *,
    rootless: bool,
    warn: Callable[[str], None] | None = None,
) -> None:
    """Write all entries. `rootless`: owners are noted, not set, and devices left out.

    What was written before an error stays. DestinationError for what the file system refuses or what is in the way.
    """
    warnings = Warnings()
    writer = _Writer(folders, NodeMaker(-1, rootless=rootless, warnings=warnings, data=True, thorough=True))
    with writer.open():
        for entry, data in entries:
            path = clean(entry.name)
            with _refusals(folders, path):
                writer.write(path, entry, data)
        writer.finish()
    if warn is not None:
        warnings.tell(warn)


class _Writer:
    def __init__(self, folders: Folders, maker: NodeMaker) -> None:
        self._folders, self._maker = folders, maker
        self._budget = Budget("bytes for the directories of one copy", MAX_MEMORY)
        self._directories: dict[bytes, Entry] = {}
        self._parent: tuple[bytes, int] | None = None  # where the last entry was; entries come grouped

    @contextmanager
    def open(self) -> Iterator[None]:
        try:
            yield
        finally:
            self._forget()

    def _forget(self) -> None:
        if self._parent is not None:
            os.close(self._parent[1])
            self._parent = None

    def _folder(self, path: bytes) -> int:
        if self._parent is None or self._parent[0] != path:
            self._forget()
            self._parent = (path, self._folders.open(path, make=True))
        return self._parent[1]

    def write(self, path: bytes, entry: Entry, data: Data) -> None:
        if not path:  # the destination itself, which was there and stays as it is
            if entry.kind != DIR:
                raise UnsafeEntry(entry.name, f"a {entry.kind} in place of the directory itself")
            return
        parent, name = split(path)
        folder = self._folder(parent)
        if entry.kind == DIR:
            self._directory(folder, name, path, entry)
            return
        for _ in range(MAX_TRIES):
            self._vacate(folder, name, path, entry)
            try:
                self._make(folder, name, path, entry, data)
            except FileExistsError:
                continue
            return
        raise DestinationError(self._folders.shown(path), "is made anew again and again by somebody else")

    def _directory(self, folder: int, name: bytes, path: bytes, entry: Entry) -> None:
        try:
            os.mkdir(name, 0o700, dir_fd=folder)
        except FileExistsError:
            with suppress(FileNotFoundError):
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
                if not stat.S_ISDIR(status.st_mode):
                    raise DestinationError(
                        self._folders.shown(path), "is no directory, and a directory doesn't replace it"
                    ) from None
        if path not in self._directories:
            self._budget.take(
                len(path) + 600 + sum(len(key) + len(value) for key, value in (entry.xattrs or {}).items())
            )
        self._directories[path] = entry

    def _vacate(self, folder: int, name: bytes, path: bytes, entry: Entry) -> None:
        """Remove what is in the way, unless it is a directory."""
        try:
            os.unlink(name, dir_fd=folder)
        except FileNotFoundError:
            return
        except (IsADirectoryError, PermissionError) as error:  # EPERM: what some file systems say of a directory
            with suppress(FileNotFoundError):
                if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                    raise DestinationError(
                        self._folders.shown(path), f"is a directory, and a {entry.kind} doesn't replace it"
                    ) from None
            raise error
        self._directories.pop(path, None)

    def _make(self, folder: int, name: bytes, path: bytes, entry: Entry, data: Data) -> None:
        if entry.kind == FILE:
            try:
                self._maker.file(folder, name, entry, _Pieces(data))
            except FileExistsError:
                raise
            except BaseException:
                with suppress(OSError):  # half a file is worse than none
                    os.unlink(name, dir_fd=folder)
                raise
        elif entry.kind == SYMLINK:
            self._maker.symlink(folder, name, entry)
        elif entry.kind == HARDLINK:
            self._link(folder, name, path, clean(entry.linkname))
        else:
            self._maker.special(folder, name, entry)

    def _link(self, folder: int, name: bytes, path: bytes, target: bytes) -> None:
        if not target:
            raise UnsafeEntry(path, "a hard link to the directory itself")
        parent, target_name = split(target)
        source = self._folders.open(parent)
        try:
            os.link(target_name, name, src_dir_fd=source, dst_dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            raise DestinationError(
                self._folders.shown(path), f"a hard link to {show(target)!r}, which isn't there"
            ) from None
        finally:
            os.close(source)

    def finish(self) -> None:
        """Give directories their attributes, what is below before what is above."""
        self._forget()
        for path, entry in sorted(self._directories.items(), reverse=True):
            with _refusals(self._folders, path), ExitStack() as stack:
                try:
                    fd = self._folders.open(path)
                except (FileNotFoundError, NotADirectoryError):  # somebody else's doing
                    continue
                stack.callback(os.close, fd)
                self._maker.attributes(fd, path, entry.mode, entry.uid, entry.gid, entry.xattrs)
                os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))


@contextmanager
def _refusals(folders: Folders, path: bytes) -> Iterator[None]:
    """Say of what the file system refuses where it is."""
    try:
        yield
    except UnpackError as error:  # what making a node says is worded for images
        raise DestinationError(folders.shown(path), error.reason.partition("; unpack with")[0]) from error
    except (OciError, FileExistsError):
        raise
    except OSError as error:
        if not is_refusal(error) and error.errno != errno.EROFS:
            raise
        reason = {
            errno.EBUSY: "is a mount point in the container, which can't be replaced",
            errno.ELOOP: "a symbolic link is in the way",
            errno.ENOTDIR: "something on the way is no directory",
        }.get(error.errno or 0, error.strerror or str(error))
        raise DestinationError(folders.shown(path), reason) from error
    except (ValueError, OverflowError) as error:
        raise SourceError(path, str(error)) from error
