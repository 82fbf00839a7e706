"""Every command that takes a registry, against docker-registry in each way it may be guarded and against our own.

skopeo stands beside: what we push, it has to read to the same bytes; what it pushed, we have to. The registry is
started once a mode for the whole file; each test has a repository of its own in it.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commands import digests_of
from tests.support.images import DOCKER_LAYER_GZIP, DOCKER_MANIFEST, OCI_INDEX, LayoutMaker, index, tar_layer
from tests.support.peers import need
from tests.support.places import MODES, OWN, Place, place
from tests.support.trees import differences, snapshot

_numbers = itertools.count()


@pytest.fixture(scope="module", params=[*MODES, OWN])
def guarded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    need("docker-registry", "skopeo")
    with place(request.param, tmp_path_factory.mktemp(request.param)) as made:
        yield made


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A layout with `v1` of three layers, `docker` in Docker's types, and `multi`, an index of two platforms."""
    maker = LayoutMaker(tmp_path_factory.mktemp("images") / "layout")
    base = tar_layer({"etc/": None, "etc/hostname": b"box\n", "bin": ("symlink", "usr/bin"), "usr/": None})
    data = tar_layer({"usr/": None, "usr/data": os.urandom(300_000)})
    top = tar_layer({"etc/": None, "etc/.wh.hostname": b"", "etc/motd": b"welcome\n"})
    maker.tag("v1", maker.image([base, data, top]))
    docker = tar_layer({"docker": b"types\n"}, media_type=DOCKER_LAYER_GZIP)
    maker.tag("docker", maker.image([docker], docker=True))
    children = []
    for architecture in ("amd64", "arm64"):
        child = maker.image([base], architecture=architecture)
        children.append(child | {"platform": {"os": "linux", "architecture": architecture}})
    maker.tag("multi", maker.document(index(children), OCI_INDEX))
    return maker.finish()


@pytest.fixture
def repository() -> str:
    return f"team/app-{next(_numbers)}"


def test_what_we_push_is_what_skopeo_reads(guarded: Place, images: Path, repository: str, tmp_path: Path) -> None:
    for tag, expected in digests_of(images).items():
        guarded.ocikit("copy", "--all-platforms", f"oci:{images}:{tag}", guarded.name(repository, tag))
        raw = guarded.skopeo("inspect", "--raw", guarded.name(repository, tag))
        assert "sha256:" + hashlib.sha256(raw.encode()).hexdigest() == expected
    guarded.skopeo("copy", "--all", guarded.name(repository, "multi"), f"oci:{tmp_path}/back:multi")
    assert digests_of(tmp_path / "back") == {"multi": digests_of(images)["multi"]}


def test_what_skopeo_pushes_is_what_we_read(guarded: Place, images: Path, repository: str, tmp_path: Path) -> None:
    guarded.skopeo("copy", f"oci:{images}:v1", guarded.name(repository, "v1"))
    guarded.skopeo("copy", "--all", f"oci:{images}:multi", guarded.name(repository, "multi"))
    guarded.skopeo("copy", "--format", "v2s2", f"oci:{images}:v1", guarded.name(repository, "docker"))
    for tag in ("v1", "multi", "docker"):
        guarded.ocikit("copy", "--all-platforms", guarded.name(repository, tag), f"oci:{tmp_path}/back:{tag}")
        raw = guarded.skopeo("inspect", "--raw", guarded.name(repository, tag))
        assert digests_of(tmp_path / "back")[tag] == "sha256:" + hashlib.sha256(raw.encode()).hexdigest()
    assert json.loads(guarded.ocikit("verify", f"oci:{tmp_path}/back", "--json"))["ok"] is True


def test_inspect_and_tags_say_what_skopeo_says(guarded: Place, images: Path, repository: str) -> None:
    for tag in ("v1", "v2", "latest"):
        guarded.skopeo("copy", f"oci:{images}:v1", guarded.name(repository, tag))
    theirs = guarded.skopeo_json("inspect", guarded.name(repository))
    ours = json.loads(guarded.ocikit("inspect", guarded.name(repository), "--json"))
    assert ours["digest"] == theirs["Digest"]
    assert [layer["digest"] for layer in ours["layers"]] == theirs["Layers"]
    raw = guarded.ocikit("inspect", guarded.name(repository), "--raw", "--manifest")
    assert raw == guarded.skopeo("inspect", "--raw", guarded.name(repository))
    config = json.loads(guarded.ocikit("inspect", guarded.name(repository), "--config"))
    assert config["rootfs"] == guarded.skopeo_json("inspect", "--config", guarded.name(repository))["rootfs"]
    tags = guarded.ocikit("tags", f"docker://{guarded.host}/{repository}").split()
    assert tags == guarded.skopeo_json("list-tags", f"docker://{guarded.host}/{repository}")["Tags"]
    history = json.loads(guarded.ocikit("history", guarded.name(repository), "--json"))
    assert [entry["digest"] for entry in history] == theirs["Layers"]


