"""Inflate zstd (RFC 8878) block by block, so that memory is bounded and a cut stream can't pass for a whole one.

libzstd's streaming interfaces as Python offers them either give all output of an input at once (a block of 4 bytes
may stand for 128 KiB, so 1 MiB of input for 32 GiB) or end silently where the input ends. So the frame structure is
walked here: frame header, 3-byte block headers, checksum. It costs one step per block (at most 128 KiB of output).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import zstandard

from oci.errors import CorruptStream, LimitExceeded
from oci.streams.compression import ENDS_EARLY, GARBAGE, NO_MAGIC

__all__ = ["MAX_WINDOW", "inflate"]

MAX_WINDOW = 128 << 20  # RFC 8878 section 3.1.1.1.2 recommends at least 8 MiB; `zstd` itself refuses more than 128 MiB
BLOCK = 128 << 10  # the most one block can hold
BLOCKS_AT_ONCE = 4  # 512 KiB of output for one call, one release of the GIL

_FRAME = 0xFD2FB528
_SKIPPABLE = 0x184D2A50  # … 0x184D2A5F


class _Input:
    """The compressed stream as a buffer that can be asked for the next N bytes."""

    __slots__ = ("_base", "_buffer", "_source", "position")

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._source = iter(chunks)
        self._buffer = b""
        self._base = 0  # offset of the buffer's first byte in the stream
        self.position = 0  # in the buffer

    @property
    def offset(self) -> int:
        return self._base + self.position

    def has(self, count: int) -> bool:
        """Whether `count` bytes follow; they are in the buffer then."""
        missing = count - (len(self._buffer) - self.position)
        if missing <= 0:
            return True
        parts = [self._buffer[self.position :]]
        while missing > 0 and (chunk := next(self._source, None)) is not None:
            parts.append(chunk)
            missing -= len(chunk)
        self._base += self.position
        self.position = 0
        self._buffer = b"".join(parts)
        return missing <= 0

    def at_end(self) -> bool:
        return not self.has(1)

    def take(self, count: int) -> bytes:
        """Give the next `count` bytes and step over them."""
        self.need(count)
        start = self.position
        self.position += count
        return self._buffer[start : self.position]

    def need(self, count: int) -> None:
        if not self.has(count):
            end = self._base + len(self._buffer)
            raise CorruptStream("zstd", end, ENDS_EARLY)

    def rest(self) -> bytes:
        """What the buffer holds; all that follows, after `has` said no."""
        return self._buffer[self.position :]

    def number(self, at: int, size: int) -> int:
        """Read a little-endian number `at` bytes ahead."""
        start = self.position + at
        return int.from_bytes(self._buffer[start : start + size], "little")


def inflate(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Inflate all frames of `chunks`; raises CorruptStream, and LimitExceeded for a window over MAX_WINDOW."""
    source = _Input(chunks)
    library = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
    count = 0
    while not source.at_end() or not count:
        whole = source.has(4)
        magic = source.number(0, 4)
        if magic == _FRAME:
            yield from _frame(source, library)
        elif magic & 0xFFFFFFF0 == _SKIPPABLE:
            _skip(source)
        elif not whole and _FRAME.to_bytes(4, "little").startswith(source.rest()):
            source.need(4)
        else:
            raise CorruptStream("zstd", source.offset, GARBAGE if count else NO_MAGIC)
        count += 1


def _skip(source: _Input) -> None:
    source.need(8)
    left = source.number(4, 4)
    source.take(8)
    while left:
        step = min(left, BLOCK)  # a skippable frame may say 4 GiB
        source.take(step)
        left -= step


def _frame(source: _Input, library: zstandard.ZstdDecompressor) -> Iterator[bytes]:
    decoder = library.decompressobj(write_size=BLOCK * BLOCKS_AT_ONCE)
    start = source.offset
    checksum, size = _header(source)
    pending = [source.take(size)]
    blocks = 0
    last = False
    while not last:
        source.need(3)
        header = source.number(0, 3)
        last, kind, size = bool(header & 1), header >> 1 & 3, header >> 3
        if kind == 3 or size > BLOCK:
            raise CorruptStream("zstd", source.offset, "bad block header")
        stored = 1 if kind == 1 else size  # a run is stored as one byte
        pending.append(source.take(3 + stored + (4 if last and checksum else 0)))
        blocks += 1
        if last or blocks == BLOCKS_AT_ONCE:
            try:
                out = decoder.decompress(b"".join(pending))
            except zstandard.ZstdError as error:
                reason = str(error).removeprefix("zstd decompressor error: ")
                raise CorruptStream("zstd", start, reason) from None
            if out:
                yield out
            start = source.offset
            pending.clear()
            blocks = 0
    if not decoder.eof:
        raise CorruptStream("zstd", source.offset, "the frame doesn't end with its last block")


def _header(source: _Input) -> tuple[bool, int]:
    """Read a frame header without stepping over it: whether a checksum follows the blocks, and its size."""
    source.need(6)
    descriptor = source.number(4, 1)
    single = bool(descriptor & 0x20)
    dictionary = (0, 1, 2, 4)[descriptor & 3]
    content = (1 if single else 0, 2, 4, 8)[descriptor >> 6]
    size = 5 + (not single) + dictionary + content
    source.need(size)
    if single:
        window = source.number(5 + dictionary, content) + (256 if content == 2 else 0)
    else:
        exponent, mantissa = divmod(source.number(5, 1), 8)
        base = 1 << (10 + exponent)
        window = base + (base >> 3) * mantissa
    if window > MAX_WINDOW:
        raise LimitExceeded("window of the zstd stream", MAX_WINDOW, window)
    if dictionary and source.number(5 + (not single), dictionary):
        raise CorruptStream("zstd", source.offset, "it needs a dictionary")
    return bool(descriptor & 4), size
