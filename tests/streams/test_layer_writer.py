"""A layer written in one pass: the same bytes however it is written, and what every other tool reads."""

from __future__ import annotations

import gzip
import hashlib
import random
import shutil
import subprocess
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from oci.errors import InvalidInput
from oci.spec.digest import Digest
from oci.streams.compression import decompress
from oci.streams.compression_write import BLOCK, LEVELS
from oci.streams.layer_writer import LayerSummary, LayerWriter, compress_tar

KINDS = ["none", "gzip", "zstd"]
every = pytest.mark.parametrize("compression", KINDS)


def sample(size: int) -> bytes:
    """Bytes such as a tar has: text, binary, zeros; the same on every machine and every Python."""
    state, out = hashlib.sha256(b"sample"), bytearray()
    while len(out) < size:
        state.update(b".")
        noise = state.digest()
        out += (noise, noise.hex().encode() * 3, b"usr/lib/python3/dist-packages/%d\n" % len(out), bytes(noise[0]))[
            noise[1] % 4
        ]
    return bytes(out[:size])


SAMPLE = sample(2 * BLOCK + 300_001)


def write(
    tar: bytes, compression: Any, level: int | None = None, threads: int = 2, steps: Any = None
) -> tuple[bytes, LayerSummary]:
    pieces: list[bytes] = []
    with LayerWriter(pieces.append, compression, level, threads) as writer:
        start = 0
        for step in steps or [len(tar)]:
            writer.write(tar[start : start + step])
            start += step
        writer.write(tar[start:])
        summary = writer.finish()
    return b"".join(pieces), summary


@pytest.fixture(autouse=True)
def no_thread_is_left_behind() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


@every
@pytest.mark.parametrize("size", [0, 1, 512, BLOCK - 1, BLOCK, BLOCK + 1, len(SAMPLE)])
def test_the_summary_says_what_was_written_and_it_inflates_again(compression: Any, size: int) -> None:
    tar = SAMPLE[:size]
    blob, summary = write(tar, compression)
    assert summary == LayerSummary(digest=Digest.of(blob), size=len(blob), diff_id=Digest.of(tar), tar_size=len(tar))
    assert b"".join(decompress([blob], compression)) == tar


@pytest.mark.parametrize(
    ("compression", "level"), [(kind, level) for kind in KINDS for level in LEVELS[kind] if level < 10]
)
def test_every_level_inflates_again(compression: Any, level: int) -> None:
    tar = SAMPLE[BLOCK - 100_000 : BLOCK + 100_000]
    blob, _ = write(tar, compression, level)
    assert b"".join(decompress([blob], compression)) == tar


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(KINDS), st.lists(st.integers(0, BLOCK + 5), max_size=6), st.integers(1, 5))
def test_the_bytes_do_not_depend_on_writes_or_threads(compression: str, steps: list[int], threads: int) -> None:
    whole, _ = write(SAMPLE, compression, threads=1)
    assert write(SAMPLE, compression, threads=threads, steps=steps)[0] == whole


@every
def test_the_bytes_do_not_depend_on_tiny_writes(compression: Any) -> None:
    tar = SAMPLE[: BLOCK + 1000]
    assert write(tar, compression, steps=[512] * 2000)[0] == write(tar, compression)[0]


def test_zstd_is_the_same_for_any_number_of_threads_over_many_jobs() -> None:
    tar = sample(3 * BLOCK) * 9  # libzstd makes a job of 8 MiB at level 3
    assert len({write(tar, "zstd", threads=threads)[0] for threads in (1, 2, 5)}) == 1


@every
def test_the_caller_may_reuse_its_buffer(compression: Any) -> None:
    pieces: list[bytes] = []
    buffer = bytearray(100_000)
    with LayerWriter(pieces.append, compression) as writer:
        for start in range(0, len(SAMPLE), len(buffer)):
            part = SAMPLE[start : start + len(buffer)]
            buffer[: len(part)] = part
            writer.write(memoryview(buffer)[: len(part)])
        writer.finish()
    assert b"".join(pieces) == write(SAMPLE, compression)[0]


def test_the_gzip_header_tells_nothing_about_the_machine() -> None:
    blob, _ = write(SAMPLE, "gzip")
    assert blob[:10] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
    decoder = zlib.decompressobj(wbits=31)
    assert decoder.decompress(blob) == SAMPLE
    assert decoder.eof
    assert decoder.unused_data == b""  # one member


def test_a_block_uses_the_one_before_it_as_dictionary() -> None:
    noise = random.Random(9).randbytes(30_000)
    near = bytes(BLOCK - len(noise)) + noise + noise
    assert len(write(near, "gzip")[0]) < len(noise) + 8_000


