"""One test kit for all storage drivers: a case is done in a mounted tree, and everything a driver says of it is asked.

A *world* is a driver and who uses it: root, an ordinary user who is root in his namespace with ranges of ids or with
one, an ordinary user without a namespace. All cases of a world run in one child process; `outcomes` gives what each
came to, so that a test can ask for one case, and compare worlds.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TypeVar

import pytest

from oci.changeset.apply import apply_layers
from oci.changeset.scan import Scan
from oci.changeset.write import write_layer
from oci.drivers import copying
from oci.drivers.copy import Copy
from oci.drivers.driver import Driver, Form
from oci.drivers.fuse_overlayfs import FuseOverlayfs
from oci.drivers.overlay import Overlay
from oci.drivers.snapshot import Snapshot
from oci.errors import OciError
from oci.linux import calls, fsmount, mounts, namespaces
from oci.tar.entry import Entry
from tests.support.driver_cases import CASES, Case
from tests.support.driver_image import make_layers, make_scaffold
from tests.support.namespaces import need_overlay, rootless
from tests.support.peers import need
from tests.support.trees import Facts, differences, snapshot
from tests.support.users import as_user, in_child

_ = (copying, ctypes, calls, fsmount)  # loaded before a child becomes a user who can't read them

T = TypeVar("T")

SCAFFOLD = (b"etc/hosts", b"points", b"points/data")


@dataclass(frozen=True)
class World:
    name: str
    driver: str
    user: str  # "root", "ranges", "single", "plain"

    @property
    def form(self) -> Form:
        return "trusted" if self.user == "root" else "user"

    @property
    def ids(self) -> bool:
        return self.user in ("root", "ranges")

    def make(self) -> Driver:
        made: dict[str, Callable[[Form], Driver]] = {
            "overlay": Overlay,
            "fuse-overlayfs": FuseOverlayfs,
            "copy": Copy,
        }
        return made[self.driver](self.form)

    def can(self, one: Case) -> bool:
        return not (
            (one.needs == "ids" and not self.ids)
            or (one.needs == "devices" and self.user != "root")
            or (one.fuse == "can't" and self.driver == "fuse-overlayfs")
        )


WORLDS = {
    world.name: world
    for world in (
        World("overlay as root", "overlay", "root"),
        World("overlay in a namespace with ranges", "overlay", "ranges"),
        World("overlay in a namespace with one id", "overlay", "single"),
        World("fuse-overlayfs as root", "fuse-overlayfs", "root"),
        World("fuse-overlayfs in a namespace with ranges", "fuse-overlayfs", "ranges"),
        World("copy as root", "copy", "root"),
        World("copy in a namespace with ranges", "copy", "ranges"),
        World("copy as an ordinary user", "copy", "plain"),
    )
}


@dataclass
class Outcome:
    """What a case came to: everything that is wrong, and what the driver said, without times."""

    wrong: list[str] = field(default_factory=list)
    changes: list[tuple[bytes, str]] = field(default_factory=list)
    delta: list[tuple[object, ...]] = field(default_factory=list)


def need_world(world: World) -> None:
    """Skip the test where this world can't be."""
    if world.user == "root" and os.geteuid() != 0:
        pytest.skip("needs to run as root")
    if world.driver == "overlay" and world.user == "root":
        need_overlay()
    if world.driver == "fuse-overlayfs":
        need("fuse-overlayfs")
        if not os.path.exists("/dev/fuse"):
            pytest.skip("there is no /dev/fuse here")


@cache
def outcomes(name: str) -> dict[str, Outcome]:
    """All cases of a world."""
    world = WORLDS[name]
    need_world(world)
    return inside(world, _run_all, world)


