"""A layer read in one pass: everything is checked, the right fault is told, and no thread stays behind."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import os
import random
import threading
import time
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oci.errors import (
    CorruptStream,
    DiffIdMismatch,
    DigestMismatch,
    LimitExceeded,
    SizeMismatch,
    UnsupportedDigest,
)
from oci.spec.digest import Digest
from oci.streams.layer_reader import LayerReader
from oci.streams.layer_writer import compress_tar

TAR = random.Random(4).randbytes(3_000_000) + bytes(3_000_000)


def packed(tar: bytes, compression: Any = "gzip") -> bytes:
    pieces: list[bytes] = []
    compress_tar([tar], pieces.append, compression)
    return b"".join(pieces)


BLOBS = {compression: packed(TAR, compression) for compression in ("none", "gzip", "zstd")}
every = pytest.mark.parametrize("compression", list(BLOBS))


def cut(data: bytes, step: int = 100_000) -> Iterator[bytes]:
    return (data[start : start + step] for start in range(0, len(data), step))


def layer(blob: bytes, **changes: Any) -> LayerReader:
    arguments: dict[str, Any] = {"digest": Digest.of(blob), "size": len(blob), **changes}
    chunks = arguments.pop("chunks", None)
    return LayerReader(cut(blob) if chunks is None else chunks, **arguments)


@pytest.fixture(autouse=True)
def no_thread_is_left_behind() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


@every
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_good_layer_gives_its_tar_and_its_diff_id(compression: str, algorithm: str) -> None:
    blob, diff_id = BLOBS[compression], Digest.of(TAR, algorithm)
    with layer(blob, digest=Digest.of(blob, "sha512"), diff_id=diff_id) as tar:
        assert b"".join(tar) == TAR
        assert tar.diff_id == diff_id


@every
def test_the_diff_id_is_found_where_none_is_known(compression: str) -> None:
    with layer(BLOBS[compression]) as tar:
        with pytest.raises(RuntimeError, match="not been read to its end"):
            _ = tar.diff_id
        assert hashlib.sha256(b"".join(tar)).hexdigest() == tar.diff_id.encoded


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_an_empty_tar_is_a_layer_too(compression: str) -> None:
    with layer(packed(b"", compression)) as tar:
        assert b"".join(tar) == b""
        assert tar.diff_id == Digest.of(b"")


@settings(max_examples=40)
@given(st.binary(max_size=2000), st.integers(1, 300), st.sampled_from(["none", "gzip", "zstd"]))
def test_what_the_writer_writes_the_reader_reads(data: bytes, step: int, compression: str) -> None:
    blob = packed(data, compression)
    with layer(blob, chunks=cut(blob, step), compression=compression, diff_id=Digest.of(data)) as tar:
        assert b"".join(tar) == data


@every
def test_a_wrong_diff_id_is_told_at_the_end(compression: str) -> None:
    wrong = Digest.of(b"another tar")
    with layer(BLOBS[compression], diff_id=wrong, layer="3 of 5") as tar:
        got = bytearray()
        with pytest.raises(DiffIdMismatch, match="3 of 5") as caught:  # noqa: PT012
            for chunk in tar:
                got += chunk
    assert got == TAR
    assert (caught.value.expected, caught.value.actual) == (str(wrong), str(Digest.of(TAR)))


@every
def test_a_wrong_blob_digest_is_told_even_where_the_bytes_inflate(compression: str) -> None:
    with layer(BLOBS[compression], digest=Digest.of(b"another")) as tar, pytest.raises(DigestMismatch):
        list(tar)


@every
@pytest.mark.parametrize("change", [-1, 1, -100_000])
def test_a_wrong_size_is_told(compression: str, change: int) -> None:
    blob = BLOBS[compression]
    with layer(blob, size=len(blob) + change) as tar, pytest.raises(SizeMismatch):
        list(tar)


@every
def test_more_than_the_size_is_never_read(compression: str) -> None:
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        for chunk in itertools.chain(cut(BLOBS[compression]), itertools.repeat(bytes(100_000))):
            taken += len(chunk)
            yield chunk

    size = len(BLOBS[compression])
    with layer(BLOBS[compression], chunks=endless()) as tar, pytest.raises(SizeMismatch):
        list(tar)
    assert taken <= size + 100_000


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_damage_is_told_as_a_digest_where_the_descriptor_is_right(compression: str) -> None:
    blob = bytearray(BLOBS[compression])
    blob[len(blob) // 3] ^= 4
    with layer(bytes(blob), digest=Digest.of(BLOBS[compression])) as tar, pytest.raises(DigestMismatch):
        list(tar)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_damage_is_told_as_damage_where_the_descriptor_agrees_with_it(compression: str) -> None:
    with layer(BLOBS[compression][:-5]) as tar, pytest.raises(CorruptStream, match="ends early"):
        list(tar)
    with layer(BLOBS[compression] + b"garbage") as tar, pytest.raises(CorruptStream, match="garbage"):
        list(tar)


def test_another_compression_than_stated_is_told() -> None:
    with layer(BLOBS["zstd"], compression="gzip") as tar, pytest.raises(CorruptStream):
        list(tar)


def test_digests_that_cannot_be_computed_are_refused_before_anything_starts() -> None:
    unknown = Digest("blake3", "0" * 64)
    with pytest.raises(UnsupportedDigest):
        layer(b"", digest=unknown)
    with pytest.raises(UnsupportedDigest):
        layer(b"", diff_id=unknown)


def test_an_error_of_the_source_comes_through() -> None:
    def failing() -> Iterator[bytes]:
        yield BLOBS["gzip"][:50_000]
        raise OSError(5, "Input/output error")

    with layer(BLOBS["gzip"], chunks=failing()) as tar, pytest.raises(OSError, match="Input/output"):
        list(tar)


def test_a_bound_on_the_tar_is_kept() -> None:
    with layer(BLOBS["gzip"], max_size=len(TAR)) as tar:
        assert sum(map(len, tar)) == len(TAR)
    with layer(BLOBS["gzip"], max_size=len(TAR) - 1) as tar, pytest.raises(LimitExceeded):
        list(tar)


@every
@pytest.mark.parametrize("items", [0, 1, 3])
def test_leaving_early_stops_at_once(compression: str, items: int) -> None:
    started = time.monotonic()
    with layer(BLOBS[compression]) as tar:
        for _ in range(items):
            next(tar)
    assert time.monotonic() - started < 2


def test_an_error_of_the_consumer_does_not_hang() -> None:
    def consume() -> None:
        with layer(BLOBS["gzip"]) as tar:
            next(tar)
            raise ValueError("no space left, say")

    with pytest.raises(ValueError, match="no space"):
        consume()


def test_a_layer_that_is_opened_and_never_entered_starts_nothing() -> None:
    before = threading.active_count()
    reader = layer(BLOBS["gzip"])
    assert threading.active_count() == before
    with pytest.raises(RuntimeError, match="with"):
        next(reader)


def test_many_layers_at_once_and_one_after_the_other() -> None:
    blob = packed(b"tar" * 100)
    for _ in range(50):
        with layer(blob) as first, layer(blob) as second:
            assert b"".join(second) == b"".join(first)


@pytest.mark.parametrize("pause", [0.0, 0.002])
def test_a_bomb_costs_no_memory_however_slow_the_consumer_is(pause: float) -> None:
    blob = gzip.compress(bytes(64 << 20), 1)
    tracemalloc.start()
    total = 0
    with layer(blob, chunks=cut(blob, 1000)) as tar:
        for chunk in tar:
            total += len(chunk)
            time.sleep(pause)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert total == 64 << 20
    assert peak < 16 << 20


def test_descriptors_are_given_back(tmp_path: Any) -> None:
    (tmp_path / "blob").write_bytes(BLOBS["gzip"])
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        with (tmp_path / "blob").open("rb") as file:

            def chunks(source: Any = file) -> Iterator[bytes]:
                while chunk := source.read(1000):
                    yield chunk

            with layer(BLOBS["gzip"], chunks=chunks()) as tar:
                next(tar)
    assert len(os.listdir("/proc/self/fd")) == before
