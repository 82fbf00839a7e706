"""What a container wrote, made to harm who looks at it from outside: every command ends soon, and leaves all else."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from oci.changeset.ownership import note_rootless_owner
from oci.changeset.paths import MAX_PATH
from oci.container.commit import commit, image_of
from oci.container.container import Container
from oci.container.copying import copy_out, tar_out
from oci.container.export import export
from oci.container.lifecycle import remove
from oci.container.view import inside
from oci.errors import OciError
from oci.storage.disk import disk_bytes
from oci.tar import TarReader
from tests.support.containers import busybox_store, container_of
from tests.support.namespaces import need_overlay

Look = Callable[[Container, Path], object]


def nothing(_: object) -> None:
    """Where output goes that nobody wants."""


def copied(box: Container, place: Path) -> None:
    with inside(box) as tree:
        copy_out(tree, b"/d", str(place))


def packed(box: Container, place: Path) -> None:
    with inside(box) as tree:
        tar_out(tree, b"/d", nothing)


LOOKS: dict[str, Look] = {
    "diff": lambda box, place: list(box.driver.changes(box.snapshot)),
    "commit": lambda box, place: commit(box, image_of(box), box.store.images.blobs),
    "export": lambda box, place: export(box, nothing),
    "cp": copied,
    "cp -": packed,
}


def go_down(folder: Path, levels: int, name: str) -> None:
    """Directories in each other, deeper than any path could say."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(levels):
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)


@pytest.mark.parametrize("driver", ["overlay", "copy"])
def test_directories_deeper_than_a_path_can_say(tmp_path: Path, driver: str) -> None:
    if driver == "overlay":
        need_overlay()
    with busybox_store(tmp_path / "store", driver=driver) as store:
        box = container_of(store, "true")
        snapshot = box.snapshot
        written = Path(snapshot.upper if driver == "overlay" else snapshot.tree)
        (written / "d").mkdir()
        go_down(written / "d", MAX_PATH // 200 + 100, "d" * 200)
        for name, look in LOOKS.items():
            with pytest.raises(OciError, match=f"a path of more than {MAX_PATH} bytes"):
                look(box, tmp_path / name.replace(" ", ""))
        assert disk_bytes(str(written)) >= 100 * os.stat(written).st_blocks * 512  # on tmpfs directories take none
        remove(box)
        assert os.listdir(tmp_path / "store/containers") == []


def owners(box: Container, how: str) -> tuple[int, int]:
    """Whose /home/mine is, in a layer or an archive of the container."""
    if how == "commit":
        entries = box.driver.delta(box.snapshot, owner="keep")
        return next((entry.uid, entry.mode) for entry, _ in entries if entry.name == b"home/mine")
    out = bytearray()
    if how == "export":
        export(box, out.extend)
        name = b"home/mine"
    else:
        with inside(box) as tree:
            tar_out(tree, b"/home", out.extend)
        name = b"home/mine"
    return next((entry.uid, entry.mode) for entry in TarReader([bytes(out)]) if entry.name == name)


@pytest.mark.skipif(os.geteuid() != 0, reason="files of several users")
@pytest.mark.parametrize("driver", ["overlay", "copy"])
@pytest.mark.parametrize("how", ["commit", "export", "cp"])
def test_an_owner_that_a_containers_user_has_noted_is_not_believed(tmp_path: Path, driver: str, how: str) -> None:
    """Else a set-id program of anybody's would be root's in the image."""
    with busybox_store(tmp_path / "store", driver=driver) as store:
        box = container_of(store, "true")
        snapshot = box.snapshot
        home = Path(snapshot.upper if driver == "overlay" else snapshot.tree) / "home"
        home.mkdir(exist_ok=True)
        mine = home / "mine"
        mine.write_text("program")
        os.chown(mine, 1000, 1000)
        mine.chmod(0o4755)
        for note in (note_rootless_owner(5, 5), b"\x08\x00", b"nonsense"):
            os.setxattr(mine, "user.rootlesscontainers", note or b"")
            assert owners(box, how) == (1000, 0o4755)
