"""What the kernel, fuse-overlayfs and hostile containers leave in a writable layer, and what is told of it."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterable
from pathlib import Path

import pytest

from oci.drivers.copy import Copy
from oci.drivers.differences import Walk
from oci.drivers.driver import Driver
from oci.drivers.folders import Folders
from oci.drivers.fuse_overlayfs import FuseOverlayfs
from oci.drivers.lower import Lower
from oci.drivers.marks import KernelMarks, Listing
from oci.drivers.overlay import Overlay
from oci.drivers.snapshot import Snapshot
from oci.errors import DriverError, SourceError
from oci.linux import namespaces, process
from tests.support.driver_cases import read, write
from tests.support.driver_image import make_layers
from tests.support.driver_kit import told
from tests.support.namespaces import need_mounts, need_overlay
from tests.support.peers import need
from tests.support.snapshots import DRIVERS, changes, image, mounted
from tests.support.users import in_child


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> Driver:
    need_overlay()
    if request.param == "fuse-overlayfs":
        need("fuse-overlayfs")
    return DRIVERS[request.param]()


@pytest.mark.parametrize("count", [128, 500])
def test_many_layers(driver: Driver, count: int, tmp_path: Path) -> None:
    at = image(tmp_path, count)
    driver.prepare(at)

    def work(root: bytes) -> None:
        assert len(os.listdir(root)) == count + 2
        assert len(os.listdir(root + b"/dir")) == count
        assert read(root + b"/all") == b"%d" % (count - 1)
        os.unlink(root + b"/dir/file0")
        write(root + b"/file1", b"one", append=True)

    mounted(driver, at, work)
    assert changes(driver, at) == [(b"dir/file0", "deleted"), (b"file1", "modified")]
    with driver.root(at) as fd:
        assert len(os.listdir(f"/proc/self/fd/{fd}/dir")) == count - 1
    driver.remove(at)
    assert os.listdir(at.folder) == []


def test_an_image_without_layers(driver: Driver, tmp_path: Path) -> None:
    at = image(tmp_path, 0)
    driver.prepare(at)
    mounted(driver, at, lambda root: write(root + b"/first", b"1"))
    assert changes(driver, at) == [(b"first", "added")]
    assert [entry[0] for entry in told(driver, at, [])[1]] == [b"first"]
    with driver.root(at) as fd:
        assert os.listdir(f"/proc/self/fd/{fd}") == ["first"]
    driver.remove(at)
    assert os.listdir(at.folder) == []


def test_a_whole_tree_of_any_depth(driver: Driver, tmp_path: Path) -> None:
    """Deeper than a process has descriptors, longer than a path may be."""
    at = image(tmp_path)
    driver.prepare(at)
    depth = 400 if driver.name == "fuse-overlayfs" else 1500  # it puts paths together, and they have to fit

    def work(root: bytes) -> None:
        here = os.open(root + b"/dir", os.O_RDONLY)
        for _ in range(depth):
            os.mkdir(b"deeper", dir_fd=here)
            below = os.open(b"deeper", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        os.close(os.open(b"bottom", os.O_WRONLY | os.O_CREAT, dir_fd=here))
        os.close(here)

    mounted(driver, at, work)
    found = changes(driver, at)
    assert len(found) == depth + 1
    assert found[-1][0].endswith(b"deeper/bottom")
    assert len(told(driver, at, [])[1]) == depth + 2  # and the time of dir
    assert driver.size(at) == (2 if driver.name == "copy" else 0)
    driver.remove(at)


class Swapping(KernelMarks):
    """Reads a directory, and then lets a container put a link in place of one that was in it."""

    def __init__(self, place: Path, link: Path) -> None:
        super().__init__("trusted")
        self._place, self._link = place, link

    def read(self, fd: int, *, only: Iterable[bytes] | None = None) -> Listing:
        listing = super().read(fd, only=only)
        if self._place.name.encode() in listing.names and not self._place.is_symlink():
            self._place.rename(self._place.with_name("moved"))
            self._place.symlink_to(self._link)
        return listing


@pytest.mark.parametrize("place", ["dir", "dir/inner", "dir/file0"])
def test_no_step_of_the_walk_follows_a_link_that_a_container_puts_in_its_way(place: str, tmp_path: Path) -> None:
    at = image(tmp_path)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"")
    (Path(at.upper) / "dir" / "inner").mkdir(parents=True)
    (Path(at.upper) / "dir" / "file0").write_bytes(b"1")
    Path(at.layers[0], "dir", "file0").write_bytes(b"2")
    os.chmod(Path(at.upper) / "dir" / "file0", os.stat(Path(at.layers[0], "dir", "file0")).st_mode & 0o777)
    link = outside / "secret" if place == "dir/file0" else outside
    with Folders([at.upper]) as upper, Folders(at.layers) as lowers:
        walk = Walk(upper, Swapping(Path(at.upper, place), link), Lower(lowers, KernelMarks("trusted"), scaffold=False))
        with pytest.raises(SourceError, match=r"was replaced while it was read|can't be read"):
            list(walk)


def test_what_comes_and_goes_while_a_container_works_is_nothing_to_diff_and_an_error_to_commit(tmp_path: Path) -> None:
    need_overlay()
    at = image(tmp_path)
    Path(at.layers[0], "same").write_bytes(b"1")
    driver = Overlay("trusted")
    driver.prepare(at)
    (Path(at.upper) / "gone" / "inner").mkdir(parents=True)
    for live in (True, False):
        (Path(at.upper) / "same").write_bytes(b"1")
        shutil.copystat(Path(at.layers[0], "same"), Path(at.upper, "same"))
        with Folders([at.upper]) as upper, Folders(at.layers) as lowers:
            lower = Lower(lowers, KernelMarks("trusted"), scaffold=False)
            walk = Walk(upper, Vanishing(Path(at.upper)), lower, live=live)
            if live:
                assert [(one.path, one.kind) for one in walk if one.kind != "times"] == [
                    (b"gone", "added"),
                    (b"same", "deleted"),
                ]
                (Path(at.upper) / "gone").mkdir()
            else:
                with pytest.raises(SourceError, match="was removed while it was read"):
                    list(walk)


class Vanishing(KernelMarks):
    """Reads the root, and then all that was in it is removed."""

    def __init__(self, root: Path) -> None:
        super().__init__("trusted")
        self._root = root

    def read(self, fd: int, *, only: Iterable[bytes] | None = None) -> Listing:
        listing = super().read(fd, only=only)
        for name in listing.names:
            if name == b"same":
                (self._root / "same").unlink()
            else:
                shutil.rmtree(self._root / os.fsdecode(name))
        return listing


def test_a_copy_keeps_holes_and_shares_no_file_with_a_layer(tmp_path: Path) -> None:
    at = image(tmp_path)
    layer = Path(at.layers[0])
    with open(layer / "sparse", "wb") as file:
        file.write(b"begin")
        file.truncate(8 << 20)
        file.seek(0, os.SEEK_END)
        file.write(b"end")
    os.link(layer / "all", layer / "again")
    driver = Copy("trusted" if os.geteuid() == 0 else "user")
    driver.prepare(at)
    status = os.stat(f"{at.tree}/sparse")
    assert status.st_size == (8 << 20) + 3
    assert status.st_blocks * 512 < 1 << 20
    assert read(os.fsencode(f"{at.tree}/sparse")) == (layer / "sparse").read_bytes()
    assert os.stat(f"{at.tree}/all").st_ino == os.stat(f"{at.tree}/again").st_ino
    inodes = {os.lstat(os.path.join(folder, name)).st_ino for folder, _, names in os.walk(layer) for name in names}
    mine = {os.lstat(os.path.join(folder, name)).st_ino for folder, _, names in os.walk(at.tree) for name in names}
    assert not inodes & mine
    assert driver.size(at) == status.st_size + 2
    assert changes(driver, at) == []


def test_a_copy_whose_note_is_lost_or_of_another_tree_reads_all_bytes(tmp_path: Path) -> None:
    at = image(tmp_path)
    driver = Copy("trusted" if os.geteuid() == 0 else "user")
    driver.prepare(at)
    path = f"{at.tree}/all"
    status = os.stat(path)
    write(os.fsencode(path), b"X")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert changes(driver, at) == [(b"all", "modified")]
    for note in (None, b"{}", b"no JSON", b'{"device": 1, "inode": 2}'):
        if note is None:
            os.unlink(f"{at.folder}/tree.json")
        else:
            Path(at.folder, "tree.json").write_bytes(note)
        assert changes(driver, at) == [(b"all", "modified")]


def test_only_what_was_touched_is_read_again_by_the_copy_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = image(tmp_path, 3)
    driver = Copy("trusted" if os.geteuid() == 0 else "user")
    driver.prepare(at)
    os.chmod(f"{at.tree}/file1", 0o600)
    os.utime(f"{at.tree}/file2", ns=(1, 1))
    opened: list[bytes] = []
    real = Walk._same_bytes

    def watch(walk: Walk, path: bytes, *rest: object) -> bool:
        opened.append(path)
        return real(walk, path, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Walk, "_same_bytes", watch)
    assert changes(driver, at) == [(b"file1", "modified")]
    assert opened == [b"file2"]


def test_a_mount_for_reading_refuses_writes_and_there_may_be_several(driver: Driver, tmp_path: Path) -> None:
    at = image(tmp_path)
    driver.prepare(at)
    (tmp_path / "elsewhere").mkdir()

    def child() -> None:
        namespaces.unshare_mounts()
        root = driver.mount(at, read_only=True)
        with pytest.raises(OSError, match="Read-only file system"):
            write(os.fsencode(root) + b"/all", b"")
        other = driver.mount(at, read_only=True, target=str(tmp_path / "elsewhere"))
        with driver.root(at) as fd:
            assert sorted(os.listdir(root)) == sorted(os.listdir(other)) == sorted(os.listdir(f"/proc/self/fd/{fd}/."))
        driver.unmount(at, target=other)
        driver.unmount(at)
        driver.unmount(at)  # nothing is there any more

    in_child(child)
    assert changes(driver, at) == []


def test_the_size_of_a_writable_layer_counts_bytes_of_files_once(tmp_path: Path) -> None:
    need_overlay()
    at = image(tmp_path)
    driver = Overlay("trusted")
    assert driver.size(at) == 0
    driver.prepare(at)
    assert driver.size(at) == 0

    def work(root: bytes) -> None:
        write(root + b"/new", bytes(1000))
        os.link(root + b"/new", root + b"/again")
        os.symlink("12345", root + b"/link")
        os.mkdir(root + b"/folder")
        os.unlink(root + b"/all")

    mounted(driver, at, work)
    assert driver.size(at) == 1005


def test_the_program_of_fuse_overlayfs_ends_with_the_process_that_wanted_it(tmp_path: Path) -> None:
    need_mounts()
    need("fuse-overlayfs")
    at = image(tmp_path)
    driver = FuseOverlayfs("trusted")
    driver.prepare(at)
    process.subreaper()  # the program becomes this process's child when its parent is gone, and can be waited for
    try:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            namespaces.unshare_mounts()
            driver.mount(at)
            os.write(writing, b"%d" % next(iter(driver._running.values())))
            os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(child, 0)
        program = int(os.read(reading, 20))
        assert os.waitpid(program, 0)[0] == program
    finally:
        process.subreaper(False)
        os.close(reading)
        os.close(writing)


def test_fuse_overlayfs_that_is_missing_or_fails_is_one_line(tmp_path: Path) -> None:
    need_mounts()
    need("fuse-overlayfs")
    at = image(tmp_path)
    FuseOverlayfs("trusted").prepare(at)

    def child() -> list[str]:
        namespaces.unshare_mounts()
        said = []
        for driver, place in (
            (FuseOverlayfs("trusted", program="/nonexistent"), at),
            (FuseOverlayfs("trusted"), at.replace(layers=(*at.layers, "/nonexistent/layer"))),
            (FuseOverlayfs("trusted"), at.replace(layers=(*at.layers, "/with:colon"))),
        ):
            for attempt in (driver.mount, lambda at, driver=driver: driver.root(at).__enter__()):
                with pytest.raises(DriverError) as caught:
                    attempt(place)
                said.append(str(caught.value))
        assert not os.path.ismount(at.merged)
        return said

    said = in_child(child)
    assert "can't start /nonexistent: No such file" in said[0]
    assert "can't start /nonexistent: No such file" in said[1]
    assert "No such file" in said[2]
    assert "\n" not in said[2]
    assert "takes no path with a colon" in said[4]


def test_overlay_tells_what_the_kernel_says(tmp_path: Path) -> None:
    need_overlay()
    at = image(tmp_path)
    driver = Overlay("trusted", options={"no_such_option": "1"})
    driver.prepare(at)
    with pytest.raises(DriverError, match=r"can't mount .*no_such_option"), driver.root(at):
        pass


def test_owners_times_and_patterns_of_a_delta(tmp_path: Path) -> None:
    at = image(tmp_path)
    driver = Copy("trusted" if os.geteuid() == 0 else "user")
    driver.prepare(at)
    for name in ("left", "kept"):
        write(os.fsencode(f"{at.tree}/{name}"), b"1")
        os.utime(f"{at.tree}/{name}", ns=(5, 2_500_000_000))
    entries = {entry.name: entry for entry, _ in driver.delta(at, owner=(7, 8), mtime=9, exclude=["left"])}
    assert {name: (entry.uid, entry.gid, entry.mtime_ns) for name, entry in entries.items()} == {b"kept": (7, 8, 9)}
    entries = {entry.name: entry for entry, _ in driver.delta(at, clamp_mtime=1_000_000_000)}
    assert entries[b"kept"].mtime_ns == 1_000_000_000
    assert {entry.name: entry.mtime_ns for entry, _ in driver.delta(at)}[b"left"] == 2_000_000_000


def test_three_layers_of_the_kit_merge_as_the_kernel_merges_them(tmp_path: Path) -> None:
    need_overlay()
    layers = make_layers(str(tmp_path), "trusted", ids=True, devices=True)
    (tmp_path / "container").mkdir()
    at = Snapshot(folder=str(tmp_path / "container"), layers=layers)
    driver = Overlay("trusted")
    driver.prepare(at)
    with driver.root(at) as fd, Folders(layers) as folders:
        lower = Lower(folders, KernelMarks("trusted"), scaffold=False)
        pending = [lower.root()]
        while pending:
            directory = pending.pop()
            found = lower.list(directory)
            place = b"/proc/self/fd/%d/./%s" % (fd, directory.path)
            assert sorted(found) == sorted(os.listdir(place))
            pending += [lower.enter(directory, name, one) for name, one in found.items() if one.is_directory]
