"""Volumes: their names, rows and folders; what they take from an image; tar out and in."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from oci.errors import (
    DestinationError,
    InUse,
    InvalidInput,
    NameTaken,
    OciError,
    StoreError,
    UnsafeEntry,
    VolumeNotFound,
)
from oci.storage.containers import ContainerRow, Status, new_id
from oci.storage.store import Store
from tests.support.images import tar
from tests.support.peers import need
from tests.support.trees import differences, snapshot
from tests.support.users import as_user

ROOT = os.geteuid() == 0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    moments = iter(range(1_700_000_000_000_000_000, 1_800_000_000_000_000_000, 1_000_000_000))
    with Store.open(tmp_path / "store", clock=lambda: next(moments)) as opened:
        yield opened


def use(store: Store, volume: str, name: str = "box", status: Status = "created", path: str = "/data") -> str:
    """A container's row that uses a volume."""
    made = new_id()
    row = ContainerRow(
        id=made,
        name=name,
        image_id="sha256:" + "0" * 64,
        image_name=None,
        manifest="sha256:" + "1" * 64,
        layers=(),
        driver="copy",
        created=store.clock(),
        status=status,
    )
    store.containers.add(row, [(volume, path)])
    return made


def fill(folder: Path) -> None:
    """A tree with everything that a volume can hold."""
    (folder / "sub/deep").mkdir(parents=True)
    (folder / "file").write_bytes(b"hello")
    os.link(folder / "file", folder / "sub/again")
    (folder / "link").symlink_to("/etc/passwd")
    (folder / ".wh.kept").write_bytes(b"not a whiteout")
    (folder / ".wh..wh..opq").write_bytes(b"")
    (folder / "sub/.wh.dir").mkdir()
    (folder / os.fsdecode(b"\xff name")).write_bytes(b"bytes")
    os.mkfifo(folder / "fifo", 0o640)
    os.setxattr(folder / "file", "user.note", b"\0binary\n")
    os.setxattr(folder / "sub", "user.overlay.opaque", b"y")
    with open(folder / "sparse", "wb") as file:
        file.seek(3 << 20)
        file.write(b"in the middle")
        file.truncate(16 << 20)
    with open(folder / "hole", "wb") as file:
        file.truncate(1 << 20)
    (folder / "big").write_bytes(os.urandom(300_000))
    if ROOT:
        os.mknod(folder / "device", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
        os.mknod(folder / "whiteout", 0o600 | stat.S_IFCHR, os.makedev(0, 0))
        os.chown(folder / "file", 1234, 5678)
        os.chown(folder / "link", 7, 8, follow_symlinks=False)
        os.chown(folder / "sub/deep", 99, 98)
    os.chmod(folder / "file", 0o4711)
    os.chmod(folder / "sub/deep", 0o1777)
    for number, path in enumerate(sorted(folder.rglob("*"), reverse=True)):
        os.utime(path, ns=(0, 1_600_000_000_123_456_789 + number), follow_symlinks=False)
    os.chmod(folder, 0o750)
    os.utime(folder, ns=(0, 1_500_000_000_000_000_001))


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
    assert store.volumes.size("data") >= 2000 * 4096
    store.volumes.remove("data")
    assert os.listdir(f"{store.root}/volumes") == []


# What a new volume takes from the image


def image(tmp_path: Path) -> int:
    folder = tmp_path / "image"
    (folder / "srv").mkdir(parents=True)
    fill(folder / "srv")
    (folder / "data").symlink_to("/srv")
    (folder / "out").symlink_to("../../../../../../etc")
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY)


def test_a_new_volume_takes_the_images_content_as_it_is(store: Store, tmp_path: Path) -> None:
    root = image(tmp_path)
    volume = store.volumes.create("data")
    assert store.volumes.populate(volume, root, b"/srv")
    expected = snapshot(tmp_path / "image/srv")
    for facts in expected.values():  # the driver's own notes are no content of the image
        facts.get("xattrs", {}).pop("user.overlay.opaque", None)  # type: ignore[attr-defined]
    assert differences(expected, snapshot(volume.path)) == []
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

        patch.setattr("oci.storage.volume_data.sync_tree", full)
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


# Out and in


def test_export_and_import_keep_everything(store: Store, tmp_path: Path) -> None:
    volume = store.volumes.create("data")
    fill(Path(volume.path))
    loaded = store.volumes.load("copy", store.volumes.export("data"), labels={"from": "data"})
    assert differences(snapshot(volume.path), snapshot(loaded.path)) == []
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
    base = Path(as_user(_rootless_round_trip))
    shutil.rmtree(base)


def _rootless_round_trip() -> str:
    import tempfile

    base = tempfile.mkdtemp(prefix="ocikit-volumes-")
    with Store.open(f"{base}/store", clock=lambda: 1) as store:
        import io
        import tarfile

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
    return base


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
