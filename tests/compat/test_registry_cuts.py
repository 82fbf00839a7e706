"""Cut lines and kill -9 in the middle of pull and push, with a real registry behind a proxy that cuts.

What was there before stays whole, and a repeat finishes and moves only what is missing: the registry's own log is
counted.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.commands import digests_of
from tests.support.cutter import Cutter
from tests.support.images import OCI_LAYER, LayerBlob, LayoutMaker, tar_layer
from tests.support.peers import need
from tests.support.places import Place
from tests.support.registries import Asked, DockerRegistry, docker_registry
from tests.support.trees import differences, snapshot

LAYERS = 4
SIZE = 3_000_000


@pytest.fixture(scope="module")
def layers() -> list[LayerBlob]:
    return [tar_layer({f"data{number}": os.urandom(SIZE)}, media_type=OCI_LAYER) for number in range(LAYERS)]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory, layers: list[LayerBlob]) -> Path:
    maker = LayoutMaker(tmp_path_factory.mktemp("image") / "layout")
    maker.tag("v1", maker.image(layers))
    return maker.finish()


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[DockerRegistry]:
    need("docker-registry", "skopeo")
    with docker_registry(tmp_path) as running:
        yield running


@pytest.fixture
def network(registry: DockerRegistry) -> Iterator[Cutter]:
    with Cutter(registry.port) as proxy:
        yield proxy


@pytest.fixture
def near(registry: DockerRegistry, tmp_path: Path) -> Place:
    """The registry without the proxy between."""
    return Place(registry.host, tmp_path, registry=registry)


@pytest.fixture
def far(registry: DockerRegistry, network: Cutter, tmp_path: Path) -> Place:
    """The registry as it is reached through the proxy."""
    return Place(network.host, tmp_path, registry=registry)


@pytest.fixture
def pushed(near: Place, image: Path) -> None:
    near.ocikit("copy", f"oci:{image}:v1", near.name("app"))


def until(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    """Wait for what another process does; it must not end before."""
    deadline = time.monotonic() + 30
    while not condition():
        assert process.poll() is None, f"ended too early: {process.returncode}"
        assert time.monotonic() < deadline
        time.sleep(0.01)


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait(10)


@pytest.mark.usefixtures("pushed")
def test_a_pull_goes_on_where_it_was_cut(far: Place, network: Cutter, image: Path, tmp_path: Path) -> None:
    network.cut_down(after=SIZE // 2, times=3)
    asked = far.registry.mark()
    far.ocikit("copy", far.name("app"), f"oci:{tmp_path}/back:v1")
    assert network.cuts == 3
    assert digests_of(tmp_path / "back") == digests_of(image)
    assert json.loads(far.ocikit("verify", f"oci:{tmp_path}/back:v1", "--json"))["problems"] == []
    resumed = [one for one in far.registry.asked("GET", "/blobs/", since=asked) if one.status == 206]
    assert len(resumed) == 3
    assert all(one.size < SIZE for one in resumed)


@pytest.mark.usefixtures("pushed")
def test_a_pull_that_is_cut_again_and_again_gets_there_in_pieces(
    far: Place, network: Cutter, image: Path, tmp_path: Path
) -> None:
    """More cuts than one blob has attempts: each connection got on, so none of them counts."""
    network.cut_down(after=1_200_000, times=1000)
    far.ocikit("copy", far.name("app"), f"oci:{tmp_path}/back:v1")
    assert network.cuts >= 2 * LAYERS
    assert digests_of(tmp_path / "back") == digests_of(image)


@pytest.mark.usefixtures("pushed")
def test_a_pull_goes_on_after_resets_too(far: Place, network: Cutter, image: Path, tmp_path: Path) -> None:
    network.cut_down(after=SIZE // 2, times=2, hard=True)
    far.ocikit("copy", far.name("app"), f"oci:{tmp_path}/back:v1")
    assert network.cuts == 2
    assert digests_of(tmp_path / "back") == digests_of(image)


@pytest.mark.usefixtures("pushed")
def test_unpacking_from_a_registry_survives_a_cut(far: Place, network: Cutter, image: Path, tmp_path: Path) -> None:
    network.cut_down(after=SIZE // 2, times=2)
    how = [] if os.getuid() == 0 else ["--rootless"]
    far.ocikit("unpack", *how, far.name("app"), tmp_path / "ours")
    assert network.cuts == 2
    far.ocikit("unpack", *how, f"oci:{image}:v1", tmp_path / "expected")
    assert differences(snapshot(tmp_path / "ours"), snapshot(tmp_path / "expected")) == []


@pytest.mark.usefixtures("pushed")
def test_a_killed_pull_leaves_a_sound_layout_and_a_repeat_fetches_what_is_missing(
    far: Place, near: Place, network: Cutter, image: Path, tmp_path: Path
) -> None:
    network.stall_down(after=SIZE * 3 // 4)
    target = tmp_path / "back"
    blobs = target / "blobs/sha256"
    process = far.start("copy", far.name("app"), f"oci:{target}:v1")
    try:
        # The config and all layers but the one that stalls.
        until(lambda: network.cuts == 1 and blobs.is_dir() and len(digested(blobs)) >= LAYERS, process)
    finally:
        kill(process)
    there = digested(blobs)
    assert digests_of(target) == {}
    report = near.run("verify", f"oci:{target}", "--json").json
    assert [one for one in report["problems"] if one["severity"] == "error"] == []
    asked = near.registry.mark()
    near.ocikit("copy", near.name("app"), f"oci:{target}:v1")
    fetched = {one.path.rpartition(":")[2] for one in near.registry.asked("GET", "/blobs/", since=asked)}
    assert len(fetched) == 1
    assert fetched & there == set()
    assert digests_of(target) == digests_of(image)
    assert json.loads(near.ocikit("verify", f"oci:{target}:v1", "--json"))["ok"] is True


def digested(blobs: Path) -> set[str]:
    """The blobs in a folder that bear their final name."""
    return {path.name for path in blobs.iterdir() if len(path.name) == 64}


def test_a_push_starts_a_cut_blob_again(far: Place, network: Cutter, image: Path, tmp_path: Path) -> None:
    network.cut_up(after=SIZE // 2, times=2)
    far.ocikit("copy", f"oci:{image}:v1", far.name("app"))
    assert network.cuts == 2
    far.skopeo("copy", far.name("app"), f"oci:{tmp_path}/back:v1")
    assert digests_of(tmp_path / "back") != {}
    assert json.loads(far.ocikit("verify", f"oci:{tmp_path}/back:v1", "--json"))["ok"] is True


def test_a_killed_push_moves_no_tag_and_a_repeat_sends_what_is_missing(
    far: Place, near: Place, registry: DockerRegistry, network: Cutter, image: Path, layers: list[LayerBlob]
) -> None:
    network.stall_up(after=SIZE * 3 // 4)
    wanted = {layer.digest for layer in layers} | {config_of(image)}
    process = far.start("copy", f"oci:{image}:v1", far.name("app"))
    try:
        # Acknowledged, not just stored: a blob has its place on disk before its name in the repository.
        until(lambda: network.cuts == 1 and len(acknowledged(near)) >= LAYERS, process)
    finally:
        kill(process)
    near.fails("inspect", near.name("app"))
    assert len(wanted - registry.stored()) == 1
    asked = near.registry.mark()
    near.ocikit("copy", f"oci:{image}:v1", near.name("app"))
    assert len(acknowledged(near, since=asked)) == 1
    raw = near.skopeo_json("inspect", near.name("app"))
    assert raw["Digest"] == digests_of(image)["v1"]


def acknowledged(place: Place, since: int = 0) -> list[Asked]:
    """The uploads that ended well."""
    return [one for one in place.registry.asked("PUT", "/blobs/uploads/", since=since) if one.status == 201]


def config_of(layout: Path) -> str:
    manifest = layout / "blobs/sha256" / digests_of(layout)["v1"].partition(":")[2]
    digest = json.loads(manifest.read_bytes())["config"]["digest"]
    assert isinstance(digest, str)
    return digest


def test_a_failed_push_leaves_the_tag_where_it_was(far: Place, near: Place, network: Cutter, image: Path) -> None:
    maker = LayoutMaker(near.folder / "old")
    maker.tag("v1", maker.image([tar_layer({"old": b"old\n"})]))
    old = maker.finish()
    near.ocikit("copy", f"oci:{old}:v1", near.name("app"))
    network.stall_up(after=SIZE // 2, times=100)
    process = far.start("copy", f"oci:{image}:v1", far.name("app"))
    try:
        until(lambda: network.cuts >= 1, process)
    finally:
        process.terminate()
        assert process.wait(10) == 143
    assert near.skopeo_json("inspect", near.name("app"))["Digest"] == digests_of(old)["v1"]
