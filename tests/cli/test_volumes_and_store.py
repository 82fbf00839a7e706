"""`volume …` and `store …` as a user types them."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.support.commands import PROGRAM, ROOT, Run, fits
from tests.support.stocked import fill_layout


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of this test's own, that isn't there yet."""
    if os.geteuid() != 0:
        pytest.skip("an ordinary user's command becomes root of a namespace, and with it the process of these tests")
    monkeypatch.setenv("OCIKIT_ROOT", str(tmp_path / "store"))
    return tmp_path / "store"


@pytest.fixture
def stocked_store(store: Path) -> Path:
    if os.geteuid() != 0:
        pytest.skip("layers with owners need root")
    store.mkdir(mode=0o700)
    fill_layout(store / "images")
    return store


# volume


def test_create_prints_the_name_and_is_content_with_what_is_there(ocikit: Run) -> None:
    assert ocikit("volume", "create", "data", "--label", "team=web").out == "data\n"
    again = ocikit("volume", "create", "data")
    assert again.out == "data\n"
    assert "there already" in again.err
    assert len(ocikit("volume", "create").out.strip()) == 64
    item = ocikit("volume", "create", "other", "--json").json
    fits("volume", item)
    assert item["name"] == "other"


def test_ls_and_inspect_say_where_it_is_and_who_uses_it(ocikit: Run, store: Path) -> None:
    assert ocikit("volume", "ls", "--json").json == []
    assert not store.exists()  # nothing is made by looking
    ocikit("volume", "create", "data", "--label", "team=web")
    (store / "volumes/data/data/file").write_bytes(b"x" * 5000)
    listed = ocikit("volume", "ls", "--json").json
    fits("volume-ls", listed)
    assert [item["name"] for item in listed] == ["data"]
    assert "size" not in listed[0]
    assert ocikit("volume", "ls", "-q").out == "data\n"
    assert ocikit("volume", "ls", "--size", "--json").json[0]["size"] >= 5000
    (item,) = ocikit("volume", "inspect", "data", "--json").json
    fits("volume-ls", [item])
    assert item["mountpoint"] == str(store / "volumes/data/data")
    assert item["labels"] == {"team": "web"}
    said = ocikit("volume", "inspect", "data").out
    assert f"Mountpoint:  {store}/volumes/data/data" in said


def test_names_that_cannot_be_are_wrong_usage(run: Run) -> None:
    result = run("volume", "create", "../etc")
    assert result.status == 2
    assert "is no name for a volume" in result.err


def test_what_is_missing_is_one_line(ocikit: Run, run: Run) -> None:
    ocikit("volume", "create", "data")
    for words in (("inspect", "none"), ("rm", "none"), ("export", "none")):
        assert "volume 'none': no such volume" in run("volume", *words).error
    assert ocikit("volume", "rm", "--force", "none").out == ""
    result = run("volume", "rm", "data", "none")
    assert (result.status, result.out) == (1, "data\n")


def test_export_and_import_through_files_and_pipes(ocikit: Run, run: Run, store: Path, tmp_path: Path) -> None:
    ocikit("volume", "create", "data")
    (store / "volumes/data/data/file").write_text("precious")
    ocikit("volume", "export", "data", "-o", tmp_path / "data.tar")
    with tarfile.open(tmp_path / "data.tar") as archive:
        assert "file" in [name.removeprefix("./") for name in archive.getnames()]
    item = ocikit("volume", "import", "copy", tmp_path / "data.tar", "--json").json
    fits("volume", item)
    assert (store / "volumes/copy/data/file").read_text() == "precious"
    assert "is not empty; --force" in run("volume", "import", "copy", tmp_path / "data.tar").error
    ocikit("volume", "import", "--force", "copy", tmp_path / "data.tar")
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    out = subprocess.run([*PROGRAM, "volume", "export", "data"], capture_output=True, check=True, env=environ).stdout
    assert out == (tmp_path / "data.tar").read_bytes()
    subprocess.run([*PROGRAM, "volume", "import", "third", "-"], input=out, check=True, env=environ)
    assert (store / "volumes/third/data/file").read_text() == "precious"


def test_a_failed_export_leaves_the_old_file(ocikit: Run, run: Run, tmp_path: Path) -> None:
    ocikit("volume", "create", "data")
    (tmp_path / "out.tar").write_text("old")
    assert run("volume", "export", "none", "-o", tmp_path / "out.tar").status == 1
    assert (tmp_path / "out.tar").read_text() == "old"


