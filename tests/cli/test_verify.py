"""verify: what is checked, how it is said, and the exit status."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tests.support.commands import Run, digests_of, fits


@pytest.fixture
def broken(images: Path) -> Path:
    """The layout with one byte of v1's top layer changed."""
    manifest = json.loads((images / "blobs/sha256" / digests_of(images)["v1"][7:]).read_text())
    blob = images / "blobs/sha256" / manifest["layers"][-1]["digest"][7:]
    data = bytearray(blob.read_bytes())
    data[len(data) // 2] ^= 1
    blob.write_bytes(data)
    return images


def test_a_sound_layout_is_ok(ocikit: Run, images: Path) -> None:
    assert ocikit("verify", "images").out.startswith("images: ok (")
    report = ocikit("verify", "./images", "--json").json
    fits("verify", report)
    assert report["ok"] is True
    assert report["problems"] == []


def test_every_fault_is_listed_and_the_status_is_1(run: Run, broken: Path) -> None:
    (broken / "blobs/sha256" / digests_of(broken)["multi"][7:]).unlink()
    result = run("verify", "images", "--json")
    assert result.status == 1
    assert result.err == ""
    fits("verify", result.json)
    codes = {problem["code"] for problem in result.json["problems"]}
    assert {"digest-mismatch", "missing-blob"} <= codes
    text = run("verify", "images")
    assert text.status == 1
    assert "[digest-mismatch]" in text.out


def test_one_image_is_checked_by_its_reference(ocikit: Run, run: Run, broken: Path) -> None:
    assert run("verify", "./images:v1").status == 1
    ocikit("verify", "./images:multi", "--all-platforms")
    ocikit("verify", "./images:multi", "--platform", "linux/arm64")
    ocikit("verify", f"./images@{digests_of(broken)['multi']}")


def test_fast_leaves_out_decompression_but_not_digests(run: Run, ocikit: Run, images: Path) -> None:
    ocikit("verify", "images", "--fast")


def test_archives_are_verified_in_place(ocikit: Run, images: Path) -> None:
    ocikit("copy", "./images:v1", "oci-archive:a.tar:v1")
    for place in ("oci-archive:a.tar", "a.tar", "oci-archive:a.tar:v1"):
        assert ocikit("verify", place, "--json").json["ok"] is True


def test_docker_archives_are_verified_by_their_config(ocikit: Run, run: Run, images: Path) -> None:
    ocikit("copy", "./images:v1", "docker-archive:d.tar:box:v1")
    for place in ("docker-archive:d.tar", "d.tar", "docker-archive:d.tar:box:v1"):
        assert ocikit("verify", place, "--json").json["checked"]["manifests"] == 1
    data = bytearray(Path("d.tar").read_bytes())
    data[data.index(b"\x1f\x8b\x08") + 30] ^= 1
    Path("d.tar").write_bytes(data)
    assert run("verify", "docker-archive:d.tar").status == 1


def test_the_formats_of_ci_systems(run: Run, broken: Path) -> None:
    sarif = run("verify", "images", "--format", "sarif")
    assert sarif.status == 1
    assert sarif.json["version"] == "2.1.0"
    assert sarif.json["runs"][0]["results"]
    junit = run("verify", "images", "--format", "junit")
    assert ElementTree.fromstring(junit.out.split("\n", 1)[1]).get("failures") != "0"
    github = run("verify", "images", "--format", "github")
    assert github.out.startswith("::error title=")
    assert run("verify", "images", "--format", "json").json == run("verify", "images", "--json").json


def test_wrong_usage(run: Run, images: Path) -> None:
    assert run("verify", "images", "--format", "yaml").status == 2
    assert run("verify", "images", "--format", "sarif", "--json").status == 2
    assert run("verify", "./images:nope").status == 1
    assert run("verify", "nowhere").status == 1
