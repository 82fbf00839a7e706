"""unpack on the command line; what it writes is tested in tests/unpack."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.commands import Run, digests_of, files_of, fits
from tests.support.images import LayerBlob, LayoutMaker, layer, tar, tar_layer


def test_unpack_writes_the_merged_tree(ocikit: Run, images: Path, here: Path) -> None:
    result = ocikit("unpack", "./images:v1", "rootfs")
    assert result.out == ""
    assert files_of(here / "rootfs") == {"etc/motd": b"welcome\n"}
    assert os.readlink(here / "rootfs/bin") == "usr/bin"


def test_unpack_says_what_it_did_as_json(ocikit: Run, images: Path, here: Path) -> None:
    made = ocikit("unpack", "./images:v1", "rootfs", "--json").json
    fits("unpack", made)
    assert made == {
        "reference": "./images:v1",
        "digest": digests_of(images)["v1"],
        "destination": str(here / "rootfs"),
    }


def test_a_destination_with_content_is_kept_unless_forced(ocikit: Run, run: Run, images: Path, here: Path) -> None:
    (here / "rootfs").mkdir()
    (here / "rootfs/mine").write_text("mine")
    assert "--force" in run("unpack", "./images:v1", "rootfs").error
    assert files_of(here / "rootfs") == {"mine": b"mine"}
    ocikit("unpack", "./images:v1", "rootfs", "--force")
    assert files_of(here / "rootfs") == {"etc/motd": b"welcome\n"}


def test_a_failed_unpack_leaves_nothing(run: Run, images: Path, here: Path) -> None:
    import json

    manifest = json.loads((images / "blobs/sha256" / digests_of(images)["v1"][7:]).read_text())
    blob = images / "blobs/sha256" / manifest["layers"][0]["digest"][7:]
    blob.write_bytes(blob.read_bytes()[:-4])
    result = run("unpack", "./images:v1", "rootfs")
    assert result.status == 1
    assert result.error
    assert {path.name for path in here.iterdir()} == {"images"}


@pytest.mark.parametrize("option", ["--rootless", "--map-root"])
def test_all_files_can_be_the_callers(ocikit: Run, images: Path, here: Path, option: str) -> None:
    ocikit("unpack", "./images:v1", "rootfs", option)
    assert (here / "rootfs/etc/motd").stat().st_uid == os.geteuid()


def test_the_platform_is_chosen(ocikit: Run, run: Run, images: Path, here: Path) -> None:
    ocikit("unpack", "./images:multi", "arm", "--platform", "linux/arm64")
    assert run("unpack", "./images:multi", "none", "--platform", "linux/s390x").status == 1
    assert not (here / "none").exists()


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (tar_layer({"../evil": b"x"}), "unsafe entry"),
        (layer(b"no tar" * 200), "bad tar archive at byte 0"),
        (layer(tar({"a": b"x" * 9000})[:3000]), "bad tar archive at byte 3000"),
    ],
)
def test_a_fault_of_a_layer_says_which_layer(run: Run, here: Path, bad: LayerBlob, words: str) -> None:
    maker = LayoutMaker(here / "images")
    maker.tag("v1", maker.image([tar_layer({"a": b"1"}), bad, tar_layer({"b": b"1"})]))
    maker.finish()
    for command in (
        ["unpack", "./images:v1", "rootfs"],
        ["files", "./images:v1"],
        ["files", "./images:v1", "--layer", "1"],
    ):
        result = run(*command)
        assert result.status == 1
        assert result.error.startswith(f"error: layer {bad.digest}: {words}")
