"""The order of effects: what is on the disk when the power goes after any of them, `check --repair` mends.

The functions that change a disk are wrapped. Before each of their calls, and after the last, the store is copied as it
is at that moment: that is what a `kill -9` leaves there. What a power cut can take besides are commits of the database
(`synchronous=NORMAL`), so each of these moments is tried with the database of the beginning, too.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from oci.linux import calls
from oci.storage.check import check
from oci.storage.images import find, remove
from oci.storage.repair import check_and_repair
from oci.storage.state import Transaction
from oci.storage.store import Store
from tests.support.stocked import add_container, stocked, ticks

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="layers with owners need root")

MAX_MOMENTS = 40  # of one operation that are tried, evenly; each takes some 20 ms


class Recorder:
    """Notes every effect by name, and lets `at` see the world before each."""

    def __init__(self) -> None:
        self.effects: list[str] = []
        self.at: Callable[[int], None] = lambda _: None

    def note(self, effect: str) -> None:
        self.at(len(self.effects))
        self.effects.append(effect)


@contextmanager
def recorded(monkeypatch: pytest.MonkeyPatch, root: str) -> Iterator[Recorder]:
    """Wrap what changes a disk for as long as the block lasts."""
    recorder = Recorder()

    def wrap(owner: Any, name: str, label: Callable[..., str]) -> None:
        original = getattr(owner, name)

        def wrapped(*arguments: Any, **named: Any) -> Any:
            recorder.note(label(*arguments, **named))
            return original(*arguments, **named)

        patch.setattr(owner, name, wrapped)

    def path_of(fd: int) -> str:
        return os.path.relpath(os.readlink(f"/proc/self/fd/{fd}"), root)

    with monkeypatch.context() as patch:
        wrap(os, "fsync", lambda fd: f"fsync {path_of(fd)}")
        wrap(os, "rename", lambda a, b, **_: f"rename {os.fsdecode(a)} {os.fsdecode(b)}".replace(f"{root}/", ""))
        wrap(os, "mkdir", lambda path, *_, **__: f"mkdir {os.fsdecode(path)}".replace(f"{root}/", ""))
        wrap(os, "unlink", lambda path, **_: f"unlink {os.fsdecode(path)}".replace(f"{root}/", ""))
        wrap(os, "rmdir", lambda path, **_: f"rmdir {os.fsdecode(path)}".replace(f"{root}/", ""))
        wrap(calls, "call", lambda name, *_, **__: name)
        wrap(Transaction, "run", lambda _, statement, *__: f"sql {statement.split()[0]}")
        wrap(Transaction, "run_many", lambda _, statement, *__: f"sql {statement.split()[0]}")
        yield recorder


def copy(root: str, to: Path, database: str | None = None) -> None:
    """The store as it is at this moment; with `database`, another moment's in place of its own."""
    shutil.copytree(root, to, symlinks=True, copy_function=_copy)
    if database is not None:
        for suffix in ("", "-wal", "-shm"):
            (to / f"store.db{suffix}").unlink(missing_ok=True)
            if os.path.exists(f"{database}/store.db{suffix}"):
                shutil.copy2(f"{database}/store.db{suffix}", to / f"store.db{suffix}")


def _copy(source: str, target: str) -> object:
    """Hard links, which is quick, except for the database: everything else of a store is written once."""
    if os.path.basename(source).startswith("store."):
        return shutil.copy2(source, target)
    os.link(source, target, follow_symlinks=False)
    return target


def create_volume(store: Store) -> None:
    store.volumes.create("fresh")


def remove_volume(store: Store) -> None:
    store.volumes.remove("old")


def populate_volume(store: Store) -> None:
    fd = os.open(store.layers.path(store.layers.ensure(find(store, "app").image)[0].id), os.O_RDONLY)
    try:
        store.volumes.populate(store.volumes.get("empty"), fd, b"srv")
    finally:
        os.close(fd)


def load_volume(store: Store) -> None:
    store.volumes.load("loaded", store.volumes.export("old"))
    store.volumes.load("old", store.volumes.export("loaded"), force=True)


def unpack(store: Store) -> None:
    store.layers.ensure(find(store, "other").image)


def make_container(store: Store) -> None:
    add_container(store, "new")


def remove_image(store: Store) -> None:
    remove(store, "other")


