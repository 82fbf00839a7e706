"""The kit of tests/support/driver_kit.py: every case, with every driver, for every user; and all say the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.driver_cases import CASES, Case, table
from tests.support.driver_kit import WORLDS, outcomes

_NAMES = [one.name for one in CASES]


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("one", CASES, ids=_NAMES)
def test_a_driver_shows_keeps_and_tells_what_was_done(one: Case, world: str) -> None:
    if not WORLDS[world].can(one):
        pytest.skip(f"this user or driver can't have this: {one.needs or one.name}")
    outcome = outcomes(world)[one.name]
    assert outcome.wrong == []


@pytest.mark.parametrize("one", [one for one in CASES if one.alike and not one.refused], ids=lambda one: one.name)
def test_the_delta_is_the_same_whichever_driver(one: Case) -> None:
    for users in (("root",), ("ranges",), ("single", "plain")):
        told = {}
        for name, world in WORLDS.items():
            if world.user in users and world.can(one):
                told[name] = outcomes(name)[one.name].delta
        for name, delta in told.items():
            first = next(iter(told))
            # fuse-overlayfs doesn't keep directories' times, so it tells less of those that nothing else happened to.
            less = "fuse" in name or "fuse" in first
            assert plain(delta, less) == plain(told[first], less), f"{name} against {first}"


def plain(delta: list[tuple[object, ...]], less: bool) -> list[tuple[object, ...]]:
    return [entry for entry in delta if not (less and entry[1] == "dir")]


def test_the_page_has_the_table_of_these_cases() -> None:
    page = (Path(__file__).parent.parent.parent / "docs" / "drivers.md").read_text().splitlines()
    assert [line for line in page if line in table()] == table()
