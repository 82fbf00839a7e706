"""What other tools write, read by ocikit."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.support.peers import need, need_buildah, ocikit, peer
from tests.support.trees import differences, snapshot

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="needs root: owners are compared")


@pytest.fixture
def umoci_layout(tmp_path: Path) -> Path:
    """Three layers by umoci: a tree, then changes, deletions and replacements of types, then an opaque folder."""
    need("umoci")
    layout, bundle = tmp_path / "umoci", tmp_path / "bundle"
    how = [] if os.getuid() == 0 else ["--rootless"]
    peer("umoci", "init", "--layout", layout)
    peer("umoci", "new", "--image", f"{layout}:app")
    peer("umoci", "unpack", *how, "--image", f"{layout}:app", bundle)
    root = bundle / "rootfs"
    for folder in ("a/b/c", "etc", "will/go", "swap-dir"):
        (root / folder).mkdir(parents=True)
    for number in range(50):
        (root / "a/b" / f"file{number}").write_text(f"{number}\n" * 100)
    (root / "etc/conf").write_text("one\n")
    (root / "etc/link").symlink_to("conf")
    (root / "etc/hard").hardlink_to(root / "etc/conf")
    (root / "swap-file").write_text("a file\n")
    peer("umoci", "repack", "--refresh-bundle", "--image", f"{layout}:app", bundle)
    for number in range(25):
        (root / "a/b" / f"file{number}").unlink()
    (root / "will/go").rmdir()
    (root / "will").rmdir()
    (root / "swap-dir").rmdir()
    (root / "swap-dir").symlink_to("etc")
    (root / "swap-file").unlink()
    (root / "swap-file").mkdir()
    (root / "swap-file/inside").write_text("now a folder\n")
    (root / "etc/conf").chmod(0o600)
    peer("umoci", "repack", "--refresh-bundle", "--image", f"{layout}:app", bundle)
    over = tmp_path / "over"
    over.mkdir()
    (over / "only").write_text("all that is left\n")
    peer("umoci", "insert", *how, "--opaque", "--image", f"{layout}:app", over, "/a")
    return layout


def test_an_image_of_umoci_is_without_faults(umoci_layout: Path) -> None:
    report = json.loads(ocikit("verify", f"oci:{umoci_layout}:app", "--json"))
    assert report["ok"] is True
    # `umoci insert` leaves out the padding behind the last file of its layer.
    assert {problem["code"] for problem in report["problems"]} == {"corrupt-layer"}
    assert report["checked"]["layers"] == 3


@needs_root
def test_an_image_of_umoci_unpacks_as_umoci_does(umoci_layout: Path, tmp_path: Path) -> None:
    peer("umoci", "raw", "unpack", "--image", f"{umoci_layout}:app", tmp_path / "theirs")
    ocikit("unpack", f"oci:{umoci_layout}:app", tmp_path / "ours")
    # The root has no entry in these layers: each tool gives it a time of its own.
    ours, theirs = (snapshot(tmp_path / name, root_entry=False) for name in ("ours", "theirs"))
    assert differences(ours, theirs) == []
    assert (tmp_path / "ours/a").is_dir()
    assert sorted(path.name for path in (tmp_path / "ours/a").iterdir()) == ["only"]


def test_rootless_owners_are_recorded_as_umoci_records_them(umoci_layout: Path, tmp_path: Path) -> None:
    need("tar")
    tree = tmp_path / "owned"
    tree.mkdir()
    for number, name in enumerate(("zero", "group", "both", "large")):
        (tree / name).write_text(name)
        uid, gid = ((0, 0), (0, 42), (33, 33), (2_000_000, 70_000))[number]
        peer("tar", "--format=pax", f"--owner=+{uid}", f"--group=+{gid}", "-rf", tmp_path / "owned.tar", name, cwd=tree)
    layout = tmp_path / "layout"
    ocikit("append", "scratch", tmp_path / "owned.tar", "-t", f"oci:{layout}:app")
    peer("umoci", "raw", "unpack", "--rootless", "--image", f"{layout}:app", tmp_path / "theirs")
    ocikit("unpack", "--rootless", f"oci:{layout}:app", tmp_path / "ours")
    ours, theirs = (snapshot(tmp_path / name, root_entry=False) for name in ("ours", "theirs"))
    assert differences(ours, theirs) == []


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_images_that_skopeo_copied_and_compressed_are_read(
    umoci_layout: Path, tmp_path: Path, compression: str
) -> None:
    need("skopeo")
    source, target = f"oci:{umoci_layout}:app", f"oci:{tmp_path}/again:app"
    peer("skopeo", "copy", "--dest-compress-format", compression, source, f"dir:{tmp_path}/dir")
    peer("skopeo", "copy", f"dir:{tmp_path}/dir", target)
    assert json.loads(ocikit("verify", target, "--json"))["ok"] is True
    ocikit("unpack", target, tmp_path / "ours")
    assert (tmp_path / "ours/swap-file/inside").read_text() == "now a folder\n"


@pytest.mark.parametrize("form", ["oci-archive", "docker-archive"])
def test_archives_of_skopeo_are_read_in_place(umoci_layout: Path, tmp_path: Path, form: str) -> None:
    need("skopeo")
    file = tmp_path / "image.tar"
    name = f"{form}:{file}" + (":docker.io/library/app:1" if form == "docker-archive" else ":app")
    peer("skopeo", "copy", f"oci:{umoci_layout}:app", name)
    report = json.loads(ocikit("verify", f"{form}:{file}", "--json"))
    assert report["ok"] is True
    ocikit("unpack", f"{form}:{file}", tmp_path / "ours")
    assert (tmp_path / "ours/a/only").read_text() == "all that is left\n"
    ocikit("copy", f"{form}:{file}", f"oci:{tmp_path}/copied:app")
    ours = json.loads(ocikit("inspect", f"oci:{tmp_path}/copied:app", "--config"))
    theirs = json.loads(peer("skopeo", "inspect", "--config", "--raw", f"oci:{umoci_layout}:app"))
    assert ours["rootfs"] == theirs["rootfs"]


@needs_root
@pytest.mark.parametrize("form", ["oci", "docker"])
def test_an_image_of_buildah_unpacks_as_buildah_mounts_it(tmp_path: Path, form: str, vfs: list[str]) -> None:
    need_buildah()
    buildah = ["buildah", *vfs]
    name = peer(*buildah, "from", "scratch").strip()
    source = tmp_path / "source"
    (source / "deep/er").mkdir(parents=True)
    (source / "deep/er/file").write_text("content\n")
    peer(*buildah, "copy", name, source, "/opt")
    peer(*buildah, "config", "--env", "A=b", "--entrypoint", '["/opt/run"]', "--label", "x=y", name)
    peer(*buildah, "commit", "--format", form, name, "first")
    peer(*buildah, "copy", "--chown", "7:8", name, source / "deep", "/opt/more")
    peer(*buildah, "commit", "--format", form, name, "second")
    peer(*buildah, "push", "second", f"oci-archive:{tmp_path}/image.tar:app")
    reference = f"oci-archive:{tmp_path}/image.tar:app"
    mounted = Path(peer(*buildah, "mount", peer(*buildah, "from", reference).strip()).strip())
    assert json.loads(ocikit("verify", reference, "--json"))["problems"] == []
    ocikit("unpack", reference, tmp_path / "ours")
    ours, theirs = snapshot(tmp_path / "ours", root_entry=False), snapshot(mounted, root_entry=False)
    assert differences(ours, theirs) == []
    peer(*buildah, "rm", "--all")


@pytest.mark.parametrize(
    "archiver", ["tar --format=gnu", "tar --format=pax", "bsdtar --format=pax", "bsdtar --format=gnutar"]
)
@pytest.mark.parametrize("packer", ["cat", "gzip", "zstd", "xz", "bzip2"])
def test_tars_of_other_programs_become_layers(tmp_path: Path, archiver: str, packer: str) -> None:
    need(archiver.split()[0], packer)
    tree = tmp_path / "tree"
    (tree / "folder").mkdir(parents=True)
    (tree / "folder" / ("x" * 180)).write_text("long name\n")
    (tree / "folder/second").hardlink_to(tree / "folder" / ("x" * 180))
    (tree / "link").symlink_to("y" * 150)
    script = f"{archiver} -cf - -C {tree} . | {packer} > {tmp_path}/layer.tar"
    subprocess.run(["bash", "-c", script], check=True, env={**os.environ, "LC_ALL": "C.UTF-8"})
    layout = tmp_path / "layout"
    ocikit("append", "scratch", tmp_path / "layer.tar", "-t", f"oci:{layout}:app")
    ocikit("unpack", f"oci:{layout}:app", tmp_path / "ours")
    flags = {"owners": False, "mtimes": False, "xattrs": False}
    assert differences(snapshot(tmp_path / "ours", **flags), snapshot(tree, **flags)) == []
