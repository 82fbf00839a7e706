"""The runtime as a program: how it is found, a container's life, and how it fails."""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from oci.errors import RuntimeFailed
from oci.linux import idmaps, process
from oci.runtime import runc as runc_module
from oci.runtime.config import Facts, mount_points, runtime_config
from oci.runtime.found import Found
from oci.runtime.runc import Runtime
from oci.runtime.settings import RunSettings
from oci.runtime.trial import find
from tests.support.boxes import Extra, contain, image_of, make_root
from tests.support.namespaces import need_mounts, rootless
from tests.support.peers import need, need_runc
from tests.support.users import as_user, in_child

FAKE = Found(path="/nonexistent/runc", name="runc", version="1", seccomp=True, file="")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[str]:
    yield str(tmp_path / "runtime")
    left = sorted(os.listdir(tmp_path / "runtime")) if (tmp_path / "runtime").exists() else []
    assert left == []  # no file of ours, no container of the runtime's


def program(path: Path, script: str) -> str:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


# Which one


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_runtime_is_tried_before_it_is_taken(folder: str) -> None:
    need("runc")
    found = find(folder, ("nosuch-runtime", "runc")).found
    assert (found.name, found.seccomp, found.user) == ("runc", True, False)
    assert os.path.isabs(found.path)
    assert find(folder, (found.path,)).found == found


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_a_runtime_is_tried_in_a_user_namespace_too() -> None:
    need("runc")
    found = rootless(lambda: find("runtime", ("runc",)).found.to_json(), ranges=False)
    assert Found.from_json(found).user is True


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_what_was_found_is_remembered_while_the_program_is_the_same(folder: str, tmp_path: Path) -> None:
    need("runc")
    link = tmp_path / "runc"
    program(link, 'echo run >> "$0.count"; exec runc "$@"')
    found = find(folder, (str(link),)).found
    runs = (tmp_path / "runc.count").read_text().count("run")
    assert runs == 3  # --version, create, delete
    again = find(folder, ("crun", str(link)), known=found.to_json())
    assert again.found == found
    assert (tmp_path / "runc.count").read_text().count("run") == runs
    os.utime(link, (1, 1))
    assert find(folder, (str(link),), known=found.to_json()).found.file != found.file
    assert find(folder, ("runc",), known=found.to_json()).found.path != found.path
    for text in ("", "{", "[]", '{"path": 1}'):
        assert find(folder, (str(link),), known=text).found.path == str(link)


def test_without_a_runtime_there_is_one_line_that_says_what_to_install(folder: str) -> None:
    with pytest.raises(RuntimeFailed) as caught:
        find(folder, ("nosuch", "/no/such/runc"))
    assert str(caught.value) == (
        "no OCI runtime works here (nosuch: not installed; /no/such/runc: not installed); install runc or crun"
    )
    assert caught.value.status == 125


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("exit 1", "doesn't say its version"),
        ("echo something else", "doesn't say its version"),
        ('test "$1" = --version && echo runc version 9 && exit; exit 1', "runc create: failed without a word"),
        ('test "$1" = --version && echo runc version 9 && exit; exit 0', "wrote no process id"),
    ],
)
def test_a_program_that_is_no_runtime_is_not_taken(folder: str, tmp_path: Path, script: str, reason: str) -> None:
    if "--version" in script:
        need_mounts()  # the trial is in a mount namespace
    with pytest.raises(RuntimeFailed, match=reason):
        in_child(lambda: find(folder, (program(tmp_path / "runc", script),)))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_runtime_without_seccomp_is_known_as_such(folder: str, tmp_path: Path) -> None:
    need("runc")
    script = """
        while test "$1" != create -a $# -gt 0; do
            test "$1" = --log && log=$2
            test "$1" = --version && exec runc --version
            args="$args $1"; shift
        done
        if test "$1" = create && grep -q syscalls "$3/config.json"; then
            echo '{"level": "error", "msg": "seccomp: config provided but seccomp not supported"}' > "$log"
            exit 1
        fi
        exec runc $args "$@" """
    assert find(folder, (program(tmp_path / "runc", script),)).found.seccomp is False


