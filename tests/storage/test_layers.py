"""Layers of a store: shared, made once, whole or not there, whatever is killed when."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from oci.errors import DiffIdMismatch, OciError, StoreError, UnpackError, UnsafeEntry
from oci.linux import fsmount
from oci.spec.document import Document
from oci.storage import making
from oci.storage.images import find
from oci.storage.layers import LayerFolder
from oci.storage.store import Store
from oci.unpack.rootfs import unpack
from tests.support import effects
from tests.support.images import Entries, LayoutMaker, tar_layer
from tests.support.namespaces import need_overlay, rootless
from tests.support.trees import differences, snapshot
from tests.support.users import in_child

BASE: Entries = {"bin/": None, "bin/tool": b"tool" * 1000, "etc/": None, "etc/a": b"a", "etc/b": b"b"}
TOP: Entries = {"etc/": None, "etc/.wh.a": b"", "etc/c": b"c", "srv/": None, "srv/x": ("symlink", "../bin")}
SMALL: Entries = {"bin/": None, "bin/tool": b"small"}
LINKS: Entries = {"bin/": None, "bin/again": ("hardlink", "bin/tool"), "deep/er": b"1"}


def fill(root: Path, **images: list[Entries]) -> None:
    maker = LayoutMaker(root / "images")
    for name, layers in images.items():
        maker.tag(f"docker.io/library/{name}:latest", maker.image([tar_layer(layer) for layer in layers]))
    maker.finish()


def opened(root: Path) -> Store:
    return Store.open(root, clock=time.time_ns)


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder on a file system in memory, if there is one: a killed maker's fsyncs are many, and wait for the disk."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    made = Path(tempfile.mkdtemp(prefix="ocikit-layers-", dir=memory))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def root(place: Path) -> Path:
    stacks = {
        "base": [BASE],
        "app": [BASE, TOP],
        "other": [BASE, LINKS],
        "top": [SMALL, LINKS, TOP],
        "all": [BASE, TOP, LINKS],
    }
    fill(place / "store", **stacks)
    return place / "store"


@pytest.fixture
def store(root: Path) -> Iterator[Store]:
    with opened(root) as made:
        yield made


def ensure(store: Store, name: str) -> tuple[LayerFolder, ...]:
    return store.layers.ensure(find(store, name).image)


def known(store: Store) -> list[str]:
    return [row[0] for row in store.state.all("SELECT id FROM layers ORDER BY id")]


def folders(store: Store) -> list[str]:
    return sorted(os.listdir(f"{store.root}/layers"))


# Sharing


def test_images_that_share_a_layer_share_its_folder(store: Store) -> None:
    app, base = ensure(store, "app"), ensure(store, "base")
    other, top = ensure(store, "other"), ensure(store, "top")
    assert base[0] == app[0] == other[0]
    assert app[1] == top[2]
    assert app[0].id == app[0].diff_id.encoded
    # A link and a directory that isn't named reach into what lies below: right for this stack alone.
    assert other[1].diff_id == top[1].diff_id
    assert other[1].id.startswith("chain-")
    assert other[1].id != top[1].id
    assert len(known(store)) == len(folders(store)) == 5
    assert (app[0].size, Path(app[0].path).name) == (4002, "fs")


def test_what_is_there_is_not_made_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    before = ensure(store, "app")
    monkeypatch.setattr(making, "make_layers", None)
    assert ensure(store, "app") == before


def test_a_layer_that_an_image_has_twice_is_made_as_often_as_it_differs(root: Path) -> None:
    shutil.rmtree(root)
    fill(root, twice=[BASE, TOP, BASE, LINKS, {"etc/": None, "bin/": None, "bin/tool": b"new"}, LINKS, TOP])
    with opened(root) as store:
        layers = ensure(store, "twice")
    assert layers[0] == layers[2]
    assert layers[1] == layers[6]
    assert layers[3].diff_id == layers[5].diff_id
    assert layers[3].id != layers[5].id
    assert [Path(layers[at].path, "bin/again").read_bytes()[:4] for at in (3, 5)] == [b"tool", b"new"]


def test_layers_below_an_opaque_root_are_left_out(root: Path) -> None:
    shutil.rmtree(root)
    fill(root, app=[BASE, {".wh..wh..opq": b"", "new": b"1"}, TOP])
    with opened(root) as store:
        layers = ensure(store, "app")
    assert [sorted(os.listdir(layer.path)) for layer in layers] == [["new"], ["etc", "srv"]]


def compare_with_unpack(root: Path) -> list[str]:
    with opened(root) as store:
        layers = ensure(store, "all")
        options = {} if store.layers.form == "trusted" else {"userxattr": None}
        fd = fsmount.overlay([layer.path for layer in layers[::-1]], None, None, options=options, target=None)
        flat = unpack(find(store, "all").image, root.parent / "flat", map_root=store.layers.rootless)
    try:
        return differences(snapshot(flat, root_entry=False), snapshot(f"/proc/self/fd/{fd}/.", root_entry=False))
    finally:
        assert fd is not None
        os.close(fd)


def test_the_stack_shows_what_unpack_writes(root: Path) -> None:
    need_overlay()
    assert compare_with_unpack(root) == []


@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "single"])
def test_it_does_in_a_user_namespace(ranges: bool) -> None:
    def work() -> tuple[list[str], str]:
        root = Path.cwd() / "store"
        fill(root, all=[BASE, TOP, LINKS])
        found = compare_with_unpack(root)
        with opened(root) as store:
            return found, store.layers.form

    assert rootless(work, ranges=ranges) == ([], "user")


# Several at once


def run_together(count: int, work: Callable[[int], None]) -> None:
    """Fork so many processes, and let them begin at the same moment."""
    reading, writing = os.pipe()
    children = []
    for number in range(count):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.close(writing)
                os.read(reading, 1)
                work(number)
                status = 0
            except BaseException:  # noqa: BLE001 - said here, and counted by the status
                traceback.print_exc()
            finally:
                os._exit(status)
        children.append(child)
    os.close(writing)
    os.close(reading)
    for child in children:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_processes_that_need_the_same_layers_make_each_once(root: Path, tmp_path: Path) -> None:
    def work(number: int) -> None:
        make = making.make_layers

        def counted(layers: object, wanted: object, found: object, numbers: list[int], **more: object) -> None:
            with open(tmp_path / f"made-{number}", "a") as log:
                log.write("".join(f"{wanted[at].diff_id}\n" for at in numbers))  # type: ignore[index]
            make(layers, wanted, found, numbers, **more)  # type: ignore[arg-type]

        making.make_layers = counted  # type: ignore[assignment]
        with opened(root) as store:
            for name in ("app", "other", "top")[number % 3 :]:
                ensure(store, name)

    run_together(6, work)
    made = "".join(path.read_text() for path in tmp_path.glob("made-*")).split()
    assert len(made) == 5  # of four kinds: LINKS is made for two stacks
    with opened(root) as store:
        assert len(known(store)) == len(folders(store)) == 5


def test_who_waits_for_a_layer_whose_maker_is_killed_makes_it(root: Path) -> None:
    reading, writing = os.pipe()

    def work() -> None:
        def hang(fd: int) -> None:
            os.write(writing, b"x")
            time.sleep(600)

        vars(making)["sync_file_system"] = hang
        with opened(root) as store:
            ensure(store, "app")

    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(1)
    os.read(reading, 1)
    with opened(root) as store:
        assert [name for name in folders(store) if name.startswith(".tmp-")]
        assert store.layers.sweep() == []  # its maker lives
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert len(ensure(store, "app")) == 2
        assert folders(store) == known(store)


# Killed, cut off, broken

EFFECTS = (
    "open",
    "write",
    "fsync",
    "rename",
    "mkdir",
    "unlink",
    "close",
    "mknod",
    "setxattr",
    "link",
    "fchmod",
    "rmdir",
)


def killed_before(moment: int, action: Callable[[], object]) -> bool:
    """See effects.py; with one worker, so that the moments have an order."""

    def prepare(counting: Callable[[effects.Call], effects.Call]) -> None:
        vars(making)["sync_file_system"] = counting(vars(making)["sync_file_system"])
        making.WORKERS = 1

    return effects.killed_before(moment, action, EFFECTS, prepare=prepare)


def test_killed_at_any_moment_a_layer_is_whole_or_not_there(root: Path, tmp_path: Path) -> None:
    def action() -> None:
        with opened(root) as store:
            ensure(store, "other")

    action()
    with opened(root) as store:
        right = {folder.id: snapshot(folder.path) for folder in ensure(store, "other")}
        store.layers.remove(right)
    seen, moment = set(), 0
    killed = True
    while killed:
        moment += 1
        killed = killed_before(moment, action)
        with opened(root) as store:
            rows, names = known(store), [name for name in folders(store) if not name.startswith(".tmp-")]
            assert set(rows) <= set(names)
            for name in names:
                assert snapshot(store.layers.path(name)) == right[name], f"killed before effect {moment}"
            seen.add((len(rows), len(names)))
            ensure(store, "other")
            assert folders(store) == known(store) == sorted(right)
            store.layers.remove(right)
            assert folders(store) == known(store) == []
    assert moment > 60
    assert seen >= {(0, 0), (0, 2), (2, 2)}


def test_a_removal_that_is_killed_at_any_moment_is_finished_by_the_next(root: Path) -> None:
    moment, killed = 0, True
    while killed:
        moment += 1
        with opened(root) as store:
            ids = [folder.id for folder in ensure(store, "app")]

            def action() -> None:
                with opened(root) as child:
                    child.layers.remove(ids)  # noqa: B023 - it is done before the next round

        killed = killed_before(moment, action)
        with opened(root) as store:
            for row in known(store):
                assert os.path.exists(f"{store.root}/layers/{row}/complete")
            assert len(ensure(store, "app")) == 2
            assert folders(store) == known(store)
    assert moment > 10


def test_nothing_has_a_name_before_it_is_on_the_disk(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against a power cut: data, then the mark, then the name, then the row, each durable before the next."""
    events: list[str] = []

    def noted(name: str, call: Callable[..., object], *, on: object = os) -> None:
        def wrapper(*args: object, **keywords: object) -> object:
            events.append(f"{name} {args[0]}" if name == "open" else name)
            return call(*args, **keywords)

        monkeypatch.setattr(on, name, wrapper)

    noted("open", os.open)
    noted("fsync", os.fsync)
    noted("rename", os.rename)
    noted("sync_file_system", vars(making)["sync_file_system"], on=making)
    noted("fsync_dir", vars(making)["fsync_dir"], on=making)
    noted("add_rows", store.layers.add_rows, on=store.layers)
    ensure(store, "app")
    at = events.index("sync_file_system")
    assert "open b'c'" in events[:at]
    after = [event for event in events[at:] if event.split()[0] != "open" or "complete" in event]
    assert after[:8] == [
        "sync_file_system",
        *("open complete", "fsync", "fsync") * 2,
        "rename",
    ]
    assert after[8:12] == ["rename", "fsync_dir", "fsync", "add_rows"]


