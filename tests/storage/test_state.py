"""The store's database: transactions, versions, owners, damage, other processes."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
from pathlib import Path

import pytest

from oci.errors import StoreError
from oci.storage.schema import STEPS
from oci.storage.state import State, is_store
from oci.storage.store import Store
from tests.support.users import as_user, in_child


def facts(state: State) -> list[tuple[str, str]]:
    return [(name, value) for name, value in state.all("SELECT name, value FROM facts ORDER BY name")]


def test_it_is_a_wal_that_survives_its_process(tmp_path: Path) -> None:
    state = State.open(str(tmp_path))
    assert state.one("PRAGMA journal_mode") == ("wal",)
    assert state.one("PRAGMA synchronous") == (1,)
    assert state.one("PRAGMA foreign_keys") == (1,)
    assert (tmp_path / "store.db").stat().st_mode & 0o777 == 0o600

    def work() -> None:
        State.open(str(tmp_path)).set_fact("driver", "copy")
        os._exit(7)  # no goodbye

    with pytest.raises(RuntimeError, match="without an answer"):
        in_child(work)
    assert facts(state) == [("driver", "copy")]


def test_a_transaction_that_raises_has_not_happened(tmp_path: Path) -> None:
    state = State.open(str(tmp_path))
    with pytest.raises(ZeroDivisionError), state.transaction() as db:
        db.run("INSERT INTO facts VALUES ('a', 'b')") / 0
    assert facts(state) == []
    state.set_fact("a", "c")
    assert state.settle_fact("a", "d") == "c"
    assert state.settle_fact("e", "f") == "f"


def test_an_older_store_is_brought_up_to_date_and_keeps_its_rows(tmp_path: Path) -> None:
    with State.open(str(tmp_path)).transaction() as db:
        db.run("INSERT INTO facts VALUES ('driver', 'overlay')")
    step = ("ALTER TABLE facts ADD COLUMN since INTEGER NOT NULL DEFAULT 5", "CREATE TABLE more (x TEXT)")
    state = State.open(str(tmp_path), steps=(*STEPS, step))
    assert state.all("SELECT * FROM facts") == [("driver", "overlay", 5)]
    assert state.one("PRAGMA user_version") == (len(STEPS) + 1,)
    again = State.open(str(tmp_path), steps=(*STEPS, step))  # which isn't done twice
    assert again.all("SELECT * FROM more") == []


def test_a_step_that_fails_leaves_the_older_store(tmp_path: Path) -> None:
    State.open(str(tmp_path)).set_fact("a", "b")
    with pytest.raises(StoreError, match="nonsense"):
        State.open(str(tmp_path), steps=(*STEPS, ("CREATE TABLE more (x TEXT)", "nonsense")))
    state = State.open(str(tmp_path))
    assert facts(state) == [("a", "b")]
    assert state.one("SELECT count(*) FROM sqlite_master WHERE name = 'more'") == (0,)


def test_a_newer_store_is_refused(tmp_path: Path) -> None:
    State.open(str(tmp_path), steps=(*STEPS, ("CREATE TABLE more (x TEXT)",))).close()
    with pytest.raises(StoreError) as caught:
        State.open(str(tmp_path))
    known = len(STEPS)
    assert str(caught.value) == (
        f"{tmp_path}/store.db: is of version {known + 1}, this ocikit knows up to {known}; "
        "use the newer one, or another --root"
    )


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "store.db") as other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()
    with pytest.raises(StoreError, match="the database of another program"):
        State.open(str(tmp_path))


@pytest.mark.parametrize("damage", [b"not a database at all" * 300, b""], ids=["other bytes", "cut pages"])
def test_a_damaged_one_is_one_line_that_says_what_to_do(tmp_path: Path, damage: bytes) -> None:
    state = State.open(str(tmp_path))
    with state.transaction() as db:
        db.run_many("INSERT INTO facts VALUES (?, ?)", [(f"{n}", "x" * 100) for n in range(1000)])
    state.close()
    path = tmp_path / "store.db"
    if damage:
        path.write_bytes(damage)
    else:
        whole = path.read_bytes()
        path.write_bytes(whole[:8192] + b"\xff" * (len(whole) - 8192))
    with pytest.raises(StoreError) as caught:
        State.open(str(tmp_path)).all("SELECT * FROM facts")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{path}: is damaged (")
    assert "store check --repair" in str(caught.value)


def test_check_names_what_sqlite_finds(tmp_path: Path) -> None:
    state = State.open(str(tmp_path))
    assert state.check() == []
    state.close()
    with sqlite3.connect(tmp_path / "store.db") as raw:
        raw.execute("INSERT INTO container_volumes VALUES ('nobody', '/x', 'nothing', 0)")
    raw.close()
    assert sorted(State.open(str(tmp_path)).check()) == [
        "table container_volumes: a row names a missing containers",
        "table container_volumes: a row names a missing volumes",
    ]


def test_without_create_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="not a store of ocikit"):
        State.open(str(tmp_path), create=False)
    with pytest.raises(StoreError, match="no such directory"):
        Store.open(tmp_path / "none", clock=lambda: 1, create=False)
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
def test_another_users_store_is_refused(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store", clock=lambda: 1):
        pass
    os.chown(tmp_path / "store", 1000, 1000)
    with pytest.raises(StoreError, match="belongs to user 1000, you are user 0; a store has one owner"):
        Store.open(tmp_path / "store", clock=lambda: 1)
    os.chown(tmp_path / "store", 0, 0)
    os.chown(tmp_path / "store" / "store.db", 1000, 1000)
    with pytest.raises(StoreError, match=r"store\.db: belongs to user 1000"):
        Store.open(tmp_path / "store", clock=lambda: 1)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
def test_a_place_that_can_not_be_made_is_one_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)

    def work() -> str:
        with pytest.raises(StoreError) as caught:
            Store.open("/proc/here", clock=lambda: 1)
        return str(caught.value)

    assert as_user(work).endswith("choose another place with --root")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
def test_a_place_that_can_not_be_looked_at_is_not_one_without_a_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with Store.open(tmp_path / "store", clock=lambda: 1):
        pass
    tmp_path.chmod(0o755)
    assert not is_store(str(tmp_path / "none"))
    with pytest.raises(StoreError, match=r"file: can't be looked at \(Not a directory\); choose another store"):
        is_store(str(tmp_path / "file"))

    def look() -> str:
        with pytest.raises(StoreError) as caught:
            is_store(str(tmp_path / "store"))
        return str(caught.value)

    assert "store: can't be looked at (Permission denied)" in as_user(look)


def test_a_folder_with_something_else_in_it_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    with pytest.raises(StoreError, match="has 'letters'; choose an empty folder"):
        Store.open(tmp_path, clock=lambda: 1)


def test_everything_at_the_top_is_its_owners_alone(tmp_path: Path) -> None:
    os.umask(os.umask(0))
    with Store.open(tmp_path / "store", clock=lambda: 1) as store:
        modes = {path.name: path.stat().st_mode & 0o777 for path in Path(store.root).iterdir() if path.is_dir()}
    assert set(modes.values()) == {0o700}
    assert (tmp_path / "store").stat().st_mode & 0o777 == 0o700


def test_a_forked_process_opens_its_own(tmp_path: Path) -> None:
    state = State.open(str(tmp_path))
    state.set_fact("a", "b")

    def work() -> str | None:
        state.set_fact("c", "d")
        return state.fact("a")

    assert in_child(work) == "b"
    assert state.fact("c") == "d"
    state.set_fact("e", "f")


def _count(root: str, times: int) -> None:
    state = State.open(root)
    for _ in range(times):
        with state.transaction() as db:
            row = db.one("SELECT value FROM facts WHERE name = 'n'")
            assert row is not None
            db.run("UPDATE facts SET value = ? WHERE name = 'n'", (str(int(row[0]) + 1),))


def test_several_processes_take_turns(tmp_path: Path) -> None:
    state = State.open(str(tmp_path))
    state.set_fact("n", "0")
    state.close()
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_count, args=(str(tmp_path), 100)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert State.open(str(tmp_path)).fact("n") == "300"
