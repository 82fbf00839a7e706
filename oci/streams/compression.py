"""Recognise and inflate compressed streams: gzip, zstd, bzip2, xz; memory bounded whatever the input says.

`decompress` gives chunks of at most OUTPUT bytes, however far the input expands. A stream is accepted only from its
first to its last byte: several gzip members, zstd frames (skippable ones too), bzip2 streams and xz streams may follow
each other (RFC 1952 section 2.2, RFC 8878 section 3.1, xz-file-format section 2); zero bytes may pad the end of gzip,
as tapes do, and of xz, in fours. Anything else behind the data, an early end, a wrong checksum: CorruptStream.

Its offset counts bytes of the compressed input. It is exact for an early end and for garbage behind the data; damage
within is placed at the start of the piece of input (at most INPUT bytes) in which the decoder noticed it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Literal, Protocol, cast

from oci.errors import CorruptStream, LimitExceeded

__all__ = ["INPUT", "OUTPUT", "Compression", "decompress", "detect"]

Compression = Literal["none", "gzip", "zstd", "bzip2", "xz"]
# Measured: larger chunks are returned to the system by malloc and faulted in again, smaller ones cost hand-overs.
OUTPUT = 1 << 19  # the largest chunk that comes out, so also what one step of a bomb can cost
INPUT = 1 << 17  # the largest piece given to a decoder at once
XZ_MEMORY = 128 << 20  # xz -9 needs 65 MiB to inflate; a header may ask for 4 GiB


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


# The reasons, in the same words for every compression.
ENDS_EARLY = "the stream ends early"
GARBAGE = "garbage behind the end of the data"
NO_MAGIC = "it doesn't start as such a stream must"


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

    return new, (cast("type[Exception]", igzip_lib.IsalError), OSError, ValueError)


def _members(
    chunks: Iterable[bytes], compression: Compression, codec: _Codec, *, magic: bytes, padding: int
) -> Iterator[bytes]:
    """Inflate one member after the other; `padding` is the unit of zero bytes allowed behind the last one, or 0."""
    new, failures = codec
    source = _pieces(chunks)
    offset = 0  # in the compressed input: where `data` starts
    data: bytes | memoryview = b""
    count = 0
    while True:
        # Between two members. The magic may be cut by a chunk's end.
        head = bytes(data)
        while len(head) < len(magic) and (piece := next(source, None)) is not None:
            head += piece
        if not head and count:
            return
        if not head.startswith(magic):
            if not (count and padding and head.startswith(b"\0")):
                raise _bad_start(compression, offset, head, magic, count)
            offset, data = _skip_padding(source, compression, offset, head, padding)
            if data and padding == 1:  # in gzip, what follows padding is not another member (nor is it to gzip(1))
                raise CorruptStream(compression, offset, GARBAGE)
            continue
        decoder = new()
        data = head
        while not decoder.eof:
            try:
                out = decoder.decompress(data, OUTPUT)
            except failures as error:
                raise _failure(compression, offset, error) from None
            offset += len(data)
            data = b""
            if out:
                yield out
            elif not decoder.eof:
                # Only here: after output there may be more behind the same input, whatever `needs_input` says.
                following = next(source, None)
                if following is None:
                    raise CorruptStream(compression, offset, ENDS_EARLY)
                data = following
        data = decoder.unused_data
        offset -= len(data)
        count += 1


def _pieces(chunks: Iterable[bytes]) -> Iterator[bytes | memoryview]:
    for chunk in chunks:
        if len(chunk) <= INPUT:
            if chunk:
                yield chunk
        else:
            view = memoryview(chunk)
            for start in range(0, len(view), INPUT):
                yield view[start : start + INPUT]


def _failure(compression: Compression, offset: int, error: Exception) -> CorruptStream | LimitExceeded:
    reason = re.sub(r"^Error -?\d+ ", "", str(error)) or type(error).__name__
    if compression == "xz" and reason.startswith("Memory usage limit"):
        return LimitExceeded("memory to inflate the xz stream, bytes", XZ_MEMORY)
    return CorruptStream(compression, offset, reason)


def _bad_start(compression: Compression, offset: int, head: bytes, magic: bytes, count: int) -> CorruptStream:
    if magic.startswith(head):
        return CorruptStream(compression, offset + len(head), ENDS_EARLY)
    return CorruptStream(compression, offset, GARBAGE if count else NO_MAGIC)


def _skip_padding(
    source: Iterator[bytes | memoryview], compression: Compression, offset: int, head: bytes, unit: int
) -> tuple[int, bytes]:
    """Read over zero bytes; give the offset of what follows, and its first bytes (none at the end)."""
    start = offset
    while True:
        rest = head.lstrip(b"\0")
        offset += len(head) - len(rest)
        piece = None if rest else next(source, None)
        if piece is None:
            break
        head = bytes(piece)
    if (offset - start) % unit:
        raise CorruptStream(compression, offset, f"padding is not a multiple of {unit} bytes")
    return offset, rest
