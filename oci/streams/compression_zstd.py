"""Inflate zstd (RFC 8878) block by block, so that memory is bounded and a cut stream can't pass for a whole one.

libzstd's streaming interfaces as Python offers them either give all output of an input at once (a block of 4 bytes
may stand for 128 KiB, so 1 MiB of input for 32 GiB) or end silently where the input ends. So the frame structure is
walked here: frame header, 3-byte block headers, checksum. It costs one step per block (at most 128 KiB of output).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import zstandard

from oci.errors import CorruptStream, LimitExceeded
from oci.streams.compression_faults import bad_start, need
from oci.streams.lookahead import Lookahead

__all__ = ["MAX_WINDOW", "inflate"]

MAX_WINDOW = 128 << 20  # RFC 8878 section 3.1.1.1.2 recommends at least 8 MiB; `zstd` itself refuses more than 128 MiB
BLOCK = 128 << 10  # the most one block can hold
BLOCKS_AT_ONCE = 4  # 512 KiB of output for one call, one release of the GIL

_FRAME = 0xFD2FB528
_SKIPPABLE = 0x184D2A50  # … 0x184D2A5F


def inflate(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Inflate all frames of `chunks`; raises CorruptStream, and LimitExceeded for a window over MAX_WINDOW."""
    source = Lookahead(chunks)
    library = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
    count = 0
    while source.has(1) or not count:
        source.has(4)  # so many of them as there are
        magic = source.number(0, 4)
        if magic == _FRAME:
            yield from _frame(source, library)
        elif magic & 0xFFFFFFF0 == _SKIPPABLE:
            _skip(source)
        else:
            raise bad_start(source, "zstd", _FRAME.to_bytes(4, "little"), count)
        count += 1


def _skip(source: Lookahead) -> None:
    left = int.from_bytes(_take(source, 8)[4:], "little")
    while left:
        step = min(left, BLOCK)  # a skippable frame may say 4 GiB
        _take(source, step)
        left -= step


def _frame(source: Lookahead, library: zstandard.ZstdDecompressor) -> Iterator[bytes]:
    decoder = library.decompressobj(write_size=BLOCK * BLOCKS_AT_ONCE)
    start = source.offset
    checksum, size = _header(source)
    pending = [_take(source, size)]
    blocks = 0
    last = False
    while not last:
        need(source, "zstd", 3)
        header = source.number(0, 3)
        last, kind, size = bool(header & 1), header >> 1 & 3, header >> 3
        if kind == 3 or size > BLOCK:
            raise CorruptStream("zstd", source.offset, "bad block header")
        stored = 1 if kind == 1 else size  # a run is stored as one byte
        pending.append(_take(source, 3 + stored + (4 if last and checksum else 0)))
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


def _header(source: Lookahead) -> tuple[bool, int]:
    """Read a frame header without stepping over it: whether a checksum follows the blocks, and its size."""
    need(source, "zstd", 6)
    descriptor = source.number(4, 1)
    single = bool(descriptor & 0x20)
    dictionary = (0, 1, 2, 4)[descriptor & 3]
    content = (1 if single else 0, 2, 4, 8)[descriptor >> 6]
    size = 5 + (not single) + dictionary + content
    need(source, "zstd", size)
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


def _take(source: Lookahead, count: int) -> bytes:
    need(source, "zstd", count)
    return source.take(count)
