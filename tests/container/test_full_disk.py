"""A disk without room, or without inodes: one line each, nothing half made; what runs can be stopped and removed."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

import pytest

from oci.linux import mounts
from oci.linux.namespaces import unshare_mounts
from tests.support.commands import Result
from tests.support.containers import busybox_layer
from tests.support.images import LayoutMaker, tar_layer
from tests.support.killing import Shop
from tests.support.namespaces import need_mounts
from tests.support.peers import need
from tests.support.users import in_child

WRITER = ("sh", "-c", "while :; do echo line; echo more >> /written; sleep 0.05; done")
WANT_ROOM = (
    ("create", "one", "true"),
    ("run", "--rm", "one", "true"),
    ("start", "ended"),
    ("commit", "ended", "-t", "made"),
    ("pull", "LAYOUT:big", "-t", "big"),
    ("tag", "one", "two"),
    ("volume", "create", "fresh"),
    ("volume", "import", "imported", "SCRATCH/data.tar"),
    ("cp", "SCRATCH/data.tar", "ended:/copied"),
    ("cp", "SCRATCH/data.tar", "silent:/copied"),
)
WANT_NONE = (
    ("ps", "-a"),
    ("logs", "writer"),
    ("diff", "silent"),
    ("inspect", "writer"),
    ("volume", "export", "vol", "-o", "SCRATCH/exported.tar"),
    ("store", "check"),
    ("store", "df"),
    ("stop", "-t", "1", "writer"),
    ("kill", "silent"),
    ("wait", "silent"),
    ("rm", "writer"),
    ("rm", "-f", "silent", "ended"),
    ("rmi", "one"),
    ("store", "prune"),
    ("store", "check"),
)


def on_a_full_disk(folder: Path, kind: str) -> list[str]:
    unshare_mounts()
    disk, scratch = folder / "disk", folder / "scratch"
    for one in (disk, scratch):
        one.mkdir()
    mounts.mount("tmpfs", disk, "tmpfs", 0, "size=16m" if kind == "room" else "size=64m,nr_inodes=500")
    shop = Shop(disk / "store", scratch)
    try:
        fill_layout(scratch)
        shop.need("pull", f"{scratch}/layout:one", "-t", "one")
        shop.need("run", "-d", "--name", "writer", "one", *WRITER)
        shop.need("run", "-d", "--name", "silent", "-v", "vol:/v", "one", "sleep", "100")
        shop.need("run", "--name", "ended", "-v", "vol:/v", "one", "sh", "-c", "echo 1 > /v/precious")
        shop.need("volume", "export", "vol", "-o", f"{scratch}/data.tar")
        fill(disk, kind)
        return [fault for words in (*WANT_ROOM, *WANT_NONE) for fault in tried(shop, words, words in WANT_ROOM)]
    finally:
        for name in os.listdir(disk):
            if name.startswith("fill"):
                (disk / name).unlink()
        shop.close()


def fill_layout(scratch: Path) -> None:
    maker, base = LayoutMaker(scratch / "layout"), busybox_layer()
    for name, size in (("one", 1000), ("big", 8_000_000)):
        maker.tag(name, maker.image([base, tar_layer({name: os.urandom(size)})], config={"Env": ["PATH=/bin"]}))
    maker.finish()


def fill(disk: Path, kind: str) -> None:
    if kind == "room":
        for number, size in enumerate((65536, 1)):
            with suppress(OSError), open(disk / f"fill{number}", "wb", buffering=0) as file:
                while file.write(bytes(size)):
                    pass
    else:
        with suppress(OSError):
            for number in range(100_000):
                (disk / f"fill{number}").touch()


def tried(shop: Shop, words: tuple[str, ...], wants_room: bool) -> list[str]:
    scratch = str(shop.scratch)
    done = shop.run(*(word.replace("LAYOUT", f"{scratch}/layout").replace("SCRATCH", scratch) for word in words))
    if not wants_room:
        return [] if done.status == 0 else [f"{words}: {done}"]
    told = done.status in (1, 125) and len(done.err.splitlines()) == 1 and done.err.startswith("error: ")
    found = [] if told else [f"{words}: {done}"]
    listed: Result = shop.run("ps", "-a", "--json")
    names = sorted(one["name"] for one in json.loads(listed.out))
    return found if names == ["ended", "silent", "writer"] else [*found, f"{words}: there are {names}"]


@pytest.mark.parametrize("kind", ["room", "inodes"])
def test_a_disk_without(tmp_path: Path, kind: str) -> None:
    need("busybox", "runc")
    need_mounts()
    assert in_child(lambda: on_a_full_disk(tmp_path, kind)) == []
