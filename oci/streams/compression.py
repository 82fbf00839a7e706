"""Recognise and inflate compressed streams: gzip, zstd, bzip2, xz; memory bounded whatever the input says.

`decompress` gives chunks of at most OUTPUT bytes, however far the input expands. A stream is accepted only from its
first to its last byte: several gzip members, zstd frames (skippable ones too), bzip2 streams and xz streams may follow
each other (RFC 1952 section 2.2, RFC 8878 section 3.1, xz-file-format section 2); zero bytes may pad the end of gzip,
as tapes do, and of xz, in fours. Anything else behind the data, an early end, a wrong checksum: CorruptStream.

Its offset counts bytes of the compressed input. It is exact for an early end and for garbage behind the data; damage
within is placed at the start of the piece of input (at most INPUT bytes) in which the decoder noticed it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator

from oci.errors import CorruptStream, LimitExceeded
from oci.lazily import re
from oci.streams.compression_faults import ENDS_EARLY, GARBAGE, bad_start, need
from oci.streams.lookahead import Lookahead
from oci.typed import Literal, Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["INPUT", "OUTPUT", "Compression", "decompress", "detect", "sniff"]

Compression = Literal["none", "gzip", "zstd", "bzip2", "xz"]
# Measured: larger chunks are returned to the system by malloc and faulted in again, smaller ones cost hand-overs.
OUTPUT = 1 << 19  # the largest chunk that comes out, so also what one step of a bomb can cost
INPUT = 1 << 17  # the largest piece given to a decoder at once
MAX_GZIP_HEADER = 1 << 18  # an extra field takes up to 64 KiB; a name and a comment have no limit
XZ_MEMORY = 128 << 20  # xz -9 needs 65 MiB to inflate; a header may ask for 4 GiB
_TELLING = 6  # bytes at the start of a stream that tell every compression


def detect(prefix: bytes) -> Compression:
    """Tell the compression by the first bytes of a stream (six are enough); anything unknown is "none"."""
    if prefix.startswith(b"\x1f\x8b"):
        return "gzip"
    if prefix.startswith(b"\x28\xb5\x2f\xfd") or (prefix[1:4] == b"\x2a\x4d\x18" and prefix[0] & 0xF0 == 0x50):
        return "zstd"
    if prefix.startswith(b"BZh") and prefix[3:4] in b"123456789" and len(prefix) > 3:
        return "bzip2"
    if prefix.startswith(b"\xfd7zXZ\x00"):
        return "xz"
    return "none"


def sniff(chunks: Iterator[bytes]) -> tuple[Compression, Iterator[bytes]]:
    """Tell the compression of a stream, however small its first chunks are; give it, and all of the stream again."""
    first: list[bytes] = []
    prefix = b""
    while len(prefix) < _TELLING and (chunk := next(chunks, None)) is not None:
        first.append(chunk)
        prefix += chunk[:_TELLING]
    return detect(prefix), itertools.chain(first, chunks)


def decompress(chunks: Iterable[bytes], compression: Compression) -> Iterator[bytes]:
    """Inflate `chunks`; "none" gives them on as they are.

    Raises CorruptStream (see above) and LimitExceeded where a header asks for more memory than is reasonable.
    """
    if compression == "none":
        return (chunk for chunk in chunks if chunk)
    if compression == "gzip":
        return _members(chunks, "gzip", _gzip_codec(), magic=b"\x1f\x8b", padding=1)
    if compression == "zstd":
        from oci.streams.compression_zstd import inflate

        return inflate(chunks)
    if compression == "bzip2":
        import bz2

        return _members(chunks, "bzip2", (bz2.BZ2Decompressor, (OSError, ValueError)), magic=b"BZh", padding=0)
    import lzma

    def xz() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY)

    return _members(chunks, "xz", (xz, (lzma.LZMAError,)), magic=b"\xfd7zXZ\x00", padding=4)


class _Decoder(Protocol):
    """What bz2, lzma and isal have in common: one member, from its header to its checksum."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes | memoryview, max_length: int = -1) -> bytes: ...


_Codec = tuple[Callable[[], _Decoder], tuple[type[Exception], ...]]


def _gzip_codec() -> _Codec:
    from isal import igzip_lib

    def new() -> _Decoder:
        decoder: _Decoder = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
        return decoder

    error: Any = igzip_lib.IsalError  # a class that isal's stubs take for a value
    return new, (error, OSError, ValueError)


def _members(
    chunks: Iterable[bytes], compression: Compression, codec: _Codec, *, magic: bytes, padding: int
) -> Iterator[bytes]:
    """Inflate one member after the other; `padding` is the unit of zero bytes allowed behind the last one, or 0."""
    new, failures = codec
    source = Lookahead(chunks)
    count = 0
    while source.has(1) or not count:
        if not source.has(len(magic)) or source.peek(0, len(magic)) != magic:
            if not (count and padding and source.peek(0, 1) == b"\0"):
                raise bad_start(source, compression, magic, count)
            _skip_padding(source, compression, padding)
            if padding == 1 and source.has(1):  # in gzip no member may follow padding (gzip(1) ignores it)
                raise CorruptStream(compression, source.offset, GARBAGE)
            continue
        # Small at first, so that many small members don't each copy what follows them; a gzip header must come whole.
        step = max(4096, _gzip_header(source) if compression == "gzip" else 0)
        decoder = new()
        place = source.offset
        data: bytes | memoryview = source.take_some(step)
        while not decoder.eof:
            try:
                out = decoder.decompress(data, OUTPUT)
            except failures as error:
                raise _failure(compression, place, error) from None
            data = b""
            if out:
                yield out
            elif not decoder.eof:
                # Only here: after output there may be more behind the same input, whatever `needs_input` says.
                step, place = min(2 * step, INPUT), source.offset
                data = source.take_some(step)
                if not data:
                    raise CorruptStream(compression, source.offset, ENDS_EARLY)
        source.give_back(decoder.unused_data)
        count += 1


def _gzip_header(source: Lookahead) -> int:
    """Tell how long the gzip header ahead is (RFC 1952 section 2.3), and that all of it is there.

    ISA-L 2.32 forgets where it was in the optional fields when a header comes in two parts.
    """
    size = 10
    need(source, "gzip", size)
    flags = source.number(3, 1)
    if flags & 4:  # extra field, by its length
        need(source, "gzip", 12)
        size = 12 + source.number(10, 2)
    for flag in (8, 16):  # name, comment: to their zero byte
        if flags & flag:
            size = source.find(b"\0", size, MAX_GZIP_HEADER) + 1
            if not size:
                need(source, "gzip", MAX_GZIP_HEADER)
                raise CorruptStream("gzip", source.offset, f"a header of more than {MAX_GZIP_HEADER} bytes")
    if flags & 2:  # its checksum
        size += 2
    need(source, "gzip", size)
    return size


def _failure(compression: Compression, offset: int, error: Exception) -> CorruptStream | LimitExceeded:
    reason = re.sub(r"^Error -?\d+ ", "", str(error)) or type(error).__name__
    if compression == "xz" and reason.startswith("Memory usage limit"):
        return LimitExceeded("memory to inflate the xz stream, bytes", XZ_MEMORY)
    return CorruptStream(compression, offset, reason)


def _skip_padding(source: Lookahead, compression: Compression, unit: int) -> None:
    """Step over zero bytes."""
    start = source.offset
    while data := bytes(source.take_some(INPUT)):
        rest = data.lstrip(b"\0")
        if rest:
            source.give_back(rest)
            break
    if (source.offset - start) % unit:
        raise CorruptStream(compression, source.offset, f"padding is not a multiple of {unit} bytes")
