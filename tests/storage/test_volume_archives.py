"""Volumes out and in again as tar archives: what is kept, what is refused, what a broken one leaves."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from oci.errors import (
    DestinationError,
    InUse,
    OciError,
    UnsafeEntry,
)
from oci.storage.store import Store
from tests.support.images import tar
from tests.support.peers import need
from tests.support.trees import differences, snapshot
from tests.support.users import NOBODY, as_user
from tests.support.volumes import content, fill, image, use

ROOT = os.geteuid() == 0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    moments = iter(range(1_700_000_000_000_000_000, 1_800_000_000_000_000_000, 1_000_000_000))
    with Store.open(tmp_path / "store", clock=lambda: next(moments)) as opened:
        yield opened


def test_export_and_import_keep_everything(store: Store, tmp_path: Path) -> None:
    volume = store.volumes.create("data")
    fill(Path(volume.path))
    loaded = store.volumes.load("copy", store.volumes.export("data"), labels={"from": "data"})
    assert differences(snapshot(volume.path), content(loaded.path)) == []
    assert dict(loaded.labels) == {"from": "data"}
    for name in ("sparse", "hole"):
        assert os.stat(f"{loaded.path}/{name}").st_blocks == os.stat(f"{volume.path}/{name}").st_blocks
    assert os.listdir(f"{store.root}/volumes/copy") == ["data"]


@pytest.mark.skipif(not ROOT, reason="only root may set security.* and trusted.* attributes")
def test_acls_capabilities_and_roots_own_attributes_are_kept(store: Store) -> None:
    volume = store.volumes.create("data")
    file = f"{volume.path}/file"
    Path(file).write_text("x")
    acl = bytes.fromhex(
        "0200000001000600ffffffff02000400640000000400040 0ffffffff10000600ffffffff20000400ffffffff".replace(" ", "")
    )
    kept = {
        "system.posix_acl_access": acl,
        "security.capability": bytes.fromhex("0100000200040000000000000000000000000000"),
        "trusted.overlay.opaque": b"y",
        "trusted.note": b"x",
    }
    for name, value in kept.items():
        os.setxattr(file, name, value)
    loaded = store.volumes.load("copy", store.volumes.export("data"))
    assert {name: os.getxattr(f"{loaded.path}/file", name) for name in os.listxattr(f"{loaded.path}/file")} == kept


def test_the_same_data_gives_the_same_tar(store: Store, tmp_path: Path) -> None:
    volume = store.volumes.create("data")
    fill(Path(volume.path))
    first = b"".join(store.volumes.export("data"))
    loaded = store.volumes.load("copy", [first])
    assert b"".join(store.volumes.export("copy")) == first
    assert len(first) < 400_000 + 60_000  # the holes are not in it
    del loaded


def test_gnu_tar_reads_what_is_exported(store: Store, tmp_path: Path) -> None:
    need("tar")
    volume = store.volumes.create("data")
    fill(Path(volume.path))
    (tmp_path / "there").mkdir()
    subprocess.run(
        ["tar", "-x", "-p", "--xattrs", "--xattrs-include=user.*", "-C", tmp_path / "there"],
        input=b"".join(store.volumes.export("data")),
        check=True,
    )
    left, right = snapshot(volume.path), snapshot(tmp_path / "there")
    assert differences(left, right) == []
    assert os.stat(tmp_path / "there/hole").st_blocks == 0


@pytest.mark.parametrize("flags", [("--sparse",), ("-z",), ("--format=gnu", "--sparse")])
def test_what_gnu_tar_writes_is_imported(store: Store, tmp_path: Path, flags: tuple[str, ...]) -> None:
    need("tar")
    folder = tmp_path / "data"
    folder.mkdir()
    fill(folder)
    packed = subprocess.run(["tar", "-c", *flags, "-C", folder, "."], capture_output=True, check=True).stdout
    loaded = store.volumes.load("data", [packed])
    exact = "--format=gnu" not in flags
    options = {"xattrs": False, "mtimes": False}
    assert differences(snapshot(folder, **options), snapshot(loaded.path, **options)) == []
    assert exact or os.stat(f"{loaded.path}/hole").st_blocks == 0


def test_a_volume_with_data_is_replaced_by_force_only(store: Store) -> None:
    volume = store.volumes.create("data")
    Path(volume.path, "old").write_text("old")
    with pytest.raises(DestinationError, match="is not empty; --force"):
        store.volumes.load("data", [tar({"new": b"new"})])
    assert os.listdir(volume.path) == ["old"]
    store.volumes.load("data", [tar({"new": b"new"})], force=True)
    assert os.listdir(volume.path) == ["new"]
    assert os.listdir(f"{store.root}/volumes/data") == ["data"]


def test_where_names_cannot_be_exchanged_data_is_replaced_all_the_same(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oci.linux.files.exchange", lambda *_: False)
    volume = store.volumes.create("data")
    Path(volume.path, "old").write_text("old")
    store.volumes.load("data", [tar({"new": b"new"})], force=True)
    assert os.listdir(volume.path) == ["new"]
    assert os.listdir(f"{store.root}/volumes/data") == ["data"]


def test_data_that_lost_its_name_to_a_kill_gets_it_back(store: Store) -> None:
    volume = store.volumes.create("data")
    Path(volume.path, "old").write_text("old")
    os.rename(volume.path, f"{store.root}/volumes/data/data.old")
    store.volumes.populate(volume, None, b"")
    assert os.listdir(volume.path) == ["old"]


def test_an_empty_volume_takes_an_import_and_no_images_content_after_it(store: Store, tmp_path: Path) -> None:
    store.volumes.create("data")
    volume = store.volumes.load("data", [tar({"x/": None})])
    assert os.listdir(volume.path) == ["x"]
    root = image(tmp_path)
    assert not store.volumes.populate(volume, root, b"/srv")
    os.close(root)


def test_what_a_running_container_has_mounted_is_not_exchanged(store: Store) -> None:
    store.volumes.create("data")
    use(store, "data", "box", status="running")
    for force in (False, True):
        with pytest.raises(InUse, match="in use by box; stop"):
            store.volumes.load("data", [tar({"x": b""})], force=force)


def test_a_damaged_tar_changes_nothing(store: Store) -> None:
    whole = tar({"a": b"x" * 5000, "b": b"y"})
    for name, data in (("cut", whole[:3000]), ("noise", b"\x1f\x8bnoise" + bytes(600)), ("text", b"hello" * 200)):
        with pytest.raises(OciError):
            store.volumes.load(name, [data])
    assert store.volumes.list() == ()
    volume = store.volumes.create("data")
    with pytest.raises(OciError):
        store.volumes.load("data", [whole[:3000]])
    assert os.listdir(volume.path) == []
    assert sorted(os.listdir(f"{store.root}/volumes")) == ["data"]


@pytest.mark.parametrize(
    "entries",
    [
        {"../../../escaped": b"x"},
        {"/../../escaped": b"x"},
        [("link", ("symlink", "../../../../")), ("link/escaped", b"x")],
        [("link", ("symlink", "/")), ("link/escaped", b"x")],
        [("hard", ("hardlink", "../../../store.db"))],
    ],
)
def test_a_hostile_tar_stays_inside(store: Store, tmp_path: Path, entries: object) -> None:
    before = sorted(os.listdir(tmp_path)), sorted(os.listdir(store.root))
    try:
        volume = store.volumes.load("data", [tar(entries)])  # type: ignore[arg-type]
    except UnsafeEntry:
        assert store.volumes.list() == ()
    else:
        assert "escaped" in os.listdir(volume.path)
    assert (sorted(os.listdir(tmp_path)), sorted(os.listdir(store.root))) == before
    assert not os.path.exists("/escaped")


def test_sockets_are_left_out_with_a_word(store: Store) -> None:
    volume = store.volumes.create("data")
    server = socket.socket(socket.AF_UNIX)
    fd = os.open(volume.path, os.O_RDONLY)
    server.bind(f"/proc/self/fd/{fd}/socket")
    said: list[str] = []
    loaded = store.volumes.load("copy", store.volumes.export("data", warn=said.append))
    assert os.listdir(loaded.path) == []
    assert said
    assert "socket" in said[0]
    server.close()
    os.close(fd)


@pytest.mark.skipif(not ROOT, reason="root becomes an ordinary user for this")
def test_an_ordinary_user_keeps_owners_as_notes() -> None:
    for name in ("ctypes", "sqlite3"):
        import_module(name)  # that user may not be able to read Python's library
    with tempfile.TemporaryDirectory(prefix="ocikit-volumes-") as base:
        os.chown(base, NOBODY, NOBODY)
        as_user(_rootless_round_trip, base)


def _rootless_round_trip(base: str) -> None:
    with Store.open(f"{base}/store", clock=lambda: 1) as store:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            info = tarfile.TarInfo("owned")
            info.uid, info.gid, info.size = 12, 34, 2
            archive.addfile(info, io.BytesIO(b"ab"))
        volume = store.volumes.load("data", [buffer.getvalue()])
        assert os.stat(f"{volume.path}/owned").st_uid == os.geteuid()
        again = io.BytesIO(b"".join(store.volumes.export("data")))
        (member,) = [one for one in tarfile.open(fileobj=again) if one.name.endswith("owned")]
        assert (member.uid, member.gid) == (12, 34)
