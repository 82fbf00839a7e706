"""kill -9 at counted moments of every command that changes something: of itself, of the supervisor, and of both.

A moment is "before the n-th effect" (tests/support/killing.py), spread evenly over all that a command, or the
supervisor that it starts, has. Afterwards: `ps` tells the truth, `check --repair` mends all that `check` finds, every
container can be removed and leaves no process, mount, cgroup or runtime state, and what a command had acknowledged is
there. A few moments, other ones in each run, are tried in the ordinary tests; OCIKIT_KILLS=50 tries so many of each
command, OCIKIT_KILLS=random:50 kills real processes at that many random times.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.support.commands import Result
from tests.support.containers import busybox_layer
from tests.support.images import LayoutMaker, tar_layer
from tests.support.killing import SUPERVISORS, Shop, children, supervisors
from tests.support.namespaces import as_rootless_user, need_mounts
from tests.support.peers import ROOT, need
from tests.support.users import in_child

ASKED = os.environ.get("OCIKIT_KILLS", "")
RANDOM = ASKED.startswith("random:")
MOMENTS = int(ASKED.removeprefix("random:") or 0)
SLEEP = ("sh", "-c", "trap 'exit 7' TERM; while true; do sleep 0.05; done")


def nothing(shop: Shop) -> None:
    pass


def an_image_more(shop: Shop) -> None:
    if shop.run("inspect", "other").status != 0:
        shop.need("pull", f"{shop.scratch}/layout:other", "-t", "other")


def no_image_more(shop: Shop) -> None:
    shop.run("rmi", "other")


def created(shop: Shop) -> None:
    shop.need("create", "--name", "c", "-v", "keep:/keep", "-v", "/anon", "one", "true")


def ended(shop: Shop) -> None:
    shop.need(
        "run", "--name", "c", "-v", "keep:/keep", "-v", "/anon", "one", "sh", "-c", "echo 1 > /srv/new; rm /srv/a"
    )


def running(shop: Shop) -> None:
    shop.need("run", "-d", "--name", "c", "-v", "keep:/keep", "-v", "/anon", "one", *SLEEP)


def a_volume(shop: Shop) -> None:
    shop.run("volume", "create", "vol")


def no_volume(shop: Shop) -> None:
    shop.run("volume", "rm", "-f", "vol", "imported")


def rubbish(shop: Shop) -> None:
    an_image_more(shop)
    ended(shop)
    shop.need("create", "other", "true")
    shop.need("volume", "create")


# What is killed: before it, the words, whether it starts a supervisor
OPERATIONS: dict[str, tuple[Callable[[Shop], None], tuple[str, ...], bool]] = {
    "pull": (no_image_more, ("pull", "LAYOUT:other", "-t", "other"), False),
    "create": (no_volume, ("create", "--name", "c", "-v", "vol:/srv", "-v", "/anon", "one", "true"), False),
    "run in the background": (nothing, ("run", "-d", "--name", "c", "-v", "keep:/keep", "one", *SLEEP), True),
    "run to be removed": (nothing, ("run", "--rm", "--name", "c", "-v", "/anon", "one", "true"), True),
    "run": (nothing, ("run", "--name", "c", "one", "sh", "-c", "echo out; exit 3"), True),
    "start": (ended, ("start", "c"), True),
    "exec": (running, ("exec", "c", "sh", "-c", "echo hi > /srv/x"), False),
    "commit": (ended, ("commit", "c", "-t", "made"), False),
    "cp into one that runs": (running, ("cp", "SCRATCH/file", "c:/srv/copied"), False),
    "cp": (created, ("cp", "SCRATCH/file", "c:/srv/copied"), False),
    "stop": (running, ("stop", "-t", "1", "c"), False),
    "rm": (ended, ("rm", "-v", "c"), False),
    "rm -f": (running, ("rm", "-f", "-v", "c"), False),
    "rmi": (an_image_more, ("rmi", "other"), False),
    "volume create": (no_volume, ("volume", "create", "vol"), False),
    "volume rm": (a_volume, ("volume", "rm", "vol"), False),
    "volume import": (no_volume, ("volume", "import", "imported", "SCRATCH/data.tar"), False),
    "volume import --force": (nothing, ("volume", "import", "--force", "again", "SCRATCH/data.tar"), False),
    "store prune": (rubbish, ("store", "prune", "--volumes"), False),
}


def shop_at(folder: Path) -> Shop:
    """A store with an image, its layers unpacked, and volumes."""
    scratch = folder / "scratch"
    scratch.mkdir(parents=True)
    maker = LayoutMaker(scratch / "layout")
    base = busybox_layer()
    for name, top in (("one", {"srv/": None, "srv/a": b"a" * 20000}), ("other", {"opt/": None, "opt/b": b"b" * 50000})):
        maker.tag(name, maker.image([base, tar_layer(top)], config={"Env": ["PATH=/bin"], "Cmd": ["true"]}))
    maker.finish()
    (scratch / "file").write_text("copied")
    shop = Shop(folder / "store", scratch)
    shop.need("pull", f"{scratch}/layout:one", "-t", "one")
    for volume in ("keep", "again"):
        shop.need("run", "--rm", "-v", f"{volume}:/v", "one", "sh", "-c", f"printf {volume} > /v/precious")
        shop.kept[volume] = volume
    shop.need("volume", "export", "again", "-o", f"{scratch}/data.tar")
    return shop


def acknowledged(shop: Shop, name: str, done: Result) -> list[str]:
    """What the command has said, and isn't so."""
    from oci.errors import OciError
    from oci.storage.images import find
    from oci.storage.store import Store

    said = done.out.strip()
    if not said or name in ("run", "run to be removed"):
        return []
    with Store.open(shop.root, clock=time.time_ns, create=False) as store:
        try:
            if name in ("create", "run in the background", "stop", "start"):
                store.containers.get(said)
            elif name in ("pull", "commit"):
                find(store, "other" if name == "pull" else "made")
            elif name in ("volume create", "volume import"):
                store.volumes.get(said)
            elif name in ("rm", "rm -f"):
                return [f"{name} said {said!r}, but it is there"] if store.containers.list() else []
        except OciError as error:
            return [f"{name} said {said!r}, but {error}"]
    return []