@pytest.mark.parametrize("tool", [["gzip", "-dc"], ["igzip", "-dc"], ["pigz", "-dc"], ["zstd", "-dcq"]])
def test_the_usual_tools_read_it(tool: list[str]) -> None:
    if shutil.which(tool[0]) is None:
        pytest.skip(f"{tool[0]} is missing")
    compression: Any = "zstd" if tool[0] == "zstd" else "gzip"
    blob, _ = write(SAMPLE, compression)
    assert subprocess.run(tool, input=blob, capture_output=True, check=True).stdout == SAMPLE


def test_the_default_is_about_as_small_as_igzip_level_2() -> None:
    if shutil.which("igzip") is None:
        pytest.skip("igzip is missing")
    theirs = subprocess.run(["igzip", "-2", "-c"], input=SAMPLE, capture_output=True, check=True).stdout
    assert len(write(SAMPLE, "gzip")[0]) <= 1.03 * len(theirs)


def test_golden_diff_id() -> None:
    _, summary = write(SAMPLE, "gzip")
    assert str(summary.diff_id) == "sha256:000d6b29dcdff7ab3d3db537e87d42e4335dc571aacccaddc49733659c2a4b0c"


@pytest.mark.parametrize(
    ("compression", "level", "encoded"),
    [
        ("gzip", 0, "d7f3cc5f72a118adc7aa25b455e81cf865e333b534057b7a9fe02f105c54a79f"),
        ("gzip", 1, "203335eb7f3b5b543e5fc227f8a7b7adc030e7083f2d1ad9996db779715c76af"),
        ("gzip", 2, "e27438e44fcf79ef8ff8e0aee73374eeefbf83d087785ef3d38d541232d522a0"),
        ("gzip", 6, "1f85333cf7a5c45dc15602457a81a1618c52dc6f0415fdf0323153b29938e0b6"),
        ("zstd", 3, "a4d25cc5b53246fbb67d8cc2f78bba030e1b9dca3b2fe23aa10882cbcd30e4e5"),
        ("zstd", 10, "8d33dea51f2818c1a804a63a22627cc723582c8319650c5fd5f04d1e89c1fb8c"),
    ],
)
def test_golden_digests_of_these_library_versions(compression: Any, level: int, encoded: str) -> None:
    """docs/adr/0006-compression-determinism.md says on which machines they hold."""
    import isal

    versions = {
        "isal": (isal.ISAL_VERSION, machine_has_sse42()),
        "zlib": (zlib.ZLIB_RUNTIME_VERSION,),
        "zstd": (zstandard.ZSTD_VERSION,),
        "none": (),
    }
    made_with = {"isal": ("2.32.1", True), "zlib": ("1.2.13",), "zstd": ((1, 5, 7),), "none": ()}
    library = "zstd" if compression == "zstd" else "none" if level == 0 else "isal" if level < 3 else "zlib"
    if versions[library] != made_with[library]:
        pytest.skip(f"made with {library} {made_with[library]}, here is {versions[library]}")
    assert write(SAMPLE, compression, level)[1].digest.encoded == encoded


def machine_has_sse42() -> bool:
    try:
        return " sse4_2 " in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


# What goes wrong


@pytest.mark.parametrize(
    ("compression", "level"), [("gzip", 10), ("gzip", -1), ("zstd", 0), ("zstd", 23), ("none", 1), ("xz", None)]
)
def test_levels_and_compressions_that_do_not_exist_are_refused(compression: Any, level: int | None) -> None:
    with pytest.raises(InvalidInput) as caught:
        LayerWriter(lambda piece: None, compression, level)
    assert compression in str(caught.value)


def test_no_threads_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one thread"):
        LayerWriter(lambda piece: None, "gzip", threads=0)


@every
def test_an_error_of_the_sink_comes_out_and_nothing_hangs(compression: Any) -> None:
    taken = 0

    def full(piece: bytes) -> None:
        nonlocal taken
        taken += len(piece)
        if taken > 100:
            raise OSError(28, "No space left on device")

    tar = random.Random(7).randbytes(9 * BLOCK)
    with pytest.raises(OSError, match="No space"):
        compress_tar([tar], full, compression)


def test_an_error_of_the_caller_stops_the_threads() -> None:
    def failing() -> Iterator[bytes]:
        yield bytes(5 * BLOCK)
        raise KeyError("a file vanished")

    with pytest.raises(KeyError):
        compress_tar(failing(), lambda piece: None)


def test_a_finished_layer_takes_nothing_more() -> None:
    writer = LayerWriter(lambda piece: None)
    writer.write(b"tar")
    writer.finish()
    with pytest.raises(ValueError, match="finished"):
        writer.finish()
    with pytest.raises(ValueError, match="finished"):
        writer.write(bytes(BLOCK))


def test_a_layer_copied_to_another_compression_keeps_its_diff_id() -> None:
    blob, first = write(SAMPLE, "gzip")
    pieces: list[bytes] = []
    second = compress_tar(decompress([blob], "gzip"), pieces.append, "zstd", 3)
    assert second.diff_id == first.diff_id
    assert second.digest != first.digest
    assert gzip.decompress(blob) == b"".join(decompress(pieces, "zstd"))
