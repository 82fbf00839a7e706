"""The clients that people have, against our server: skopeo, buildah, podman, and our own."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from oci.serving import Server
from tests.support.images import DOCKER_LIST, OCI_INDEX, LayoutMaker, encode, index, tar_layer
from tests.support.peers import need, need_buildah, need_mountable_root, ocikit, peer
from tests.support.places import clean_environment
from tests.support.tls import Authority

PLAIN = "--tls-verify=false"


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    return tmp_path / "layout"


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    environ = clean_environment(tmp_path)
    for file in (Path(environ["DOCKER_CONFIG"]) / "config.json", Path(environ.get("REGISTRY_AUTH_FILE", os.devnull))):
        if not file.exists():  # podman wants it to be there
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("{}")
    return environ


@pytest.fixture
def source(tmp_path: Path) -> LayoutMaker:
    """Two platforms under one tag, and one image alone."""
    made = LayoutMaker(tmp_path / "source")
    shared = tar_layer({"shared": b"s" * 10_000})
    images = [
        made.image([shared, tar_layer({"arch": name.encode()})], architecture=name)
        | {"platform": {"os": "linux", "architecture": name}}
        for name in ("amd64", "arm64")
    ]
    made.tag("multi", made.document(index(images), OCI_INDEX))
    made.tag("docker", made.document(index(images, media_type=DOCKER_LIST), DOCKER_LIST))
    made.tag("one", images[0])
    made.finish()
    return made


def whole(path: Path, tag: str) -> str:
    """A tag's digest in a layout."""
    manifests = json.loads((path / "index.json").read_text())["manifests"]
    found: str
    (found,) = [m["digest"] for m in manifests if m["annotations"].get("org.opencontainers.image.ref.name") == tag]
    return found


@pytest.mark.parametrize("tag", ["multi", "one"])
def test_skopeo_pushes_and_pulls_images_and_indexes(
    layout: Path, source: LayoutMaker, tmp_path: Path, env: dict[str, str], tag: str
) -> None:
    need("skopeo")
    with Server(layout) as server:
        there = f"docker://{server.host}/team/app:v1"
        peer("skopeo", "copy", "--all", f"--dest-{PLAIN[2:]}", f"oci:{source.path}:{tag}", there, env=env)
        peer("skopeo", "copy", "--all", f"--src-{PLAIN[2:]}", there, f"oci:{tmp_path / 'back'}:{tag}", env=env)
        listed = json.loads(peer("skopeo", "list-tags", PLAIN, f"docker://{server.host}/team/app", env=env))
        peer("skopeo", "delete", PLAIN, there, env=env)
        gone = subprocess.run(["skopeo", "inspect", PLAIN, there], capture_output=True, env={**os.environ, **env})
    assert listed["Tags"] == ["v1"]
    assert gone.returncode != 0
    assert whole(tmp_path / "back", tag) == whole(source.path, tag)
    assert "ok" in ocikit("verify", tmp_path / "back")
    assert "error" not in ocikit("verify", layout)


def test_skopeo_mounts_what_another_repository_has(layout: Path, source: LayoutMaker, env: dict[str, str]) -> None:
    need("skopeo")
    lines: list[str] = []
    with Server(layout, log=lines.append) as server:
        for name in ("first", "second"):
            there = f"docker://{server.host}/{name}:v1"
            peer("skopeo", "copy", f"--dest-{PLAIN[2:]}", f"oci:{source.path}:one", there, env=env)
    assert any("mount=" in line and " 201 " in line for line in lines)


def test_skopeo_with_password_and_tls(layout: Path, source: LayoutMaker, tmp_path: Path, env: dict[str, str]) -> None:
    need("skopeo", "htpasswd")
    authority = Authority(tmp_path / "ca")
    pair = authority.server()
    users = tmp_path / "users"
    done = subprocess.run(["htpasswd", "-nbBC", "4", "alice", "secret"], capture_output=True, check=True)
    users.write_bytes(done.stdout.strip() + b"\n")
    certs = tmp_path / "certs"
    certs.mkdir()
    (certs / "ca.crt").write_bytes(authority.file.read_bytes())
    with Server(layout, htpasswd=str(users), tls=(str(pair.cert), str(pair.key))) as server:
        there = f"docker://{server.host}/app:v1"
        copy = ["skopeo", "copy", "--dest-cert-dir", certs, f"oci:{source.path}:one", there]
        failed = subprocess.run(list(map(str, copy)), capture_output=True, text=True, env={**os.environ, **env})
        assert failed.returncode != 0
        assert "authentication required" in failed.stderr or "unauthorized" in failed.stderr
        peer(*copy, "--dest-creds", "alice:secret", env=env)
        seen = peer("skopeo", "inspect", "--cert-dir", certs, "--creds", "alice:secret", there, env=env)
        assert json.loads(seen)["Digest"] == whole(source.path, "one")


