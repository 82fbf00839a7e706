"""The files in a tar archive, by name, read in place: nothing is unpacked or copied to disk.

A plain archive is indexed by its headers, and its files are read where they lie. A compressed one (gzip, zstd, xz,
bzip2) can't be entered in the middle: it is inflated once to index it, small files are kept in memory meanwhile, and
each larger file costs another inflation up to its end when it is read. Reading all layers of a compressed archive
with N layers thus inflates it about N/2 + 1 times; for more than a look, decompress it first.

Names lose "./" and doubled slashes; the last of several members with one name counts; links lead to other members of
the archive and nowhere else.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self, cast

from oci.errors import LayoutError, LimitExceeded, NotFound, TarError, show
from oci.layout.documents import MAX_HOLES
from oci.streams.chunks import CHUNK
from oci.tar import Entry, TarReader, expand
from oci.tar.index import Member, TarIndex, find_member, members_of

if TYPE_CHECKING:
    from oci.streams.compression import Compression

__all__ = ["TarFiles"]

KEPT_SIZE = 4 << 20  # bytes of a file that is kept in memory: the largest document
KEPT_TOTAL = 64 << 20  # bytes of all files kept; what comes later is inflated again when it is read


class TarFiles:
    """The regular files of an archive; several threads may read at once. Closed by `close` or a `with` block."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open and index an archive. LayoutError when PATH is no file, or no tar archive that can be read."""
        self.path = os.fspath(path)
        self._fd = -1
        try:
            self._fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            raise LayoutError(self.path, "no such file") from None
        if not stat.S_ISREG(os.fstat(self._fd).st_mode):
            hint = "; a layout directory is named oci:PATH" if os.path.isdir(self.path) else ""
            raise LayoutError(self.path, f"is not a regular file{hint}")
        prefix = os.pread(self._fd, 512, 0)
        if not prefix:
            raise LayoutError(self.path, "is empty")
        self._kept: dict[int, bytes] = {}
        self._compression: Compression = "none"
        if prefix[257:262] != b"ustar":  # a look, which saves loading a codec
            from oci.streams.compression import detect

            self._compression = detect(prefix)
        try:
            self._index = TarIndex(self._fd) if self._compression == "none" else None
            self._members = members_of(self._first_pass()) if self._index is None else self._index.members
        except TarError as error:
            raise LayoutError(self.path, f"is not an archive that can be read: {error}") from error

    def __repr__(self) -> str:
        return f"TarFiles({self.path!r})"

    def _inflate(self) -> Iterator[bytes]:
        from oci.streams.compression import decompress

        yield from decompress(self._chunks(), self._compression)

    def _chunks(self) -> Iterator[bytes]:
        at = 0  # pread, since several passes may be under way at once
        while chunk := os.pread(self._fd, CHUNK, at):
            at += len(chunk)
            yield chunk

    def _first_pass(self) -> Iterator[Entry]:
        reader = TarReader(self._inflate())
        left = KEPT_TOTAL
        for entry in reader:
            if 0 < entry.stored_size <= min(KEPT_SIZE, left):
                self._kept[entry.data_offset] = b"".join(reader.data())
                left -= entry.stored_size
            yield entry

    def __contains__(self, name: str) -> bool:
        return self.size(name) is not None

    def __iter__(self) -> Iterator[str]:
        """Give the names of all files and links."""
        return (name.decode("utf-8", "surrogateescape") for name in self._members)

    def _find(self, name: str) -> Member | None:
        return find_member(self._members, name.encode("utf-8", "surrogateescape"))

    def size(self, name: str) -> int | None:
        """Give a file's length in bytes; None where there is no such file."""
        member = self._find(name)
        return None if member is None else member.size

    def identity(self, name: str) -> int | None:
        """Give a number that is the same for two names of one file (its place in the archive)."""
        member = self._find(name)
        return None if member is None else member.offset

    @contextmanager
    def open(self, name: str) -> Iterator[Iterator[bytes]]:
        """Give a file's bytes; NotFound where there is none."""
        member = self._find(name)
        if member is None:
            raise NotFound(f"no file {show(name)!r} in {show(self.path)}")
        if member.size - member.stored_size > MAX_HOLES:
            raise LimitExceeded(f"bytes of holes in {show(name)} in {show(self.path)}", MAX_HOLES)
        stored = self._stored(member)
        try:
            # A hole of a sparse member comes as a view of zeros, which hashes and writes like bytes.
            yield cast("Iterator[bytes]", expand(member.sparse, member.size, stored))
        finally:
            stored.close()

    def _stored(self, member: Member) -> Generator[bytes, None, None]:
        kept = self._kept.get(member.offset)
        if kept is not None:
            yield kept
        elif self._index is not None:
            yield from self._index.stored(member, CHUNK)
        else:
            yield from self._again(member)

    def _again(self, member: Member) -> Iterator[bytes]:
        """Inflate the archive once more, up to the end of a member."""
        at, start, end = 0, member.offset, member.offset + member.stored_size
        for chunk in self._inflate():
            before, at = at, at + len(chunk)
            if at > start:
                yield chunk[max(start - before, 0) : end - before]
            if at >= end:
                return
        if at < end:
            raise TarError(at, "the archive has become shorter")

    def read(self, name: str, *, limit: int) -> bytes:
        """Give a small file's content; LimitExceeded if it has more than `limit` bytes, NotFound if it isn't there."""
        size = self.size(name)
        if size is not None and size > limit:
            raise LimitExceeded(f"size in bytes of {show(name)} in {show(self.path)}", limit, size)
        with self.open(name) as chunks:
            return b"".join(chunks)

    def close(self) -> None:
        """Close the file; nothing can be read any more."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
