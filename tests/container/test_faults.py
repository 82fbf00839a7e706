"""Killed in the middle: whatever step a supervisor or a command dies at, the next one that looks puts it right.

A fault is a line of Python in the supervisor's own process: "before (or after) this call, kill -9 yourself". What
counts is the effect: the container can be started again, or removed, and nothing of it is left.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from oci.container import execute, launch, lifecycle
from oci.container.container import Container
from oci.container.lifecycle import kill, remove, start, stop, wait
from oci.container.runtimes import find_runtime
from oci.container.status import reconcile, status
from oci.errors import ContainerNotFound, OciError, RuntimeFailed, WrongState
from oci.runtime.runc import Runtime
from oci.storage.check import check
from oci.storage.processes import cgroups_of
from oci.storage.store import Store
from tests.support.containers import SLEEP, busybox_store, container_of, start_ready
from tests.support.namespaces import need_mounts
from tests.support.peers import ROOT, need

# module, owner in it (empty: the module itself), name, which call counts, before or after it
Fault = tuple[str, str, str, int, str]
STARTING: list[Fault] = [
    ("oci.container.supervisor", "", "unshare_mounts", 1, "before"),
    ("oci.container.supervisor", "", "write_bundle", 1, "after"),
    ("oci.runtime.runc", "Runtime", "create", 1, "before"),
    ("oci.runtime.runc", "Runtime", "create", 1, "after"),
    ("oci.storage.containers", "Containers", "update", 1, "after"),
    ("oci.runtime.runc", "Runtime", "start", 1, "after"),
]
ENDING: list[Fault] = [
    ("oci.storage.ending", "Ending", "write", 1, "before"),
    ("oci.storage.ending", "Ending", "write", 1, "after"),
    ("oci.storage.containers", "Containers", "update", 2, "after"),
    ("oci.runtime.runc", "Runtime", "delete", 1, "after"),
    ("oci.storage.containers", "Containers", "update", 3, "after"),
]
REMOVING: list[Fault] = [
    ("oci.storage.containers", "Containers", "update", 3, "after"),
    ("oci.container.removing", "", "remove_folder", 1, "before"),
    ("oci.container.removing", "", "remove_folder", 1, "after"),
    ("oci.storage.containers", "Containers", "remove", 1, "after"),
]


def name_of(fault: Fault) -> str:
    return f"{fault[4]}-{fault[1] or fault[0].rpartition('.')[2]}.{fault[2]}-{fault[3]}"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    need("runc")
    need_mounts()
    root = tmp_path / "store"
    root.mkdir(0o700)
    with busybox_store(root) as opened:
        yield opened
    assert processes(str(root)) == []


def processes(root: str) -> list[int]:
    """Living processes that have to do with a store: their command line, root or mounts say so."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            command = Path(f"/proc/{name}/cmdline").read_bytes()
            maps = Path(f"/proc/{name}/mountinfo").read_bytes()
        except OSError:
            continue
        if int(name) != os.getpid() and (root.encode() in command or f"{root}/containers".encode() in maps):
            found.append(int(name))
    return found


def supervisor_lives(container: Container) -> bool:
    supervisor = container.refresh().supervisor
    return supervisor is not None and supervisor.alive()


def with_fault(monkeypatch: pytest.MonkeyPatch, fault: Fault, deed: str = "os.kill(os.getpid(), 9)") -> None:
    """Have every supervisor die at this point, or do something else."""
    module, owner, name, count, when = fault
    fault_in_it = f"""
import importlib
import oci.container.supervisor, oci.container.removing
module = importlib.import_module({module!r})
owner = getattr(module, {owner!r}) if {owner!r} else module
original, calls = getattr(owner, {name!r}), [0]
def faulty(*args, **named):
    calls[0] += 1
    if calls[0] == {count} and {when!r} == "before": {deed}
    value = original(*args, **named)
    if calls[0] == {count} and {when!r} == "after": {deed}
    return value
setattr(owner, {name!r}, faulty)
"""
    before, line, after = launch._PROGRAM.partition("from oci.container.supervisor import main\n")
    assert line
    monkeypatch.setattr(launch, "_PROGRAM", before + fault_in_it + line + after)


