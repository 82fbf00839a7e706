"""init, ls, tag, untag, gc."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.support.commands import Run, digests_of, files_of, fits


def test_init_makes_an_empty_layout(ocikit: Run, here: Path) -> None:
    assert ocikit("init", "images").out == ""
    assert json.loads((here / "images/oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    assert json.loads((here / "images/index.json").read_text())["manifests"] == []
    assert (here / "images/blobs/sha256").is_dir()
    assert ocikit("ls", "images", "--json").json == []


def test_init_takes_what_a_reference_would_say(ocikit: Run, here: Path) -> None:
    ocikit("init", "oci:deep/er/images")
    ocikit("ls", "deep/er/images")


@pytest.mark.parametrize("name", ["images:v1", "oci-archive:x.tar", "docker://x"])
def test_init_makes_directories_only(run: Run, here: Path, name: str) -> None:
    result = run("init", name)
    assert result.status == 2
    assert result.error
    assert not list(here.iterdir())


def test_init_touches_nothing_that_is_there(run: Run, images: Path, here: Path) -> None:
    before = files_of(images)
    assert run("init", "images").error == "error: images: is an image layout already"
    (here / "other").mkdir()
    (here / "other" / "file").write_text("mine")
    assert "neither empty nor an image layout" in run("init", "other").error
    assert "not a directory" in run("init", "other/file").error
    assert files_of(images) == before


def test_ls_lists_tags_with_digest_platform_and_size(ocikit: Run, images: Path) -> None:
    listed = ocikit("ls", "images", "--json").json
    fits("ls", listed)
    assert {item["tag"]: item["digest"] for item in listed} == digests_of(images)
    v1, multi = listed
    assert v1["platform"] == "linux/amd64"
    assert v1["created"] == "2024-01-02T03:04:05Z"
    assert v1["size"] > 0
    assert multi["platform"] is None
    lines = ocikit("ls", "./images").out.splitlines()
    assert lines[0].split() == ["TAG", "DIGEST", "PLATFORM", "SIZE", "CREATED"]
    assert lines[1].startswith("v1 ")
    assert "linux/amd64, linux/arm64" in lines[2]


@pytest.mark.parametrize("place", ["images", "./images", "oci:images", "a.tar", "oci-archive:a.tar", "./a.tar"])
def test_ls_takes_layouts_and_archives_by_reference_or_path(ocikit: Run, images: Path, place: str) -> None:
    ocikit("copy", "./images:v1", "oci-archive:a.tar:v1")
    assert "v1" in ocikit("ls", place).out


def test_ls_reads_docker_archives(ocikit: Run, images: Path) -> None:
    ocikit("copy", "./images:v1", "docker-archive:d.tar:app:v1")
    assert "app:v1 " in ocikit("ls", "docker-archive:d.tar").out
    assert "v1 " in ocikit("ls", "d.tar").out  # it holds a layout too, as docker's own do


def test_ls_of_something_else_is_an_error(run: Run, here: Path) -> None:
    (here / "file").write_text("nothing")
    (here / "folder").mkdir()
    assert run("ls", "file").status == 1
    assert "not an image layout" in run("ls", "folder").error
    assert "no such directory" in run("ls", "./nowhere").error
    assert "no such file or directory" in run("ls", "nowhere").error
    assert run("ls", "oci-archive:nowhere").error == "error: nowhere: no such file"


def test_an_entry_whose_image_is_not_here_is_listed_without_a_size(ocikit: Run, images: Path) -> None:
    shutil.rmtree(images / "blobs")
    listed = ocikit("ls", "images", "--json").json
    fits("ls", listed)
    assert [item["size"] for item in listed] == [None, None]


def test_a_tag_is_added_moved_and_taken_away(ocikit: Run, images: Path) -> None:
    ocikit("tag", "./images:v1", "latest")
    assert digests_of(images)["latest"] == digests_of(images)["v1"]
    ocikit("tag", "./images:multi", "latest")
    assert digests_of(images)["latest"] == digests_of(images)["multi"]
    ocikit("tag", f"./images@{digests_of(images)['v1']}", "oci:./images:again")
    ocikit("untag", "./images:latest")
    assert set(digests_of(images)) == {"v1", "multi", "again"}
    ocikit("verify", "images")


def test_a_tag_that_cannot_be_is_wrong_usage_and_changes_nothing(run: Run, images: Path) -> None:
    before = files_of(images)
    for tag in ("", "-x", "a b", "../x", "./other:tag", "./images"):
        assert run("tag", "./images:v1", tag).status == 2
    assert run("tag", "./images:nope", "x").status == 1
    assert run("tag", "./images", "x").error.endswith("holds several images; say which: v1, multi")
    assert run("untag", "./images:nope").error == "error: 'nope' not found in ./images; there is: v1, multi"
    assert run("untag", "./images").status == 2
    assert run("tag", "oci-archive:x.tar", "x").status == 2
    assert files_of(images) == before


def test_gc_deletes_what_nothing_names_and_nothing_else(ocikit: Run, images: Path) -> None:
    ocikit("untag", "./images:v1")
    before = files_of(images)
    dry = ocikit("gc", "images", "--dry-run", "--json").json
    fits("gc", dry)
    assert dry["dryRun"] is True
    assert files_of(images) == before
    done = ocikit("gc", "images", "--json").json
    assert done["blobs"] == dry["blobs"]
    assert done["size"] == sum(blob["size"] for blob in done["blobs"]) > 0
    assert len(done["blobs"]) == 3  # manifest, config and top layer; the base layer is the index's too
    ocikit("verify", "images")
    assert ocikit("gc", "images").out == ""


def test_gc_says_what_it_does(ocikit: Run, images: Path) -> None:
    (images / "blobs/sha256" / ("0" * 64)).write_text("stray")
    result = ocikit("gc", "images", "--dry-run")
    assert result.out == f"would delete sha256:{'0' * 64}  5 B\n"
    assert result.err == "would delete 1 blob, 5 B\n"