def test_a_folder_without_its_mark_is_made_again_and_one_without_a_row_is_taken(store: Store) -> None:
    app = ensure(store, "app")
    os.unlink(Path(app[0].path).parent / "complete")
    os.unlink(Path(app[0].path) / "etc/b")
    with store.state.transaction() as db:
        db.run("DELETE FROM layers WHERE id = ?", (app[1].id,))
    inode = os.stat(app[1].path).st_ino
    assert ensure(store, "app") == app
    assert Path(app[0].path, "etc/b").read_bytes() == b"b"
    assert os.stat(app[1].path).st_ino == inode
    shutil.rmtree(Path(app[0].path).parent)
    assert ensure(store, "app") == app
    assert folders(store) == known(store)


@pytest.mark.parametrize(
    "said", [b"", b"{", b"[]", b"{}", json.dumps({"diff_id": "sha256:" + "0" * 64}).encode(), b"\xff" * 9000]
)
def test_a_mark_that_says_something_else_counts_for_nothing(store: Store, said: bytes) -> None:
    app = ensure(store, "app")
    Path(app[0].path).parent.joinpath("complete").write_bytes(said)
    with store.state.transaction() as db:
        db.run("DELETE FROM layers")
    assert ensure(store, "app") == app
    assert folders(store) == known(store)


