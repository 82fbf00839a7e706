"""Several processes do random things to one store, some of them are killed; afterwards `check` finds nothing.

A few seconds in the ordinary tests; OCIKIT_SOAK=300 makes it five minutes, with eight processes, and containers that
really run. OCIKIT_SOAK_SEED repeats a run's choices (not its timing).
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from oci.container.container import Container
from oci.container.create import create
from oci.container.execute import ExecSettings, execute
from oci.container.lifecycle import remove as remove_container
from oci.container.lifecycle import start, stop, wait
from oci.container.status import status
from oci.errors import (
    ContainerNotFound,
    DestinationError,
    InUse,
    NameTaken,
    RefNotFound,
    RuntimeFailed,
    VolumeNotFound,
    WrongState,
)
from oci.linux import process
from oci.linux.mounts import mounts
from oci.runtime.settings import MountSetting, RunSettings
from oci.storage import images
from oci.storage.check import check
from oci.storage.prune import prune
from oci.storage.repair import check_and_repair
from oci.storage.store import Store
from oci.storage.usage import df
from tests.support.containers import busybox_layer
from tests.support.images import LayoutMaker, tar_layer
from tests.support.namespaces import need_mounts, rootless
from tests.support.peers import need
from tests.support.users import in_child

SECONDS = float(os.environ.get("OCIKIT_SOAK", "3"))
LONG = SECONDS > 30
PROCESSES = 8 if LONG else 3
SEED = int(os.environ.get("OCIKIT_SOAK_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)

NAMES = ("one", "two", "three")
VOLUMES = ("va", "vb", "vc")

# What others may have done in between; anything else is a fault.
EXPECTED = (ContainerNotFound, DestinationError, InUse, NameTaken, RefNotFound, VolumeNotFound, WrongState)


def fill(layout: Path) -> None:
    """Three images: two of them share their layers, one has a layer that reaches into a lower one."""
    maker = LayoutMaker(layout)
    base = busybox_layer()
    tops = (
        tar_layer({"srv/": None, "srv/a": b"a" * 20000}),
        tar_layer({"srv/": None, "srv/b": b"b" * 30000, "etc/": None, "etc/.wh.group": b""}),
        tar_layer({"bin/": None, "bin/linked": ("hardlink", "bin/busybox")}),
    )
    for name, top in zip(NAMES, tops, strict=True):
        maker.tag(f"docker.io/library/{name}:latest", maker.image([base, top], config={"Cmd": ["/bin/true"]}))
    maker.finish()


class Worker:
    """One process's random deeds."""

    def __init__(self, root: Path, layout: Path, seed: int) -> None:
        self.root, self.layout, self.random = root, layout, random.Random(seed)
        self.store = Store.open(root, clock=time.time_ns, driver="overlay")
        self.done: dict[str, int] = {}

    def run(self, until: float) -> None:
        deeds: list[tuple[Callable[[], object], int]] = [
            (self.pull, 3),
            (self.tag, 2),
            (self.rmi, 2),
            (self.ensure, 3),
            (self.volume_create, 2),
            (self.volume_load, 1),
            (self.volume_rm, 2),
            (self.container_create, 4),
            (self.container_run, 4 if LONG else 1),
            (self.container_exec, 3 if LONG else 0),
            (self.container_stop, 3 if LONG else 0),
            (self.container_rm, 4),
            (self.look, 1),
            (self.prune, 1),
        ]
        while time.monotonic() < until:
            (deed,) = self.random.choices([deed for deed, _ in deeds], [weight for _, weight in deeds])
            try:
                deed()
                self.done[deed.__name__] = self.done.get(deed.__name__, 0) + 1
            except EXPECTED:
                reap()  # what `exec` had started in one that ended: unreaped, it would keep that one from ending

    def pull(self) -> None:
        from oci.layout.layout import Layout
        from oci.transports.copy import copy
        from oci.transports.from_layout import LayoutSource
        from oci.transports.from_store import StoreDestination

        name = f"docker.io/library/{self.random.choice(NAMES)}:latest"
        with LayoutSource(Layout.open(self.layout), tag=name) as one, StoreDestination(self.store, name) as other:
            copy(one, other)

    def tag(self) -> None:
        images.tag(self.store, self.random.choice(NAMES), f"{self.random.choice(NAMES)}:v{self.random.randrange(3)}")

    def rmi(self) -> None:
        known = [name for name, _ in images.names(self.store) if name]
        if known:
            images.remove(self.store, self.random.choice(known), force=self.random.random() < 0.3)

    def ensure(self) -> None:
        with self.store.shared():  # or the image may be removed as soon as it is found
            self.store.layers.ensure(images.find(self.store, self.random.choice(NAMES)).image)

    def volume_create(self) -> None:
        self.store.volumes.create(self.random.choice((*VOLUMES, None)))

    def volume_load(self) -> None:
        self.store.volumes.load("vl", self.store.volumes.export("keep"), force=True)

    def volume_rm(self) -> None:
        self.store.volumes.remove(self.random.choice(VOLUMES))

    def container_create(self) -> Container:
        mount = MountSetting(type="volume", source=self.random.choice((*VOLUMES, "keep")), target="/srv")
        settings = RunSettings(args=("/bin/true",), mounts=(mount,))
        with self.store.shared():
            return create(self.store, images.find(self.store, self.random.choice(NAMES)), settings)

    def container_run(self) -> None:
        container = self.container_create()
        self.begin(container)
        wait(container)

    def some_running(self) -> Container:
        """One that runs, or a new one that will; half of these write to a volume."""
        running = [one for one in status(self.store) if one.row.status == "running"]
        if running and self.random.random() < 0.7:
            return self.random.choice(running)
        mount = MountSetting(type="volume", source="keep", target="/srv")
        script = "trap 'exit 7' TERM; while true; do echo x >> /srv/written; sleep 0.1; done"
        settings = RunSettings(args=("sh", "-c", script), mounts=(mount,), stop_timeout=1)
        with self.store.shared():
            container = create(self.store, images.find(self.store, self.random.choice(NAMES)), settings)
        self.begin(container)
        return container

    def begin(self, container: Container) -> None:
        try:
            start(container)
        except RuntimeFailed as error:
            if "stopped before" not in str(error):  # by another worker
                raise
            raise WrongState(container.name, "exited", str(error)) from error

    def container_exec(self) -> None:
        execute(self.some_running(), ExecSettings(args=("sh", "-c", "echo y >> /tmp/file; true")))

    def container_stop(self) -> None:
        stop(self.some_running())

    def container_rm(self) -> None:
        rows = self.store.containers.list()
        if rows:
            remove_container(Container(self.store, self.random.choice(rows)), force=True, volumes=True)

    def look(self) -> None:
        status(self.store)
        df(self.store)

    def prune(self) -> None:
        def remove(row: object) -> None:
            remove_container(Container(self.store, row), volumes=True)  # type: ignore[arg-type]

        if self.random.random() < 0.3:
            prune(self.store, volumes=True, remove_container=remove)


