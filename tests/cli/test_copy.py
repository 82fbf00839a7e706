"""copy: between layouts and archives, and what a failure leaves."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.support.commands import Run, digests_of, files_of, fits
from tests.support.images import OCI_LAYER_ZSTD


def test_copy_keeps_every_byte(ocikit: Run, images: Path, here: Path) -> None:
    result = ocikit("copy", "./images:v1", "./mirror:v1")
    digest = digests_of(images)["v1"]
    assert result.out == f"oci:./mirror@{digest}\n"
    assert digests_of(here / "mirror") == {"v1": digest}
    originals = files_of(images / "blobs")
    assert all(originals[name] == data for name, data in files_of(here / "mirror/blobs").items())
    ocikit("verify", "mirror")
    ocikit("inspect", result.out.strip())


def test_copy_says_what_it_wrote_as_json(ocikit: Run, images: Path) -> None:
    made = ocikit("copy", "./images:v1", "./mirror:v1", "--json").json
    fits("image", made)
    assert made["digest"] == digests_of(images)["v1"]


@pytest.mark.parametrize("archive", ["oci-archive:a.tar:v1", "docker-archive:a.tar:app:v1"])
def test_there_and_back_through_an_archive(ocikit: Run, images: Path, here: Path, archive: str) -> None:
    ocikit("copy", "./images:v1", archive)
    ocikit("copy", archive, "./back:v1")
    assert digests_of(here / "back") == {"v1": digests_of(images)["v1"]}


def test_an_index_is_narrowed_or_kept_whole(ocikit: Run, images: Path, here: Path) -> None:
    ocikit("copy", "./images:multi", "./whole:multi", "--all-platforms")
    assert digests_of(here / "whole") == {"multi": digests_of(images)["multi"]}
    ocikit("copy", "./images:multi", "./whole2:multi", "--all")
    ocikit("copy", "./images:multi", "./arm:v1", "--platform", "linux/arm64")
    assert ocikit("inspect", "./arm:v1", "--json").json["platform"] == "linux/arm64"


@pytest.mark.parametrize("compression", ["none", "gzip:9", "zstd", "zstd:19"])
def test_recompression_keeps_diff_ids_and_config(ocikit: Run, images: Path, compression: str) -> None:
    before = ocikit("inspect", "./images:v1", "--json").json
    ocikit("copy", "./images:v1", "./other:v1", "--compression", compression)
    after = ocikit("inspect", "./other:v1", "--json").json
    assert [layer["diffId"] for layer in after["layers"]] == [layer["diffId"] for layer in before["layers"]]
    assert after["config"] == before["config"]
    if compression.startswith("zstd"):
        assert {layer["mediaType"] for layer in after["layers"]} == {OCI_LAYER_ZSTD}
    ocikit("verify", "other")


@pytest.mark.parametrize(
    "arguments",
    [
        ["./images:nope", "./new:v1"],
        ["./images:multi", "./new:v1", "--platform", "linux/s390x"],
        ["./nowhere:v1", "./new:v1"],
        ["./images:v1", "./new:v1", "--compression", "lz4"],
        ["./images:v1", "./new@sha256:" + "0" * 64],
        ["./images:v1", "docker://127.0.0.1:1/x"],
        ["./images:multi", "docker-archive:new:x", "--all-platforms"],
        ["./images:v1", "./new:v1", "--all-platforms", "--platform", "linux/amd64"],
    ],
)
def test_a_copy_that_cannot_be_makes_nothing(run: Run, images: Path, here: Path, arguments: list[str]) -> None:
    before = files_of(here)
    result = run("copy", *arguments)
    assert result.status in (1, 2)
    assert result.error
    assert files_of(here) == before
    assert not (here / "new").exists()


def test_a_copy_of_a_broken_image_leaves_no_layout_and_no_archive(run: Run, images: Path, here: Path) -> None:
    layer = json.loads((images / "blobs/sha256" / digests_of(images)["v1"][7:]).read_text())["layers"][-1]["digest"]
    blob = images / "blobs/sha256" / layer[7:]
    blob.write_bytes(blob.read_bytes()[:-1] + b"\1")
    for target in ("./new:v1", "oci-archive:new:v1", "docker-archive:new:app:v1"):
        assert layer in run("copy", "./images:v1", target).error
        assert {path.name for path in here.iterdir()} == {"images"}


def test_a_failed_copy_leaves_a_layout_that_was_there_as_it_was(
    run: Run, ocikit: Run, images: Path, here: Path
) -> None:
    ocikit("copy", "./images:multi", "./mirror:multi", "--all")
    before = files_of(here / "mirror")
    missing = json.loads((images / "blobs/sha256" / digests_of(images)["v1"][7:]).read_text())["layers"][-1]["digest"]
    (images / "blobs/sha256" / missing[7:]).unlink()
    assert missing in run("copy", "./images:v1", "./mirror:v1").error
    assert json.loads(before["index.json"]) == json.loads((here / "mirror/index.json").read_bytes())
    ocikit("gc", "mirror")
    assert files_of(here / "mirror") == before


def test_skopeo_reads_what_copy_writes(ocikit: Run, images: Path, here: Path) -> None:
    import shutil

    if not shutil.which("skopeo"):
        pytest.skip("skopeo is not installed")
    ocikit("copy", "./images:v1", "oci-archive:a.tar:v1")
    ocikit("copy", "./images:v1", "docker-archive:d.tar:app:v1")
    for reference in ("oci-archive:a.tar:v1", "docker-archive:d.tar:app:v1"):
        done = subprocess.run(
            ["skopeo", "inspect", "--config", reference], cwd=here, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["config"]["Cmd"] == ["sh"]


@pytest.mark.parametrize("target", ["./new:v1", "oci-archive:new:v1", "docker-archive:new:app:v1"])
def test_a_full_disk_is_one_line_that_says_where_and_leaves_nothing(
    run: Run, images: Path, here: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    import errno

    from oci.streams.atomic import AtomicFile

    def full(self: object, data: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(AtomicFile, "write", full)
    result = run("copy", "./images:v1", target)
    assert result.status == 1
    assert result.error.startswith("error: ")
    assert "new: no space left on the device" in result.error
    assert {path.name for path in here.iterdir()} == {"images"}