def test_leftovers_go_and_what_is_locked_stays(store: Store) -> None:
    for name in (".tmp-dead", ".tmp-alive"):
        os.makedirs(f"{store.root}/layers/{name}/fs/closed")
        os.chmod(f"{store.root}/layers/{name}/fs", 0)
    fd = os.open(f"{store.root}/layers/.tmp-alive", os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        ensure(store, "app")
        assert [name for name in folders(store) if name.startswith(".")] == [".tmp-alive"]
    finally:
        os.close(fd)


def bad_image(root: Path, layer: Entries, **facts: object) -> None:
    shutil.rmtree(root)
    maker = LayoutMaker(root / "images")
    made = [tar_layer(BASE), tar_layer(layer), tar_layer(TOP)]
    maker.tag("docker.io/library/bad:latest", maker.image(made, **facts))  # type: ignore[arg-type]
    maker.finish()


def left_nothing(root: Path, error: type[OciError]) -> str:
    with opened(root) as store:
        with pytest.raises(error) as caught:
            ensure(store, "bad")
        assert folders(store) == known(store) == []
    return str(caught.value)


def test_altered_blobs_leave_nothing(root: Path) -> None:
    bad_image(root, LINKS)
    with opened(root) as store:
        image = find(store, "bad").image
        path = Path(store.images.blobs.blob_path(image.layers[1].descriptor.digest))
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    said = left_nothing(root, OciError)
    assert str(image.layers[1].descriptor.digest) in said


def test_a_wrong_diff_id_leaves_nothing(root: Path) -> None:
    bad_image(root, LINKS)
    with opened(root) as store:
        image = find(store, "bad").image
        config = image.config.model
        wrong = config.replace(diff_ids=(config.diff_ids[0], config.diff_ids[2], config.diff_ids[1]))
        lying = image.replace(config=Document.of(wrong))
        with pytest.raises(DiffIdMismatch):
            store.layers.ensure(lying)
        assert folders(store) == known(store) == []


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"../../evil": b"1"}, "'..' in the name"),
        ({"a": ("hardlink", "etc/nothing")}, "not in the image"),
        ({"a": ("hardlink", "../../../etc/passwd")}, "'..' in the name"),
        ({"etc/.wh...": b""}, "without a name"),
    ],
)
def test_a_refused_entry_is_one_line_that_names_the_layer(root: Path, entries: Entries, said: str) -> None:
    bad_image(root, entries)
    line = left_nothing(root, UnsafeEntry)
    assert line.startswith("layer sha256:")
    assert said in line


