"""Encoders for layers, made for one promise: the same tar bytes give the same compressed bytes.

That must hold however the bytes arrive and however many threads work, so the input is cut into blocks of fixed size
(BLOCK), and what is written depends on the blocks and the level alone. Across machines it holds for one version of
the codec's library, within the limits that docs/adr/0003-compression-determinism.md measured:

* zstd: any machine.
* gzip levels 0–2: any x86-64 machine with SSE4.2 (2009 and later).
* gzip level 3: not promised; ISA-L chooses other matches with AVX-512.
* gzip levels 4–9: any machine whose Python is linked to the same zlib (zlib-ng and others write other bytes).

A gzip layer is one member: a fixed header (no name, no time, OS "unknown"), one raw deflate piece a block, each ended by
a sync flush and begun with the 32 KiB before it as dictionary, an empty last block, CRC-32 and size (RFC 1952).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

__all__ = ["BLOCK", "DEFAULT_LEVELS", "Encoder", "Written", "encoder"]

Written = Literal["none", "gzip", "zstd"]

BLOCK = 1 << 20  # changing this changes every digest that we write
WINDOW = 32 << 10  # deflate looks back this far

DEFAULT_LEVELS = {"none": 0, "gzip": 2, "zstd": 3}
LEVELS = {"none": range(1), "gzip": range(10), "zstd": range(1, 20)}


class Encoder(Protocol):
    """Turns numbered blocks into pieces of the stream; the pieces are written in order of their numbers."""

    parallel: bool  # whether blocks may be encoded by several threads, in any order

    def head(self) -> bytes: ...
    def encode(self, block: memoryview, before: memoryview) -> tuple[bytes | memoryview, int]:
        """Give the piece for a block (and its CRC); `before` is the end of the block before it."""

    def joined(self, crc: int, size: int) -> None:
        """Told for each block in order, after `encode`."""

    def tail(self) -> bytes: ...


def encoder(compression: Written, level: int | None, threads: int) -> Encoder:
    """Make an encoder; ValueError for a level that the compression doesn't have."""
    if compression not in LEVELS:
        raise ValueError(f"layers can't be written with compression {compression!r}")
    chosen = DEFAULT_LEVELS[compression] if level is None else level
    if chosen not in LEVELS[compression]:
        allowed = LEVELS[compression]
        raise ValueError(f"{compression} has the levels {allowed[0]} to {allowed[-1]}, not {chosen}")
    if compression == "gzip":
        return _Gzip(chosen)
    if compression == "zstd":
        return _Zstd(chosen, threads)
    return _Plain()


class _Plain:
    parallel = False

    def head(self) -> bytes:
        return b""

    def encode(self, block: memoryview, before: memoryview) -> tuple[bytes | memoryview, int]:
        return block, 0

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
        if level <= 3:
            self._deflate = self._isal
            self._new = isal_zlib.compressobj
            self._flush = isal_zlib.Z_SYNC_FLUSH
        else:
            import zlib

            self._deflate = self._zlib
            self._zlib_new = zlib.compressobj
            self._flush = zlib.Z_SYNC_FLUSH

    def head(self) -> bytes:
        return b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"

    def _isal(self, block: memoryview, before: memoryview) -> bytes:
        codec = self._new(self._level, wbits=-15, zdict=before) if before else self._new(self._level, wbits=-15)
        head: bytes = codec.compress(block)
        tail: bytes = codec.flush(self._flush)
        return head + tail

    def _zlib(self, block: memoryview, before: memoryview) -> bytes:
        codec = (
            self._zlib_new(self._level, wbits=-15, zdict=before) if before else self._zlib_new(self._level, wbits=-15)
        )
        head = codec.compress(block)
        return head + codec.flush(self._flush)

    def encode(self, block: memoryview, before: memoryview) -> tuple[bytes | memoryview, int]:
        return self._deflate(block, before), self._crc32(block)

    def joined(self, crc: int, size: int) -> None:
        self._crc = self._combine(self._crc, crc, size)
        self._size += size

    def tail(self) -> bytes:
        # An empty last block with fixed Huffman codes, then the trailer.
        return b"\x03\x00" + self._crc.to_bytes(4, "little") + (self._size & 0xFFFFFFFF).to_bytes(4, "little")


class _Zstd:
    parallel = False  # libzstd has threads of its own

    def __init__(self, level: int, threads: int) -> None:
        import zstandard

        # Never 0 threads: libzstd's single-threaded way gives other bytes than its jobs do, whose size depends on the
        # level alone. The checksum (4 bytes a layer) is what `zstd` writes by default: it finds damage without a digest.
        codec = zstandard.ZstdCompressor(level=level, threads=max(threads, 1), write_checksum=True)
        self._codec = codec.compressobj()

    def head(self) -> bytes:
        return b""

    def encode(self, block: memoryview, before: memoryview) -> tuple[bytes | memoryview, int]:
        return self._codec.compress(block), 0

    def joined(self, crc: int, size: int) -> None:
        pass

    def tail(self) -> bytes:
        return self._codec.flush()
