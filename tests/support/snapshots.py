"""Containers for tests of drivers: on an image of as many layers as wanted, and what is done in their trees."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from oci.drivers.copy import Copy
from oci.drivers.driver import Driver
from oci.drivers.fuse_overlayfs import FuseOverlayfs
from oci.drivers.overlay import Overlay
from oci.drivers.snapshot import Snapshot
from oci.linux import namespaces
from tests.support.users import in_child

DRIVERS: dict[str, Callable[[], Driver]] = {
    "overlay": lambda: Overlay("trusted"),
    "fuse-overlayfs": lambda: FuseOverlayfs("trusted"),
    "copy": lambda: Copy("trusted"),
}


def image(top: Path, count: int = 1) -> Snapshot:
    """A container on an image of `count` layers, each with a file of its own and one that all have."""
    layers = []
    for number in range(count):
        layer = top / "layers" / f"{number:0>64}" / "fs"
        layer.mkdir(parents=True)
        (layer / f"file{number}").write_bytes(b"%d" % number)
        (layer / "all").write_bytes(b"%d" % number)
        (layer / "dir").mkdir()
        (layer / "dir" / f"file{number}").write_bytes(b"")
        layers.append(str(layer))
    folder = top / "container"
    folder.mkdir()
    return Snapshot(folder=str(folder), layers=tuple(layers))


def changes(driver: Driver, at: Snapshot) -> list[tuple[bytes, str]]:
    return [(change.path, change.kind) for change in driver.changes(at)]


def mounted(driver: Driver, at: Snapshot, work: Callable[[bytes], object]) -> None:
    """Do something in the tree, as a container would."""

    def child() -> None:
        namespaces.unshare_mounts()
        work(os.fsencode(driver.mount(at)))
        driver.unmount(at)

    in_child(child)