# A life


def _life(work: str) -> dict[str, Any]:
    """What is said of a container on its way; as root, in a child."""
    process.subreaper()
    root = f"{work}/rootfs"
    make_root(root)
    root_fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    settings = RunSettings(args=("sh", "-c", "trap 'exit 7' TERM; echo up; while :; do sleep 0.05; done"), user="1")
    for point in mount_points(settings, image_of(), root_fd):
        os.makedirs(os.path.dirname(root + point.path), exist_ok=True)
        if not os.path.lexists(root + point.path):
            os.mkdir(root + point.path) if point.kind == "dir" else os.mknod(root + point.path)
    name = f"ocikit-life-{os.getpid()}"
    facts = Facts(id=name, root=root, root_fd=root_fd, maps=idmaps.current(), initial=True, cgroup=f"/{name}")
    with open(f"{work}/config.json", "w") as file:
        json.dump(runtime_config(image_of(), settings, facts), file)
    runtime = find(f"{work}/runtime", ("runc",))
    said: dict[str, Any] = {
        "before": runtime.state(name),
        "no kill": runtime.kill(name, 9),
        "no delete": runtime.delete(name),
    }
    reading, writing = os.pipe()
    pid = runtime.create(name, work, stdout=writing, pid_file=f"{work}/pid")
    os.close(writing)
    try:
        made = runtime.state(name)
        assert made is not None
        said |= {"created": made.status, "pid": made.pid == pid, "bundle": made.bundle == work}
        said["file"] = Path(f"{work}/pid").read_text() == str(pid)
        try:
            runtime.create(name, work)
        except RuntimeFailed as error:
            said["twice"] = str(error)
        runtime.start(name)
        said["output"] = os.read(reading, 10)
        said["running"] = runtime.state(name).status  # type: ignore[union-attr]
        runtime.pause(name)
        said["paused"] = runtime.state(name).status  # type: ignore[union-attr]
        runtime.resume(name)
        runtime.update(name, {"pids": {"limit": 55}})
        said["updated"] = (
            Path(f"/sys/fs/cgroup/pids/{name}/pids.max").read_text() if os.path.isdir("/sys/fs/cgroup/pids") else ""
        )
        said["term"] = runtime.kill(name, "TERM")
        said["status"] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        said["stopped"] = runtime.state(name).status  # type: ignore[union-attr]
        said["late kill"] = runtime.kill(name, 15)
        said["deleted"] = runtime.delete(name)
        said["after"] = runtime.state(name)
    finally:
        runtime.delete(name, force=True)
        os.close(reading)
        os.close(root_fd)
    said["left"] = os.listdir(f"{work}/runtime")
    return said


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_the_life_of_a_container(tmp_path: Path) -> None:
    need_runc()  # before any mount namespace of ours
    need("runc", "busybox")
    tmp_path.chmod(0o755)
    (tmp_path / "box").mkdir()
    said = as_user(_life, str(tmp_path / "box"), uid=0, gid=0)
    assert "already exists" in said.pop("twice")
    assert said.pop("updated") in ("55\n", "")
    assert said == {
        "before": None,
        "no kill": False,
        "no delete": False,
        "created": "created",
        "pid": True,
        "bundle": True,
        "file": True,
        "output": b"up\n",
        "running": "running",
        "paused": "paused",
        "term": True,
        "status": 7,
        "stopped": "stopped",
        "late kill": False,
        "deleted": True,
        "after": None,
        "left": [],
    }


# How it fails


def bend(**changes: Any) -> Extra:
    def change(config: dict[str, Any]) -> None:
        config["process"].update(changes)

    return Extra(prepare=odd_files, change=change)


