"""Members of an archive in a file, found and read in place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from oci.errors import LimitExceeded, NotFound, TarError
from oci.tar import END, TarIndex
from tests.support.rawtar import data, file, header, longname, pax


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "archive.tar"


def test_members_are_found_by_name_and_read(path: Path) -> None:
    large = os.urandom(3_000_000)
    path.write_bytes(
        header(b"./", b"5")
        + file(b"./oci-layout", b"{}")
        + header(b"./blobs/", b"5")
        + pax((b"path", b"./blobs/long"))
        + file(b"short", large)
        + longname(b"x" * 300)
        + file(b"y", b"last")
        + END
    )
    with TarIndex.open(path) as index:
        assert list(index.members) == [b"oci-layout", b"blobs/long", b"x" * 300]
        assert index.read_member(b"oci-layout", limit=10) == b"{}"
        assert index.read_member(b"/./oci-layout", limit=10) == b"{}"
        assert b"".join(index.open_member(b"blobs/long")) == large
        assert [len(piece) for piece in index.open_member(b"blobs/long", 1_000_000)] == [1_000_000] * 3
        member = index.find(b"blobs/long")
        assert member is not None
        assert path.read_bytes()[member.offset :][: member.size] == large
        assert b"blobs" not in index
        assert b"x" * 300 in index
        with pytest.raises(NotFound, match="nothing"):
            index.open_member(b"nothing")
        with pytest.raises(LimitExceeded):
            index.read_member(b"blobs/long", limit=1000)


def test_links_of_legacy_docker_archives_lead_to_their_file(path: Path) -> None:
    path.write_bytes(
        header(b"b/layer.tar", b"2", link=b"../a/layer.tar")
        + file(b"a/layer.tar", b"content")
        + header(b"c/layer.tar", b"1", link=b"a/layer.tar")
        + header(b"d", b"2", link=b"/b/../a/layer.tar")
        + header(b"loop", b"2", link=b"loop")
        + header(b"dangling", b"2", link=b"gone")
        + header(b"out", b"2", link=b"../../../etc/passwd")
        + END
    )
    with TarIndex.open(path) as index:
        for name in (b"a/layer.tar", b"b/layer.tar", b"c/layer.tar", b"d"):
            assert index.read_member(name, limit=100) == b"content"
        for name in (b"loop", b"dangling", b"out"):
            assert index.find(name) is None


def test_the_last_of_a_name_counts(path: Path) -> None:
    path.write_bytes(file(b"a", b"1") + file(b"b", b"1") + file(b"./a", b"2") + header(b"b/", b"5") + END)
    with TarIndex.open(path) as index:
        assert index.read_member(b"a", limit=10) == b"2"
        assert index.find(b"b") is None


def test_an_open_file_stays_open_and_its_position_does_not_matter(path: Path) -> None:
    path.write_bytes(file(b"a", b"1") + END)
    with path.open("rb") as opened:
        opened.seek(700)
        with TarIndex.open(opened) as index:
            assert index.read_member(b"a", limit=10) == b"1"
        assert opened.tell() == 700


def test_sparse_members_and_links_with_data_are_whole(path: Path) -> None:
    sparse = pax((b"GNU.sparse.size", b"9"), (b"GNU.sparse.map", b"2,3")) + file(b"s", b"abc")
    path.write_bytes(sparse + header(b"h", b"1", 3, link=b"s") + data(b"xyz") + END)
    with TarIndex.open(path) as index:
        assert index.read_member(b"s", limit=10) == b"\0\0abc\0\0\0\0"
        assert index.read_member(b"h", limit=10) == b"xyz"


def test_damage_is_found_while_indexing(path: Path) -> None:
    whole = file(b"a", b"1" * 50_000) + file(b"b", b"2") + END
    for length in range(1, len(whole) - 1024 - 511, 501):
        if length % 512 == 0 or 50_512 <= length < 50_688:
            continue  # whole, though without padding or end blocks
        path.write_bytes(whole[:length])
        with pytest.raises(TarError, match=f"at byte {length}: the archive ends inside"):
            TarIndex.open(path)
    path.write_bytes(whole + b"garbage")
    with pytest.raises(TarError, match="garbage"):
        TarIndex.open(path)


def test_a_file_that_becomes_shorter_is_told(path: Path) -> None:
    path.write_bytes(file(b"a", b"1" * 50_000) + END)
    with TarIndex.open(path) as index:
        os.truncate(path, 1000)
        with pytest.raises(TarError, match="shorter"):
            index.read_member(b"a", limit=100_000)


def test_the_number_of_members_is_bounded(path: Path) -> None:
    path.write_bytes(b"".join(file(b"%d" % n) for n in range(11)) + END)
    assert len(TarIndex.open(path, max_members=11).members) == 11
    with pytest.raises(LimitExceeded):
        TarIndex.open(path, max_members=10)


def test_data_is_not_read_while_indexing(path: Path) -> None:
    with path.open("wb") as out:
        out.write(header(b"huge", b"0", 7 << 30))
        out.seek(7 << 30, os.SEEK_CUR)
        out.write(file(b"after", b"x") + END)
    with TarIndex.open(path) as index:  # a sparse file of 7 GiB: reading it would take seconds
        assert index.read_member(b"after", limit=1) == b"x"
