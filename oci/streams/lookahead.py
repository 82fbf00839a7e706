"""A stream of chunks as a buffer that can be asked for what comes next, for parsers of stream formats."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["Lookahead"]


class Lookahead:
    """The bytes of `chunks` with a position; `offset` is that position counted from the start of the stream."""

    __slots__ = ("_base", "_buffer", "_position", "_source")

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._source = iter(chunks)
        self._buffer = b""
        self._base = 0  # offset of the buffer's first byte in the stream
        self._position = 0  # in the buffer

    @property
    def offset(self) -> int:
        return self._base + self._position

    @property
    def end(self) -> int:
        """The offset behind the last byte read from the source; the stream's size, after `has` said no."""
        return self._base + len(self._buffer)

    def has(self, count: int) -> bool:
        """Whether at least `count` more bytes follow; the source is read until that is known."""
        missing = count - (len(self._buffer) - self._position)
        if missing <= 0:
            return True
        rest = self._buffer[self._position :]
        parts = [rest] if rest else []  # a single part is joined without a copy
        while missing > 0 and (chunk := next(self._source, None)) is not None:
            parts.append(chunk)
            missing -= len(chunk)
        self._base += self._position
        self._position = 0
        self._buffer = b"".join(parts)
        return missing <= 0

    def peek(self, at: int, count: int) -> bytes:
        """Give up to `count` bytes that begin `at` bytes ahead, of those that `has` found."""
        start = self._position + at
        return self._buffer[start : start + count]

    def number(self, at: int, count: int) -> int:
        """Read a little-endian number `at` bytes ahead; `has` must have found it."""
        return int.from_bytes(self.peek(at, count), "little")

    def find(self, wanted: bytes, at: int, limit: int) -> int:
        """Tell how far ahead `wanted` begins, looking from `at` to `limit` bytes ahead; -1 if it isn't there."""
        size = 4096
        while True:
            more = self.has(min(at + size, limit))
            found = self._buffer.find(wanted, self._position + at, self._position + limit)
            if found >= 0:
                return found - self._position
            if not more or at + size >= limit:
                return -1
            size *= 4

    def take(self, count: int) -> bytes:
        """Step over the next `count` bytes, which `has` must have found, and give them."""
        start = self._position
        self._position += count
        return self._buffer[start : self._position]

    def take_some(self, limit: int) -> memoryview:
        """Step over at least one and at most `limit` bytes and give them; nothing at the end of the stream."""
        self.has(1)
        start = self._position
        self._position = min(start + limit, len(self._buffer))
        return memoryview(self._buffer)[start : self._position]

    def give_back(self, data: bytes) -> None:
        """Step back over `data`, the last bytes taken."""
        if len(data) > self._position:  # they began in an earlier buffer
            self._buffer = data + self._buffer[self._position :]
            self._base += self._position - len(data)
            self._position = 0
        else:
            self._position -= len(data)
