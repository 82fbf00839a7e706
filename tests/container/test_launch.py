"""How a supervisor is begun, and what it runs the runtime with: nothing of whoever started it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from oci.container.launch import Standby
from oci.errors import RuntimeFailed
from oci.runtime.spawning import run_alone

ROOT = Path(__file__).resolve().parent.parent.parent
PATH = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}


def _supervisors() -> set[int]:
    found = set()
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if b"\0ocikit-supervisor\0" in Path(f"/proc/{name}/cmdline").read_bytes():
                found.add(int(name))
        except OSError:
            continue
    return found


def test_a_supervisor_holds_no_descriptor_of_its_starter_and_stands_in_the_root(tmp_path: Path) -> None:
    held = [os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY) for _ in range(3)]
    try:
        for fd in held:
            os.set_inheritable(fd, True)
        before = _supervisors()
        with Standby():
            until = time.monotonic() + 20
            while not (mine := [pid for pid in _supervisors() - before if _waits(pid)]):
                assert time.monotonic() < until
                time.sleep(0.01)
            for pid in mine:
                targets = {os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")}
                assert str(tmp_path) not in targets
                assert os.readlink(f"/proc/{pid}/cwd") == "/"
                assert os.getsid(pid) not in (pid, os.getsid(0))
    finally:
        for fd in held:
            os.close(fd)


def _waits(pid: int) -> bool:
    """Whether it has begun: it has named its stdin /dev/null."""
    try:
        return os.readlink(f"/proc/{pid}/fd/0") == os.devnull
    except OSError:
        return False


def test_standard_streams_that_are_closed_are_in_nobodys_way() -> None:
    script = (
        "import os; from oci.container.launch import Standby; os.close(0); os.close(1); s = Standby(); s.close(); "
        "os.write(2, b'done')"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "done")


def test_a_runtimes_exit_status_is_told_and_its_streams_are_the_given_ones(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    try:
        assert run_alone("sh", "x", ["/bin/sh", "-c", "cat; echo out; exit 3"], (None, writing, None), PATH, 20) == 3
        assert os.read(reading, 100) == b"out\n"
        assert run_alone("sh", "x", ["/bin/sh", "-c", "kill -TERM $$"], (None, None, None), PATH, 20) == -15
    finally:
        os.close(reading)
        os.close(writing)


def test_what_cant_be_started_or_doesnt_end_is_told() -> None:
    with pytest.raises(RuntimeFailed, match="can't be started: No such file"):
        run_alone("none", "x", ["/bin/there-is-none"], (None, None, None), PATH, 20)
    with pytest.raises(RuntimeFailed, match="no end after 0 seconds"):
        run_alone("sleep", "x", ["/bin/sleep", "60"], (None, None, None), PATH, 0)
