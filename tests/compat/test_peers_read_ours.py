"""What ocikit writes, read by the tools that people have."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.support.peers import need, need_buildah, ocikit, peer
from tests.support.trees import differences, snapshot

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="needs root: owners and devices are compared")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Files of many kinds; owners and devices where we may make them."""
    root = tmp_path / "tree"
    for folder in ("etc", "usr/bin", "usr/share/doc", "tmp", "empty"):
        (root / folder).mkdir(parents=True)
    (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    (root / "usr/bin/tool").write_bytes(os.urandom(70_000))
    (root / "usr/bin/tool").chmod(0o4755)
    (root / "usr/bin/alias").symlink_to("tool")
    (root / "etc/hard").hardlink_to(root / "etc/passwd")
    (root / "usr/share/doc" / ("long-" * 40 + "name")).write_text("long\n")
    (root / "usr/share/doc/naïve — ünïcode").write_text("unicode\n")
    os.mkfifo(root / "tmp/fifo")
    (root / "tmp").chmod(0o1777)
    if os.getuid() == 0:
        os.chown(root / "etc/passwd", 0, 42)
        os.chown(root / "usr/share/doc", 3_000_000, 3_000_001)
        os.mknod(root / "tmp/null", 0o20666, os.makedev(1, 3))
    for path in [*root.rglob("*"), root]:
        os.utime(path, (1_600_000_000, 1_600_000_000), follow_symlinks=False)
    return root


@pytest.fixture(params=["gzip", "zstd", "none"])
def layout(request: pytest.FixtureRequest, tmp_path: Path, tree: Path) -> Path:
    """An image of two layers: the tree, and a change to it."""
    target = tmp_path / "layout"
    ocikit("append", "scratch", f"{tree}:/", "-t", f"oci:{target}:base", "--compression", request.param)
    change = tmp_path / "change"
    (change / "etc").mkdir(parents=True)
    (change / "etc/passwd").write_text("replaced\n")
    ocikit("append", f"oci:{target}:base", f"{change}:/", "-t", f"oci:{target}:app", "--compression", request.param)
    return target


def test_skopeo_inspects_and_copies_what_we_write(layout: Path, tmp_path: Path) -> None:
    need("skopeo")
    seen = json.loads(peer("skopeo", "inspect", f"oci:{layout}:app"))
    ours = json.loads(ocikit("inspect", f"oci:{layout}:app", "--json"))
    assert seen["Digest"] == ours["digest"]
    assert seen["Layers"] == [layer["digest"] for layer in ours["layers"]]
    peer("skopeo", "copy", f"oci:{layout}:app", f"dir:{tmp_path}/dir")
    if not any(layer["mediaType"].endswith("zstd") for layer in ours["layers"]):  # Docker's types have no zstd
        peer("skopeo", "copy", f"oci:{layout}:app", f"docker-archive:{tmp_path}/docker.tar:app:1")


@pytest.mark.parametrize("form", ["oci-archive", "docker-archive"])
def test_skopeo_reads_our_archives(layout: Path, tmp_path: Path, form: str) -> None:
    need("skopeo")
    file = tmp_path / "image.tar"
    ocikit("copy", f"oci:{layout}:app", f"{form}:{file}:app:1" if form == "docker-archive" else f"{form}:{file}:app")
    name = f"{form}:{file}"
    config = json.loads(peer("skopeo", "inspect", "--config", name))
    assert config["rootfs"] == json.loads(ocikit("inspect", f"oci:{layout}:app", "--config"))["rootfs"]
    peer("skopeo", "copy", name, f"oci:{tmp_path}/back:app")
    assert json.loads(ocikit("verify", f"oci:{tmp_path}/back:app", "--json"))["ok"] is True


@needs_root
def test_umoci_unpacks_what_we_write_to_the_same_tree(layout: Path, tmp_path: Path) -> None:
    need("umoci")
    if b"+zstd" in b"".join(
        path.read_bytes() for path in (layout / "blobs/sha256").iterdir() if path.stat().st_size < 4096
    ):
        pytest.skip("umoci 0.4 knows no zstd")
    peer("umoci", "raw", "unpack", "--image", f"{layout}:app", tmp_path / "umoci")
    ocikit("unpack", f"oci:{layout}:app", tmp_path / "ours")
    # umoci gives a directory that no entry names its own time; the root is one of them.
    assert (
        differences(snapshot(tmp_path / "ours", root_entry=False), snapshot(tmp_path / "umoci", root_entry=False)) == []
    )


@needs_root
def test_buildah_mounts_what_we_write_as_the_same_tree(layout: Path, tmp_path: Path, vfs: list[str]) -> None:
    need_buildah()
    buildah = ["buildah", *vfs]
    # It makes a name of the path, which must be lower-case.
    name = peer(*buildah, "from", "--pull-never", f"oci:{layout.name}:app", cwd=layout.parent).strip()
    try:
        mounted = Path(peer(*buildah, "mount", name).strip())
        ocikit("unpack", f"oci:{layout}:app", tmp_path / "ours")
        assert differences(snapshot(tmp_path / "ours", root_entry=False), snapshot(mounted, root_entry=False)) == []
    finally:
        peer(*buildah, "rm", "--all")


def test_tar_programs_list_our_layers(layout: Path, tree: Path) -> None:
    need("bsdtar", "tar", "zstd")
    expected = sorted(os.fsencode(path.relative_to(tree)) for path in tree.rglob("*"))
    base = json.loads(ocikit("inspect", f"oci:{layout}:base", "--json"))["layers"][0]["digest"]
    blob = layout / "blobs" / base.replace(":", "/")
    for program in (["tar", "--quoting-style=literal", "-tf"], ["bsdtar", "-tf"]):
        done = subprocess.run(
            [*program, blob], capture_output=True, check=True, env={**os.environ, "LC_ALL": "C.UTF-8"}
        )
        assert sorted(line.rstrip(b"/") for line in done.stdout.splitlines()) == expected, program


def test_python_tarfile_agrees_with_what_we_say_a_layer_holds(layout: Path, tmp_path: Path, tree: Path) -> None:
    ocikit("copy", f"oci:{layout}:base", f"oci:{tmp_path}/plain:base", "--compression", "none")
    digest = json.loads(ocikit("inspect", f"oci:{tmp_path}/plain:base", "--json"))["layers"][0]["digest"]
    with tarfile.open(tmp_path / "plain/blobs" / digest.replace(":", "/")) as archive:
        names = {member.name: member for member in archive}
    listed = json.loads(ocikit("files", f"oci:{layout}:base", "--json"))
    assert {entry["path"].strip("/") for entry in listed} - {""} == set(names)
    for entry in listed:
        member = names.get(entry["path"].strip("/"))
        if member is not None and member.isreg():
            assert (entry["size"], entry["uid"], entry["gid"]) == (member.size, member.uid, member.gid)