OPERATIONS = {
    f.__name__: f
    for f in (create_volume, remove_volume, populate_volume, load_volume, unpack, make_container, remove_image)
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with stocked(tmp_path / "store", unpack=False) as made:
        made.layers.ensure(find(made, "app").image)
        made.volumes.create("empty")
        Path(made.volumes.create("old").path, "precious").write_text("x")
        made.state.close()  # nothing of it is in a log
        yield made


@pytest.mark.parametrize("name", OPERATIONS)
def test_whatever_the_moment_the_store_can_be_mended_and_no_volume_is_lost(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    before = tmp_path / "before"
    before.mkdir()
    shutil.copy2(f"{store.root}/store.db", before / "store.db")
    moments = tmp_path / "moments"
    moments.mkdir()
    with recorded(monkeypatch, store.root) as recorder:
        busy = False

        def photograph(number: int) -> None:
            nonlocal busy
            if busy or number > 200:
                return
            busy = True
            copy_quietly(store.root, moments / str(number), recorder)
            busy = False

        recorder.at = photograph
        OPERATIONS[name](store)
        recorder.at = lambda _: None
    store.state.close()
    copy(store.root, moments / "end")
    taken = sorted(moments.iterdir(), key=lambda path: (path.name == "end", path.name.zfill(6)))
    assert len(taken) > 3, recorder.effects
    step = max(1, len(taken) // (MAX_MOMENTS // 2))
    for moment in [*taken[::step], taken[-1]]:
        for lost_commits in (False, True):
            place = tmp_path / "now"
            copy(str(moment), place, str(before) if lost_commits else None)
            mend(place, name, f"{name} at {moment.name}, commits lost: {lost_commits}: {recorder.effects}")
            shutil.rmtree(place)


def copy_quietly(root: str, to: Path, recorder: Recorder) -> None:
    """A copy whose own effects are none of the operation's."""
    known = len(recorder.effects)
    copy(root, to)
    del recorder.effects[known:]


def mend(place: Path, name: str, where: str) -> None:
    with Store.open(place, clock=ticks(), driver="overlay") as again:
        answers = check_and_repair(again)
        assert all(answer.done for answer in answers), f"{where}\n{answers}"
        assert list(check(again)) == [], where
        volumes = {volume.name: volume for volume in again.volumes.list()}
        if name != "remove_volume":
            assert "old" in volumes, where
        if "old" in volumes and name != "remove_volume":
            assert os.listdir(volumes["old"].path) == ["precious"], where
        if name == "populate_volume":  # all of it or nothing
            assert sorted(os.listdir(volumes["empty"].path)) in ([], ["a", "again"]), where
        if name == "load_volume" and "loaded" in volumes:
            assert os.listdir(volumes["loaded"].path) == ["precious"], where


def effects_of(store: Store, monkeypatch: pytest.MonkeyPatch, operation: Callable[[Store], None]) -> list[str]:
    with recorded(monkeypatch, store.root) as recorder:
        operation(store)
    return recorder.effects


def test_files_are_durable_before_their_rows(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    effects = effects_of(store, monkeypatch, create_volume)
    assert effects == [
        "mkdir volumes/fresh",
        "mkdir volumes/fresh/data",
        "fsync volumes/fresh",
        "fsync volumes",
        "sql INSERT",
    ]
    effects = effects_of(store, monkeypatch, unpack)
    at = [effects.index("syncfs"), effects.index("fsync layers")]
    renames = [number for number, effect in enumerate(effects) if effect.startswith("rename .tmp-")]
    row = next(number for number, effect in enumerate(effects) if effect.startswith("sql INSERT"))
    assert at[0] < min(renames)
    assert max(renames) < at[1] < row
    marks = [number for number, effect in enumerate(effects) if effect.endswith("/complete")]
    assert at[0] < min(marks)
    assert max(marks) < min(renames)


def test_a_volume_takes_its_content_by_one_rename_of_what_is_on_the_disk(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    effects = effects_of(store, monkeypatch, populate_volume)
    (rename,) = [number for number, effect in enumerate(effects) if effect.startswith("rename")]
    assert effects[rename].endswith(" volumes/empty/data")
    assert "syncfs" in effects[:rename]
    assert effects[rename + 1 :][:3] == ["fsync volumes/empty", *effects[rename + 2 :][:2]]
    assert "unlink volumes/empty/new" in effects[rename:]


def test_a_volumes_name_goes_before_its_row_and_its_files_last(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    effects = effects_of(store, monkeypatch, remove_volume)
    assert effects[0].startswith("rename volumes/old volumes/.tmp-")
    assert effects[1:3] == ["sql DELETE", "fsync volumes"]
    assert all(effect.startswith(("unlink", "rmdir", "rename")) for effect in effects[3:])