def test_a_file_system_that_refuses_is_named_with_the_layer(root: Path) -> None:
    bad_image(root, {"n" * 255 + "x": b"1"})
    line = left_nothing(root, UnpackError)
    assert line.startswith("layer sha256:")
    assert "File name too long" in line


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    from oci.linux import mounts
    from oci.linux.namespaces import unshare_mounts
    from tests.support.namespaces import need_mounts

    need_mounts()

    def work() -> list[str]:
        unshare_mounts()
        mounts.mount("tmpfs", tmp_path, "tmpfs", 0, "size=3m")
        fill(tmp_path / "store", app=[BASE, {"big": os.urandom(1 << 20)}, {"zeros": bytes(8 << 20)}])
        with opened(tmp_path / "store") as store:
            with pytest.raises(OSError, match="No space left"):
                ensure(store, "app")
            return folders(store) + known(store)

    assert in_child(work) == []


def test_layers_that_images_and_containers_need_are_told(store: Store) -> None:
    app = ensure(store, "app")
    needed = store.layers.needed_ids()
    assert {layer.id for layer in app} <= needed
    image = find(store, "app").image
    os.unlink(store.images.blobs.blob_path(image.manifest.model.config.digest))
    store.layers.needed_ids()  # what isn't stored needs nothing
    Path(store.images.blobs.blob_path(image.descriptor.digest)).write_bytes(b"damaged")
    with pytest.raises(StoreError, match="it can't be told which layers are needed"):
        store.layers.needed_ids()