def test_unpack_and_verify_work_on_the_registry_itself(
    guarded: Place, images: Path, repository: str, tmp_path: Path
) -> None:
    guarded.skopeo("copy", f"oci:{images}:v1", guarded.name(repository))
    how = [] if os.getuid() == 0 else ["--rootless"]
    guarded.ocikit("unpack", *how, guarded.name(repository), tmp_path / "far")
    Place(guarded.host, tmp_path).ocikit("unpack", *how, f"oci:{images}:v1", tmp_path / "near")
    assert differences(snapshot(tmp_path / "far"), snapshot(tmp_path / "near")) == []
    report = json.loads(guarded.ocikit("verify", guarded.name(repository), "--json"))
    assert report["ok"] is True
    assert report["checked"]["layers"] == 3


def test_append_and_config_go_from_tag_to_tag(guarded: Place, images: Path, repository: str, tmp_path: Path) -> None:
    guarded.ocikit("copy", f"oci:{images}:v1", guarded.name(repository))
    (tmp_path / "more").mkdir()
    (tmp_path / "more/file").write_text("more\n")
    asked = guarded.registry.mark()
    guarded.ocikit("append", guarded.name(repository), f"{tmp_path}/more:/srv", "-t", guarded.name(repository, "v2"))
    # Three layers are there already: the new one and a config are all that goes up.
    assert guarded.registry.count("PUT", "/blobs/uploads/", since=asked) <= 2
    guarded.ocikit("config", guarded.name(repository, "v2"), "--env", "A=b", "-t", guarded.name(repository, "v3"))
    config = guarded.skopeo_json("inspect", "--config", guarded.name(repository, "v3"))
    assert "A=b" in config["config"]["Env"]
    assert len(config["rootfs"]["diff_ids"]) == 4
    guarded.ocikit("copy", guarded.name(repository, "v3"), f"oci:{tmp_path}/back:v3")
    assert json.loads(guarded.ocikit("verify", guarded.name(repository, "v3"), "--json"))["ok"] is True


def test_copy_between_repositories_moves_no_bytes_through_us(guarded: Place, images: Path, repository: str) -> None:
    guarded.ocikit("copy", f"oci:{images}:v1", guarded.name(repository))
    asked = guarded.registry.mark()
    guarded.ocikit("copy", guarded.name(repository), guarded.name(f"{repository}-copy"))
    mounts = guarded.registry.asked("POST", "mount=sha256", since=asked)
    mounts = [one for one in mounts if one.status != 401]  # anonymous first
    assert len(mounts) == 4
    assert {one.status for one in mounts if "from=" in one.target} == {201}
    assert guarded.registry.count("PUT", "/blobs/uploads/", since=asked) == 0
    layers = guarded.registry.asked("GET", f"/{repository}/blobs/", since=asked)
    assert sum(one.size for one in layers) < 10_000  # the config at most


def test_delete_takes_away_a_manifest(guarded: Place, images: Path, repository: str) -> None:
    guarded.ocikit("copy", f"oci:{images}:v1", guarded.name(repository, "gone"))
    guarded.ocikit("copy", f"oci:{images}:docker", guarded.name(repository, "stays"))
    guarded.ocikit("delete", f"docker://{guarded.host}/{repository}@{digests_of(images)['v1']}")
    assert guarded.ocikit("tags", f"docker://{guarded.host}/{repository}").split() == ["stays"]
    line = guarded.fails("inspect", guarded.name(repository, "gone"))
    assert "gone" in line
    assert guarded.skopeo_json("inspect", "--raw", guarded.name(repository, "stays"))["mediaType"] == DOCKER_MANIFEST


def test_a_second_push_and_a_second_pull_move_no_blobs(
    guarded: Place, images: Path, repository: str, tmp_path: Path
) -> None:
    guarded.ocikit("copy", f"oci:{images}:v1", guarded.name(repository))
    asked = guarded.registry.mark()
    guarded.ocikit("copy", f"oci:{images}:v1", guarded.name(repository))
    assert guarded.registry.count("POST", "/blobs/uploads/", since=asked) == 0
    guarded.ocikit("copy", guarded.name(repository), f"oci:{tmp_path}/back:v1")
    asked = guarded.registry.mark()
    guarded.ocikit("copy", guarded.name(repository), f"oci:{tmp_path}/back:v1")
    assert guarded.registry.count("GET", "/blobs/", since=asked) == 0
