"""Inflation: every member and frame, nothing but those, with one clear error, in bounded memory."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import random
import shutil
import subprocess
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from oci.errors import CorruptStream, LimitExceeded, OciError
from oci.streams.compression import OUTPUT, Compression, decompress, detect
from oci.streams.compression_zstd import MAX_WINDOW

TEXT = b"".join(b"line %d of a file\n" % number for number in range(120))


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


def zstd_unsized(data: bytes) -> bytes:
    codec = zstandard.ZstdCompressor().compressobj()
    return codec.compress(data) + codec.flush()


PACK: dict[Compression, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "zstd": zstd,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}
every = pytest.mark.parametrize("compression", list(PACK))


def inflate(data: bytes, compression: Compression, step: int = 1 << 30) -> bytes:
    return b"".join(decompress([data[start : start + step] for start in range(0, len(data), step)], compression))


def corrupt(data: bytes, compression: Compression) -> CorruptStream:
    with pytest.raises(CorruptStream) as caught:
        inflate(data, compression)
    assert caught.value.compression == compression
    return caught.value


# Sniffing


@every
def test_the_first_bytes_tell_the_compression(compression: Compression) -> None:
    packed = PACK[compression](TEXT)
    assert detect(packed) == detect(packed[:6]) == compression


@pytest.mark.parametrize("prefix", [b"", b"\x1f", b"BZ", b"BZh", b"BZh0", b"\x28\xb5\x2f", b"etc/passwd\0", bytes(512)])
def test_what_is_not_known_is_taken_as_it_is(prefix: bytes) -> None:
    assert detect(prefix) == "none"


def test_a_skippable_frame_in_front_is_zstd() -> None:
    assert all(detect(bytes([0x50 + low]) + b"\x2a\x4d\x18") == "zstd" for low in range(16))


# What must come through


@given(st.sampled_from(list(PACK)), st.lists(st.binary(max_size=300), min_size=1, max_size=4), st.integers(1, 400))
def test_several_members_cut_anywhere_give_all_their_bytes(
    compression: Compression, parts: list[bytes], step: int
) -> None:
    packed = b"".join(PACK[compression](part) for part in parts)
    assert inflate(packed, compression, step) == b"".join(parts)


@every
def test_a_chunk_is_never_larger_than_output(compression: Compression) -> None:
    data = random.Random(1).randbytes(200_000) * 12
    chunks = list(decompress([PACK[compression](data)], compression))
    assert b"".join(chunks) == data
    assert 0 < min(map(len, chunks)) <= max(map(len, chunks)) <= OUTPUT


def test_none_passes_everything_but_empty_chunks() -> None:
    assert list(decompress([b"a", b"", b"b"], "none")) == [b"a", b"b"]


@pytest.mark.parametrize("size", [1, 2, 511, 512, 10_240, 300_000])
def test_zeros_behind_gzip_are_padding(size: int) -> None:
    packed = PACK["gzip"](TEXT) + bytes(size)
    assert inflate(packed, "gzip") == inflate(packed, "gzip", 100) == TEXT


def test_gzip_with_every_optional_header_field() -> None:
    body = PACK["gzip"](TEXT)[10:]
    header = b"\x1f\x8b\x08\x1e" + bytes(6)
    fields = b"\x03\x00abc" + b"name\0" + b"comment\0"
    crc = zlib.crc32(header + fields) & 0xFFFF
    packed = header + fields + crc.to_bytes(2, "little") + body
    for step in (1, 3, 12, 1 << 20):
        assert inflate(packed * 3, "gzip", step) == TEXT * 3
    for size in range(len(packed) + 1, 2 * len(packed)):
        assert corrupt((packed * 2)[:size], "gzip").offset == size


def test_a_gzip_header_without_an_end_costs_no_memory() -> None:
    endless = b"\x1f\x8b\x08\x08" + bytes(6) + b"x" * (1 << 20)
    assert "header of more than" in corrupt(endless, "gzip").reason
    assert corrupt(endless[:5000], "gzip").offset == 5000


def test_many_small_gzip_members_behind_each_other_are_quick() -> None:
    # Python's and ISA-L's decoders copy what follows a member: 20 bytes each, 128 KiB behind them.
    packed = PACK["gzip"](b"") * 50_000
    assert inflate(packed, "gzip", 1 << 19) == b""


def test_gzip_stored_blocks_and_pieces_with_sync_flushes() -> None:
    codec = zlib.compressobj(0, wbits=31)
    stored = codec.compress(TEXT) + codec.flush()
    codec = zlib.compressobj(6, wbits=31)
    pieces = b"".join(codec.compress(TEXT) + codec.flush(zlib.Z_FULL_FLUSH) for _ in range(5)) + codec.flush()
    assert inflate(stored, "gzip") == TEXT
    assert inflate(pieces, "gzip", 3) == TEXT * 5


def test_xz_padding_in_fours_may_stand_between_streams() -> None:
    packed = lzma.compress(TEXT)
    assert inflate(packed + bytes(8) + packed + bytes(4), "xz") == TEXT * 2
    assert corrupt(packed + bytes(3), "xz").offset == len(packed) + 3


def test_zstd_skippable_frames_anywhere() -> None:
    skip = b"\x5a\x2a\x4d\x18" + (300).to_bytes(4, "little") + bytes(300)
    nothing = b"\x50\x2a\x4d\x18" + bytes(4)
    packed = skip + zstd(TEXT) + nothing + skip + zstd_unsized(TEXT) + skip
    for step in (1, 7, 1 << 20):
        assert inflate(packed, "zstd", step) == TEXT * 2
    assert inflate(skip, "zstd") == b""


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 65_791, 65_792, 131_072, 131_073, 1_000_000])
@pytest.mark.parametrize("checksum", [False, True])
@pytest.mark.parametrize("sized", [False, True])
def test_zstd_frame_headers_of_every_size(size: int, checksum: bool, sized: bool) -> None:
    data = random.Random(size).randbytes(1000) * (size // 1000 + 1)
    data = data[:size]
    codec = zstandard.ZstdCompressor(write_checksum=checksum, write_content_size=sized)
    if sized:
        packed = codec.compress(data)
    else:
        writer = codec.compressobj()
        packed = writer.compress(data) + writer.flush()
    assert inflate(packed, "zstd") == data


def test_zstd_long_windows_up_to_the_limit() -> None:
    def header(exponent: int, mantissa: int) -> bytes:
        # Magic, no checksum, a window descriptor; one last raw block "x".
        return b"\x28\xb5\x2f\xfd\x00" + bytes([exponent << 3 | mantissa]) + b"\x09\x00\x00x"

    assert inflate(header(17, 0), "zstd") == b"x"  # 2**27, what `zstd --long=27` writes
    with pytest.raises(LimitExceeded) as caught:
        inflate(header(17, 1), "zstd")
    assert caught.value.limit == MAX_WINDOW
    single = b"\x28\xb5\x2f\xfd\xe0" + (1 << 40).to_bytes(8, "little") + b"\x09\x00\x00x"
    with pytest.raises(LimitExceeded):
        inflate(single, "zstd")


def test_xz_that_asks_for_too_much_memory() -> None:
    # The header alone says it; making such a stream would need the memory.
    packed = bytearray(lzma.compress(b"x", filters=[{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 20}]))
    place = packed.index(b"\x21\x01") + 2
    packed[place] = 34  # 2**29, by xz-file-format section 5.3.1
    packed[20:24] = zlib.crc32(bytes(packed[12:20])).to_bytes(4, "little")
    with pytest.raises(LimitExceeded, match="xz"):
        inflate(bytes(packed), "xz")


# What must not


@every
def test_a_stream_cut_at_any_byte_is_told_with_the_place(compression: Compression) -> None:
    packed = PACK[compression](TEXT)
    for size in range(len(packed)):
        error = corrupt(packed[:size], compression)
        assert (error.offset, error.reason) == (size, "the stream ends early")


@every
def test_a_second_member_cut_at_any_byte_is_told_with_the_place(compression: Compression) -> None:
    packed = PACK[compression](TEXT)
    for size in range(len(packed) + 1, 2 * len(packed)):
        assert corrupt((packed * 2)[:size], compression).offset == size


def test_zstd_blocks_cut_at_any_byte_are_told() -> None:
    codec = zstandard.ZstdCompressor(level=1).compressobj()
    packed = (
        codec.compress(TEXT) + codec.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK) + codec.compress(TEXT) + codec.flush()
    )
    for size in range(len(packed)):
        assert corrupt(packed[:size], "zstd").offset == size


@every
@pytest.mark.parametrize("garbage", [b"x", b"xyz", b"\0\0\0\0x", b"some garbage behind it"])
def test_garbage_behind_is_told_with_the_place(compression: Compression, garbage: bytes) -> None:
    packed = PACK[compression](TEXT)
    error = corrupt(packed + garbage, compression)
    assert error.reason == "garbage behind the end of the data"
    padded = garbage.startswith(b"\0") and compression in ("gzip", "xz")
    assert error.offset == len(packed) + (4 if padded else 0)


@every
def test_another_kind_of_stream_is_told_at_once(compression: Compression) -> None:
    error = corrupt(b"PK\x03\x04 something else", compression)
    assert (error.offset, error.reason) == (0, "it doesn't start as such a stream must")


@every
@settings(max_examples=150)
@given(data=st.data())
def test_a_flipped_bit_never_changes_the_bytes_unseen(compression: Compression, data: st.DataObject) -> None:
    packed = bytearray(PACK[compression](TEXT))
    place = data.draw(st.integers(0, 8 * len(packed) - 1))
    packed[place // 8] ^= 1 << place % 8
    try:
        assert inflate(bytes(packed), compression) == TEXT  # a time, a name: nothing that counts
    except (CorruptStream, LimitExceeded) as error:
        assert "\n" not in str(error)  # noqa: PT017


@every
@given(st.binary(max_size=200), st.integers(1, 30))
def test_any_bytes_give_bytes_or_one_of_our_errors(compression: Compression, tail: bytes, keep: int) -> None:
    with contextlib.suppress(OciError):
        inflate(PACK[compression](TEXT)[:keep] + tail, compression)


# Bombs


def zeros_in_zstd(size: int) -> bytes:
    """Blocks of type "run": 4 bytes for 128 KiB."""
    run = (1 << 17) << 3 | 1 << 1
    blocks = (run.to_bytes(3, "little") + b"\0") * (size >> 17)
    return b"\x28\xb5\x2f\xfd\x00\x58" + blocks + b"\x01\x00\x00"


@pytest.mark.parametrize("compression", ["gzip", "zstd", "bzip2"])
def test_a_bomb_costs_no_memory(compression: Compression) -> None:
    size = 512 << 20
    if compression == "zstd":
        bomb = zeros_in_zstd(size)
    elif compression == "gzip":
        piece = zlib.compressobj(9, wbits=-15)
        block = piece.compress(bytes(16 << 20)) + piece.flush(zlib.Z_FULL_FLUSH)
        bomb = b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + block * (size >> 24) + b"\x03\0"
        crc = 0
        for _ in range(size >> 24):
            crc = zlib.crc32(bytes(16 << 20), crc)
        bomb += crc.to_bytes(4, "little") + size.to_bytes(4, "little")
    else:
        size = 64 << 20
        bomb = bz2.compress(bytes(4 << 20)) * 16
    chunks = decompress([bomb], compression)
    del bomb
    tracemalloc.start()
    total = sum(len(chunk) for chunk in chunks)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert total == size
    assert peak < 8 << 20


# Peers


@pytest.mark.parametrize(
    ("tool", "arguments", "compression"),
    [
        ("gzip", ["-9"], "gzip"),
        ("pigz", ["-p3"], "gzip"),
        ("igzip", ["-3"], "gzip"),
        ("zstd", ["-3", "-T2"], "zstd"),
        ("zstd", ["-19", "--long=27"], "zstd"),
        ("zstd", ["--adapt", "--no-check"], "zstd"),
        ("pzstd", [], "zstd"),
        ("bzip2", [], "bzip2"),
        ("xz", ["-6"], "xz"),
        ("xz", ["-T2", "--block-size=100KiB"], "xz"),
    ],
)
def test_what_the_usual_tools_write_is_read(tool: str, arguments: list[str], compression: Compression) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is missing")
    data = TEXT * 100 + random.Random(3).randbytes(300_000)
    packed = subprocess.run([tool, *arguments, "-c"], input=data, capture_output=True, check=True).stdout
    assert detect(packed) == compression
    assert inflate(packed, compression, 10_000) == data
