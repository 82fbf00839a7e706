"""Rows of containers: names, IDs and their prefixes, what changes, locks."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from oci.errors import ContainerNotFound, InvalidInput, NameTaken, VolumeNotFound
from oci.linux.process import Identity
from oci.storage.container_names import _ADJECTIVES, _NOUNS, generate_name
from oci.storage.containers import ContainerRow, check_container_name, new_id
from oci.storage.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store", clock=time.time_ns) as made:
        yield made


def row(name: str, **more: Any) -> ContainerRow:
    facts: dict[str, Any] = {
        "id": new_id(),
        "name": name,
        "image_id": "sha256:1",
        "image_name": "docker.io/library/app:latest",
        "manifest": "sha256:2",
        "layers": ("a", "b"),
        "driver": "overlay",
        "created": 5,
    }
    return ContainerRow(**{**facts, **more})


def test_a_row_comes_back_as_it_was_added(store: Store) -> None:
    made = row(
        "one",
        settings='{"tty": true}',
        status="running",
        supervisor=Identity(pid=12, start=34, boot_id="x-y"),
        init=Identity(pid=56, start=78, boot_id="x-y"),
        started=6,
        auto_remove=True,
        labels={"a": "b"},
    )
    store.containers.add(made)
    assert store.containers.get("one") == made
    assert store.containers.get(made.id) == made
    changed = store.containers.update(made.id, status="exited", exit_code=3, supervisor=None, finished=9)
    assert changed == made.replace(status="exited", exit_code=3, supervisor=None, finished=9)
    assert store.containers.list() == (changed,)


def test_a_name_counts_more_than_a_prefix_and_a_prefix_must_be_one(store: Store) -> None:
    first, second = row("one", id="ab" + "0" * 62), row("abcd", id="ab" + "1" * 62)
    third = row("ab0", id="c" * 64)
    for each in (first, second, third):
        store.containers.add(each)
    assert store.containers.get("ab0") == third
    assert store.containers.get("ab00") == first
    assert store.containers.get("ab1") == second
    assert store.containers.get("cc") == third
    with pytest.raises(ContainerNotFound, match="could be any of ab0000000000, ab1111111111"):
        store.containers.get("ab")
    for unknown in ("c", "dd", "nobody", "%", "ab_", "AB0", "", "f" * 65):
        with pytest.raises(ContainerNotFound, match="no such container"):
            store.containers.get(unknown)


def test_names_are_given_once(store: Store) -> None:
    one, two = row("one"), row("two")
    store.containers.add(one)
    with pytest.raises(NameTaken, match=f"{one.id[:12]} has it"):
        store.containers.add(row("one"))
    store.containers.add(two)
    with pytest.raises(NameTaken):
        store.containers.rename(two.id, "one")
    store.containers.rename(two.id, "two")
    store.containers.rename(two.id, "three")
    assert store.containers.get("three").id == two.id
    store.containers.remove(one.id)
    store.containers.rename(two.id, "one")
    with pytest.raises(ContainerNotFound):
        store.containers.rename(one.id, "other")
    with pytest.raises(ContainerNotFound):
        store.containers.update(one.id, status="exited")


@pytest.mark.parametrize("name", ["", "-a", ".a", "a/b", "a b", "ä", "a\n", "a" * 129])
def test_names_are_as_docker_has_them(name: str) -> None:
    with pytest.raises(InvalidInput):
        check_container_name(name)


def test_made_up_names_are_good_and_free() -> None:
    assert not set(_ADJECTIVES) & set(_NOUNS)
    assert len(_ADJECTIVES) * len(_NOUNS) > 25_000
    for _ in range(50):
        check_container_name(generate_name(lambda name: False))
    taken = {f"{adjective}_{noun}" for adjective in _ADJECTIVES for noun in _NOUNS}
    assert generate_name(taken.__contains__) not in taken


def test_volumes_go_with_the_row(store: Store) -> None:
    with store.state.transaction() as db:
        db.run("INSERT INTO volumes (name, created, labels, anonymous, ready) VALUES ('data', 1, '{}', 0, 1)")
    made = row("one")
    store.containers.add(made, [("data", "/b"), ("data", "/a", True)])
    assert store.containers.volumes(made.id) == (("data", "/a", True), ("data", "/b", False))
    with pytest.raises(VolumeNotFound):
        store.containers.add(row("two"), [("none", "/a")])
    assert [each.name for each in store.containers.list()] == ["one"]  # both or neither
    store.containers.remove(made.id)
    assert store.state.all("SELECT * FROM container_volumes") == []


def test_what_containers_need_is_told(store: Store) -> None:
    store.containers.add(row("one", layers=("a", "b")))
    store.containers.add(row("two", layers=("b", "c"), manifest="sha256:3"))
    assert store.containers.layer_ids() == {"a", "b", "c"}
    assert store.containers.using_manifest(["sha256:3"]) == ("two",)
    assert store.containers.using_manifest(["sha256:4"]) == ()


def test_a_lock_is_on_the_folder_and_waits_for_nobody_that_is_gone(store: Store) -> None:
    made = row("one")
    with pytest.raises(ContainerNotFound), store.containers.lock(made.id):
        pass
    os.mkdir(store.containers.folder(made.id))
    with store.containers.lock(made.id), pytest.raises(BlockingIOError), store.containers.lock(made.id, wait=False):
        pass
    with store.containers.lock(made.id, wait=False):
        os.rmdir(store.containers.folder(made.id))
    with pytest.raises(ContainerNotFound), store.containers.lock(made.id):
        pass


def test_one_of_a_thousand_is_found_by_an_index(store: Store) -> None:
    with store.state.transaction() as db:
        from oci.storage.containers import _INSERT, _to_columns

        db.run_many(_INSERT, [_to_columns(row(f"c{number}")) for number in range(1000)])
    plans = [
        store.state.all(f"EXPLAIN QUERY PLAN SELECT * FROM containers WHERE {where}")
        for where in ("name = 'c5'", "id >= 'ab' AND id < 'abg'", "manifest = 'x'")
    ]
    assert all("SEARCH" in plan[0][3] for plan in plans)
