"""A store's place that another user of the machine has prepared: root doesn't put his containers there."""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from oci.errors import StoreError
from oci.storage.store import FOLDERS, Store

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs to run as root, to be two users")
OTHER = 1000


def opened(place: Path) -> None:
    Store.open(place, clock=time.time_ns).close()


@root_only
def test_a_folder_of_another_user(tmp_path: Path) -> None:
    place = tmp_path / "evil"
    place.mkdir()
    os.chown(place, OTHER, OTHER)
    with pytest.raises(StoreError, match=f"belongs to user {OTHER}"):
        opened(place)
    (tmp_path / "link").symlink_to(place)
    with pytest.raises(StoreError, match=f"belongs to user {OTHER}"):
        opened(tmp_path / "link")
    assert os.listdir(place) == []


@root_only
@pytest.mark.parametrize("name", [*FOLDERS, "store.db"])
def test_a_link_that_another_user_has_put_in_place_of_a_part(tmp_path: Path, name: str) -> None:
    place, elsewhere = tmp_path / "store", tmp_path / "elsewhere"
    place.mkdir()
    elsewhere.mkdir()
    (place / name).symlink_to(elsewhere)
    os.lchown(place / name, OTHER, OTHER)
    with pytest.raises(StoreError, match=f"belongs to user {OTHER}"):
        opened(place)
    assert os.listdir(elsewhere) == []


@pytest.mark.parametrize("mode", [0o777, 0o1777])
def test_a_place_where_everybody_may_write(tmp_path: Path, mode: int) -> None:
    place = tmp_path / "shared"
    place.mkdir()
    place.chmod(mode)
    with pytest.raises(StoreError, match="everybody may write there"):
        opened(place)
    assert os.listdir(place) == []


@root_only
def test_a_database_of_another_user(tmp_path: Path) -> None:
    opened(tmp_path / "store")
    os.chown(tmp_path / "store/store.db", OTHER, OTHER)
    with pytest.raises(StoreError, match=f"belongs to user {OTHER}"):
        opened(tmp_path / "store")


def test_a_database_that_is_something_else(tmp_path: Path) -> None:
    makers: tuple[Callable[[str], object], ...] = (
        os.mkdir,
        os.mkfifo,
        lambda path: Path(path).write_bytes(b"x" * 5000),
    )
    for number, make in enumerate(makers):
        place = tmp_path / str(number)
        opened(place)
        for suffix in ("", "-wal", "-shm"):
            (place / f"store.db{suffix}").unlink(missing_ok=True)
        make(str(place / "store.db"))
        with pytest.raises(StoreError, match=r"store\.db"):
            opened(place)
    place = tmp_path / "views"
    opened(place)
    with sqlite3.connect(place / "store.db") as db:
        db.execute("PRAGMA user_version = 0")
        db.execute("PRAGMA application_id = 0")
    db.close()
    with pytest.raises(StoreError):
        opened(place)


def test_nobody_else_gets_in(tmp_path: Path) -> None:
    """Images hold set-id programs, which are only harmless where no other user reaches them."""
    before = os.umask(0)
    try:
        opened(tmp_path / "store")
        (tmp_path / "open").mkdir(mode=0o755)
        opened(tmp_path / "open")
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(tmp_path / "store").st_mode) == 0o700
    for place in ("store", "open"):
        for name in FOLDERS:
            assert stat.S_IMODE(os.stat(tmp_path / place / name).st_mode) == 0o700
        assert stat.S_IMODE(os.stat(tmp_path / place / "store.db").st_mode) == 0o600