def moments(count: int) -> list[int]:
    """So many numbers of effects, spread evenly, each a different part of it in each run."""
    step = max(1.0, count / MOMENTS)
    return sorted({min(count, int(number * step + random.uniform(0, step)) + 1) for number in range(MOMENTS)})


def campaign(folder: Path, work: Callable[[Shop], list[str]]) -> list[str]:
    """Do this in a store; one sentence for each fault."""
    shop = shop_at(folder)
    try:
        return work(shop)
    finally:
        shop.close()


class Killing:
    """One operation, of which somebody is killed."""

    def __init__(self, shop: Shop, name: str, who: str) -> None:
        self.shop, self.name, self.who = shop, name, who
        self.before, words, _ = OPERATIONS[name]
        scratch = str(shop.scratch)
        self.words = tuple(word.replace("LAYOUT", f"{scratch}/layout").replace("SCRATCH", scratch) for word in words)

    def counted(self, moment: int) -> Result:
        """Killed before an effect; 0: not at all."""
        if self.who == "command":
            return self.shop.command_killed(self.words, moment)
        if self.who == "supervisor":
            return self.shop.supervisor_killed(self.words, moment)
        if self.who == "both, by the command's moments":
            return self.shop.command_killed(self.words, moment, [SUPERVISORS])
        return self.shop.supervisor_killed(self.words, moment, both=True)

    def timed(self, seconds: float) -> Result:
        """Real processes, killed after so long."""
        return real(self.shop, self.words, seconds, self.who)

    def trial(self, kill: Callable[[], Result], label: str) -> list[str]:
        """What is wrong after it was killed once."""
        try:
            self.before(self.shop)
        except AssertionError as error:
            return [f"{self.name}, before {self.who} is killed {label}: {error}"]
        done = kill()
        self.shop.settle()
        wrong = [*acknowledged(self.shop, self.name, done), *self.shop.faults()]
        if "Traceback" in done.err:
            wrong.append(done.err)
        return [f"{self.name}, {self.who} killed {label}: {one}" for one in wrong]

    def all_moments(self) -> list[str]:
        """Evenly over all that it has."""
        self.before(self.shop)
        done = self.counted(0)
        assert done.status in (0, 3), done.err
        found = self.shop.faults()
        count = self.shop.effects()
        assert count > 3
        for moment in moments(count):
            found += self.trial(partial(self.counted, moment), f"before effect {moment} of {count}")
        return found

    def all_times(self) -> list[str]:
        """At random, within the time that it takes."""
        self.before(self.shop)
        began = time.monotonic()
        self.timed(60)
        took = time.monotonic() - began
        found = self.shop.faults()
        for _ in range(MOMENTS):
            after = random.uniform(0, took)
            found += self.trial(partial(self.timed, after), f"after {after * 1000:.0f} of {took * 1000:.0f} ms")
        return found