@pytest.mark.parametrize("fault", STARTING, ids=name_of)
def test_a_supervisor_killed_while_it_starts_a_container(
    store: Store, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    container = container_of(store, *SLEEP)
    with monkeypatch.context() as patched:
        with_fault(patched, fault)
        with pytest.raises(RuntimeFailed, match="supervisor died"):
            start(container)
    while supervisor_lives(container):  # its socket is closed a moment before it is gone
        time.sleep(0.01)
    (found,) = status(store)
    if found.row.status == "running":  # it had been started: it lives on, without its supervisor
        assert fault[2] == "start"
        assert not found.supervised
        stop(container, 2)
        assert (container.row.status, container.row.exit_code) == ("exited", None)
        assert "supervisor" in str(container.row.error)
    else:
        assert (found.row.status, found.row.supervisor, found.row.init) == ("created", None, None)
    assert not list(Path(store.root).glob("run/runc/[!.]*"))
    start_ready(container)
    assert container.row.status == "running"
    assert container.supervised
    stop(container)
    assert container.row.exit_code == 7


@pytest.mark.parametrize("fault", ENDING, ids=name_of)
def test_a_supervisor_killed_while_it_records_the_end(
    store: Store, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    container = container_of(store, "sh", "-c", "exit 3")
    with monkeypatch.context() as patched:
        with_fault(patched, fault)
        start(container)
        assert wait(container) == (None if fault[2:] == ("write", 1, "before") else 3)
    while supervisor_lives(container):  # its socket is closed a moment before it is gone
        time.sleep(0.01)
    (found,) = status(store)
    assert (found.row.status, found.row.init) == ("exited", None)
    assert not list(Path(store.root).glob("run/runc/[!.]*"))
    start(container)
    assert wait(container) == 3


@pytest.mark.parametrize("fault", REMOVING, ids=name_of)
def test_a_supervisor_killed_while_it_removes(store: Store, monkeypatch: pytest.MonkeyPatch, fault: Fault) -> None:
    container = container_of(store, "true", auto_remove=True)
    with monkeypatch.context() as patched:
        with_fault(patched, fault)
        start(container)
        wait(container)
    for left in status(store):
        assert left.row.status in ("exited", "removing")
        remove(left)
    assert status(store) == ()


def test_a_supervisor_killed_while_its_container_runs(store: Store) -> None:
    container = container_of(store, "sleep", "100")
    start(container)
    supervisor, init = container.row.supervisor, container.row.init
    assert supervisor is not None
    assert init is not None
    os.kill(supervisor.pid, signal.SIGKILL)
    while supervisor.alive():
        time.sleep(0.01)
    (found,) = status(store)
    assert found.row.status == "running"
    assert not found.supervised
    kill(container, "KILL")
    assert wait(container) is None
    row = container.refresh()
    assert (row.status, row.exit_code) == ("exited", None)
    assert "nobody saw how it ended" in str(row.error)
    start(container)
    supervisor = container.row.supervisor
    assert supervisor is not None
    os.kill(supervisor.pid, signal.SIGKILL)
    remove(container, force=True)
    assert not init.alive()


def test_both_killed(store: Store) -> None:
    container = container_of(store, "sleep", "100")
    start(container)
    for one in (container.row.supervisor, container.row.init):
        assert one is not None
        os.kill(one.pid, signal.SIGKILL)
    while any(one is not None and one.alive() for one in (container.row.supervisor, container.row.init)):
        time.sleep(0.01)
    (found,) = status(store)
    assert found.row.status == "exited"
    assert found.row.exit_code in (None, 137)  # the supervisor may have been quicker
    start(container)
    assert container.row.status == "running"


def test_a_machine_that_was_restarted(store: Store) -> None:
    container = container_of(store, "sleep", "100")
    start(container)
    row = container.row
    assert row.supervisor is not None
    assert row.init is not None
    before = {name: getattr(row, name).replace(boot_id="another") for name in ("supervisor", "init")}
    kill(container)
    wait(container)
    store.containers.update(container.id, status="running", started=1, **before)
    assert reconcile(container).row.status == "exited"
    assert container.row.error == "the machine was restarted while it ran"


def test_a_store_that_is_copied_while_a_container_runs(store: Store, tmp_path: Path) -> None:
    """The copy knows the same ID, but not the same processes; both can be used at once."""
    container = container_of(store, *SLEEP)
    start(container)
    init = container.row.init
    assert init is not None
    subprocess.run(["cp", "-a", store.root, tmp_path / "copy"], check=True)
    with Store.open(tmp_path / "copy", clock=time.time_ns) as copy:
        (other,) = status(copy)
        assert (other.row.status, other.row.exit_code) == ("exited", None)
        assert "copied" in str(other.row.error)
        assert list(check(copy)) == []
        start(other)
        assert init.alive()
        assert other.row.init != init
        assert copy.cgroup_name() != store.cgroup_name()
        remove(other, force=True)
        assert status(copy) == ()
    assert init.alive()
    stop(container)
    assert container.row.exit_code == 7


def test_a_store_that_is_moved_while_a_container_runs(store: Store, tmp_path: Path) -> None:
    container = container_of(store, *SLEEP)
    start(container)
    os.rename(store.root, tmp_path / "moved")
    try:
        with Store.open(tmp_path / "moved", clock=time.time_ns) as moved:
            (other,) = status(moved)
            assert other.row.status == "running"
            stop(other)
            assert other.row.status == "exited"
            start(other)
            remove(other, force=True)
            assert status(moved) == ()
            assert list(check(moved)) == []
    finally:
        assert not os.path.lexists(store.root)
        os.rename(tmp_path / "moved", store.root)


def killed(container: Container, verb: str, patch: str) -> None:
    """Do something to a container in a process of its own, which is killed where `patch` puts `die`."""
    code = f"""
import os, sys, time
from oci.container import launch, lifecycle, removing
from oci.container.container import Container
from oci.storage.containers import Containers
from oci.storage.store import Store
def die(*args): os.kill(os.getpid(), 9)
{patch}
with Store.open(sys.argv[1], clock=time.time_ns) as store:
    lifecycle.{verb}(Container.find(store, sys.argv[2]))
"""
    words = [sys.executable, "-c", code, container.store.root, container.id]
    done = subprocess.run(words, env={"PYTHONPATH": str(ROOT)})
    assert done.returncode == -signal.SIGKILL


@pytest.mark.parametrize("moment", ["before-order", "after-order", "after-answer"])
def test_a_command_killed_while_it_starts_a_container(store: Store, moment: str) -> None:
    container = container_of(store, *SLEEP)
    patches = {
        "before-order": "launch.frame = die",
        "after-order": "launch.Channel.answer = die",
        "after-answer": "launch.Channel.close = die",
    }
    killed(container, "start", patches[moment])
    with store.containers.lock(container.id):  # whoever was starting it has done so, or given up
        pass
    reconcile(container)
    assert container.row.status == ("running" if moment == "after-answer" else "created")
    stop(container, 1)
    start(container)
    assert container.row.status == "running"


@pytest.mark.parametrize("step", ["remove_folder", "driver", "row"])
def test_a_command_killed_while_it_removes(store: Store, step: str) -> None:
    container = container_of(store, "true")
    patches = {
        "remove_folder": "removing.remove_folder = die",
        "driver": "Container.driver = property(die)",
        "row": "Containers.remove = die",
    }
    killed(container, "remove", patches[step])
    (left,) = status(store)
    assert left.row.status == "removing"
    with pytest.raises(OciError):
        start(left)
    remove(left)
    with pytest.raises(ContainerNotFound):
        Container.find(store, container.id)


def test_exec_in_one_that_ends_meanwhile_says_so(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the runtime says then, or /proc."""
    container = container_of(store, "sleep", "100")
    for owner, name in ((Runtime, "exec"), (execute, "_document")):
        start(container)
        original = getattr(owner, name)

        def late(*args: object, original: Callable[..., object] = original, **named: object) -> object:
            kill(container)
            wait(container)
            return original(*args, **named)

        with monkeypatch.context() as patched:
            patched.setattr(owner, name, late)
            with pytest.raises(WrongState, match="it ended just now"):
                execute.execute(container, execute.ExecSettings(args=("true",)))


def test_one_that_is_stopped_before_its_program_begins_says_so(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    container = container_of(store, "sleep", "100")
    with monkeypatch.context() as patched:
        with_fault(
            patched, ("oci.runtime.runc", "Runtime", "start", 1, "before"), "os.kill(args[0].state(args[1]).pid, 9)"
        )
        with pytest.raises(RuntimeFailed, match="it was stopped before its program began"):
            start(container)
    assert container.refresh().status == "created"
    start(container)


def test_a_supervisor_that_hangs_is_killed_by_rm_with_force(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "SETTLE", 0.5)
    container = container_of(store, "sleep", "100")
    start(container)
    supervisor = container.row.supervisor
    assert supervisor is not None
    os.kill(supervisor.pid, signal.SIGSTOP)
    (found,) = status(store)
    assert found.row.status == "running"
    remove(container, force=True)
    assert not supervisor.alive()
    assert status(store) == ()


@pytest.mark.parametrize("how", ["gone", "silent", "failing", "without its state"])
def test_a_container_whose_runtime_is_no_use_any_more_is_removed(store: Store, tmp_path: Path, how: str) -> None:
    """It and its supervisor: what is left of it is ended by hand."""
    program = tmp_path / "runc"
    program.write_text('#!/bin/sh\nexec runc "$@"\n')
    program.chmod(0o755)
    runtime = find_runtime(store, (str(program),))
    container = container_of(store, *SLEEP)
    start(container, runtime=runtime)
    supervisor, init = container.row.supervisor, container.row.init
    assert supervisor is not None
    assert init is not None
    os.kill(supervisor.pid, signal.SIGKILL)
    while supervisor.alive():
        time.sleep(0.01)
    if how == "gone":
        program.unlink()
    elif how == "without its state":
        (Path(store.root) / "run/runc" / container.id / "state.json").unlink()
    else:
        program.write_text(f"#!/bin/sh\nexit {int(how == 'failing')}\n")
    remove(container, force=True)
    assert not init.alive()
    assert list(check(store)) == []
    assert cgroups_of(container.id) == ()
    assert os.listdir(f"{store.root}/run/runc") == []


@pytest.mark.parametrize("what", ["no runtime", "no supervisor", "its death"])
def test_one_that_goes_at_its_end_goes_when_it_cannot_be_started(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    container = container_of(store, "true", auto_remove=True)
    with monkeypatch.context() as patched:
        if what == "no runtime":
            patched.setattr(lifecycle, "find_runtime", lambda _: find_runtime(store, (str(tmp_path / "nosuch"),)))
        elif what == "no supervisor":
            patched.setattr(sys, "executable", str(tmp_path / "nosuch"))
        else:
            with_fault(patched, STARTING[0])
        with pytest.raises(RuntimeFailed):
            start(container)
    assert store.containers.list() == ()
    assert os.listdir(f"{store.root}/containers") == []
