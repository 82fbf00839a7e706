"""A store with two images that share a layer, all of it unpacked, and containers without processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from oci.drivers.probe import driver_named
from oci.storage.containers import ContainerRow, Status, new_id
from oci.storage.images import find
from oci.storage.store import Store
from tests.support.images import LayoutMaker, tar_layer

BASE = tar_layer(
    {
        "bin/": None,
        "bin/tool": b"#!/bin/sh\n" * 200,
        "etc/": None,
        "etc/motd": b"hello\n",
        "etc/old": b"old\n",
        "lib": ("symlink", "usr/lib"),
        "srv/": None,
        "srv/a": b"a" * 5000,
        "srv/again": ("hardlink", "srv/a"),
        "var/": None,
        "var/cache/": None,
        "var/cache/x": b"x",
    },
    pax={"etc/motd": {"SCHILY.xattr.user.note": "noted"}},
)
APP = tar_layer({"app/": None, "app/run": b"run" * 3000, "etc/": None, "etc/.wh.old": b"", "var/": None})
OTHER = tar_layer({"var/": None, "var/cache/": None, "var/cache/.wh..wh..opq": b"", "var/cache/new": b"new"})
LINKING = tar_layer({"bin/": None, "bin/copy": ("hardlink", "bin/tool")})

APP_NAME, OTHER_NAME = "docker.io/library/app:latest", "docker.io/library/other:latest"


def ticks(start: int = 1_700_000_000_000_000_000) -> Callable[[], int]:
    """A clock that goes on by a second each time it is asked."""
    counter = count(start, 1_000_000_000)
    return lambda: next(counter)


def fill_layout(path: Path) -> None:
    """An image layout with the two images; `other` has a layer that reaches into a lower one."""
    maker = LayoutMaker(path)
    maker.tag(APP_NAME, maker.image([BASE, APP], config={"Cmd": ["/app/run"]}))
    maker.tag(OTHER_NAME, maker.image([BASE, OTHER, LINKING], config={"Cmd": ["/bin/copy"]}))
    maker.finish()


@contextmanager
def stocked(root: Path, *, unpack: bool = True, driver: str | None = "overlay") -> Iterator[Store]:
    """The store, open; its layers unpacked."""
    fill_layout(root / "images")
    with Store.open(root, clock=ticks(), driver=driver) as store:
        if unpack:
            for name in ("app", "other"):
                store.layers.ensure(find(store, name).image)
        yield store


def add_container(
    store: Store,
    name: str = "box",
    *,
    image: str = "app",
    status: Status = "created",
    driver: str = "overlay",
    folder: bool = True,
    volumes: tuple[tuple[str, str], ...] = (),
    **fields: Any,
) -> ContainerRow:
    """A container as `create` makes it, as far as the storage goes."""
    found = find(store, image)
    row = ContainerRow(
        id=new_id(),
        name=name,
        image_id=str(found.id),
        image_name=found.name,
        manifest=str(found.descriptor.digest),
        layers=tuple(layer.id for layer in store.layers.ensure(found.image)),
        driver=driver,
        created=store.clock(),
        status=status,
        **fields,
    )
    store.containers.add(row, volumes)
    if folder:
        path = store.containers.folder(row.id)
        os.mkdir(path, 0o700)
        os.mkdir(f"{path}/init")
        driver_named(driver, store.layers.form).prepare(store.containers.snapshot(row))
    return row
