"""Bounded reads, and streams that prove to be what a descriptor says before their last byte is out."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oci.errors import DigestMismatch, SizeMismatch, UnsupportedDigest
from oci.spec.digest import Digest
from oci.streams.chunks import read_chunks
from oci.streams.verify import verified

DATA = b"The bytes of a blob, more or less. " * 40
DIGEST = Digest.of(DATA)


def cut(data: bytes, step: int) -> list[bytes]:
    return [data[start : start + step] for start in range(0, len(data), step)]


def test_a_descriptor_and_a_file_object_are_read_in_chunks_of_at_most_the_size(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(DATA)
    with (tmp_path / "blob").open("rb") as file:
        assert list(read_chunks(file.fileno(), 100)) == cut(DATA, 100)
    assert list(read_chunks(io.BytesIO(DATA), 100)) == cut(DATA, 100)


def test_a_pipe_gives_short_chunks_and_no_empty_one() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"one")
    chunks = read_chunks(reader, 100)
    assert next(chunks) == b"one"
    os.write(writer, b"two")
    os.close(writer)
    assert list(chunks) == [b"two"]
    os.close(reader)


@given(st.integers(1, len(DATA) + 1), st.sampled_from(["sha256", "sha512"]))
def test_right_bytes_come_through_unchanged_however_they_are_cut(step: int, algorithm: str) -> None:
    chunks = [b"", *cut(DATA, step), b""]
    assert b"".join(verified(chunks, Digest.of(DATA, algorithm), len(DATA))) == DATA


def test_nothing_is_a_blob_too() -> None:
    assert list(verified([], Digest.of(b""), 0)) == []
    with pytest.raises(DigestMismatch):
        list(verified([], DIGEST, 0))


def taken(chunks: Iterator[bytes]) -> tuple[bytes, Exception | None]:
    """What came out before the error, and the error."""
    out = b""
    try:
        for chunk in chunks:
            out += chunk
    except Exception as error:  # noqa: BLE001
        return out, error
    return out, None


@given(st.integers(1, 200), st.integers(0, len(DATA) - 1))
def test_a_wrong_byte_is_told_before_the_last_chunk_is_out(step: int, place: int) -> None:
    wrong = bytearray(DATA)
    wrong[place] ^= 1
    out, error = taken(verified(cut(bytes(wrong), step), DIGEST, len(DATA)))
    assert isinstance(error, DigestMismatch)
    assert error.expected == str(DIGEST)
    assert error.actual == str(Digest.of(bytes(wrong)))
    assert len(out) < len(DATA)


@pytest.mark.parametrize("step", [1, 7, 4000])
def test_a_missing_byte_is_told_as_a_size(step: int) -> None:
    _, error = taken(verified(cut(DATA[:-1], step), DIGEST, len(DATA)))
    assert isinstance(error, SizeMismatch)
    assert (error.expected, error.actual) == (len(DATA), len(DATA) - 1)


@pytest.mark.parametrize("step", [1, 7, len(DATA), 4000])
def test_one_byte_too_many_is_told_before_the_blob_is_complete(step: int) -> None:
    out, error = taken(verified(cut(DATA + b"x", step), DIGEST, len(DATA)))
    assert isinstance(error, SizeMismatch)
    assert error.actual > error.expected == len(DATA)
    assert len(out) < len(DATA)


def test_an_endless_stream_ends_at_the_size() -> None:
    given_out = 0

    def endless() -> Iterator[bytes]:
        nonlocal given_out
        while True:
            given_out += 10
            yield bytes(10)

    with pytest.raises(SizeMismatch):
        list(verified(endless(), DIGEST, 95))
    assert given_out == 100


def test_a_digest_that_cannot_be_computed_is_refused_before_anything_is_read() -> None:
    def untouchable() -> Iterator[bytes]:
        raise AssertionError("read")
        yield b""

    with pytest.raises(UnsupportedDigest):
        verified(untouchable(), Digest("blake3", "0" * 64), 1)
