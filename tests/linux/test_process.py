"""Who a process is, and what it asks for itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from oci.linux import calls, process
from tests.support.users import in_child


def child(code: str = "import sys; print('up', flush=True); sys.stdin.read()") -> subprocess.Popen[str]:
    made = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert made.stdout is not None
    assert made.stdout.readline() == "up\n"
    return made


def finish(one: subprocess.Popen[str]) -> None:
    one.communicate()


def test_an_identity_lives_as_long_as_its_process() -> None:
    one = child()
    who = process.identity(one.pid)
    assert who.pid == one.pid
    assert who.alive()
    assert who == process.identity(one.pid)
    assert not who.replace(start=who.start - 1).alive()
    assert not who.replace(boot_id="another").alive()
    one.kill()
    os.waitid(os.P_PID, one.pid, os.WEXITED | os.WNOWAIT)
    assert not who.alive()  # dead, though not reaped
    finish(one)
    assert not who.alive()
    with pytest.raises(ProcessLookupError):
        process.identity(one.pid)


def test_a_program_s_name_may_hold_anything() -> None:
    def check() -> tuple[str, bool, str]:
        process.set_name(") S 1 (")
        return Path("/proc/self/comm").read_text(), process.identity(os.getpid()).alive(), process.boot_id()

    assert in_child(check) == (") S 1 (\n", True, process.boot_id())


def test_a_name_is_cut() -> None:
    def check() -> str:
        process.set_name("a name much longer than that")
        return Path("/proc/self/comm").read_text()

    assert in_child(check) == "a name much lon\n"


def test_orphans_come_to_the_subreaper() -> None:
    def check() -> bool:
        process.subreaper()
        reading, writing = os.pipe()
        if os.fork() == 0:
            if os.fork() == 0:
                os.write(writing, str(os.getpid()).encode())
                signal.pause()
            os._exit(0)
        grandchild = int(os.read(reading, 20))
        os.wait()
        os.kill(grandchild, signal.SIGKILL)
        return os.wait()[0] == grandchild

    assert in_child(check)


def test_a_child_dies_with_its_parent() -> None:
    def check() -> int:
        process.subreaper()
        reading, writing = os.pipe()
        parent = os.fork()
        if parent == 0:
            if os.fork() == 0:
                process.die_with_parent(signal.SIGTERM)
                os.write(writing, str(os.getpid()).encode())
                signal.pause()
            signal.pause()
        grandchild = int(os.read(reading, 20))
        os.kill(parent, signal.SIGKILL)
        os.waitpid(parent, 0)
        return os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1])

    assert in_child(check) == -signal.SIGTERM


@pytest.mark.parametrize("old", [False, True], ids=["python's", "ours"])
def test_a_pidfd_sends_signals_to_that_process_only(old: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if old:
        monkeypatch.delattr(os, "pidfd_open")
        monkeypatch.delattr(signal, "pidfd_send_signal")
    one = child()
    fd = process.pidfd_open(one.pid)
    assert not os.get_inheritable(fd)
    process.pidfd_send_signal(fd, signal.SIGTERM)
    assert one.wait() == -signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        process.pidfd_send_signal(fd, signal.SIGTERM)
    os.close(fd)
    finish(one)


def test_threads_are_counted() -> None:
    def check() -> int:
        stop = threading.Event()
        thread = threading.Thread(target=stop.wait)
        thread.start()
        both = process.threads()
        stop.set()
        thread.join()
        while process.threads() > 1:
            time.sleep(0.001)
        return both

    assert in_child(check) == 2


def test_dumpable_says_how_it_was() -> None:
    assert in_child(lambda: (process.dumpable(False), process.dumpable(True), process.dumpable(True))) == (
        True,
        False,
        True,
    )


def test_numbers_of_system_calls_are_those_of_the_architecture() -> None:
    assert calls.number_of("openat2", "x86_64") == calls.number_of("openat2", "aarch64") == 437
    assert calls.number_of("openat2", "mips64") == 5437
    assert calls.number_of("openat2", "alpha") == 547
    assert calls.number_of("renameat2", "x86_64") == 316
    assert calls.number_of("renameat2", "aarch64") == calls.number_of("renameat2", "riscv64") == 276
    assert calls.number_of("renameat2", "s390x") == 347


def test_a_32_bit_python_on_a_64_bit_kernel_has_the_32_bit_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    import struct

    true = struct.calcsize
    monkeypatch.setattr(struct, "calcsize", lambda what: 4 if what == "P" else true(what))
    monkeypatch.setattr(os, "uname", lambda: type("Uname", (), {"machine": "x86_64"}))
    assert calls.machine() == "i686"


def test_a_function_that_libc_lacks_is_enosys() -> None:
    with pytest.raises(OSError, match="not implemented"):
        calls.call("no_such_function_of_any_libc")


def test_an_identity_is_kept_as_text() -> None:
    own = process.identity(os.getpid())
    assert process.Identity.parse(str(own)) == own
    assert process.Identity.parse(str(own)).alive()
    for text in ("", "1 2", "1 2 3 4", "-1 2 x", "1 ² x", str(own)[:-36]):
        with pytest.raises(ValueError, match="not PID START BOOT-ID"):
            process.Identity.parse(text)
