"""A stream of chunks, as the tar reader sees it: a position in it, views of its bytes, and exact offsets in errors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from oci.errors import TarError, show
from oci.tar.entry import Entry
from oci.tar.fields import BLOCK_SIZE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

JOIN = 128 << 10  # a file up to this size that lies across chunks is put together: one piece, so one write


class ChunkStream:
    """Holds one chunk at a time; all positions are offsets in the stream."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._buffer = b""
        self._view = memoryview(b"")
        self._base = 0  # where in the stream the buffer begins
        self._at = 0  # the next byte of the stream that data() gives
        self._end = 0  # where the latest member's data ends
        self.unpadded = False  # the last member's content is whole, but its padding and the end blocks are missing
        self._entry: Entry | None = None  # the member whose data and padding come now; None: a header of any kind

    def data(self) -> Iterator[memoryview]:
        """The stored bytes of the latest member that were not given yet, as views of the chunks they came in.

        What lies within one chunk, or is not longer than JOIN, is one piece. A view keeps its whole chunk alive.
        """
        at, end = self._at, self._end
        if at >= end:
            return iter(())
        stop = end - self._base
        if stop <= len(self._buffer):
            self._at = end
            return iter((self._view[at - self._base : stop],))
        if end - at <= JOIN:
            return iter((memoryview(self._take(end - at)),))
        return self._pieces(end)

    def _pieces(self, end: int) -> Iterator[memoryview]:
        while self._at < end:
            piece = self._view[self._at - self._base : end - self._base]
            if piece:
                self._at += len(piece)
                yield piece
                if self._end != end:
                    raise RuntimeError("the reader has moved on to another member")
            elif not self._fill():
                self._truncated()

    def _fill(self) -> bool:
        """Exchange the buffer, which is used up, for the next chunk; False at the end of the stream."""
        for chunk in self._chunks:
            if chunk:
                self._base += len(self._buffer)
                self._buffer = chunk if type(chunk) is bytes else bytes(chunk)
                self._view = memoryview(self._buffer)
                return True
        return False

    def _truncated(self) -> NoReturn:
        end = self._base + len(self._buffer)
        where = "a header"
        if self._entry is not None:
            where = f"the {'data' if end < self._end else 'padding'} of {show(self._entry.name)!r}"
        raise TarError(end, f"the archive ends inside {where}")

    def _take(self, count: int) -> bytes:
        """The next `count` bytes of the stream from `_at` on, which must be few."""
        parts: list[bytes] = []
        while count:
            start = self._at - self._base
            part = self._buffer[start : start + count]
            if part:
                parts.append(part)
                count -= len(part)
                self._at += len(part)
            elif not self._fill():
                self._truncated()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _peek(self, offset: int) -> bytes:
        """The block at `offset`, shorter if the stream ends there, without going past it."""
        start = offset - self._base
        while len(self._buffer) < start + BLOCK_SIZE:
            before, base = self._buffer[start:], self._base + start
            if not self._fill():
                break
            self._buffer, self._base = before + self._buffer, base
            self._view = memoryview(self._buffer)
            start = 0
        return self._buffer[start : start + BLOCK_SIZE]

    def _seek(self, offset: int) -> bool:
        """Skip to `offset`; False if the stream ends there, or in the padding before it."""
        self._at = offset
        while offset - self._base >= len(self._buffer):
            if not self._fill():
                end = self._base + len(self._buffer)
                if end == offset:
                    return False
                if self._entry is not None and offset - BLOCK_SIZE < self._end <= end:
                    self.unpadded = True
                    return False
                self._truncated()
        return True

    def _finish_stream(self) -> None:
        """Read what follows the first zero block: nothing but zeros, however many."""
        rest = self._buffer[self._at - self._base :]
        while True:
            garbage = rest.lstrip(b"\0")
            if garbage:
                offset = self._base + len(self._buffer) - len(garbage)
                raise TarError(offset, "trailing garbage behind the end of the archive")
            if not self._fill():
                return
            rest = self._buffer