def inside(world: World, function: Callable[..., T], *args: object) -> T:
    """Call a function as the user of a world, in a folder of his, where he can mount what goes with the process."""
    if world.user == "root":
        return in_child(lambda: _as_root(function, *args))
    if world.user == "plain":
        folder = tempfile.mkdtemp(prefix="ocikit-kit-", dir="/dev/shm" if _memory() else None)
        try:
            if os.geteuid() != 0:
                return in_child(lambda: _at(folder, function, *args))
            os.chown(folder, 65534, 65534)
            return as_user(_at, folder, function, *args)
        finally:
            shutil.rmtree(folder)
    return rootless(_in_memory, function, *args, ranges=world.user == "ranges")


def _as_root(function: Callable[..., T], *args: object) -> T:
    namespaces.unshare_mounts()
    folder = tempfile.mkdtemp(prefix="ocikit-kit-")
    try:
        return _at(folder, _in_memory, function, *args)
    finally:
        shutil.rmtree(folder)


def _at(folder: str, function: Callable[..., T], *args: object) -> T:
    os.chdir(folder)
    try:
        return function(*args)
    finally:
        os.chdir("/")


def _in_memory(function: Callable[..., T], *args: object) -> T:
    """Work on a tmpfs at the working directory, if it takes attributes of users (Linux 6.6): it is quick."""
    here = os.getcwd()
    if not _memory():
        return function(*args)
    mounts.mount("tmpfs", here, "tmpfs", 0, "mode=0755")
    try:
        return _at(here, function, *args)
    finally:
        mounts.unmount(here, detach=True)
        os.chdir(here)


@cache
def _memory() -> bool:
    """Whether a tmpfs, as /dev/shm is one, takes such attributes."""
    try:
        with tempfile.NamedTemporaryFile(dir="/dev/shm") as probe:
            os.setxattr(probe.fileno(), "user.ocikit", b"1")
    except OSError:
        return False
    return True


def _run_all(world: World) -> dict[str, Outcome]:
    os.umask(0o022)
    here = os.getcwd()
    layers = make_layers(here, world.form, ids=world.ids, devices=world.user == "root")
    base = _base(world, layers, here)
    before = {path: snapshot(path) for path in layers}
    found = {}
    for number, one in enumerate(CASES):
        if world.can(one):
            found[one.name] = _run(world, one, layers, base, f"{here}/{number}")
    for path in layers:
        changed = differences(before[path], snapshot(path))
        found["nothing_is_done"].wrong += [f"a layer was changed: {line}" for line in changed]
    left = [mount.target for mount in mounts.mounts() if mount.target.startswith(f"{here}/")]
    if left:
        found["nothing_is_done"].wrong.append(f"mounts are left: {left}")
    return found


def _base(world: World, layers: tuple[str, ...], here: str) -> bytes:
    """The image as one layer: its merged tree, as the driver shows it before anything is done."""
    folder = f"{here}/base"
    os.mkdir(folder)
    at = Snapshot(folder=folder, layers=layers)
    driver = world.make()
    driver.prepare(at)
    tar = bytearray()
    root = driver.mount(at)
    write_layer(Scan(root, owner="auto" if world.user == "plain" else "keep", mtime="exact"), tar.extend)
    driver.unmount(at)
    driver.remove(at)
    return bytes(tar)


def _run(world: World, one: Case, layers: tuple[str, ...], base: bytes, folder: str) -> Outcome:
    outcome = Outcome()
    os.mkdir(folder)
    scaffold = make_scaffold(folder, f"{layers[-1]}/etc") if "mount_point" in one.name else None
    at = Snapshot(folder=folder, layers=layers, scaffold=scaffold)
    driver = world.make()
    try:
        _examine(world, one, driver, at, base, outcome)
    except Exception:  # noqa: BLE001 - told by the test of the case
        outcome.wrong.append(traceback.format_exc())
    driver.unmount(at)
    driver.remove(at)
    if left := sorted(set(os.listdir(folder)) - {"init", "dest"}):
        outcome.wrong.append(f"after remove there is still {left}")
    return outcome


