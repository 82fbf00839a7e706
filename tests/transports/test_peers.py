"""Real tools read what we write, and we read what they write: skopeo, umoci, podman, tar."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from oci.layout.collect import gc
from oci.layout.layout import Layout
from oci.layout.walk import walk
from oci.spec import Descriptor, Platform
from oci.transports.copy import copy
from oci.transports.names import open_destination, open_source
from tests.support.images import DOCKER_MANIFEST, OCI_INDEX, LayoutMaker, index, tar_layer
from tests.support.peers import need_mountable_root


def needs(*tools: str) -> pytest.MarkDecorator:
    missing = [tool for tool in tools if shutil.which(tool) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


def call(*command: object, **environment: str) -> str:
    ran = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False, env=os.environ | environment
    )
    assert ran.returncode == 0, f"{command}: {ran.stderr}"
    return ran.stdout


def skopeo(*words: object) -> str:
    return call("skopeo", *words)


AMD64 = Platform("linux", "amd64")


def run(source: str, target: str, *, platform: Platform | None = AMD64, **options: object) -> Descriptor:
    with open_source(source) as opened, open_destination(target) as destination:
        return copy(opened, destination, platform=platform, **options)  # type: ignore[arg-type]


def insides(path: Path, tag: str) -> tuple[str, list[str]]:
    """Config digest and diff_ids of an image: what every conversion must keep."""
    layout = Layout.open(path)
    for descriptor in walk(layout.blobs, layout.resolve(tag)):
        if descriptor.media_type.endswith("config.v1+json") or "container.image" in descriptor.media_type:
            with layout.blobs.open(descriptor) as chunks:
                raw = b"".join(chunks)
            return str(descriptor.digest), json.loads(raw)["rootfs"]["diff_ids"]
    raise AssertionError("no config")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    maker = LayoutMaker(tmp_path / "source")
    busybox = Path("/bin/busybox")
    program = busybox.read_bytes() if busybox.exists() else b"#!/bin/sh\n"
    maker.tag(
        "v1", maker.image([tar_layer({"bin": None, "bin/busybox": program}), tar_layer({"etc/motd": b"hello\n"})])
    )
    other = maker.image([tar_layer({"arm": b"1"})], architecture="arm64")
    both = [
        maker.entries[0] | {"platform": {"os": "linux", "architecture": "amd64"}, "annotations": {}},
        other | {"platform": {"os": "linux", "architecture": "arm64"}},
    ]
    maker.tag("multi", maker.document(index(both), OCI_INDEX))
    return maker.finish()


@needs("skopeo")
@pytest.mark.parametrize("compression", [None, "none", "gzip", "zstd"])
@pytest.mark.parametrize("kind", ["oci:{}/ours:v1", "oci-archive:{}/ours.tar:v1", "docker-archive:{}/ours.tar:box:v1"])
def test_skopeo_copies_what_we_write(source: Path, tmp_path: Path, kind: str, compression: str | None) -> None:
    target = kind.format(tmp_path)
    run(f"oci:{source}:v1", target, compression=None if compression is None else (compression, None))
    skopeo("inspect", target)
    skopeo("copy", "-q", target, f"oci:{tmp_path}/theirs:v1")
    assert insides(tmp_path / "theirs", "v1")[1] == insides(source, "v1")[1]


@needs("skopeo")
@pytest.mark.parametrize(
    "kind", ["oci:{}/theirs:v1", "oci-archive:{}/theirs.tar:v1", "docker-archive:{}/theirs.tar:box:v1"]
)
def test_we_copy_what_skopeo_writes(source: Path, tmp_path: Path, kind: str) -> None:
    target = kind.format(tmp_path)
    skopeo("copy", "-q", f"oci:{source}:v1", target)
    run(target, f"oci:{tmp_path}/back:v1")
    assert insides(tmp_path / "back", "v1")[1] == insides(source, "v1")[1]


@needs("skopeo")
def test_all_platforms_go_to_skopeo_and_back_with_the_same_digest(source: Path, tmp_path: Path) -> None:
    first = run(f"oci:{source}:multi", f"oci-archive:{tmp_path}/a.tar:m", platform=None)
    skopeo("copy", "-q", "--all", f"oci-archive:{tmp_path}/a.tar:m", f"oci:{tmp_path}/theirs:m")
    assert run(f"oci:{tmp_path}/theirs:m", f"oci:{tmp_path}/back:m", platform=None).digest == first.digest


@needs("skopeo")
def test_skopeo_and_we_share_a_layout_and_move_each_others_tags(source: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    run(f"oci:{source}:v1", f"oci:{shared}:ours")
    skopeo("copy", "-q", f"oci:{source}:v1", f"oci:{shared}:theirs")
    run(f"oci:{source}:multi", f"oci:{shared}:theirs", platform=None)
    skopeo("copy", "-q", "--all", f"oci:{source}:multi", f"oci:{shared}:ours")
    layout = Layout.open(shared)
    multi = Layout.open(source).resolve("multi").digest
    assert {name: entry.digest for name, entry in layout.tags().items()} == {"ours": multi, "theirs": multi}
    gc(layout)
    for tag in ("ours", "theirs"):
        skopeo("inspect", "--raw", f"oci:{shared}:{tag}")


@needs("skopeo")
def test_a_docker_archive_with_several_images_is_read_by_name(source: Path, tmp_path: Path) -> None:
    """`skopeo copy` can't write two images into one archive; its --additional-tag can give one image two names."""
    skopeo("copy", "-q", "--additional-tag", "box:v2", f"oci:{source}:v1", f"docker-archive:{tmp_path}/d.tar:box:v1")
    one = run(f"docker-archive:{tmp_path}/d.tar:box:v1", f"oci:{tmp_path}/t:v1")
    assert run(f"docker-archive:{tmp_path}/d.tar:docker.io/library/box:v2", f"oci:{tmp_path}/t:v2").digest == one.digest


