"""Sparse files: GNU tar's four formats as it writes them, and maps that lie."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from oci.errors import TarError
from oci.tar import Entry, TarReader, expand
from tests.support.members import one, read
from tests.support.rawtar import END, GNU, data, file, header, pax

MIB = 1 << 20
OLD = ["--format=gnu"]
FORMATS = {
    "old": OLD,
    "oldgnu": ["--format=oldgnu"],
    "0.0": ["--format=posix", "--sparse-version=0.0"],
    "0.1": ["--format=posix", "--sparse-version=0.1"],
    "1.0": ["--format=posix", "--sparse-version=1.0"],
}


def make(path: Path, size: int, extents: list[tuple[int, int]]) -> bytes:
    """A file with data where the extents are and holes elsewhere; returns its content."""
    rng = random.Random(size)
    content = bytearray(size)
    with path.open("wb") as out:
        out.truncate(size)
        for offset, length in extents:
            content[offset : offset + length] = rng.randbytes(length)
            os.pwrite(out.fileno(), content[offset : offset + length], offset)
    return bytes(content)


SHAPES = {
    "hole first": (3 * MIB, [(2 * MIB, 5000)]),
    "hole last": (3 * MIB + 7, [(0, 4096)]),
    "both": (MIB, [(4096, 4096), (512 << 10, 4096)]),
    "data to the end": (MIB, [(0, 4096), (MIB - 100, 100)]),
    "nothing but a hole": (2 * MIB, []),
    "many pieces": (8 * MIB, [(at * 16384, 4096) for at in range(500)]),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("version", FORMATS)
def test_gnu_tar_writes_it_and_we_read_it(version: str, shape: str, tmp_path: Path) -> None:
    if shutil.which("tar") is None:
        pytest.skip("tar is not installed")
    size, extents = SHAPES[shape]
    (tmp_path / "in").mkdir()
    content = make(tmp_path / "in" / "sparse", size, extents)
    (tmp_path / "in" / "zz").write_bytes(b"next")
    archive = subprocess.run(
        ["tar", "-cS", "--hole-detection=raw", *FORMATS[version], "-C", str(tmp_path / "in"), "sparse", "zz"],
        capture_output=True,
        check=True,
    ).stdout
    assert len(archive) < size
    for chunk in (1 << 20, 700):
        reader = TarReader(archive[at : at + chunk] for at in range(0, len(archive), chunk))
        entry = next(reader)
        assert (entry.name, entry.kind, entry.size) == (b"sparse", "file", size)
        assert entry.sparse is not None
        assert entry.stored_size == sum(length for _, length in entry.sparse) < size
        assert b"".join(expand(entry.sparse, entry.size, reader.data())) == content
        assert [(entry.name, b"".join(reader.data())) for entry in reader] == [(b"zz", b"next")]


def lines(*numbers: int) -> bytes:
    return data(b"".join(b"%d\n" % number for number in numbers))


def version_1(size: int, numbers: tuple[int, ...], stored: bytes) -> bytes:
    content = lines(*numbers) + stored
    records = ((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.name", b"real"))
    return pax(*records, (b"GNU.sparse.realsize", b"%d" % size)) + file(b"GNUSparseFile.0/real", content)


def version_0(size: bytes, sparse_map: bytes, stored: bytes = b"") -> bytes:
    return pax((b"GNU.sparse.size", size), (b"GNU.sparse.map", sparse_map)) + file(b"real", stored)


def old(size: int, descriptors: list[tuple[int, int]], stored: bytes, blocks: list[bytes] | None = None) -> bytes:
    area = b"".join(b"%011o\0%011o\0" % descriptor for descriptor in descriptors).ljust(96, b"\0")
    rest = bytes(41) + area + (b"\1" if blocks else b"\0") + b"%011o\0" % size
    return header(b"real", b"S", len(stored), magic=GNU, rest=rest) + b"".join(blocks or []) + data(stored)


def test_versions_made_by_hand() -> None:
    for archive in (
        version_1(10, (2, 1, 2, 5, 3), b"abcde"),
        version_0(b"10", b"1,2,5,3", b"abcde"),
        old(10, [(1, 2), (5, 3)], b"abcde"),
    ):
        ((entry, content),) = read(archive + END)
        assert (entry.name, entry.size, entry.stored_size, entry.sparse) == (b"real", 10, 5, ((1, 2), (5, 3)))
        assert b"".join(expand(entry.sparse, 10, [content])) == b"\0ab\0\0cde\0\0"


def test_a_map_without_holes_is_an_ordinary_file() -> None:
    assert one(version_0(b"3", b"0,3", b"abc")).sparse is None


BAD_MAPS = [(5, 3, 1, 2), (1, 3, 2, 2), (1, 2, 9, 3), (1, 2, 5, 2), (1, 2, 5, 4), (0, 1 << 62, 1 << 62, 1 << 62)]


@pytest.mark.parametrize("numbers", BAD_MAPS)
def test_maps_that_are_unordered_overlap_leave_the_file_or_miscount_are_refused(numbers: tuple[int, ...]) -> None:
    stored = b"abcde"
    pairs = list(zip(numbers[::2], numbers[1::2], strict=True))
    joined = b",".join(b"%d" % number for number in numbers)
    archives = [version_1(10, (2, *numbers), stored), version_0(b"10", joined, stored)]
    if max(numbers) < 8**11:
        archives.append(old(10, pairs, stored))
    for archive in archives:
        with pytest.raises(TarError):
            read(archive + END)


@pytest.mark.parametrize(
    "archive",
    [
        version_0(b"10", b"1,2,5", b"ab"),
        pax((b"GNU.sparse.name", b"other")) + file(b"f"),
        pax((b"GNU.sparse.realsize", b"5")) + file(b"f"),
        version_0(b"10", b"1,-2", b"ab"),
        version_0(b"10", b"1,x", b"ab"),
        version_0(b"-1", b"0,0"),
        version_0(b"9223372036854775808", b"0,0"),
        pax((b"GNU.sparse.map", b"0,1")) + file(b"f", b"a"),
        pax((b"GNU.sparse.size", b"5"), (b"GNU.sparse.numblocks", b"2"), (b"GNU.sparse.map", b"0,1"))
        + file(b"f", b"a"),
        pax((b"GNU.sparse.size", b"5"), (b"GNU.sparse.numbytes", b"1"), (b"GNU.sparse.offset", b"0"))
        + file(b"f", b"a"),
        pax((b"GNU.sparse.size", b"5"), (b"GNU.sparse.offset", b"0")) + file(b"f", b"a"),
        pax(
            (b"GNU.sparse.size", b"5"),
            (b"GNU.sparse.offset", b"0"),
            (b"GNU.sparse.numbytes", b"1"),
            (b"GNU.sparse.map", b"1,1"),
        )
        + file(b"f", b"a"),
        pax((b"GNU.sparse.major", b"2"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"1"))
        + file(b"f", b"a"),
        pax((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"0")) + file(b"f", b""),
        pax((b"GNU.sparse.size", b"5"), (b"GNU.sparse.map", b"0,0")) + header(b"l", b"2", link=b"t"),
        pax((b"GNU.sparse.size", b"5"), (b"GNU.sparse.map", b"0,0"), (b"GNU.sparse.name", b"a\0b")) + file(b"f"),
        version_1(10, (3, 1, 2, 5, 3), b"abcde"),
        version_1(10, (), b"abcde"),
        pax((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"9"))
        + file(b"f", b"x" * 600),
        pax((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"9"))
        + file(b"f", b"9" * 600),
        header(b"f", b"S", 0),
        old(10, [(1, 2)], b"abc"),
        old(10, [(1, 3)] * 4, b"abc", [bytes(504) + b"\1" + bytes(7)]),
    ],
)
def test_malformed_maps_are_refused(archive: bytes) -> None:
    with pytest.raises(TarError):
        read(archive + END)


def test_a_huge_hole_costs_nothing() -> None:
    entry = one(version_0(b"9223372036854775807", b"0,1,9223372036854775806,1", b"ab"))
    assert (entry.size, entry.stored_size) == (2**63 - 1, 2)


def test_sparse_bombs_are_bounded() -> None:
    counted = version_1(10, (10**9, 1, 2), b"")
    with pytest.raises(TarError, match="more than"):
        read(counted + END)
    endless = old(
        10, [(0, 0)] * 4, b"", [(b"%011o\0%011o\0" % (0, 0) * 21).ljust(504, b"\0") + b"\1" + bytes(7)] * 20_000
    )
    with pytest.raises(TarError, match="more than"):
        read(endless + END)
    numbers = b",".join([b"0,0"] * 100)
    with pytest.raises(TarError, match="more than"):
        list(TarReader([version_0(b"1", numbers) + END], max_extents=99))


def test_empty_extension_blocks_without_end_are_bounded() -> None:
    def chunks():  # type: ignore[no-untyped-def]
        yield old(10, [], b"", [bytes(504) + b"\1" + bytes(7)])
        for _ in range(1_000_000):
            yield bytes(504) + b"\1" + bytes(7)
        pytest.fail("a million empty blocks were read")

    with pytest.raises(TarError):
        list(TarReader(chunks()))


def test_a_truncated_map_says_so() -> None:
    archive = version_1(10, (2, 1, 2, 5, 3), b"abcde")
    with pytest.raises(TarError, match="ends inside"):
        read(archive[: -1024 + 100])


def test_expand_takes_pieces_of_any_size() -> None:
    extents = ((3, 4), (10, 1), (1 << 20, 5))
    stored = b"abcdefghij"
    whole = b"\0\0\0abcd\0\0\0e".ljust(1 << 20, b"\0") + b"fghij\0\0"
    for size in (1, 2, 3, 10):
        pieces = [stored[at : at + size] for at in range(0, 10, size)]
        assert b"".join(expand(extents, (1 << 20) + 7, pieces)) == whole
    assert b"".join(expand(None, 3, [b"a", b"bc"])) == b"abc"
    assert isinstance(one(file()), Entry)