def _examine(world: World, one: Case, driver: Driver, at: Snapshot, base: bytes, outcome: Outcome) -> None:
    wrong = outcome.wrong
    driver.prepare(at)
    root = driver.mount(at)
    one.do(os.fsencode(root))
    expected = one.copy_changes if one.copy_changes is not None and world.driver == "copy" else one.changes
    timeless = world.driver == "fuse-overlayfs"  # its copy-ups change the times of directories, and not at once
    mounted = facts(root, timeless)
    for said in mounted.values():
        said.pop("linked", None)  # until it is mounted again, names of a file that was copied up may differ in number
    for when in ("while it is mounted", "later"):
        outcome.changes = [(change.path, change.kind) for change in driver.changes(at)]
        if outcome.changes != expected:
            wrong.append(f"changes {when}: {outcome.changes}, expected {expected}")
        if when == "while it is mounted":
            driver.unmount(at)
    if one.refused:
        try:
            list(driver.delta(at))
            wrong.append("the delta was not refused")
        except OciError as error:
            if one.refused not in str(error):
                wrong.append(f"refused with {error}")
        return
    warnings: list[bytes] = []
    tar, outcome.delta = told(driver, at, warnings)
    if tar != told(driver, at, [])[0]:
        wrong.append("the delta is not the same twice")
    if bool(warnings) != ("socket" in one.name):
        wrong.append(f"warnings: {warnings}")
    applied = _apply(world, [base, tar], f"{at.folder}/dest")
    trees = {"at first": mounted, "mounted again": facts(driver.mount(at), timeless)}
    driver.unmount(at)
    with driver.root(at) as fd:
        trees["detached"] = facts(f"/proc/self/fd/{fd}", timeless)
    if timeless and one.fuse == "forgets":
        del trees["at first"]
    for name, tree in trees.items():
        for path in SCAFFOLD:
            if path not in applied and at.scaffold is not None:
                tree.pop(path, None)
        linked = {path: said if tree is not mounted else _unlinked(said) for path, said in applied.items()}
        wrong += [f"{name}: {line}" for line in differences(tree, linked)]


def _unlinked(said: Facts) -> Facts:
    return {key: value for key, value in said.items() if key != "linked"}


def told(driver: Driver, at: Snapshot, warnings: list[bytes]) -> tuple[bytes, list[tuple[object, ...]]]:
    """The delta as a layer's bytes, and as values without times."""
    said: list[tuple[object, ...]] = []

    def noted() -> Iterator[tuple[Entry, list[bytes]]]:
        for entry, data in driver.delta(at, mtime="exact", warn=lambda path, _why: warnings.append(path)):
            content = b"".join(map(bytes, data))
            said.append(
                (
                    entry.name,
                    entry.kind,
                    oct(entry.mode),
                    entry.uid,
                    entry.gid,
                    entry.size,
                    entry.linkname,
                    tuple((entry.xattrs or {}).items()),
                    (entry.devmajor, entry.devminor),
                    hashlib.sha256(content).hexdigest() if entry.size else "",
                )
            )
            yield entry, [content]

    tar = bytearray()
    write_layer(noted(), tar.extend)
    return bytes(tar), said


class Tar:
    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    @contextmanager
    def open(self) -> Iterator[Iterator[bytes]]:
        yield iter([self._raw])


def _apply(world: World, layers: list[bytes], dest: str) -> dict[bytes, Facts]:
    os.mkdir(dest)
    fd = os.open(dest, os.O_RDONLY | os.O_DIRECTORY)
    try:
        apply_layers([Tar(raw) for raw in layers], fd, rootless=not world.ids)
    finally:
        os.close(fd)
    found = facts(dest, world.driver == "fuse-overlayfs")
    shutil.rmtree(dest)
    return found


def facts(root: str, timeless: bool) -> dict[bytes, Facts]:
    """All that an image keeps of a tree, directories' times only if asked for; sockets it doesn't."""
    found = snapshot(os.path.join(root, "."))
    for said in found.values():
        if timeless and said["kind"] == "dir":
            del said["mtime_ns"]
    return {path: said for path, said in found.items() if said["kind"] != "socket"}
