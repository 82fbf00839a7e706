"""Images that buildah and podman put into a registry, read by us from there; and ours by them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.peers import need, need_buildah, need_mountable_root, peer
from tests.support.places import Place
from tests.support.registries import docker_registry
from tests.support.trees import differences, snapshot

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="needs root: buildah and podman work on a store of their own")


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Place]:
    need("docker-registry")
    with docker_registry(tmp_path) as registry:
        yield Place(registry.host, tmp_path, registry=registry)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "deep/er").mkdir(parents=True)
    (folder / "deep/er/file").write_text("content\n")
    (folder / "deep/link").symlink_to("er/file")
    (folder / "big").write_bytes(os.urandom(200_000))
    for path in [*folder.rglob("*"), folder]:
        os.utime(path, (1_600_000_000, 1_600_000_000), follow_symlinks=False)
    return folder


@pytest.mark.parametrize("form", ["oci", "docker"])
def test_what_buildah_pushes_we_unpack_as_buildah_mounts_it(
    there: Place, source: Path, tmp_path: Path, vfs: list[str], form: str
) -> None:
    need_buildah()
    buildah = ["buildah", *vfs]
    name = peer(*buildah, "from", "scratch", env=there.env).strip()
    try:
        peer(*buildah, "copy", name, source, "/opt", env=there.env)
        peer(*buildah, "config", "--env", "A=b", name, env=there.env)
        peer(*buildah, "commit", "--format", form, name, "first", env=there.env)
        peer(*buildah, "push", "--tls-verify=false", "first", there.name("built"), env=there.env)
        mounted = Path(peer(*buildah, "mount", name, env=there.env).strip())
        assert json.loads(there.ocikit("verify", there.name("built"), "--json"))["problems"] == []
        there.ocikit("unpack", there.name("built"), tmp_path / "ours")
        # /opt was made by buildah itself: now, and in a tar to the second.
        ours, theirs = (snapshot(root, root_entry=False, mtimes=False) for root in (tmp_path / "ours", mounted))
        assert differences(ours, theirs) == []
    finally:
        peer(*buildah, "rm", "--all", env=there.env)


def test_what_we_push_buildah_pulls_and_mounts(there: Place, source: Path, tmp_path: Path, vfs: list[str]) -> None:
    need_buildah()
    there.ocikit("append", "scratch", f"{source}:/opt", "-t", there.name("ours"))
    buildah = ["buildah", *vfs]
    name = peer(*buildah, "from", "--tls-verify=false", there.name("ours"), env=there.env).strip()
    try:
        mounted = Path(peer(*buildah, "mount", name, env=there.env).strip())
        there.ocikit("unpack", there.name("ours"), tmp_path / "ours")
        ours, theirs = snapshot(tmp_path / "ours", root_entry=False), snapshot(mounted, root_entry=False)
        assert differences(ours, theirs) == []
    finally:
        peer(*buildah, "rm", "--all", env=there.env)


def test_podman_pulls_ours_and_pushes_it_on_to_us(there: Place, source: Path, tmp_path: Path, vfs: list[str]) -> None:
    need("podman")
    need_mountable_root("podman")
    there.ocikit("append", "scratch", f"{source}:/opt", "-t", there.name("ours"))
    podman = ["podman", *vfs, "--cgroup-manager", "cgroupfs"]
    peer(*podman, "pull", "--tls-verify=false", there.name("ours"), env=there.env)
    tagged = there.name("ours").removeprefix("docker://")
    peer(*podman, "push", "--tls-verify=false", tagged, there.name("theirs"), env=there.env)
    first, second = (json.loads(there.ocikit("inspect", there.name(n), "--json")) for n in ("ours", "theirs"))
    assert [layer["diffId"] for layer in first["layers"]] == [layer["diffId"] for layer in second["layers"]]
    assert json.loads(there.ocikit("verify", there.name("theirs"), "--json"))["problems"] == []