def a_few(shop: Shop, count: int) -> list[str]:
    """Any of all that are there, at any moment; one that is later than its last effect kills nobody."""
    found = []
    for name, who in random.sample(CASES, count):
        moment = random.randint(1, 40 if who != "supervisor" else 60)
        found += Killing(shop, name, who).trial(
            partial(Killing(shop, name, who).counted, moment), f"before effect {moment}"
        )
    return found


def real(shop: Shop, words: tuple[str, ...], after: float, who: str) -> Result:
    """The command as a program of its own, killed after so many seconds, or what it started, or both."""
    out, err = (Path(tempfile.mkstemp(dir=shop.scratch)[1]) for _ in range(2))
    with open(out, "wb") as writing, open(err, "wb") as complaining:
        program = subprocess.Popen(
            [sys.executable, "-m", "oci", "--root", str(shop.root), "--driver", "overlay", *words],
            stdin=subprocess.DEVNULL,
            stdout=writing,
            stderr=complaining,
            env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")},
        )
    try:
        program.wait(after)
    except subprocess.TimeoutExpired:
        if who != "command":
            for pid in supervisors():
                os.kill(pid, signal.SIGKILL)
        if who != "supervisor":
            program.kill()
        program.wait(60)
    assert program.returncode in (0, 1, 3, 125, 137, -9), err.read_text()
    assert [pid for pid in children() if pid == program.pid] == []
    return Result(program.returncode, out.read_text(), err.read_text())


CASES = [
    (name, who)
    for name, (_, _, supervised) in OPERATIONS.items()
    for who in ("command", "supervisor", "both", "both, by the command's moments")
    if who == "command" or supervised
]


def run_as(user: str, folder: Path, work: Callable[[Shop], list[str]]) -> None:
    need("busybox", "runc")
    if user == "rootless":
        found = as_rootless_user(lambda: campaign(Path.cwd() / "shop", work), ranges=False)
    else:
        need_mounts()
        try:
            found = in_child(lambda: campaign(folder, work))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    assert found == [], "\n".join(found)


@pytest.mark.parametrize(("user", "count"), [("root", 8), ("rootless", 4)])
def test_a_few_moments(tmp_path: Path, user: str, count: int) -> None:
    run_as(user, tmp_path, lambda shop: a_few(shop, count))


@pytest.mark.skipif(not ASKED, reason="OCIKIT_KILLS=50 tries them")
@pytest.mark.parametrize("user", ["root", "rootless"])
@pytest.mark.parametrize(("name", "who"), CASES, ids=[f"{name}-{who}" for name, who in CASES])
def test_whoever_is_killed_at_whatever_moment(tmp_path: Path, name: str, who: str, user: str) -> None:
    def work(shop: Shop) -> list[str]:
        killing = Killing(shop, name, who)
        return killing.all_times() if RANDOM else killing.all_moments()

    run_as(user, tmp_path, work)
