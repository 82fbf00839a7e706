"""Containers from create to rm with a real runtime: as root, and as an ordinary user in a namespace of his own.

Each test is a function of a store; `everywhere` runs it as root, with a single id, and with ranges of ids.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from oci.container.attach import attach
from oci.container.container import Container
from oci.container.execute import ExecSettings, execute
from oci.container.lifecycle import kill, remove, rename, restart, start, start_attached, stop, wait
from oci.container.logs import read_logs
from oci.container.status import status
from oci.errors import ContainerNotFound, NameTaken, RuntimeFailed, WrongState
from oci.storage.store import Store
from tests.support.containers import SLEEP, busybox_store, container_of, output, start_ready, until
from tests.support.images import LayerBlob, tar_layer
from tests.support.namespaces import need_mounts, rootless
from tests.support.peers import need

WHO = ("root", "single", "ranges")
Case = Callable[[Store], None]


def everywhere(case: Case, who: str, folder: Path, *, layers: tuple[LayerBlob, ...] = (), **config: Any) -> None:
    """Run a case with a store of its own, and see that nothing is left behind."""
    need("runc")
    if who == "root":
        need_mounts()
        _in_store(case, folder, layers, config)
    else:
        rootless(_in_store, case, None, layers, config, ranges=who == "ranges")


def _in_store(case: Case, folder: Path | None, layers: tuple[LayerBlob, ...], config: dict[str, Any]) -> None:
    root = (folder or Path.cwd()) / "store"
    root.mkdir(0o700)
    with busybox_store(root, *layers, **config) as store:
        case(store)


@pytest.mark.parametrize("who", WHO)
def test_create_start_wait_logs_and_rm(who: str, tmp_path: Path) -> None:
    def case(store: Store) -> None:
        container = container_of(store, "sh", "-c", "echo out; echo err >&2; id -u; touch /new; exit 3", name="one")
        assert (container.row.status, container.name) == ("created", "one")
        start(container)
        assert wait(container) == 3
        row = container.refresh()
        assert (row.status, row.exit_code, row.error, row.init, row.auto_remove) == ("exited", 3, None, None, False)
        assert output(container, "stdout") == b"out\n0\n"
        assert output(container, "stderr") == b"err\n"
        assert [change.path for change in container.driver.changes(container.snapshot)] == [b"new"]
        start(container)
        assert wait(container) == 3
        assert output(container, "stdout") == b"out\n0\n" * 2
        remove(container)
        with pytest.raises(ContainerNotFound):
            Container.find(store, "one")

    everywhere(case, who, tmp_path)


@pytest.mark.parametrize("who", WHO)
def test_stop_kill_exec_restart_and_rm_of_a_running_one(who: str, tmp_path: Path) -> None:
    def case(store: Store) -> None:
        container = container_of(store, *SLEEP)
        start_ready(container)
        assert container.row.status == "running"
        with pytest.raises(WrongState, match="running"):
            start(container)
        with pytest.raises(WrongState, match="stop it first"):
            remove(container)
        assert execute(container, ExecSettings(args=("sh", "-c", "exit 5"))) == 5
        assert execute(container, ExecSettings(args=("sh", "-c", "kill -9 $$"))) == 137
        assert execute(container, ExecSettings(args=("touch", "/by-exec"), detach=True)) == 0
        until(lambda: execute(container, ExecSettings(args=("test", "-e", "/by-exec"))) == 0)
        for args, number in ((("nope",), 127), (("/nope",), 127), (("/etc",), 126), (("/etc/passwd",), 126)):
            with pytest.raises(RuntimeFailed) as failed:
                execute(container, ExecSettings(args=args))
            assert failed.value.status == number
        restart(container)
        assert container.row.status == "running"
        kill(container)
        wait(container)
        start_ready(container)
        stop(container)
        assert (container.row.status, container.row.exit_code) == ("exited", 7)
        stop(container)
        with pytest.raises(WrongState, match="exited"):
            kill(container)
        with pytest.raises(WrongState, match="exited"):
            execute(container, ExecSettings(args=("true",)))
        start(container)
        kill(container, "SIGKILL")
        assert wait(container) == 137
        start(container)
        supervisor = container.row.supervisor
        remove(container, force=True)
        assert supervisor is not None
        until(lambda: not supervisor.alive())

    everywhere(case, who, tmp_path)


def test_a_program_that_ignores_the_stop_signal_is_killed(tmp_path: Path) -> None:
    def case(store: Store) -> None:
        container = container_of(store, "sleep", "100")  # process 1 of a namespace has no default actions
        start(container)
        stop(container, 0)
        assert (container.row.status, container.row.exit_code) == ("exited", 137)

    everywhere(case, "root", tmp_path)


def test_the_stop_signal_is_the_images_or_the_one_asked_for(tmp_path: Path) -> None:
    def case(store: Store) -> None:
        words = (
            "sh",
            "-c",
            "trap 'exit 1' HUP; trap 'exit 2' USR1; trap 'exit 3' TERM; echo ready; while true; do sleep 0.05; done",
        )
        for asked, expected in ((None, 1), ("USR1", 2), ("15", 3)):
            container = container_of(store, *words, stop_signal=asked)
            start_ready(container)
            stop(container)
            assert container.row.exit_code == expected

    everywhere(case, "root", tmp_path, StopSignal="SIGHUP")


@pytest.mark.parametrize("who", ["root", "single"])
def test_a_command_that_cannot_be_run_leaves_the_container_as_it_was(who: str, tmp_path: Path) -> None:
    def case(store: Store) -> None:
        for args, number in ((("nope",), 127), (("/etc",), 126), (("/etc/passwd",), 126)):
            container = container_of(store, *args)
            with pytest.raises(RuntimeFailed) as failed:
                start(container)
            assert failed.value.status == number
            row = container.refresh()
            assert (row.status, row.exit_code, row.supervisor, row.init) == ("created", number, None, None)
            assert row.error == str(failed.value)
            assert list(read_logs(container)) == []
            once = container_of(store, *args, auto_remove=True)
            with pytest.raises(RuntimeFailed):
                start_attached(once)
            with pytest.raises(ContainerNotFound):
                once.refresh()

    everywhere(case, who, tmp_path)


@pytest.mark.parametrize("who", WHO)
def test_rm_at_the_end_leaves_nothing_and_the_status_is_known(who: str, tmp_path: Path) -> None:
    def case(store: Store) -> None:
        container = container_of(store, "sh", "-c", "read word; echo $word; exit 4", stdin_open=True, auto_remove=True)
        reading, writing = os.pipe()
        out, into = os.pipe()
        os.write(writing, b"typed\n")
        with start_attached(container) as attachment:
            ended = attachment.run(reading, into, into)
        assert (ended.status, ended.detached) == (4, False)
        assert os.read(out, 100) == b"typed\n"
        for fd in (reading, writing, out, into):
            os.close(fd)
        assert not os.path.exists(container.folder)
        assert status(store) == ()
        background = container_of(store, *SLEEP, auto_remove=True)
        start_ready(background)
        stop(background)
        assert status(store) == ()

    everywhere(case, who, tmp_path)


def test_names(tmp_path: Path) -> None:
    def case(store: Store) -> None:
        one, other = container_of(store, name="one"), container_of(store)
        assert other.name not in ("", "one")
        with pytest.raises(NameTaken):
            container_of(store, name="one")
        with pytest.raises(NameTaken):
            rename(other, "one")
        rename(one, "two")
        assert Container.find(store, "two").id == Container.find(store, one.id[:12]).id == one.id
        assert len(os.listdir(f"{store.root}/containers")) == 2

    everywhere(case, "root", tmp_path)


def test_children_that_daemonise_end_with_the_container_and_leave_no_zombies(tmp_path: Path) -> None:
    def case(store: Store) -> None:
        script = "(sleep 100 &); while ! test -e /enough; do sleep 0.05; done"
        container = container_of(store, "sh", "-c", script)
        start(container)
        supervisor = container.row.supervisor
        assert supervisor is not None
        for _ in range(3):
            assert execute(container, ExecSettings(args=("sleep", "0"), detach=True)) == 0
        assert execute(container, ExecSettings(args=("touch", "/enough"), detach=True)) == 0
        assert wait(container) == 0
        until(lambda: not supervisor.alive())

    everywhere(case, "root", tmp_path)


def test_exec_has_the_containers_environment_and_its_own(tmp_path: Path) -> None:
    def case(store: Store) -> None:
        container = container_of(store, *SLEEP, env=(("A", "1"),), workdir="/made/here")
        start_ready(container)
        script = 'test "$A$B" = 12 && test "$(pwd)" = /made/here && test "$(id -u)" = 0'
        assert execute(container, ExecSettings(args=("sh", "-c", script), env=(("B", "2"),))) == 0
        script = 'test "$(pwd)" = /tmp && test "$(id -u):$(id -g)" = 1000:1000 && test "$HOME" = /home'
        assert execute(container, ExecSettings(args=("sh", "-c", script), workdir="/tmp", user="user")) == 0
        stop(container)
        assert list(container.driver.changes(container.snapshot)) == []  # the working directory is in the scaffold

    everywhere(case, "root", tmp_path)


def test_a_file_where_a_mount_needs_a_directory_is_one_clear_line(tmp_path: Path) -> None:
    from oci.errors import InvalidInput
    from oci.runtime.settings import MountSetting

    def case(store: Store) -> None:
        with pytest.raises(InvalidInput, match=r"^working directory /etc/passwd/x: /etc/passwd is no directory in the"):
            container_of(store, "true", workdir="/etc/passwd/x")
        with pytest.raises(InvalidInput, match=r"^mount at /etc/passwd: /etc/passwd is no directory in the image"):
            container_of(store, "true", mounts=(MountSetting(type="tmpfs", target="/etc/passwd"),))
        assert os.listdir(f"{store.root}/containers") == []

    everywhere(case, "root", tmp_path)


def test_links_of_the_image_lead_mount_points_inside_its_root(tmp_path: Path) -> None:
    from oci.runtime.settings import MountSetting

    def case(store: Store) -> None:
        container = container_of(
            store,
            *("sh", "-c", "echo kept > /data/file; cat /srv/real/file; ls -d /data/"),
            mounts=(MountSetting(type="volume", target="/data", source="keep"),),
        )
        start(container)
        assert wait(container) == 0
        assert output(container) == b"kept\n/data/\n"
        volume = store.volumes.get("keep")
        assert Path(volume.path, "file").read_text() == "kept\n"
        assert list(container.driver.changes(container.snapshot)) == []
        remove(container, volumes=True)
        assert Path(volume.path, "file").read_text() == "kept\n"

    everywhere(case, "root", tmp_path, layers=(tar_layer({"data": ("symlink", "/../../srv/real")}),))


def test_volumes_of_the_image_are_anonymous_and_go_with_the_container(tmp_path: Path) -> None:
    def case(store: Store) -> None:
        container = container_of(store, "sh", "-c", "ls /home; echo more > /etc/more")
        (volume,) = store.volumes.list()
        assert volume.anonymous
        assert sorted(os.listdir(volume.path)) == ["group", "passwd"]
        start(container)
        assert wait(container) == 0
        assert "more" in os.listdir(volume.path)
        assert list(container.driver.changes(container.snapshot)) == []
        remove(container, volumes=True)
        assert store.volumes.list() == ()

    everywhere(case, "root", tmp_path, Volumes={"/etc": {}})


def test_a_create_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from oci.errors import StoreError
    from oci.storage.containers import Containers

    def refuse(*_: object) -> None:
        raise StoreError("store.db", "the disk is full")

    def case(store: Store) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(Containers, "add", refuse)
            with pytest.raises(StoreError):
                container_of(store, "true")
        assert (os.listdir(f"{store.root}/containers"), store.volumes.list()) == ([], ())

    everywhere(case, "root", tmp_path, Volumes={"/etc": {}})


def test_attach_needs_a_running_container(tmp_path: Path) -> None:
    def case(store: Store) -> None:
        container = container_of(store, "true")
        with pytest.raises(WrongState, match="start it first"):
            attach(container)

    everywhere(case, "root", tmp_path)