def odd_files(root: str) -> None:
    os.mkdir(f"{root}/dir")
    for name, mode in (("file", 0o644), ("badfmt", 0o755), ("badint", 0o755)):
        with open(f"{root}/{name}", "w") as file:
            file.write("#!/no/such/interpreter\n" if name == "badint" else "hello")
        os.chmod(f"{root}/{name}", mode)
    os.symlink("loop", f"{root}/loop")


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("nosuch", "nosuch: no such program in the container's PATH"),
        ("/nosuch", "/nosuch: no such file in the container"),
        ("/file", "/file: can't be run: not an executable file"),
        ("/dir", "/dir: "),
        ("/loop", "/loop: can't be run: too many levels"),
        ("/file/x", "/file/x: can't be run: not a directory"),
    ],
)
@pytest.mark.parametrize("who", ["root", "single"])
def test_a_program_that_cannot_be_run(word: str, reason: str, who: str) -> None:
    with pytest.raises(RuntimeFailed, match=reason):
        contain([word], who=who, extra=Extra(prepare=odd_files))


def test_a_working_directory_that_is_a_file() -> None:
    with pytest.raises(RuntimeFailed, match="working directory /file: not a directory"):
        contain(["true"], extra=bend(cwd="/file"))


def test_what_the_document_asks_for_and_the_kernel_refuses() -> None:
    with pytest.raises(RuntimeFailed, match="a ulimit is above"):
        contain(
            ["true"], who="single", extra=bend(rlimits=[{"type": "RLIMIT_NOFILE", "soft": 1 << 40, "hard": 1 << 40}])
        )
    with pytest.raises(RuntimeFailed, match="runc create: wrong rlimit value"):
        contain(["true"], extra=bend(rlimits=[{"type": "RLIMIT_ODD", "soft": 1, "hard": 1}]))


def test_a_runtime_that_is_gone_or_never_ends(folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.makedirs(folder)
    with pytest.raises(RuntimeFailed, match="/nonexistent/runc: can't be started: No such file"):
        Runtime(FAKE, folder).state("x")
    monkeypatch.setattr(runc_module, "SHORT", 0.2)
    slow = FAKE.replace(path=program(tmp_path / "slow", "exec sleep 60"))
    began = time.monotonic()
    with pytest.raises(RuntimeFailed, match="runc kill: no end after"):
        Runtime(slow, folder)._run("kill", ["x"], seconds=1)
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    "printed", ["", "{}", "[]", "null", '{"id": "x", "status": "running", "bundle": "/", "pid": "y"}']
)
def test_a_state_that_is_none(folder: str, tmp_path: Path, printed: str) -> None:
    odd = FAKE.replace(path=program(tmp_path / "odd", f"echo '{printed}'"))
    with pytest.raises(RuntimeFailed, match="no state of the runtime-spec"):
        Runtime(odd, folder).state("x")


def test_a_runtime_gets_nothing_of_ours(folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "x")
    leaked = os.open("/", os.O_RDONLY)
    os.set_inheritable(leaked, True)
    report = tmp_path / "report"
    spy = FAKE.replace(path=program(tmp_path / "spy", f"(env; ls -l /proc/$$/fd; pwd) > {report}; exit 0"))
    try:
        Runtime(spy, folder).start("x")
    finally:
        os.close(leaked)
    text = report.read_text()
    assert "SECRET" not in text
    descriptors = [int(line.split(" -> ")[0].split()[-1]) for line in text.splitlines() if " -> " in line]
    assert leaked not in descriptors
    assert text.splitlines()[-1] == "/"


def test_files_for_one_call_are_for_nobody_else(folder: str, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    spy = FAKE.replace(path=program(tmp_path / "spy", f"ls -la {folder} > {seen}; exit 1"))
    with pytest.raises(RuntimeFailed, match="runc exec: failed without a word"):
        Runtime(spy, folder).exec("x", {"env": ["SECRET=1"]})
    modes = [line.split()[0] for line in seen.read_text().splitlines() if ".tmp-" in line]
    assert modes == ["drwx------", "drwx------"]
    assert os.listdir(folder) == []
    assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
