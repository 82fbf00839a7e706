"""Commands of one store, one user namespace."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from oci.errors import ConfigurationError
from oci.linux import idmaps, namespaces, process, shared_namespace, user_namespace
from tests.support.namespaces import GROUP, USER, as_rootless_user, rootless
from tests.support.users import in_child


def own() -> tuple[int, int]:
    return os.stat("/proc/self/ns/user").st_ino, os.stat("/proc/self/ns/mnt").st_ino


def entered() -> tuple[int, int, int]:
    shared_namespace.enter("run", maps=idmaps.single(USER, GROUP))
    assert namespaces.has_mount_rights()
    return (*own(), os.geteuid())


class Living:
    """A process that has entered, and stays."""

    def __init__(self, work: Callable[[], object] = entered) -> None:
        reading, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                process.die_with_parent()
                work()
                os.write(writing, str(own()[0]).encode())
                signal.pause()
            finally:
                os._exit(1)
        os.close(writing)
        self.namespace = int(os.read(reading, 100))
        os.close(reading)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def in_user(work: Callable[[], object]) -> None:
    def call() -> None:
        os.mkdir("run")
        work()

    as_rootless_user(call, ranges=False)


def test_commands_share_the_namespace_and_have_mounts_of_their_own() -> None:
    def check() -> None:
        one = Living()
        user, mount, uid = in_child(entered)
        assert (user, uid) == (one.namespace, 0)
        assert mount != os.stat(f"/proc/{one.pid}/ns/mnt").st_ino
        one.kill()
        assert Path("run", shared_namespace.LIST).stat().st_mode & 0o777 == 0o600

    in_user(check)


def test_who_was_started_inside_keeps_it_alive() -> None:
    """The supervisor of a container outlives the command that made the namespace."""

    def start_supervisor() -> None:
        entered()
        shared_namespace.stay("run")

    def check() -> None:
        first = Living()
        supervisor = Living(start_supervisor)
        assert supervisor.namespace == first.namespace
        first.kill()
        later = Living()
        assert later.namespace == supervisor.namespace
        supervisor.kill()
        assert in_child(entered)[0] == later.namespace
        later.kill()

    in_user(check)


def test_only_who_shares_it_sees_the_others_root() -> None:
    def look(pid: int, enter: Callable[[], object]) -> bool:
        enter()
        return os.access(f"/proc/{pid}/root/etc", os.F_OK)

    def check() -> None:
        one = Living()
        assert in_child(lambda: look(one.pid, entered))
        assert not in_child(lambda: look(one.pid, lambda: user_namespace.become_root(idmaps.single(USER, GROUP))))
        one.kill()

    in_user(check)


def test_eight_commands_at_once_make_one_namespace() -> None:
    def check() -> int:
        start = os.pipe()

        def work() -> None:
            os.read(start[0], 1)
            entered()

        commands = []
        pipes = []
        for _ in range(8):
            reading, writing = os.pipe()
            pid = os.fork()
            if pid == 0:
                work()
                os.write(writing, str(own()[0]).encode())
                signal.pause()
                os._exit(0)
            os.close(writing)
            commands.append(pid)
            pipes.append(reading)
        os.write(start[1], b"12345678")
        found = {int(os.read(fd, 100)) for fd in pipes}
        for pid in commands:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        return len(found)

    def checked() -> None:
        assert check() == 1

    in_user(checked)


def test_the_list_stays_short_and_takes_any_garbage() -> None:
    def check() -> None:
        boot = process.boot_id()
        dead = "".join(f"{pid} 1 {boot}\n" for pid in range(1, 200))
        Path("run", shared_namespace.LIST).write_bytes(
            b"\xff\0 nonsense\n1 2\n-1 5 x\n\n\xc2\xb2 1 1\n" + dead.encode()
        )
        one = Living()
        assert len(Path("run", shared_namespace.LIST).read_text().splitlines()) == 1
        with open(Path("run", shared_namespace.LIST), "a") as file:
            file.write(dead)
        assert in_child(entered)[0] == one.namespace
        assert len(Path("run", shared_namespace.LIST).read_text().splitlines()) == 2
        one.kill()

    in_user(check)


def test_a_process_of_somebody_else_on_the_list_is_passed_over() -> None:
    """Such a line is a mistake or worse; to enter the namespace of process 1 needs its rights."""

    def check() -> None:
        for pid in (1, os.getppid()):
            who = process.identity(pid)
            with open(Path("run", shared_namespace.LIST), "a") as file:
                file.write(f"{who.pid} {who.start} {who.boot_id}\n")
        assert in_child(entered)[2] == 0

    in_user(check)


def test_without_its_folder_or_as_root_nothing_is_shared(tmp_path: Path) -> None:
    def check() -> None:
        shared_namespace.enter("nowhere", maps=idmaps.single(USER, GROUP))
        assert os.listdir() == []
        maps = shared_namespace.enter(".")  # root already
        assert maps == idmaps.current()
        assert os.listdir() == []

    as_rootless_user(check, ranges=False)
    if namespaces.is_initial():
        shared_namespace.stay(str(tmp_path))
        assert os.listdir(tmp_path) == []


def test_a_link_in_place_of_the_list_is_not_followed() -> None:
    def check() -> None:
        Path("run", shared_namespace.LIST).symlink_to("../other")
        with pytest.raises((OSError, ConfigurationError)):
            shared_namespace.enter("run")
        assert not Path("other").exists()

    in_user(check)


def test_stay_puts_a_process_on_the_list() -> None:
    def check() -> bool:
        os.mkdir("run")
        shared_namespace.stay("run")
        shared_namespace.stay("gone")
        words = Path("run", shared_namespace.LIST).read_text().split()
        return words[0] == str(os.getpid())

    assert rootless(check, ranges=False)


def test_a_container_whose_supervisor_was_killed_is_found_by_its_own_process() -> None:
    def check() -> None:
        ready = os.pipe()

        def start() -> None:
            entered()
            if (child := os.fork()) == 0:
                signal.pause()
            shared_namespace.stay("run", child)
            os.write(ready[1], f"{child}\n".encode())

        supervisor = Living(start)
        container = int(os.read(ready[0], 20))
        supervisor.kill()
        try:
            assert in_child(entered)[0] == supervisor.namespace
        finally:
            os.kill(container, signal.SIGKILL)

    in_user(check)
