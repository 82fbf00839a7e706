"""Maps of ids: what a user may have, and what a namespace has."""

from __future__ import annotations

from pathlib import Path

import pytest

from oci.errors import ConfigurationError
from oci.linux import idmaps
from oci.linux.idmaps import IdMap, IdMaps
from tests.support.namespaces import FIRST_SUBID, GROUP, RANGE, USER, rootless


def row(inside: int, outside: int, size: int) -> IdMap:
    return IdMap(inside=inside, outside=outside, size=size)


def of(tmp_path: Path, subuid: str, subgid: str, *, uid: int = 1000, name: str | None = "me") -> IdMaps:
    (tmp_path / "subuid").write_text(subuid)
    (tmp_path / "subgid").write_text(subgid)
    return idmaps.of_user(uid, name, gid=100, subuid=tmp_path / "subuid", subgid=tmp_path / "subgid")


SINGLE = idmaps.single(1000, 100)


def test_ranges_follow_each_other_behind_the_user_himself(tmp_path: Path) -> None:
    found = of(tmp_path, "you:1:5\nme:100000:65536\n1000:300000:10\n", "me:200000:7")
    assert found.uids == (row(0, 1000, 1), row(1, 100000, 65536), row(65537, 300000, 10))
    assert found.gids == (row(0, 100, 1), row(1, 200000, 7))
    assert not found.single
    assert found.has_uid(0)
    assert found.has_uid(65546)
    assert not found.has_uid(65547)
    assert found.has_gid(7)
    assert not found.has_gid(8)


@pytest.mark.parametrize(
    ("subuid", "subgid"),
    [
        ("", ""),
        ("you:1:65536\n", "you:1:65536\n"),
        ("me:100000:65536\n", ""),
        ("me:100000:0\n", "me:100000:0\n"),
        ("# me:1:1\n\nme\n", "nothing at all"),
        ("me2:100000:9\nm:1:1\n10000:5:5", "me2:100000:9"),
    ],
)
def test_without_ranges_of_both_kinds_there_is_the_single_id(tmp_path: Path, subuid: str, subgid: str) -> None:
    assert of(tmp_path, subuid, subgid) == SINGLE
    assert SINGLE.single


def test_missing_files_are_no_ranges(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    assert idmaps.of_user(1000, None, gid=100, subuid=gone, subgid=gone) == SINGLE
    assert idmaps.of_user(1000, None, gid=100, subuid=gone / "x", subgid=gone) == SINGLE


def test_a_user_without_a_name_has_the_lines_of_his_number(tmp_path: Path) -> None:
    found = of(tmp_path, "1000:5000:5\nNone:1:1", "1000:5000:5", name=None)
    assert found.uids == (row(0, 1000, 1), row(1, 5000, 5))


def test_what_overlaps_is_left_out(tmp_path: Path) -> None:
    text = "me:5000:100\nme:5000:100\nme:5050:100\nme:900:200\nme:5100:50\n"
    assert of(tmp_path, text, text).uids == (row(0, 1000, 1), row(1, 5000, 100), row(101, 5100, 50))


def test_no_more_ranges_than_the_kernel_takes(tmp_path: Path) -> None:
    text = "".join(f"me:{n}:5\n" for n in range(2000, 6000, 10))
    assert len(of(tmp_path, text, text).uids) == idmaps.MAX_EXTENTS


@pytest.mark.parametrize(
    "line",
    [
        "me:x:5",
        "me:5:",
        "me:5",
        "me:-5:5",
        "me:5:5:5",
        "me:99999999999:5",
        "me:4294967290:10",
        "me:²:5",
        "me:1:1_0",
        "me:0:5",
    ],
)
def test_a_line_of_ours_that_makes_no_sense_is_said(tmp_path: Path, line: str) -> None:
    with pytest.raises(ConfigurationError, match=r"subuid line 2: "):
        of(tmp_path, f"other:nonsense\n{line}\n", "")


def test_an_unreadable_or_endless_file_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        idmaps.of_user(1, None, gid=1, subuid=tmp_path, subgid=tmp_path)
    monkeypatch.setattr(idmaps, "MAX_SUBID_FILE", 5)
    with pytest.raises(ConfigurationError, match="more than 5 bytes"):
        of(tmp_path, "me:1:5\n", "")


def test_the_machine_s_own_map_is_the_identity_or_not() -> None:
    found = idmaps.current()
    assert found.uids
    assert found.identity == (found.uids == (row(0, 0, 4294967295),) and found.gids == found.uids)


def test_maps_inside_a_namespace() -> None:
    found = rootless(idmaps.current, ranges=True)
    assert found.uids[1:] == found.gids[1:] == (row(1, FIRST_SUBID, RANGE),)
    assert not found.identity
    assert rootless(idmaps.current, ranges=False) == idmaps.single(USER, GROUP)
