"""Images made to harm who makes a container of them: refused in one line, soon, with nothing left behind."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from oci.container.create import MAX_STOP_TIMEOUT
from oci.container.lifecycle import remove, start, stop
from oci.container.scaffold import make_scaffold
from oci.container.status import status
from oci.errors import InvalidInput, LimitExceeded, OciError, RuntimeFailed
from oci.runtime.inside import MAX_LEVELS
from oci.runtime.mount_points import MAX_VOLUMES, mount_points
from oci.runtime.settings import MountSetting, RunSettings
from oci.storage.images import find
from tests.support.containers import SLEEP, busybox_store, container_of, start_ready
from tests.support.images import tar_layer
from tests.support.namespaces import need_mounts, rootless
from tests.support.peers import need


def test_more_volumes_than_anybody_needs(tmp_path: Path) -> None:
    with busybox_store(tmp_path, Volumes={f"/v{number}": {} for number in range(MAX_VOLUMES + 1)}) as store:
        with pytest.raises(LimitExceeded, match="volumes of the image"):
            container_of(store)
        assert os.listdir(tmp_path / "volumes") == os.listdir(tmp_path / "containers") == []


@pytest.mark.usefixtures("deep_trees")
def test_a_working_directory_so_deep_that_its_link_is_not_seen(tmp_path: Path) -> None:
    """CVE-2024-21626, behind more directories than a process may have files open."""
    need("runc")
    need_mounts()
    deep = "a/" * (MAX_LEVELS + 1)
    link = tar_layer({deep[: 2 * depth]: None for depth in range(1, MAX_LEVELS + 2)})
    more = tar_layer({f"{deep}link": ("symlink", "/proc/self/fd/7")})
    with busybox_store(tmp_path, link, more, WorkingDir=f"/{deep}link") as store:
        box = container_of(store, "pwd")
        with pytest.raises(RuntimeFailed, match=f"more than {MAX_LEVELS} directories deep"):
            start(box)


@pytest.mark.parametrize(("name", "target"), [("passwd", "/proc/kmsg"), ("group", "../../dev/stdin"), ("group", "own")])
def test_users_that_a_runtime_would_wait_for(tmp_path: Path, name: str, target: str) -> None:
    need("runc")
    need_mounts()
    layer = tar_layer({f"etc/{name}": ("symlink", target), "etc/own": ("fifo", "")})
    with busybox_store(tmp_path, layer) as store:
        box = container_of(store, "true")
        with pytest.raises(RuntimeFailed, match=f"the image's /etc/{name} (leads to /(proc|dev)/|is not a file)"):
            start(box)


@pytest.mark.parametrize("target", ["/proc/uptime", "../../proc/sys/kernel/core_pattern", "/sys/kernel/x", "/dev/null"])
def test_files_of_etc_that_would_cover_the_kernels(tmp_path: Path, target: str) -> None:
    """CVE-2019-16884: what is mounted over a file of /proc is believed by who reads it."""
    need("runc")
    need_mounts()
    with busybox_store(tmp_path, tar_layer({"etc/hosts": ("symlink", target)})) as store:
        box = container_of(store, "true")
        with pytest.raises(RuntimeFailed, match=r"the image's /etc/hosts leads to /.*: nothing can be mounted there"):
            start(box)


@pytest.mark.parametrize("path", ["/dev", "/link/../dev", "/link", "/link/pts"])
def test_a_null_device_that_is_the_images(tmp_path: Path, path: str) -> None:
    """CVE-2025-31133: runtimes mask paths by binding /dev/null over them, which a volume could have as a link."""
    need("runc")
    need_mounts()
    null = {"dev/null": ("symlink", "/proc/sys/kernel/core_pattern"), "link": ("symlink", "dev")}
    with (
        busybox_store(tmp_path, tar_layer(null), Volumes={path: {}}) as store,
        pytest.raises(OciError, match="a container has its own devices there"),
    ):
        start(container_of(store, "cat", "/proc/keys"))


@pytest.mark.parametrize("seconds", [10**18, -1])
def test_an_image_that_is_never_to_be_stopped(tmp_path: Path, seconds: int) -> None:
    need("runc")
    need_mounts()
    with busybox_store(tmp_path, StopTimeout=seconds) as store:
        box = container_of(store, *SLEEP)
        assert box.settings.stop_timeout == MAX_STOP_TIMEOUT
        start_ready(box)
        stop(box)
        remove(box)
        box = container_of(store, *SLEEP, stop_timeout=10**9)
        start_ready(box)
        stop(box)


@pytest.mark.parametrize("path", ["/" + "x" * 256, "/" + "a/" * 2040 + "b"], ids=["name", "path"])
def test_a_working_directory_that_can_not_be_made(tmp_path: Path, path: str) -> None:
    with busybox_store(tmp_path, WorkingDir=path) as store:
        with pytest.raises(InvalidInput, match=r"working directory /.* is too long"):
            container_of(store)
        assert os.listdir(tmp_path / "containers") == []


@pytest.mark.usefixtures("deep_trees")
def test_volumes_that_need_a_million_directories(tmp_path: Path) -> None:
    volumes: dict[str, object] = {f"/{number}/{'a/' * 1000}b": {} for number in range(MAX_VOLUMES)}
    with busybox_store(tmp_path, Volumes=volumes) as store:
        config = find(store, "busybox").image.config.model
        layers = [store.layer_path(layer.id) for layer in store.layers.ensure(find(store, "busybox").image)]
        mounts = tuple(MountSetting(type="volume", target=path) for path in volumes)
        points = mount_points(RunSettings(mounts=mounts), config)
        with pytest.raises(LimitExceeded, match="for the mount points of a container"):
            make_scaffold(str(tmp_path / "init"), layers, store.driver.form, points)


HOSTILE: tuple[tuple[dict[str, tuple[str, str]], dict[str, Any], str], ...] = (
    ({"etc/passwd": ("symlink", "/proc/kmsg")}, {}, "the image's /etc/passwd leads to"),
    ({"etc/group": ("fifo", "")}, {}, "the image's /etc/group is not a file"),
    ({"etc/hosts": ("symlink", "/proc/uptime")}, {}, "the image's /etc/hosts leads to"),
    ({"dev": ("symlink", "/")}, {}, "/dev"),
    ({"proc": ("symlink", "../../..")}, {}, "/proc is a link"),
    ({"way": ("symlink", "/proc/self/fd/7")}, {"WorkingDir": "/way"}, "process's own folder"),
    ({}, {"WorkingDir": "/proc/self/fd/7"}, "process's own folder"),
    ({"way": ("symlink", "proc")}, {"Volumes": {"/way/sys": {}}}, "nothing can be mounted in /proc"),
    ({}, {"Volumes": {"/dev": {}}}, "a container has its own devices there"),
    ({}, {"Volumes": {"../x": {}}}, "an absolute path is needed"),
    ({}, {"Entrypoint": ["/etc"]}, "a directory, not a program"),
    ({}, {"User": "1:999999999999999999999"}, "has no group"),
)


def _all_refused() -> None:
    for number, (entries, config, reason) in enumerate(HOSTILE):
        root = Path.cwd() / str(number)
        root.mkdir(0o700)
        with busybox_store(root, *([tar_layer(entries)] if entries else []), **config) as store:
            with pytest.raises(OciError) as caught:
                start(container_of(store))
            assert reason in str(caught.value)
            assert "\n" not in str(caught.value)
            for box in status(store):
                assert box.row.status == "created"
                remove(box)


def test_an_ordinary_user_is_spared_the_same() -> None:
    need("runc")
    rootless(_all_refused, ranges=False)