@needs("skopeo")
def test_docker_manifests_in_a_layout_are_kept_as_they_are(source: Path, tmp_path: Path) -> None:
    skopeo("copy", "-q", f"oci:{source}:v1", f"dir:{tmp_path}/dir", "--format", "v2s2")
    raw = (tmp_path / "dir" / "manifest.json").read_bytes()
    maker = LayoutMaker(tmp_path / "docker")
    for path in (tmp_path / "dir").iterdir():
        maker.put(path.read_bytes())
    maker.tag("v1", maker.document(json.loads(raw), DOCKER_MANIFEST) | {"size": len(raw), "digest": maker.put(raw)})
    made = run(f"oci:{maker.finish()}:v1", f"docker-archive:{tmp_path}/d.tar:box:1")
    skopeo("copy", "-q", f"docker-archive:{tmp_path}/d.tar", f"oci:{tmp_path}/theirs:v1")
    assert run(f"docker-archive:{tmp_path}/d.tar", f"oci:{tmp_path}/back:v1").digest == made.digest
    assert insides(tmp_path / "theirs", "v1")[1] == insides(source, "v1")[1]


@needs("umoci")
def test_umoci_lists_tags_unpacks_and_collects_in_our_layout(source: Path, tmp_path: Path) -> None:
    run(f"oci:{source}:v1", f"oci:{tmp_path}/ours:v1")
    shared = tmp_path / "ours"
    assert call("umoci", "ls", "--layout", shared).split() == ["v1"]
    assert json.loads(call("umoci", "stat", "--image", f"{shared}:v1", "--json"))["history"]
    call("umoci", "tag", "--image", f"{shared}:v1", "v2")
    assert list(Layout.open(shared).tags()) == ["v1", "v2"]
    call("umoci", "rm", "--image", f"{shared}:v1")
    call("umoci", "gc", "--layout", shared)
    layout = Layout.open(shared)
    assert list(layout.tags()) == ["v2"]
    assert gc(layout).blobs == ()
    assert insides(shared, "v2") == insides(source, "v1")


@needs("umoci")
def test_we_work_in_umocis_layout(tmp_path: Path, source: Path) -> None:
    theirs = tmp_path / "theirs"
    call("umoci", "init", "--layout", theirs)
    layout = Layout.open(theirs)
    assert layout.tags() == {}  # its index.json says "manifests":null
    call("umoci", "new", "--image", f"{theirs}:empty")
    run(f"oci:{source}:v1", f"oci:{theirs}:v1")
    layout.tag("again", layout.resolve("empty"))
    assert sorted(call("umoci", "ls", "--layout", theirs).split()) == ["again", "empty", "v1"]
    assert gc(layout).blobs == ()


@needs("podman")
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for podman's vfs storage")
def test_podman_loads_what_we_write_and_we_read_what_it_saves(source: Path, tmp_path: Path, vfs: list[str]) -> None:
    need_mountable_root("podman")
    podman = ["podman", *vfs]
    run(f"oci:{source}:v1", f"docker-archive:{tmp_path}/d.tar:localhost/box:v1")
    run(f"oci:{source}:v1", f"oci-archive:{tmp_path}/o.tar:v2")
    loaded = call(*podman, "load", "-q", "-i", tmp_path / "d.tar")
    if "localhost/box:v1" not in loaded:
        pytest.skip("podman does not load images here")
    call(*podman, "load", "-q", "-i", tmp_path / "o.tar")
    for form in ("docker-archive", "oci-archive"):
        call(*podman, "save", "-q", "--format", form, "-o", tmp_path / f"{form}.tar", "localhost/box:v1")
        run(f"{form}:{tmp_path}/{form}.tar", f"oci:{tmp_path}/back:{form}")
        assert insides(tmp_path / "back", form)[1] == insides(source, "v1")[1]


@needs("tar")
@pytest.mark.parametrize("form", ["--format=gnu", "--format=pax", "--format=ustar", "--format=v7"])
def test_an_archive_that_tar_made_of_a_layout_is_read(source: Path, tmp_path: Path, form: str) -> None:
    call("tar", "-C", source, form, "-cf", tmp_path / "a.tar", ".")
    assert (
        run(f"oci-archive:{tmp_path}/a.tar:v1", f"oci:{tmp_path}/t:v1").digest
        == Layout.open(source).resolve("v1").digest
    )


@needs("bsdtar")
@pytest.mark.parametrize("compressed", ["-z", "-j", "-J", "--zstd"])
def test_a_compressed_archive_that_bsdtar_made_is_read(source: Path, tmp_path: Path, compressed: str) -> None:
    call("bsdtar", "-C", source, "-c", compressed, "-f", tmp_path / "a.tar", ".")
    assert (
        run(f"oci-archive:{tmp_path}/a.tar:v1", f"oci:{tmp_path}/t:v1").digest
        == Layout.open(source).resolve("v1").digest
    )


@needs("tar")
def test_tar_unpacks_our_archive_to_a_layout(source: Path, tmp_path: Path) -> None:
    made = run(f"oci:{source}:v1", f"oci-archive:{tmp_path}/a.tar:v1")
    (tmp_path / "out").mkdir()
    call("tar", "-C", tmp_path / "out", "-xf", tmp_path / "a.tar")
    assert run(f"oci:{tmp_path}/out:v1", f"oci:{tmp_path}/t:v1").digest == made.digest
