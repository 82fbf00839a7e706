"""Recognise and inflate compressed streams: gzip, zstd, bzip2, xz; memory bounded whatever the input says.

Every function is a generator over chunks that gives chunks of at most OUTPUT bytes, however far the input expands.
A stream is accepted only from its first to its last byte: several gzip members, zstd frames (skippable ones too),
bzip2 streams and xz streams may follow each other (RFC 1952 section 2.2, RFC 8878 section 3.1, xz-file-format section 2);
zero bytes may pad the end of gzip, as tapes do, and of xz, in fours. Anything else behind the data, an early end,
a wrong checksum: CorruptStream with the offset in the compressed input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Literal, Protocol

from oci.errors import CorruptStream

__all__ = ["OUTPUT", "Compression", "decompress", "detect"]

Compression = Literal["none", "gzip", "zstd", "bzip2", "xz"]

OUTPUT = 1 << 20  # the largest chunk that comes out, so also what one step of a bomb can cost
XZ_MEMORY = 256 << 20  # xz -9 needs 65 MiB to inflate; a header may ask for 4 GiB


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
        return _members(chunks, "gzip", _gzip_decoder(), magic=b"\x1f\x8b", padding=1)
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
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes | memoryview, max_length: int = -1) -> bytes: ...


_Codec = tuple[Callable[[], _Decoder], tuple[type[Exception], ...]]


def _gzip_decoder() -> _Codec:
    from isal import igzip_lib

    def new() -> _Decoder:
        decoder: _Decoder = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
        return decoder

    return new, (igzip_lib.IsalError, OSError, ValueError)


def _members(
    chunks: Iterable[bytes], compression: Compression, codec: _Codec, *, magic: bytes, padding: int
) -> Iterator[bytes]:
    """Inflate one member after the other; `padding` is the unit of zero bytes allowed behind the last one, or 0."""
    new, failures = codec
    source = iter(chunks)
    offset = 0  # in the compressed input: where `data` starts
    data = b""
    count = 0
    while True:
        # Between two members. The magic may be cut by a chunk's end.
        while len(data) < len(magic) and (chunk := next(source, None)) is not None:
            data += chunk
        if not data and count:
            return
        if not data.startswith(magic):
            if not count or not data.startswith(b"\0") or not padding:
                reason = _bad_start(data, magic, count)
                raise CorruptStream(compression, offset, reason)
            offset, data = _skip_padding(source, compression, offset, data, padding)
            if padding == 1 and data:  # gzip: padding ends the file
                raise CorruptStream(compression, offset, "garbage behind the end of the data")
            continue
        decoder = new()
        while True:
            try:
                out = decoder.decompress(data, OUTPUT)
            except failures as error:
                raise CorruptStream(compression, offset, str(error) or type(error).__name__) from None
            if out:
                yield out
            if decoder.eof:
                offset, data = offset + len(data) - len(decoder.unused_data), decoder.unused_data
                break
            if len(out) == OUTPUT or not decoder.needs_input:
                offset, data = offset + len(data), b""
                continue  # there may be more behind this input
            offset += len(data)
            following = next(source, None)
            if following is None:
                raise CorruptStream(compression, offset, "the stream ends early")
            data = following
        count += 1


def _bad_start(data: bytes, magic: bytes, count: int) -> str:
    if magic.startswith(data):
        return "the stream ends early"
    return "garbage behind the end of the data" if count else "it doesn't start as such a stream must"


def _skip_padding(
    source: Iterator[bytes], compression: Compression, offset: int, data: bytes, unit: int
) -> tuple[int, bytes]:
    """Read over zero bytes; give the offset of what follows, and its first bytes (none at the end)."""
    start = offset
    while True:
        rest = data.lstrip(b"\0")
        offset += len(data) - len(rest)
        chunk = None if rest else next(source, None)
        if chunk is None:
            break
        data = chunk
    if (offset - start) % unit:
        raise CorruptStream(compression, offset, f"padding is not a multiple of {unit} bytes")
    return offset, rest
