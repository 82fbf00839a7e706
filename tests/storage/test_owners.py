"""A store keeps to the ids that its files were made with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from oci.errors import StoreError
from oci.linux.idmaps import IdMap, IdMaps, single
from oci.storage.owners import IDS, settle_owners
from oci.storage.state import State

SINGLE = single(1000, 1000)


def ranges(first: int = 200_000, size: int = 65536) -> IdMaps:
    maps = (IdMap(inside=0, outside=1000, size=1), IdMap(inside=1, outside=first, size=size))
    return IdMaps(uids=maps, gids=maps)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    opened = State.open(str(tmp_path))
    yield opened
    opened.close()


def unpack_something(state: State) -> None:
    with state.transaction() as db:
        db.run("INSERT INTO layers VALUES ('one', 'sha256:00', NULL, 1, 1, 1)")


def volume(state: State) -> None:
    with state.transaction() as db:
        db.run("INSERT INTO volumes VALUES ('data', 1, '{}', 0, 1)")


def test_the_same_ids_are_welcome(state: State) -> None:
    settle_owners(state, "/store", ranges())
    unpack_something(state)
    settle_owners(state, "/store", ranges())


@pytest.mark.parametrize("fill", [unpack_something, volume])
@pytest.mark.parametrize("now", [SINGLE, ranges(300_000), ranges(size=1000)])
def test_files_of_ids_that_are_gone_are_not_touched(state: State, now: IdMaps, fill: object) -> None:
    settle_owners(state, "/store", ranges())
    assert callable(fill)
    fill(state)
    with pytest.raises(StoreError, match=r"^/store: its files belong to other ids .* --root$"):
        settle_owners(state, "/store", now)
    settle_owners(state, "/store", ranges())


@pytest.mark.parametrize("now", [SINGLE, ranges(300_000)])
def test_a_store_with_nothing_in_it_takes_any_ids(state: State, now: IdMaps) -> None:
    settle_owners(state, "/store", ranges())
    settle_owners(state, "/store", now)
    unpack_something(state)
    settle_owners(state, "/store", now)


def test_more_ids_are_welcome(state: State) -> None:
    settle_owners(state, "/store", ranges())
    unpack_something(state)
    said: list[str] = []
    settle_owners(state, "/store", ranges(size=100_000), said.append)
    assert not said
    with pytest.raises(StoreError):
        settle_owners(state, "/store", ranges())


def test_what_was_unpacked_with_a_single_id_is_told_of(state: State) -> None:
    settle_owners(state, "/store", SINGLE)
    volume(state)
    unpack_something(state)
    said: list[str] = []
    settle_owners(state, "/store", ranges(), said.append)
    assert "unpacked with a single id" in said[0]
    settle_owners(state, "/store", SINGLE, said.append)  # and nothing is lost by it
    assert len(said) == 1
    with state.transaction() as db:
        db.run("DELETE FROM layers")
    settle_owners(state, "/store", ranges(), said.append)
    assert len(said) == 1
    assert state.fact(IDS) != ""
