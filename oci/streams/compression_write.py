"""Encoders for layers, made for one promise: the same tar bytes give the same compressed bytes.

That must hold however the bytes arrive and however many threads work, so the input is cut into blocks of fixed size
(BLOCK), and what is written depends on the blocks and the level alone. Across machines it holds for one version of
the codec's library, within the limits that docs/adr/0006-compression-determinism.md measured:

* none, zstd, gzip level 0: any machine.
* gzip levels 1 and 2 (ISA-L): any x86-64 machine with SSE4.2 (2009 and later), whatever else it has; all ARM machines
  agree with each other, but not with x86-64.
* gzip levels 3–9 (zlib): any machine whose Python is linked to the same zlib (zlib-ng and others write other bytes).

A gzip layer is one member: a fixed header (no name, no time, OS "unknown"), for each block one piece of raw deflate
that has the 32 KiB before it as dictionary and ends with a sync flush, an empty last block, CRC-32 and size (RFC 1952).
"""

from __future__ import annotations

from collections.abc import Callable

from oci.errors import InvalidInput
from oci.typed import Literal, Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["BLOCK", "DEFAULT_LEVELS", "LEVELS", "Encoder", "Written", "check_level", "encoder"]

Written = Literal["none", "gzip", "zstd"]

BLOCK = 1 << 20  # changing this changes every digest that we write
WINDOW = 32 << 10  # deflate looks back this far

DEFAULT_LEVELS = {"none": 0, "gzip": 2, "zstd": 3}
LEVELS = {"none": range(1), "gzip": range(10), "zstd": range(1, 20)}


class Encoder(Protocol):
    """Turns blocks into pieces of the compressed stream; the pieces are written in the order of the blocks."""

    parallel: bool  # whether blocks may be encoded by several threads, in any order

    def head(self) -> bytes:
        """What stands before the first piece."""

    def encode(self, block: memoryview, before: memoryview) -> tuple[bytes, int]:
        """Give the piece for a block, and its CRC; `before` is the end of the block before it."""

    def joined(self, crc: int, size: int) -> None:
        """Told of each block in order, after `encode`."""

    def tail(self) -> bytes:
        """What stands behind the last piece."""


def check_level(compression: str, level: int | None) -> int:
    """Give the level to use, the default for None. Raises InvalidInput for one that the compression doesn't have."""
    levels = LEVELS.get(compression)
    if levels is None:
        raise InvalidInput(f"layers can't be written with compression {compression!r}; there is: {', '.join(LEVELS)}")
    if level is None:
        return DEFAULT_LEVELS[compression]
    if level not in levels:
        raise InvalidInput(f"compression {compression} has the levels {levels[0]} to {levels[-1]}, not {level}")
    return level


def encoder(compression: Written, level: int | None, threads: int) -> Encoder:
    """Make an encoder. Raises InvalidInput as `check_level` does."""
    level = check_level(compression, level)
    if compression == "gzip":
        return _Gzip(level)
    if compression == "zstd":
        return _Zstd(level, threads)
    return _Plain()


class _Plain:
    parallel = False

    def head(self) -> bytes:
        return b""

    def encode(self, block: memoryview, before: memoryview) -> tuple[bytes, int]:
        return bytes(block), 0  # the block's memory is used again

    def joined(self, crc: int, size: int) -> None:
        pass

    def tail(self) -> bytes:
        return b""


class _Gzip:
    parallel = True

    def __init__(self, level: int) -> None:
        from isal import isal_zlib

        self._crc32: Callable[[memoryview], int] = isal_zlib.crc32
        self._combine: Callable[[int, int, int], int] = isal_zlib.crc32_combine
        self._crc = 0
        self._size = 0
        self._level = level
        self._library: Any = isal_zlib
        if level > 2:
            import zlib

            # Not ISA-L's level 3: it finds other matches with AVX2, and others again with AVX-512.
            self._library = zlib

    def head(self) -> bytes:
        return b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"

    def encode(self, block: memoryview, before: memoryview) -> tuple[bytes, int]:
        return self._deflate(block, before), self._crc32(block)

    def _deflate(self, block: memoryview, before: memoryview) -> bytes:
        if self._level == 0:
            return _stored(block)
        dictionary = {"zdict": before} if len(before) else {}
        codec = self._library.compressobj(self._level, wbits=-15, **dictionary)
        piece: bytes = codec.compress(block)
        end: bytes = codec.flush(self._library.Z_SYNC_FLUSH)
        return piece + end

    def joined(self, crc: int, size: int) -> None:
        self._crc = self._combine(self._crc, crc, size)
        self._size += size

    def tail(self) -> bytes:
        # An empty last block with fixed Huffman codes, then the trailer.
        return b"\x03\x00" + self._crc.to_bytes(4, "little") + (self._size & 0xFFFFFFFF).to_bytes(4, "little")


def _stored(block: memoryview) -> bytes:
    """Deflate without compression (RFC 1951 section 3.2.4); zlib's own cuts where its caller's buffers end."""
    pieces: list[bytes | memoryview] = []
    for start in range(0, len(block), 0xFFFF):
        part = block[start : start + 0xFFFF]
        pieces += (b"\0", len(part).to_bytes(2, "little"), (len(part) ^ 0xFFFF).to_bytes(2, "little"), part)
    return b"".join(pieces)


class _Zstd:
    parallel = False  # libzstd has threads of its own

    def __init__(self, level: int, threads: int) -> None:
        import zstandard

        # Never 0 threads: libzstd's single-threaded way gives other bytes than its jobs do, whose size depends on the
        # level alone. The checksum, 4 bytes a layer, is what `zstd` writes too: it finds damage without a digest.
        codec = zstandard.ZstdCompressor(level=level, threads=max(threads, 1), write_checksum=True)
        self._codec = codec.compressobj()

    def head(self) -> bytes:
        return b""

    def encode(self, block: memoryview, before: memoryview) -> tuple[bytes, int]:
        return self._codec.compress(block), 0

    def joined(self, crc: int, size: int) -> None:
        pass

    def tail(self) -> bytes:
        return self._codec.flush()