def test_pushes_of_several_clients_at_once(layout: Path, source: LayoutMaker, env: dict[str, str]) -> None:
    need("skopeo")
    failures: list[AssertionError] = []
    with Server(layout) as server:

        def push(number: int) -> None:
            there = f"docker://{server.host}/app{number % 2}:t{number}"
            try:
                peer("skopeo", "copy", "--all", f"--dest-{PLAIN[2:]}", f"oci:{source.path}:multi", there, env=env)
            except AssertionError as error:
                failures.append(error)

        threads = [threading.Thread(target=push, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        tags = [
            tag
            for name in ("app0", "app1")
            for tag in json.loads(peer("skopeo", "list-tags", PLAIN, f"docker://{server.host}/{name}", env=env))["Tags"]
        ]
    assert failures == []
    assert sorted(tags) == [f"t{number}" for number in range(6)]
    assert "error" not in ocikit("verify", layout)


def test_our_client_pushes_and_pulls(layout: Path, source: LayoutMaker, tmp_path: Path, env: dict[str, str]) -> None:
    with Server(layout) as server:
        there = f"docker://{server.host}/team/app:v1"
        ocikit("copy", "--all-platforms", f"oci:{source.path}:multi", there, env=env)
        ocikit("copy", "--all-platforms", there, f"oci:{tmp_path / 'back'}:multi", env=env)
        ocikit("verify", "--all-platforms", there, env=env)
    assert whole(tmp_path / "back", "multi") == whole(source.path, "multi")


def test_our_client_pushes_and_pulls_a_manifest_of_four_mebibytes(
    layout: Path, source: LayoutMaker, tmp_path: Path, env: dict[str, str]
) -> None:
    """spec.md#pushing-manifests: both ends SHOULD expect so much."""
    value = json.loads((source.path / "blobs" / whole(source.path, "one").replace(":", "/")).read_text())
    value["annotations"] = {"org.example.filler": ""}
    value["annotations"]["org.example.filler"] = "x" * ((4 << 20) - len(encode(value)))
    source.tag("large", source.document(value, value["mediaType"]))
    source.finish()
    with Server(layout) as server:
        there = f"docker://{server.host}/team/app:large"
        ocikit("copy", f"oci:{source.path}:large", there, env=env)
        ocikit("copy", there, f"oci:{tmp_path / 'back'}:large", env=env)
    assert whole(tmp_path / "back", "large") == whole(source.path, "large")


@pytest.fixture
def run() -> Iterator[Path]:
    """A folder with a short name: podman takes no longer one than 50 characters."""
    with tempfile.TemporaryDirectory(prefix="run-") as folder:
        yield Path(folder)


@pytest.mark.skipif(os.getuid() != 0, reason="needs root: buildah and podman work on a store of their own")
@pytest.mark.parametrize("form", ["oci", "docker"])
def test_buildah_and_podman_push_what_they_built(
    layout: Path, tmp_path: Path, run: Path, env: dict[str, str], form: str
) -> None:
    need("podman")
    need_buildah()
    store: list[object] = ["--root", tmp_path / "store", "--runroot", run, "--storage-driver", "vfs"]
    (tmp_path / "file").write_text("content\n")
    name = peer("buildah", *store, "from", "scratch", env=env).strip()
    try:
        peer("buildah", *store, "copy", name, tmp_path / "file", "/", env=env)
        peer("buildah", *store, "commit", "--format", form, name, "built", env=env)
        with Server(layout) as server:
            peer("buildah", *store, "push", PLAIN, "built", f"docker://{server.host}/by-buildah:v1", env=env)
            peer("podman", *store, "push", PLAIN, "built", f"docker://{server.host}/by-podman:v1", env=env)
    finally:
        peer("buildah", *store, "rm", "--all", env=env)
    names = ocikit("ls", layout)
    assert "by-buildah:v1" in names
    assert "by-podman:v1" in names
    assert "error" not in ocikit("verify", layout)


@pytest.mark.skipif(os.getuid() != 0, reason="needs root: podman works on a store of its own")
def test_podman_pulls_what_was_pushed(
    layout: Path, source: LayoutMaker, tmp_path: Path, run: Path, env: dict[str, str]
) -> None:
    need("podman", "skopeo")
    need_mountable_root("podman")
    store: list[object] = ["--root", tmp_path / "store", "--runroot", run, "--storage-driver", "vfs"]
    with Server(layout) as server:
        there = f"{server.host}/app:v1"
        peer("skopeo", "copy", "--all", f"--dest-{PLAIN[2:]}", f"oci:{source.path}:multi", f"docker://{there}", env=env)
        pulled = peer("podman", *store, "pull", PLAIN, there, env=env).strip()
    assert len(pulled) == 64
