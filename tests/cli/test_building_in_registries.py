"""append and config from registry to registry: the base's layers are mounted, new ones wait in a temporary layout."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.images import LayoutMaker, tar_layer
from tests.support.peers import need
from tests.support.places import Place
from tests.support.registries import docker_registry


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Place]:
    need("docker-registry")
    with docker_registry(tmp_path) as registry:
        yield Place(registry.host, tmp_path, registry=registry)


@pytest.fixture
def scratch(there: Place, tmp_path: Path) -> Path:
    """The folder for temporary files, of the test's own."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    there.env["TMPDIR"] = str(folder)
    return folder


@pytest.fixture
def app(tmp_path: Path) -> Path:
    (tmp_path / "app").mkdir()
    (tmp_path / "app/data").write_bytes(os.urandom(300_000))
    return tmp_path / "app"


def push_base(there: Place, tmp_path: Path) -> None:
    maker = LayoutMaker(tmp_path / "base")
    maker.tag("v1", maker.image([tar_layer({"big": os.urandom(300_000)}), tar_layer({"small": b"1"})]))
    there.ocikit("copy", f"oci:{maker.finish()}:v1", there.name("base"))


def test_append_mounts_the_base_and_sends_what_is_new(there: Place, tmp_path: Path, scratch: Path, app: Path) -> None:
    push_base(there, tmp_path)
    before = there.registry.mark()
    printed = there.ocikit("append", there.name("base"), f"{app}:/opt", "-t", there.name("team/app"))
    assert printed.startswith(f"docker://{there.host}/team/app@sha256:")
    mounts = there.registry.asked("POST", "mount=", since=before)
    assert [one.status for one in mounts] == [201, 201]
    assert there.registry.count("PUT", "/blobs/uploads/", since=before) == 2  # the layer and the config
    assert there.registry.count("GET", "/blobs/", since=before) == 1  # the base's config
    assert list(scratch.iterdir()) == []
    assert "ok" in there.ocikit("verify", there.name("team/app"))


def test_config_sends_a_config_alone(there: Place, tmp_path: Path, scratch: Path) -> None:
    push_base(there, tmp_path)
    before = there.registry.mark()
    there.ocikit("config", there.name("base"), "--env", "A=B", "-t", there.name("base", "v2"))
    assert there.registry.count("PUT", "/blobs/uploads/", since=before) == 1
    assert there.registry.count("POST", "mount=", since=before) == 0
    assert list(scratch.iterdir()) == []


def test_a_base_in_a_layout_and_one_in_a_registry_go_either_way(
    there: Place, tmp_path: Path, scratch: Path, app: Path
) -> None:
    push_base(there, tmp_path)
    there.ocikit("append", f"oci:{tmp_path}/base:v1", f"{app}:/opt", "-t", there.name("up"))
    there.ocikit("append", there.name("base"), f"{app}:/opt", "-t", f"oci:{tmp_path}/down:v1")
    up = there.ocikit("inspect", there.name("up"), "--raw")
    assert up == there.ocikit("inspect", f"oci:{tmp_path}/down:v1", "--raw")
    assert list(scratch.iterdir()) == []


def test_a_failure_leaves_no_tag_and_no_temporary_file(there: Place, tmp_path: Path, scratch: Path, app: Path) -> None:
    push_base(there, tmp_path)
    there.fails("append", there.name("base"), f"{app}:/opt", "-t", "docker://127.0.0.1:1/team/app:v1")
    there.fails("append", there.name("base"), f"{app}/data:/opt", "-t", there.name("team/app"))
    assert there.registry.count("PUT", "/team/app/manifests/") == 0
    assert list(scratch.iterdir()) == []
