"""Damage to the layers of a store, made for real: found, mended from the image's tar, and nothing lost."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from oci.linux.process import identity
from oci.storage.check import check
from oci.storage.images import find
from oci.storage.repair import check_and_repair
from oci.storage.store import Store
from tests.support.checking import blob_of, codes, layer_path, mended
from tests.support.stocked import add_container, stocked
from tests.support.trees import snapshot

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="layers with owners need root")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with stocked(tmp_path / "store") as made:
        yield made


def test_a_half_unpacked_layer_is_removed(store: Store) -> None:
    folder = Path(store.root, "layers/.tmp-0123456789abcdef/fs")
    folder.mkdir(parents=True)
    (folder / "half").write_text("x")
    assert mended(store) == [("layer-leftover", True)]
    assert not folder.parent.exists()


def test_a_row_without_its_folder_goes_and_the_container_above_gets_its_layer_again(store: Store) -> None:
    add_container(store)
    shutil.rmtree(layer_path(store, "app", 0).parent)
    assert sorted(codes(store)) == ["container-without-layer", "layer-without-folder"]
    assert mended(store) == [("layer-without-folder", True), ("container-without-layer", True)]
    assert layer_path(store, "app", 0).joinpath("etc/motd").read_text() == "hello\n"


def test_a_layer_that_no_image_has_any_more_is_said_and_what_the_container_wrote_stays(store: Store) -> None:
    row = add_container(store)
    snap = store.containers.snapshot(row)
    Path(snap.upper, "written").write_text("precious")
    shutil.rmtree(layer_path(store, "app", 0).parent)
    os.unlink(store.images.blobs.blob_path(find(store, "app").descriptor.digest))
    found = dict(mended(store))
    assert found["container-without-layer"] is False
    assert found["container-without-image"] is False
    assert Path(snap.upper, "written").read_text() == "precious"


def test_a_whole_folder_without_a_row_gets_it_again(store: Store) -> None:
    before = store.state.all("SELECT id, diff_id, chain_id, size, entries FROM layers ORDER BY id")
    with store.state.transaction() as db:
        db.run("DELETE FROM layers")
    assert set(codes(store)) == {"layer-without-row"}
    assert all(done for _, done in mended(store))
    assert store.state.all("SELECT id, diff_id, chain_id, size, entries FROM layers ORDER BY id") == before


def test_a_folder_without_its_mark_is_no_layer(store: Store) -> None:
    os.unlink(layer_path(store, "app", 1).parent / "complete")
    assert codes(store) == ["layer-incomplete"]
    assert mended(store) == [("layer-incomplete", True)]
    add_container(store)
    os.unlink(layer_path(store, "app", 1).parent / "complete")
    found = mended(store)
    assert ("layer-incomplete", True) in found
    assert codes(store, deep=True) == []


def test_a_file_that_is_gone_from_a_layer_is_counted(store: Store) -> None:
    layer_path(store, "app", 0).joinpath("etc/motd").unlink()
    assert codes(store) == ["layer-altered"]
    assert mended(store) == [("layer-altered", True)]
    assert layer_path(store, "app", 0).joinpath("etc/motd").read_text() == "hello\n"


def _other_bytes(fs: Path) -> None:
    (fs / "bin/tool").write_bytes(b"#!/bin/sX\n" * 200)
    os.utime(fs / "bin/tool", ns=(0, 0))


def _other_target(fs: Path) -> None:
    os.unlink(fs / "lib")
    os.symlink("/elsewhere", fs / "lib")


def _other_type(fs: Path) -> None:
    os.unlink(fs / "etc/old")
    os.mkfifo(fs / "etc/old")


def _link_broken(fs: Path) -> None:
    os.unlink(fs / "srv/again")
    shutil.copy2(fs / "srv/a", fs / "srv/again")


ALTERATIONS: dict[str, Callable[[Path], object]] = {
    "content": _other_bytes,
    "longer": lambda fs: (fs / "etc/motd").write_bytes(b"hello, world\n"),
    "mode": lambda fs: os.chmod(fs / "bin/tool", 0o4755),
    "owner": lambda fs: os.chown(fs / "bin/tool", 12, 34),
    "link": _other_target,
    "xattr": lambda fs: os.setxattr(fs / "etc/motd", "user.note", b"other"),
    "more xattrs": lambda fs: os.setxattr(fs / "etc", "trusted.overlay.opaque", b"y"),
    "extra": lambda fs: (fs / "extra").write_bytes(b""),
    "missing": lambda fs: os.unlink(fs / "lib"),
    "type": _other_type,
    "time": lambda fs: os.utime(fs / "bin/tool", ns=(0, 5)),
    "hard link broken": _link_broken,
}


@pytest.mark.parametrize("what", ALTERATIONS)
def test_anything_altered_in_a_layer_is_found_by_its_tar_and_unpacked_again(store: Store, what: str) -> None:
    path = layer_path(store, "app", 0)
    before = snapshot(path)
    ALTERATIONS[what](path)
    assert set(codes(store, deep=True)) == {"layer-altered"}
    assert ("layer-altered", True) in mended(store, deep=True)
    assert snapshot(layer_path(store, "app", 0)) == before
    assert not [name for name in os.listdir(f"{store.root}/layers") if name.startswith(".tmp-")]


def test_whiteouts_opaque_marks_and_links_into_lower_layers_are_held_against_the_tar_too(store: Store) -> None:
    damages: tuple[tuple[Path, Callable[[Path], object]], ...] = (
        (layer_path(store, "app", 1), lambda fs: os.unlink(fs / "etc/old")),
        (layer_path(store, "other", 1), lambda fs: os.removexattr(fs / "var/cache", "trusted.overlay.opaque")),
        (layer_path(store, "other", 2), lambda fs: (fs / "bin/copy").write_bytes(b"altered")),
    )
    for path, damage in damages:
        damage(path)
        (finding, *_) = check(store, deep=True)
        assert finding.code == "layer-altered"
        mended(store, deep=True)
    assert codes(store, deep=True) == []


def test_an_altered_layer_stays_when_its_blob_is_no_better_or_a_container_runs_on_it(store: Store) -> None:
    me = identity(os.getpid())
    row = add_container(store, status="running", supervisor=me, init=me)
    path = layer_path(store, "app", 1)
    (path / "app/run").write_bytes(b"other")
    (answer,) = check_and_repair(store, deep=True)
    assert not answer.done
    assert "stop the containers first" in answer.message
    store.containers.update(row.id, status="exited", supervisor=None, init=None)
    blob = blob_of(store, "app", 1)
    blob.write_bytes(bytes(len(blob.read_bytes())))
    found = check_and_repair(store)
    assert [(a.finding.code, a.done) for a in found] == [("layer-altered", False)]
    assert (path / "app/run").read_bytes() == b"other"
