"""Whiteouts and opaque marks: of all forms that are written somewhere, and those that a container makes itself."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from oci.drivers.delta import Written
from oci.drivers.driver import Driver
from oci.drivers.folders import Folders
from oci.drivers.lower import Lower
from oci.drivers.marks import FuseMarks, KernelMarks, Marks, make_whiteout
from oci.drivers.overlay import Overlay
from oci.errors import UnsafeEntry
from tests.support.driver_cases import write
from tests.support.driver_kit import told
from tests.support.namespaces import need_mounts, need_overlay
from tests.support.peers import need
from tests.support.snapshots import DRIVERS, changes, image, mounted


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> Driver:
    need_overlay()
    if request.param == "fuse-overlayfs":
        need("fuse-overlayfs")
    return DRIVERS[request.param]()


@pytest.mark.parametrize("name", ["overlay", "copy"])
def test_a_name_that_would_be_a_whiteout_is_told_but_no_layer_takes_it(name: str, tmp_path: Path) -> None:
    need_overlay()
    driver, at = DRIVERS[name](), image(tmp_path)
    driver.prepare(at)
    mounted(driver, at, lambda root: write(root + b"/dir/.wh.file0", b""))
    assert changes(driver, at) == [(b"dir/.wh.file0", "added")]
    with pytest.raises(UnsafeEntry, match=r"dir/\.wh\.file0.*: a layer can't hold a file of this name"):
        list(driver.delta(at))
    assert list(driver.delta(at, exclude=["dir/.wh.*"])) is not None


def test_fuse_overlayfs_refuses_such_a_name(tmp_path: Path) -> None:
    need_mounts()
    need("fuse-overlayfs")
    driver, at = DRIVERS["fuse-overlayfs"](), image(tmp_path)
    driver.prepare(at)

    def work(root: bytes) -> None:
        with pytest.raises(OSError, match="Invalid argument"):
            write(root + b"/.wh.file0", b"")

    mounted(driver, at, work)
    assert changes(driver, at) == []


def test_a_whiteout_device_can_only_be_made_in_a_copy_and_deletes_there_too(tmp_path: Path) -> None:
    need_overlay()
    for name, make in DRIVERS.items():
        driver, at = make(), image(tmp_path / name)
        driver.prepare(at)
        if name == "copy":
            os.unlink(f"{at.tree}/file0")
            for place in ("file0", "new"):
                os.mknod(f"{at.tree}/{place}", stat.S_IFCHR, 0)
            assert changes(driver, at) == [(b"file0", "deleted")]
            assert [entry[0] for entry in told(driver, at, [])[1]] == [b"", b".wh.file0"]
        elif name == "overlay":

            def work(root: bytes) -> None:
                with pytest.raises(PermissionError):
                    os.mknod(root + b"/new", stat.S_IFCHR, 0)

            mounted(driver, at, work)


@pytest.mark.parametrize("namespace", ["user", "trusted"])
def test_marks_of_overlay_that_a_container_sets_have_no_effect(driver: Driver, namespace: str, tmp_path: Path) -> None:
    """Its kernel hides or escapes them; where they are plain attributes, nobody obeys them, and no layer has them."""
    at = image(tmp_path)
    driver.prepare(at)

    def work(root: bytes) -> None:
        for key, value in (("opaque", b"y"), ("redirect", b"/etc"), ("metacopy", b""), ("whiteout", b"y")):
            try:
                os.setxattr(root + b"/dir", f"{namespace}.overlay.{key}", value)
                os.setxattr(root + b"/file0", f"{namespace}.overlay.{key}", value)
            except OSError:
                continue

    mounted(driver, at, work)
    # fuse-overlayfs 1.10 lets it set one mark, and obeys it from the next mount on: what is told is what it shows then.
    hidden = driver.name == "fuse-overlayfs" and namespace == "user"
    assert changes(driver, at) == ([(b"dir/file0", "deleted")] if hidden else [])
    assert all(not entry[7] for entry in told(driver, at, [])[1])
    with driver.root(at) as fd:
        assert os.listdir(f"/proc/self/fd/{fd}/dir") == ([] if hidden else ["file0"])


def test_whiteouts_of_what_no_layer_has_are_nothing(tmp_path: Path) -> None:
    need_overlay()
    at = image(tmp_path)
    driver = Overlay("trusted")
    driver.prepare(at)
    os.mknod(f"{at.upper}/never", stat.S_IFCHR, 0)
    os.mkdir(f"{at.upper}/dir")
    os.mknod(f"{at.upper}/dir/never", stat.S_IFCHR, 0)
    os.mknod(f"{at.upper}/dir/file0", stat.S_IFCHR, 0)
    assert changes(driver, at) == [(b"dir/file0", "deleted")]


@pytest.mark.parametrize("attribute", ["user.fuseoverlayfs.opaque", "trusted.overlay.opaque", ""])
def test_the_forms_that_fuse_overlayfs_writes_where_devices_are_refused(attribute: str, tmp_path: Path) -> None:
    need_mounts()
    at = image(tmp_path, 2)
    upper = Path(at.upper)
    (upper / "dir").mkdir(parents=True)
    (upper / ".wh.file0").write_bytes(b"")
    (upper / ".wh.never").write_bytes(b"")
    if attribute:
        os.setxattr(upper / "dir", attribute, b"y")
    else:
        (upper / "dir" / ".wh..wh..opq").write_bytes(b"")
    (upper / "dir" / "file1").write_bytes(b"now with bytes")
    os.setxattr(upper / "dir" / "file1", "user.fuseoverlayfs.override_stat", b"0:0:0100644")
    os.setxattr(upper / "dir" / "file1", "user.fuseoverlayfs.origin", b"dir/file1")
    written = Written(at, at.upper, FuseMarks(), "trusted")
    assert [(change.path, change.kind) for change in written.changes()] == [
        (b"dir/file0", "deleted"),
        (b"dir/file1", "modified"),
        (b"file0", "deleted"),
    ]
    entries = {entry.name: entry.xattrs for entry, _ in written.delta(mtime=0)}
    assert entries == {b"dir/.wh.file0": None, b"dir/file1": None, b".wh.file0": None}


@pytest.mark.parametrize("form", ["trusted", "user"])
def test_whiteouts_as_attributes_are_read_as_the_kernel_reads_them(form: str, tmp_path: Path) -> None:
    need_mounts()
    at = image(tmp_path, 2)
    top = at.layers[1]
    marks: Marks = KernelMarks("trusted" if form == "trusted" else "user")
    (Path(top) / "file0").write_bytes(b"")
    os.setxattr(f"{top}/file0", f"{form}.overlay.whiteout", b"")
    with Folders(at.layers) as folders:
        lower = Lower(folders, marks, scaffold=False)
        assert b"file0" in lower.list(lower.root())  # without the directory's "x" it is an empty file
        os.setxattr(top, f"{form}.overlay.opaque", b"x")
        assert sorted(lower.list(lower.root())) == [b"all", b"dir", b"file1"]
        assert lower.list(lower.root(), only=[b"file0"]) == {}


def test_a_whiteout_falls_back_on_an_attribute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "mknod", refuse)
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        make_whiteout(fd, b"gone", "user")
        assert KernelMarks("user").read(fd).gone == {b"gone"}
    finally:
        os.close(fd)