def spawn(root: Path, layout: Path, seed: int, until: float) -> int:
    """A child that works until a moment; its exit status says whether all went well."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        Worker(root, layout, seed).run(until)
        code = 0
    except BaseException:  # noqa: BLE001 - told by the exit status
        print(f"worker {seed}:", file=sys.stderr)
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


@pytest.mark.skipif(os.geteuid() != 0, reason="layers with owners need root")
@pytest.mark.parametrize("who", ["root", *(["rootless"] if LONG else [])])
@pytest.mark.parametrize("killing", [False, True], ids=["left alone", "some killed"])
def test_many_processes_do_random_things(tmp_path: Path, killing: bool, who: str) -> None:
    need("busybox", "runc")
    if who == "root":
        need_mounts()
        in_child(lambda: soak(tmp_path, killing))
    else:
        rootless(lambda: soak(Path.cwd(), killing), ranges=True)


def soak(folder: Path, killing: bool) -> None:
    process.subreaper()  # what is left of containers is then our own child, and is reaped
    root, layout = folder / "store", folder / "layout"
    fill(layout)
    shutil.copytree(layout, root / "images")
    os.chmod(root, 0o700)
    with Store.open(root, clock=time.time_ns, driver="overlay") as store:
        keep = Path(store.volumes.create("keep").path, "precious")
        keep.write_text("never lost")
        store.driver.form  # noqa: B018 - tried once, before there are many
    end = time.monotonic() + SECONDS
    living = {spawn(root, layout, SEED + number, end): number for number in range(PROCESSES)}
    chance, seed, failed = random.Random(SEED), SEED + PROCESSES, []
    while living:
        pid, wait_status = os.waitpid(-1, os.WNOHANG)
        if pid:
            if living.pop(pid, None) is not None and wait_status:
                failed.append(wait_status)
        elif killing and time.monotonic() < end - 0.5:
            time.sleep(chance.uniform(0.05, 0.3))
            victim = chance.choice(list(living))
            os.kill(victim, signal.SIGKILL)
            os.waitpid(victim, 0)
            living[spawn(root, layout, seed, end)] = living.pop(victim)
            seed += 1
        else:
            time.sleep(0.02)
    with Store.open(root, clock=lambda: time.time_ns() + 120 * 10**9, driver="overlay") as store:
        settle(store)
        for one in status(store):  # those that were to run for long
            if one.row.status == "running":
                stop(one, 0)
        if killing:
            answers = check_and_repair(store, deep=True)
            assert all(answer.done for answer in answers), f"seed {SEED}\n{answers}"
        assert list(check(store, deep=True)) == [], f"seed {SEED}"
        assert not [mount.target for mount in mounts() if mount.target.startswith(str(root))]
        assert keep.read_text() == "never lost"
        for row in store.containers.list():
            remove_container(Container(store, row), force=True, volumes=True)
        assert os.listdir(f"{root}/containers") == []
        assert list(check(store)) == [], f"seed {SEED}"
    assert not failed, f"seed {SEED}"


def settle(store: Store) -> None:
    """Wait for what was still on its way: containers that are ending."""
    deadline = time.monotonic() + (20 if not LONG else 1)
    while time.monotonic() < deadline and any(one.row.status == "running" for one in status(store)):
        reap()
        time.sleep(0.05)


def reap() -> None:
    """Children that have ended, ours by their parents' death."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
