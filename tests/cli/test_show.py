"""inspect, history, files."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import PROGRAM, ROOT, Run, digests_of, fits
from tests.support.images import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, LayoutMaker, config, manifest, pack, tar_layer


def raw(here: Path, *arguments: str) -> bytes:
    """What a command writes to stdout, byte for byte."""
    done = subprocess.run(
        [*PROGRAM, "inspect", *arguments], cwd=here, env={"PYTHONPATH": str(ROOT)}, capture_output=True, check=True
    )
    return done.stdout


def test_inspect_summarises_an_image(ocikit: Run, images: Path) -> None:
    result = ocikit("inspect", "./images:v1", "--json").json
    fits("inspect", result)
    assert result["digest"] == digests_of(images)["v1"]
    assert result["reference"] == "./images:v1"
    assert result["platform"] == "linux/amd64"
    assert result["config"]["Cmd"] == ["sh"]
    assert len(result["layers"]) == 2
    text = ocikit("inspect", "./images:v1").out
    for word in (result["digest"], "linux/amd64", "2024-01-02 03:04:05", "PATH=/usr/bin:/bin", "tar+gzip"):
        assert word in text


def test_raw_is_exactly_what_is_stored(images: Path, here: Path) -> None:
    digests = digests_of(images)
    cases = [
        (["./images:v1", "--raw"], digests["v1"]),
        (["./images:multi", "--raw"], digests["multi"]),
        (["./images:multi", "--index", "--raw"], digests["multi"]),
        (["./images:v1", "--manifest", "--raw"], digests["v1"]),
    ]
    for arguments, digest in cases:
        assert f"sha256:{hashlib.sha256(raw(here, *arguments)).hexdigest()}" == digest
    parsed = json.loads(raw(here, "./images:v1", "--raw"))
    stored = raw(here, "./images:v1", "--config", "--raw")
    assert f"sha256:{hashlib.sha256(stored).hexdigest()}" == parsed["config"]["digest"]
    assert raw(here, "./images", "--index", "--raw") == (images / "index.json").read_bytes()


def test_documents_are_laid_out_to_be_read(ocikit: Run, images: Path) -> None:
    for option, key in (("--manifest", "layers"), ("--config", "rootfs")):
        result = ocikit("inspect", "./images:v1", option)
        assert key in result.json
        assert len(result.out.splitlines()) > 5
        assert ocikit("inspect", "./images:v1", option, "--json").out == result.out


def test_the_platform_chooses_in_an_index(ocikit: Run, run: Run, images: Path) -> None:
    for platform in ("linux/amd64", "linux/arm64"):
        assert ocikit("inspect", "./images:multi", "--platform", platform, "--json").json["platform"] == platform
    error = run("inspect", "./images:multi", "--platform", "linux/s390x").error
    assert "linux/amd64, linux/arm64" in error
    assert "--platform" in error


def test_selectors_exclude_each_other(run: Run, images: Path) -> None:
    assert run("inspect", "./images:v1", "--manifest", "--config").status == 2
    assert run("inspect", "./images:v1", "--raw", "--json").status == 2
    assert run("inspect", "./images:v1", "--index").status == 2


def test_a_blob_with_other_bytes_is_refused(run: Run, images: Path) -> None:
    name = digests_of(images)["v1"].removeprefix("sha256:")
    blob = images / "blobs/sha256" / name
    blob.write_bytes(blob.read_bytes().replace(b"gzip", b"gzap"))
    error = run("inspect", "./images:v1").error
    assert name in error
    assert run("inspect", "./images:v1", "--raw").out == ""


def test_hostile_texts_cannot_write_to_the_terminal(ocikit: Run, here: Path) -> None:
    evil = "\x1b[2J\x1b]0;owned\x07\r\nfake line\u202e"
    maker = LayoutMaker(here / "images")
    layer = tar_layer({"x": b""})
    maker.put(layer.data)
    made = config([layer.diff_id], author=evil, config={"Cmd": [evil], "Labels": {evil: evil}, "User": evil})
    made["history"] = [{"created_by": evil, "comment": evil}]
    described = maker.document(made, OCI_CONFIG)
    maker.tag("v1", maker.document(manifest(described, [layer.descriptor()]), OCI_MANIFEST))
    maker.finish()
    for command in (["inspect", "./images"], ["history", "./images"], ["ls", "images"]):
        out = ocikit(*command).out
        assert not any(c in out for c in "\x1b\x07\r\u202e"), command
        assert "\nfake" not in out


def test_history_joins_steps_to_layers(ocikit: Run, images: Path) -> None:
    steps = ocikit("history", "./images:v1", "--json").json
    fits("history", steps)
    assert [step["createdBy"] for step in steps] == ["layer 0", "layer 1"]
    assert all(step["digest"] and step["diffId"] and step["size"] for step in steps)
    lines = ocikit("history", "./images:v1").out.splitlines()
    assert lines[0].split() == ["CREATED", "SIZE", "LAYER", "CREATED", "BY"]
    assert lines[1].endswith("layer 0")


def test_files_are_the_merged_tree(ocikit: Run, images: Path) -> None:
    listed = ocikit("files", "./images:v1", "--json").json
    fits("files", listed)
    paths = {item["path"]: item for item in listed}
    assert "etc/motd" in paths
    assert "etc/hostname" not in paths
    assert paths["bin"]["linkname"] == "usr/bin"
    assert paths["etc/motd"]["layer"] == 1
    assert ocikit("files", "./images:v1").out.splitlines() == sorted(paths)


def test_files_of_one_layer_are_its_own_entries(ocikit: Run, run: Run, images: Path) -> None:
    listed = ocikit("files", "./images:v1", "--layer", "-1", "--json").json
    fits("files", listed)
    assert {item["path"]: item["change"] for item in listed} == {
        "etc": "modified",
        "etc/hostname": "deleted",
        "etc/motd": "added",
    }
    assert ocikit("files", "./images:v1", "--layer", "0").out.splitlines() == ["A  bin", "A  etc", "A  etc/hostname"]
    assert run("files", "./images:v1", "--layer", "2").status == 2
    assert run("files", "./images:v1", "--layer", "x").status == 2


def test_files_long_shows_attributes(ocikit: Run, images: Path) -> None:
    line = next(line for line in ocikit("files", "./images:v1", "--long").out.splitlines() if line.endswith("etc/motd"))
    assert line.split()[0].startswith("-rw-r--r--")
    assert "8 B" in line


@pytest.mark.parametrize("command", ["inspect", "history", "files"])
def test_archives_are_read_in_place(ocikit: Run, images: Path, here: Path, command: str) -> None:
    ocikit("copy", "./images:v1", "oci-archive:a.tar:v1")
    ocikit("copy", "./images:v1", "docker-archive:d.tar:app:v1")
    expected = ocikit(command, "./images:v1").out
    if command == "inspect":
        expected = expected.split("\n", 1)[1]
    for reference in ("oci-archive:a.tar", "docker-archive:d.tar:app:v1"):
        out = ocikit(command, reference).out
        assert expected in out


def test_inspect_starts_quickly_because_it_imports_little(images: Path, here: Path) -> None:
    code = (
        "import sys; from oci.cli.entry import main; main(sys.argv[1:]);"
        "print(*sorted(n for n in ('isal', 'zstandard', 'jsonschema', 'pydantic', 'rich', 'tempfile', 'email',"
        " 'concurrent.futures', 'urllib.request', 'oci.tar', 'oci.changeset', 'oci.unpack') if n in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "inspect", "./images:v1", "--json"],
        cwd=here, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == ""


@pytest.mark.parametrize("archived", [False, True])
def test_a_fault_of_a_document_says_which_document(run: Run, here: Path, archived: bool) -> None:
    maker = LayoutMaker(here / "bad")
    blob = tar_layer({"a": b"1"})
    settings = config([blob.diff_id])
    good = maker.document(settings, OCI_CONFIG)
    maker.put(blob.data)
    old = maker.document({**manifest(good, [blob.descriptor()]), "schemaVersion": 1}, OCI_MANIFEST)
    late = maker.document({**settings, "created": "late"}, OCI_CONFIG)
    maker.tag("manifest", old)
    maker.tag("config", maker.document(manifest(late, [blob.descriptor()]), OCI_MANIFEST))
    maker.tag("index", maker.document({"schemaVersion": 2, "manifests": {}}, OCI_INDEX))
    maker.finish()
    place = f"oci-archive:{pack(here / 'bad', here / 'bad.tar')}" if archived else "./bad"
    assert run("inspect", f"{place}:manifest").error.startswith(f"error: manifest {old['digest']} at /schemaVersion: ")
    assert run("inspect", f"{place}:config").error.startswith(f"error: config {late['digest']} at /created: ")
    assert "error: index sha256:" in run("inspect", f"{place}:index").error


def test_a_fault_of_index_json_says_which_file(run: Run, images: Path) -> None:
    (images / "index.json").write_text("{")
    for command in (["ls", "./images"], ["inspect", "./images:v1"], ["gc", "./images"]):
        assert run(*command).error.startswith("error: ./images/index.json: not JSON: ")
    archive = pack(images, images.parent / "images.tar")
    assert run("ls", f"oci-archive:{archive}").error.startswith(f"error: {archive}: index.json: not JSON: ")
