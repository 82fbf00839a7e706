"""Images that other tools made verify clean: umoci, skopeo, buildah, and what podman pushes to a layout."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from oci.verification.verify import verify

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="umoci and buildah are driven as root here")


def tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


# `umoci insert` (0.4) writes archives without their last padding: a warning, told of by no digest.
UMOCI = {("corrupt-layer", "warning")}


def kinds(path: Path) -> set[tuple[str, str]]:
    return {(finding.code, finding.severity) for finding in verify(path).findings}


def run(*command: str | Path, cwd: Path | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small root file system with one real program in it."""
    root = tmp_path / "tree"
    (root / "bin").mkdir(parents=True)
    busybox = shutil.which("busybox")
    shutil.copy(busybox or "/bin/true", root / "bin" / "busybox")
    (root / "bin" / "sh").symlink_to("busybox")
    os.link(root / "bin" / "busybox", root / "bin" / "again")
    (root / "etc").mkdir()
    (root / "etc" / "motd").write_text("hello\n")
    (root / "tmp").mkdir(mode=0o1777)
    return root


@pytest.fixture
def umoci_layout(tmp_path: Path, tree: Path) -> Path:
    tool("umoci")
    layout = tmp_path / "umoci"
    run("umoci", "init", "--layout", layout)
    # umoci writes `"manifests": null` into an empty layout.
    assert [finding.severity for finding in verify(layout).findings] == ["warning"]
    run("umoci", "new", "--image", f"{layout}:v1")
    run("umoci", "insert", "--image", f"{layout}:v1", tree / "bin", "/bin")
    run("umoci", "insert", "--image", f"{layout}:v1", tree / "etc", "/etc")
    run("umoci", "insert", "--image", f"{layout}:v1", "--whiteout", "/etc/motd")
    run("umoci", "config", "--image", f"{layout}:v1", "--config.cmd", "sh", "--tag", "v2")
    return layout


def test_umoci_layouts_verify(umoci_layout: Path) -> None:
    # Each step leaves the documents of the one before in the layout.
    assert kinds(umoci_layout) <= UMOCI | {("unreferenced-blob", "warning")}
    run("umoci", "gc", "--layout", umoci_layout)
    assert kinds(umoci_layout) <= UMOCI
    report = verify(umoci_layout)
    assert report.checked.manifests == 2
    assert report.checked.layers == 3


@pytest.mark.parametrize("form", ["oci", "oci-archive", "oci zstd", "oci v2s2"])
def test_skopeo_copies_verify(umoci_layout: Path, tmp_path: Path, form: str) -> None:
    tool("skopeo")
    target = tmp_path / "copied"
    transport, _, option = form.partition(" ")
    options = {
        "zstd": ["--dest-compress-format", "zstd", "--dest-compress"],
        "v2s2": ["--dest-oci-accept-uncompressed-layers"],
        "": [],
    }[option]
    run("skopeo", "copy", "-q", *options, f"oci:{umoci_layout}:v2", f"{transport}:{target}:v2")
    assert kinds(target) <= UMOCI
    assert verify(target, tag="v2").checked.layers == 3


def test_docker_archives_unpacked_as_layouts_verify(umoci_layout: Path, tmp_path: Path) -> None:
    """skopeo's `dir:` of Docker's schema 2, put into a layout by skopeo itself."""
    tool("skopeo")
    run("skopeo", "copy", "-q", "--format", "v2s2", f"oci:{umoci_layout}:v2", f"dir:{tmp_path / 'dir'}")
    run("skopeo", "copy", "-q", f"dir:{tmp_path / 'dir'}", f"oci:{tmp_path / 'back'}:v2")
    assert kinds(tmp_path / "back") <= UMOCI


def test_buildah_images_verify(tmp_path: Path, tree: Path) -> None:
    tool("buildah")
    packed = tmp_path / "tree.tar"
    with tarfile.open(packed, "w") as archive:
        archive.add(tree, ".")
    where = ["--root", str(tmp_path / "root"), "--runroot", str(tmp_path / "run"), "--storage-driver", "vfs"]
    name = subprocess.run(
        ["buildah", *where, "from", "scratch"], capture_output=True, text=True, check=True
    ).stdout.strip()
    run("buildah", *where, "add", name, packed, "/")
    run("buildah", *where, "config", "--cmd", "sh", name)
    run("buildah", *where, "commit", "-q", name, f"oci:{tmp_path / 'built'}:v1")
    run("buildah", *where, "commit", "-q", "--format", "docker", name, f"oci-archive:{tmp_path / 'built.tar'}:v1")
    run("buildah", *where, "rm", name)
    assert verify(tmp_path / "built").findings == ()
    assert verify(tmp_path / "built.tar").findings == ()


def test_a_peers_image_is_no_longer_clean_after_one_turned_bit(umoci_layout: Path) -> None:
    run("umoci", "gc", "--layout", umoci_layout)
    largest = max((umoci_layout / "blobs" / "sha256").iterdir(), key=lambda path: path.stat().st_size)
    with largest.open("r+b") as file:
        file.seek(largest.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 4]))
    codes = {finding.code for finding in verify(umoci_layout).errors}
    assert "digest-mismatch" in codes
    assert codes <= {"digest-mismatch", "corrupt-layer", "diff-id-mismatch"}