def test_a_bad_archive_makes_no_volume(ocikit: Run, run: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.tar").write_bytes(b"no archive" * 100)
    assert run("volume", "import", "data", tmp_path / "bad.tar").status == 1
    assert ocikit("volume", "ls", "-q").out == ""
    assert run("volume", "import", "data", tmp_path / "none.tar").status == 2


def test_an_archive_that_was_cut_off_replaces_nothing(ocikit: Run, run: Run, store: Path, tmp_path: Path) -> None:
    ocikit("volume", "create", "data")
    for name in ("one", "two"):
        (store / "volumes/data/data" / name).write_text("precious")
    ocikit("volume", "export", "data", "-o", tmp_path / "whole.tar")
    whole = (tmp_path / "whole.tar").read_bytes()
    two = whole.index(b"two\0") // 512 * 512
    for cut in (0, two):  # a pipe whose other end failed: before the first member, and between two
        (tmp_path / "cut.tar").write_bytes(whole[:cut])
        result = run("volume", "import", "--force", "data", tmp_path / "cut.tar")
        assert (result.status, result.out) == (1, "")
        assert result.error.startswith(f"error: bad tar archive at byte {cut}: ")
        assert run("volume", "import", "new", tmp_path / "cut.tar").status == 1
    assert sorted(path.name for path in (store / "volumes/data/data").iterdir()) == ["one", "two"]
    assert ocikit("volume", "ls", "-q").out == "data\n"
    (tmp_path / "short.tar").write_bytes(whole.rstrip(b"\0") + bytes(512 - len(whole.rstrip(b"\0")) % 512 + 512))
    ocikit("volume", "import", "--force", "data", tmp_path / "short.tar")  # one block for two will do


def test_prune_says_what_goes(ocikit: Run) -> None:
    ocikit("volume", "create", "named")
    name = ocikit("volume", "create").out.strip()
    dry = ocikit("volume", "prune", "--dry-run", "--json").json
    fits("volume-prune", dry)
    assert dry["volumes"] == [name]
    assert f"deleted {name}" in ocikit("volume", "prune").out
    assert ocikit("volume", "prune", "--all", "--json").json["volumes"] == ["named"]


# store


def test_info_says_which_driver_and_why_not_the_others(ocikit: Run, store: Path) -> None:
    info = ocikit("store", "info", "--json").json
    fits("store-info", info)
    assert info["root"] == str(store)
    assert set(info["drivers"]) == {"overlay", "fuse-overlayfs", "copy"}
    assert info["drivers"][info["driver"]]["usable"]
    assert f"Driver:            {info['driver']}" in ocikit("store", "info").out


def test_df_adds_up(ocikit: Run, stocked_store: Path) -> None:
    usage = ocikit("store", "df", "--json").json
    fits("store-df", usage)
    assert len(usage["images"]) == 2
    assert usage["totals"]["blobs"] == sum(p.stat().st_size for p in (stocked_store / "images/blobs/sha256").iterdir())
    said = ocikit("store", "df").out
    assert "app:latest" in said
    assert "Prune would free" in said


def test_check_has_status_1_until_all_is_mended(ocikit: Run, run: Run, stocked_store: Path) -> None:
    ocikit("store", "info")
    sound = ocikit("store", "check", "--json").json
    fits("store-check", sound)
    assert sound == {"ok": True, "deep": False, "findings": []}
    (stocked_store / "volumes/lost/data").mkdir(parents=True)
    result = run("store", "check")
    assert result.status == 1
    assert "volume-without-row  volumes/lost" in result.out
    assert "--repair" in result.err
    found = run("store", "check", "--json")
    assert found.status == 1
    fits("store-check", found.json)
    mended = ocikit("store", "check", "--repair", "--json").json
    fits("store-check", mended)
    assert mended["ok"]
    assert [finding["repaired"] for finding in mended["findings"]] == [True]
    assert ocikit("store", "check", "--deep").out == ""
    next((stocked_store / "images/blobs/sha256").iterdir()).unlink()
    assert run("store", "check", "--repair").status in (0, 1)


def test_a_damaged_database_is_said_and_replaced(ocikit: Run, run: Run, stocked_store: Path) -> None:
    ocikit("volume", "create", "data")
    (stocked_store / "store.db").write_bytes(b"garbage" * 2000)
    for suffix in ("-wal", "-shm"):
        (stocked_store / f"store.db{suffix}").unlink(missing_ok=True)
    assert "store check --repair" in run("volume", "ls").error
    assert run("store", "check", "--json").json["findings"][0]["code"] == "database-damaged"
    assert ocikit("store", "check", "--repair", "--json").json["ok"]
    assert ocikit("volume", "ls", "-q").out == "data\n"
    assert ocikit("store", "check", "--deep").out == ""


def test_prune_says_first_and_does_then(ocikit: Run, stocked_store: Path) -> None:
    ocikit("untag", "other")
    dry = ocikit("store", "prune", "--dry-run", "--json").json
    fits("store-prune", dry)
    assert dry["freed"] > 0
    assert len(dry["images"]) == 1
    done = ocikit("store", "prune", "--json").json
    fits("store-prune", done)
    assert (done["images"], done["freed"]) == (dry["images"], dry["freed"])
    assert "deleted image app:latest" in ocikit("store", "prune", "--all").out
    assert ocikit("store", "df", "--json").json["totals"]["all"] == 0


def test_a_store_that_is_not_there_is_not_made_by_check(run: Run, store: Path) -> None:
    assert "no such directory" in run("store", "check").error
    assert not store.exists()


def test_json_of_every_command_is_one_document(ocikit: Run) -> None:
    ocikit("volume", "create", "data")
    for words in (("volume", "ls"), ("store", "info"), ("store", "df"), ("store", "check"), ("store", "prune")):
        assert json.loads(ocikit(*words, "--json").out) is not None
