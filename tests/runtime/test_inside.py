"""Paths inside a container, settled within its root."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from oci.errors import InvalidInput
from oci.runtime.inside import MAX_LEVELS, MAX_PATH, absolute, below, settle


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    tree = tmp_path / "root"
    (tree / "a/b").mkdir(parents=True)
    (tree / "file").write_text("")
    for name, target in {
        "abs": "/a/b",
        "rel": "a/b",
        "up": "../../../../../a",
        "a/back": "../a/b",
        "chain": "rel/../abs",
        "loop": "loop",
        "one": "two",
        "two": "one",
        "host": str(tmp_path / "outside"),
        "magic": "/proc/self/root/etc",
        "dangling": "not/there",
    }.items():
        (tree / name).symlink_to(target)
    (tmp_path / "outside").mkdir()
    fd = os.open(tree, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", "/"),
        ("/a/b", "/a/b"),
        ("/abs/c", "/a/b/c"),
        ("/rel/c", "/a/b/c"),
        ("/up/b", "/a/b"),
        ("/a/back", "/a/b"),
        ("/chain", "/a/abs"),
        ("/dangling/x", "/not/there/x"),
        ("/file/x", "/file/x"),
        ("/new/deep/path", "/new/deep/path"),
        ("/magic", "/proc/self/root/etc"),
        ("//a///b/.", "/a/b"),
        ("/../../a", "/a"),
        ("/abs/../file", "/file"),
    ],
)
def test_links_are_settled_inside(root: int, path: str, expected: str) -> None:
    assert settle(root, path, "path") == expected


def test_a_link_to_this_machine_leads_to_the_same_name_inside(root: int, tmp_path: Path) -> None:
    assert settle(root, "/host/x", "path") == f"{tmp_path}/outside/x"
    assert list((tmp_path / "outside").iterdir()) == []


def test_links_in_a_circle_are_one_clear_error(root: int) -> None:
    for name in ("/loop", "/one/x"):
        with pytest.raises(InvalidInput, match=r"place '.*': more than 40 symbolic links in the image"):
            settle(root, name, "place")


def test_what_a_mount_covers_is_not_looked_at(root: int) -> None:
    assert settle(root, "/abs/x", "path", {"/abs"}) == "/abs/x"
    assert settle(root, "/a/back", "path", {"/a"}) == "/a/back"


def test_a_folder_that_will_be_mounted_is_looked_into(root: int, tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    (volume / "sub").mkdir(parents=True)
    (volume / "to-image").symlink_to("/abs")
    (volume / "to-proc").symlink_to("/proc/self/fd/3")
    (volume / "up").symlink_to("../file")
    mounted = {"/data": str(volume), "/t": None, "/new/deep": str(volume)}
    assert settle(root, "/data/to-image/x", "path", mounted) == "/a/b/x"
    assert settle(root, "/data/to-proc", "path", mounted) == "/proc/self/fd/3"
    assert settle(root, "/data/up", "path", mounted) == "/file"
    assert settle(root, "/data/sub/x", "path", mounted) == "/data/sub/x"
    assert settle(root, "/t/x", "path", mounted) == "/t/x"
    assert settle(root, "/new/deep/up", "path", mounted) == "/new/deep/up"  # the way to it isn't there yet


def test_no_descriptor_is_left_open(root: int) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for path in ("/abs/x", "/file/x", "/up/b"):
        settle(root, path, "path")
    with pytest.raises(InvalidInput):
        settle(root, "/loop", "path")
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("path", ["", "relative", "./x", "/a\0b", "/\udcff", "/" + "x" * MAX_PATH])
def test_what_is_no_absolute_path(path: str) -> None:
    with pytest.raises(InvalidInput, match="place"):
        absolute(path, "place")


def test_below() -> None:
    assert below("/a", "/a")
    assert below("/a/b", "/a")
    assert below("/a", "/")
    assert not below("/ab", "/a")


@pytest.mark.usefixtures("deep_trees")
def test_a_link_so_deep_that_descriptors_run_out_is_no_name(tmp_path: Path) -> None:
    deep = "a/" * (MAX_LEVELS + 1)
    (tmp_path / deep).mkdir(parents=True)
    (tmp_path / deep / "link").symlink_to("/proc/self/fd/7")
    (tmp_path / "b/c").mkdir(parents=True)
    (tmp_path / "b/c/link").symlink_to("/proc/self/fd/7")
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        with pytest.raises(InvalidInput, match=f"more than {MAX_LEVELS} directories deep"):
            settle(fd, f"/{deep}link", "place")
        spare = os.dup(fd)  # the lowest number that is free
        os.close(spare)
        for more in range(3):
            resource.setrlimit(resource.RLIMIT_NOFILE, (spare + more, before[1]))
            with pytest.raises(InvalidInput, match="can't be looked for: Too many open files"):
                settle(fd, "/b/c/link", "place")
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        assert settle(fd, "/b/c/link", "place") == "/proc/self/fd/7"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        os.close(fd)
