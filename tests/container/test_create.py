"""What `create` leaves when it fails: nothing of its own, and everything of others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from oci.drivers.copy import Copy
from oci.drivers.snapshot import Snapshot
from oci.errors import DriverError, VolumeNotFound
from oci.runtime.settings import MountSetting
from oci.storage.store import Store
from oci.storage.volumes import Volume, Volumes
from tests.support.containers import busybox_store, container_of


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with busybox_store(tmp_path / "store", driver="copy") as store:
        assert store.driver.name == "copy"  # tried now, and not when the test has broken it
        yield store


def fail(self: Copy, snapshot: Snapshot) -> None:
    raise DriverError("copy", "as the test wants it")


MOUNTS = (MountSetting(type="volume", source="notes", target="/notes"), MountSetting(type="volume", target="/cache"))


def test_volumes_that_were_made_for_it_go_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Copy, "prepare", fail)
    with pytest.raises(DriverError):
        container_of(store, mounts=MOUNTS)
    assert store.volumes.list() == ()
    assert list(Path(store.root, "containers").iterdir()) == []


def test_a_volume_that_another_command_makes_in_the_same_moment_stays(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = store.volumes.create("notes")
    true, asked = Volumes.get, list[str]()

    def get(self: Volumes, name: str) -> Volume:
        asked.append(name)
        if len(asked) == 1:  # a moment before they make it
            raise VolumeNotFound(name, store.root)
        return true(self, name)

    monkeypatch.setattr(Volumes, "get", get)
    monkeypatch.setattr(Copy, "prepare", fail)
    with pytest.raises(DriverError):
        container_of(store, mounts=MOUNTS)
    assert store.volumes.list() == (theirs,)
