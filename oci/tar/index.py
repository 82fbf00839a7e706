"""Finding members of an uncompressed archive in a file, in place: headers are read, data is skipped by seeking.

This is how an oci-archive or docker-archive is used without unpacking it. The rules are TarReader's. Names are looked
up without "./", "/" and doubled slashes; of several members with one name the last counts, as it would after unpacking.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import NamedTuple, Protocol

from oci.errors import LimitExceeded, NotFound, TarError, show
from oci.tar.entry import FILE, HARDLINK, SYMLINK, Entry
from oci.tar.reader import TarReader
from oci.tar.sparse import Extents, expand

MAX_MEMBERS = 200_000  # an archive of images has a few for each layer; this many take some 50 MB of memory
MAX_LINKS = 8  # steps from a link to its file
_WINDOW = 8 << 10  # read at a time while looking for headers
_CHUNK = 1 << 20  # read at a time of a member


class Member(NamedTuple):
    """Where a member's data lies in the file; `target` is the name that a link leads to instead."""

    offset: int
    size: int
    stored_size: int
    sparse: Extents | None
    target: bytes | None


class HasFileno(Protocol):
    """An open file."""

    def fileno(self) -> int: ...


class TarIndex:
    """The files in an archive, by name; a context manager that closes the file if it was opened here."""

    def __init__(self, fd: int, *, owned: bool = False, max_members: int = MAX_MEMBERS) -> None:
        """Read all headers of the archive in an open, seekable file; TarError if it is damaged."""
        self._fd = fd
        self._owned = owned
        self.members = members_of(_SeekingReader(fd), max_members=max_members)

    @classmethod
    def open(cls, source: str | bytes | os.PathLike[str] | HasFileno, *, max_members: int = MAX_MEMBERS) -> TarIndex:
        """Index a file given by its path, which is opened and closed here, or as an open file, which stays open."""
        if not isinstance(source, (str, bytes, os.PathLike)):
            return cls(source.fileno(), max_members=max_members)
        fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return cls(fd, owned=True, max_members=max_members)
        except BaseException:
            os.close(fd)
            raise

    def close(self) -> None:
        """Close the file if it was opened here."""
        if self._owned:
            self._owned = False
            os.close(self._fd)

    def __enter__(self) -> TarIndex:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __contains__(self, name: bytes) -> bool:
        return self.find(name) is not None

    def find(self, name: bytes) -> Member | None:
        """The file of this name, through links inside the archive; None if there is none."""
        return find_member(self.members, name)

    def open_member(self, name: bytes, chunk: int = _CHUNK) -> Iterator[bytes | memoryview]:
        """The content of a file in chunks; NotFound (at once) if it isn't there, TarError if the file was cut since."""
        member = self._member(name)
        return expand(member.sparse, member.size, self.stored(member, chunk))

    def read_member(self, name: bytes, *, limit: int) -> bytes:
        """The whole content of a small file; LimitExceeded if it has more than `limit` bytes."""
        member = self._member(name)
        if member.size > limit:
            raise LimitExceeded(f"bytes of {show(name)} in the archive", limit, member.size)
        return b"".join(expand(member.sparse, member.size, self.stored(member)))

    def _member(self, name: bytes) -> Member:
        member = self.find(name)
        if member is None:
            raise NotFound(f"no file {show(name)!r} in the archive")
        return member

    def stored(self, member: Member, chunk: int = _CHUNK) -> Iterator[bytes]:
        """The bytes of a member as they lie in the file, holes of a sparse one left out."""
        at, end = member.offset, member.offset + member.stored_size
        while at < end:
            data = os.pread(self._fd, min(chunk, end - at), at)
            if not data:
                raise TarError(at, "the archive has become shorter")
            at += len(data)
            yield data


def members_of(entries: Iterable[Entry], *, max_members: int = MAX_MEMBERS) -> Mapping[bytes, Member]:
    """The files and links of an archive by name, the last of several; LimitExceeded if there are too many members."""
    members: dict[bytes, Member] = {}
    count = 0
    for entry in entries:
        count += 1
        if count > max_members:
            raise LimitExceeded("members of the archive", max_members)
        name = _normal(entry.name)
        target = None
        if entry.kind == SYMLINK:
            target = _normal(entry.linkname if entry.linkname[:1] == b"/" else name + b"/../" + entry.linkname)
        elif entry.kind == HARDLINK and not entry.stored_size:
            target = _normal(entry.linkname)
        elif entry.kind not in (FILE, HARDLINK):
            members.pop(name, None)
            continue
        members[name] = Member(entry.data_offset, entry.size, entry.stored_size, entry.sparse, target)
    return members


def find_member(members: Mapping[bytes, Member], name: bytes) -> Member | None:
    """The file of this name, through links inside the archive; None if there is none."""
    wanted: bytes | None = _normal(name)
    for _ in range(MAX_LINKS + 1):
        member = members.get(wanted) if wanted is not None else None
        if member is None or member.target is None:
            return member
        wanted = member.target
    return None


def _normal(name: bytes) -> bytes:
    """A name without empty, "." and ".." components; ".." at the top stays there, as in a root directory."""
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if part == b"..":
            del parts[-1:]
        elif part and part != b".":
            parts.append(part)
    return b"/".join(parts)


class _SeekingReader(TarReader):
    """A reader that takes its chunks from a file by pread and goes past data without reading it."""

    def __init__(self, fd: int) -> None:
        super().__init__(())
        self._fd = fd
        self._size = os.fstat(fd).st_size

    def _fill(self) -> bool:
        base = self._base + len(self._buffer)
        data = os.pread(self._fd, _WINDOW, base)
        if data:
            self._base, self._buffer, self._view = base, data, memoryview(data)
        return bool(data)

    def _seek(self, offset: int) -> bool:
        if offset - self._base > len(self._buffer):
            self._base, self._buffer, self._view = min(offset, self._size), b"", memoryview(b"")
        return super()._seek(offset)
