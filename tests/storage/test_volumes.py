"""Volumes: their names, rows and folders, and what they take from an image."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from oci.errors import (
    InUse,
    InvalidInput,
    NameTaken,
    StoreError,
    VolumeNotFound,
)
from oci.storage.store import Store
from tests.support.images import tar
from tests.support.trees import differences, snapshot
from tests.support.volumes import content, fill, image, use


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    moments = iter(range(1_700_000_000_000_000_000, 1_800_000_000_000_000_000, 1_000_000_000))
    with Store.open(tmp_path / "store", clock=lambda: next(moments)) as opened:
        yield opened


# Names, rows, folders


@pytest.mark.parametrize("name", ["ab", "A_b.c-9", "0" * 64, "x" * 255])
def test_names_that_docker_takes_are_taken(store: Store, name: str) -> None:
    assert store.volumes.create(name).name == name
    assert store.volumes.get(name).path == f"{store.root}/volumes/{name}/data"


@pytest.mark.parametrize("name", ["", "a", ".ab", "-ab", "a/b", "..", "a b", "ä1", "ab\n", "x" * 256, "a\0b"])
def test_names_that_docker_refuses_are_refused(store: Store, name: str) -> None:
    with pytest.raises(InvalidInput, match="is no name for a volume"):
        store.volumes.create(name)
    assert os.listdir(f"{store.root}/volumes") == []


def test_a_new_volume_is_an_empty_folder_open_to_all_in_a_closed_one(store: Store) -> None:
    before = os.umask(0o077)
    try:
        volume = store.volumes.create("data", labels={"a": "1"})
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(volume.path).st_mode) == 0o755
    assert stat.S_IMODE(os.stat(f"{store.root}/volumes/data").st_mode) == 0o700
    assert os.listdir(volume.path) == []
    assert store.volumes.get("data") == volume
    assert dict(store.volumes.get("data").labels) == {"a": "1"}
    assert not volume.anonymous


def test_a_volume_without_a_name_is_anonymous(store: Store) -> None:
    volume = store.volumes.create()
    assert len(volume.name) == 64
    assert volume.anonymous
    assert store.volumes.get(volume.name).anonymous


def test_a_taken_name_is_refused_and_ensure_gives_what_is_there(store: Store) -> None:
    first = store.volumes.create("data")
    with pytest.raises(NameTaken, match="volume"):
        store.volumes.create("data")
    assert store.volumes.ensure("data") == first
    assert store.volumes.ensure("other").name == "other"
    assert [volume.name for volume in store.volumes.list()] == ["data", "other"]


def test_many_at_once_make_one_volume(store: Store) -> None:
    made = []
    threads = [threading.Thread(target=lambda: made.append(store.volumes.ensure("data"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8
    assert len(set(made)) == 1


def test_a_missing_volume_is_said(store: Store) -> None:
    with pytest.raises(VolumeNotFound, match="no such volume"):
        store.volumes.get("none")
    with pytest.raises(VolumeNotFound):
        store.volumes.remove("none")
    assert store.volumes.remove("none", force=True) is False


def test_a_volume_in_use_is_not_removed_and_force_changes_nothing(store: Store) -> None:
    store.volumes.create("data")
    box = use(store, "data", "box")
    use(store, "data", "other")
    assert store.volumes.users("data") == ("box", "other")
    for force in (False, True):
        with pytest.raises(InUse, match="volume data is in use by box, other"):
            store.volumes.remove("data", force=force)
    store.containers.remove(box)
    assert store.volumes.users("data") == ("other",)


def test_removing_leaves_nothing(store: Store) -> None:
    volume = store.volumes.create("data")
    fill(Path(volume.path))
    assert store.volumes.remove("data")
    assert store.volumes.list() == ()
    assert os.listdir(f"{store.root}/volumes") == []
    assert store.volumes.create("data").path == volume.path


def test_prune_takes_anonymous_volumes_only_unless_told(store: Store) -> None:
    named, used = store.volumes.create("named"), store.volumes.create()
    unused = store.volumes.create()
    use(store, used.name)
    assert store.volumes.prune(dry_run=True) == (unused,)
    assert store.volumes.prune() == (unused,)
    assert {volume.name for volume in store.volumes.list()} == {named.name, used.name}
    assert store.volumes.prune(everything=True) == (named,)
    assert store.volumes.list() == (store.volumes.get(used.name),)


def test_what_a_crash_left_without_a_row_is_taken_over_when_it_is_empty(store: Store) -> None:
    os.makedirs(f"{store.root}/volumes/half")
    os.makedirs(f"{store.root}/volumes/whole/data")
    assert os.path.isdir(store.volumes.create("half").path)
    assert store.volumes.create("whole").name == "whole"


def test_data_without_a_row_is_nobodys_to_take(store: Store) -> None:
    folder = Path(store.root, "volumes/lost/data")
    folder.mkdir(parents=True)
    (folder / "precious").write_text("x")
    with pytest.raises(StoreError, match="holds data"):
        store.volumes.create("lost")
    assert (folder / "precious").exists()
    assert store.volumes.list() == ()


def test_labels_have_a_bound(store: Store) -> None:
    with pytest.raises(InvalidInput, match="over the limit"):
        store.volumes.create("data", labels={"a": "x" * 70000})


def test_size_counts_blocks_and_a_hard_linked_file_once(store: Store) -> None:
    volume = store.volumes.create("data")
    assert store.volumes.size("data") == 0
    Path(volume.path, "a").write_bytes(b"x" * 100_000)
    os.link(f"{volume.path}/a", f"{volume.path}/b")
    with open(f"{volume.path}/hole", "wb") as file:
        file.truncate(1 << 30)
    assert 100_000 <= store.volumes.size("data") < 200_000


def test_a_tree_deeper_than_open_files_is_counted_and_removed(store: Store) -> None:
    volume = store.volumes.create("data")
    fd = os.open(volume.path, os.O_RDONLY)
    for _ in range(2000):
        os.mkdir("d", dir_fd=fd)
        deeper = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = deeper
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)
    assert store.volumes.size("data") >= 2000 * os.stat(volume.path).st_blocks * 512  # on tmpfs folders take none
    store.volumes.remove("data")
    assert os.listdir(f"{store.root}/volumes") == []


# What a new volume takes from the image


def test_a_new_volume_takes_the_images_content_as_it_is(store: Store, tmp_path: Path) -> None:
    root = image(tmp_path)
    volume = store.volumes.create("data")
    assert store.volumes.populate(volume, root, b"/srv")
    expected = snapshot(tmp_path / "image/srv")
    for facts in expected.values():  # the driver's own notes are no content of the image
        facts.get("xattrs", {}).pop("user.overlay.opaque", None)  # type: ignore[attr-defined]
    assert differences(expected, content(volume.path)) == []
    assert os.listdir(f"{store.root}/volumes/data") == ["data"]
    assert os.stat(f"{volume.path}/hole").st_blocks == 0
    os.close(root)


def test_a_volumes_path_leads_over_links_inside_the_root_only(store: Store, tmp_path: Path) -> None:
    root = image(tmp_path)
    assert store.volumes.populate(inside := store.volumes.create("inside"), root, b"/data")
    assert (Path(inside.path) / "file").read_bytes() == b"hello"
    assert not store.volumes.populate(out := store.volumes.create("out"), root, b"/out")
    assert os.listdir(out.path) == []
    os.close(root)


@pytest.mark.parametrize("path", [b"/none", b"/srv/file", b"/srv/link/x", b"/proc/self/fd"])
def test_where_the_image_has_no_directory_the_volume_stays_empty(store: Store, tmp_path: Path, path: bytes) -> None:
    root = image(tmp_path)
    volume = store.volumes.create("data")
    assert not store.volumes.populate(volume, root, path)
    assert os.listdir(volume.path) == []
    os.close(root)


def test_a_volume_that_was_used_once_is_never_populated(store: Store, tmp_path: Path) -> None:
    root = image(tmp_path)
    kept = store.volumes.create("nocopy")
    identity = os.stat(kept.path).st_ino
    assert not store.volumes.populate(kept, None, b"/srv")
    assert not store.volumes.populate(kept, root, b"/srv")
    assert os.stat(kept.path).st_ino == identity
    filled = store.volumes.create("filled")
    Path(filled.path, "own").write_text("x")
    assert not store.volumes.populate(filled, root, b"/srv")
    assert os.listdir(filled.path) == ["own"]
    os.close(root)


def test_a_failed_populate_leaves_an_empty_volume_that_can_still_be_populated(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = image(tmp_path)
    volume = store.volumes.create("data")
    with monkeypatch.context() as patch:

        def full(*arguments: object) -> None:
            raise OSError(28, "No space left on device")

        patch.setattr("oci.storage.volume_data.sync_file_system", full)
        with pytest.raises(OSError, match="No space"):
            store.volumes.populate(volume, root, b"/srv")
    assert sorted(os.listdir(f"{store.root}/volumes/data")) == ["data", "new"]
    assert os.listdir(volume.path) == []
    assert store.volumes.populate(volume, root, b"/srv")
    os.close(root)


def test_what_a_killed_populate_left_is_removed_by_the_next(store: Store, tmp_path: Path) -> None:
    root = image(tmp_path)
    volume = store.volumes.create("data")
    leftover = Path(store.root, "volumes/data/.tmp-0123456789abcdef")
    leftover.mkdir()
    (leftover / "half").write_text("x")
    assert store.volumes.populate(volume, root, b"/srv")
    assert os.listdir(f"{store.root}/volumes/data") == ["data"]
    os.close(root)


def test_many_at_once_populate_once(store: Store, tmp_path: Path) -> None:
    root = image(tmp_path)
    volume = store.volumes.create("data")
    answers: list[bool] = []
    threads = [
        threading.Thread(target=lambda: answers.append(store.volumes.populate(volume, root, b"/srv"))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [False, False, False, True]
    os.close(root)


def test_a_volume_that_is_being_filled_is_not_removed_meanwhile(store: Store) -> None:
    store.volumes.create("data")

    data = tar({"x": b"x"})

    def chunks() -> Iterator[bytes]:
        yield data[:600]
        with pytest.raises(InUse, match="a command that is filling it"):
            store.volumes.remove("data")
        yield data[600:]

    store.volumes.load("data", chunks())
    assert store.volumes.remove("data")


def test_a_volume_that_was_removed_is_not_populated(store: Store, tmp_path: Path) -> None:
    root = image(tmp_path)
    volume = store.volumes.create("data")
    store.volumes.remove("data")
    with pytest.raises(VolumeNotFound):
        store.volumes.populate(volume, root, b"/srv")
    os.close(root)
