"""Processes: who one is for sure, and what one may ask for itself (proc(5), prctl(2), pidfd_open(2)).

A pid alone is no name: the kernel gives it to another process when its owner is gone. A pid with its start time (in
clock ticks since boot) and the boot it belongs to is one.
"""

from __future__ import annotations

import errno
import os

from oci.lazily import signal as signals
from oci.linux import calls
from oci.spec.record import Record

__all__ = [
    "Identity",
    "boot_id",
    "die_with_parent",
    "dumpable",
    "gains_no_rights",
    "has_ended",
    "identity",
    "pidfd_open",
    "pidfd_send_signal",
    "send_signal",
    "set_name",
    "subreaper",
    "threads",
]

_SIGKILL = 9
_PR_SET_PDEATHSIG = 1
_PR_GET_DUMPABLE = 3
_PR_SET_DUMPABLE = 4
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_PR_GET_NO_NEW_PRIVS = 39


class Identity(Record):
    """A process that can't be taken for another one: its pid, when it started, and in which boot of the machine."""

    pid: int
    start: int  # clock ticks since boot, /proc/PID/stat field 22
    boot_id: str

    def __str__(self) -> str:
        """`PID START BOOT-ID`, as it is kept in files and in the database."""
        return f"{self.pid} {self.start} {self.boot_id}"

    @classmethod
    def parse(cls, text: str) -> Identity:
        """What `str` made. Raises ValueError for anything else."""
        words = text.split()
        if len(words) != 3 or not all(word.isascii() and word.isdigit() for word in words[:2]):
            raise ValueError(f"not PID START BOOT-ID: {text!r}")
        return cls(pid=int(words[0]), start=int(words[1]), boot_id=words[2])

    def alive(self) -> bool:
        """Whether this very process still runs; one that has ended and waits to be reaped doesn't."""
        if self.boot_id != boot_id():
            return False
        found = _stat(self.pid)
        return found is not None and found[1] == self.start and found[0] not in ("Z", "X", "x")


def identity(pid: int) -> Identity:
    """The identity of a living process. Raises ProcessLookupError when there is none of that pid."""
    found = _stat(pid)
    if found is None:
        raise ProcessLookupError(errno.ESRCH, "no such process", f"/proc/{pid}")
    return Identity(pid=pid, start=found[1], boot_id=boot_id())


def boot_id() -> str:
    """The kernel's name for this boot."""
    with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as file:
        return file.read().strip()


def _stat(pid: int) -> tuple[str, int] | None:
    """State and start time of a process, None when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            raw = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the program's name in parentheses, and may itself hold spaces and parentheses.
    fields = raw[raw.rindex(b")") + 2 :].split()
    return fields[0].decode(), int(fields[19])


def subreaper(on: bool = True) -> None:
    """Orphans among this process's descendants become its children, not those of process 1."""
    calls.call("prctl", _PR_SET_CHILD_SUBREAPER, int(on), 0, 0, 0)


def die_with_parent(signal: int = _SIGKILL) -> None:
    """Get `signal` when the thread that forked this process ends; ask getppid() afterwards, it may have before."""
    calls.call("prctl", _PR_SET_PDEATHSIG, int(signal), 0, 0, 0)


def set_name(name: str) -> None:
    """The name that ps and top show; the kernel keeps 15 bytes of it."""
    calls.call("prctl", _PR_SET_NAME, os.fsencode(name)[:15], 0, 0, 0)


def dumpable(on: bool) -> bool:
    """Set whether files in /proc/self belong to this process's user, not to root; returns how it was.

    A process that has changed its user id is not dumpable, and then may not write its own id maps.
    """
    before = calls.call("prctl", _PR_GET_DUMPABLE, 0, 0, 0, 0)
    if before != int(on):
        calls.call("prctl", _PR_SET_DUMPABLE, int(on), 0, 0, 0)
    return before == 1


def gains_no_rights() -> bool:
    """Whether set-user-ID programs have no effect for this process and all it starts (no_new_privs)."""
    return calls.call("prctl", _PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1


def threads() -> int:
    """How many threads this process has."""
    return len(os.listdir("/proc/self/task"))


def pidfd_open(pid: int) -> int:
    """A descriptor of a process: readable when it ends, and never another process's."""
    if hasattr(os, "pidfd_open"):
        return os.pidfd_open(pid)
    fd = calls.syscall("pidfd_open", pid, 0)
    os.set_inheritable(fd, False)
    return fd


def has_ended(who: Identity, seconds: float) -> bool:
    """Wait for the end of a process, so many seconds at most (infinity: as long as it takes); it need be no child."""
    try:
        fd = pidfd_open(who.pid)
    except ProcessLookupError:
        return True
    try:
        if not who.alive():  # asked with the descriptor in hand: it is this process's, or nobody's
            return True
        import select

        ended = select.poll()
        ended.register(fd, select.POLLIN)
        # poll(2) counts milliseconds in an int: three weeks and more are for ever.
        return bool(ended.poll(None if seconds * 1000 >= 1 << 31 else max(0, int(seconds * 1000))))
    finally:
        os.close(fd)


def send_signal(who: Identity, signal: int) -> bool:
    """Send a signal to this very process; False when it has ended. PermissionError where that isn't allowed."""
    try:
        fd = pidfd_open(who.pid)
    except ProcessLookupError:
        return False
    try:
        if not who.alive():  # as above
            return False
        pidfd_send_signal(fd, signal)
    except ProcessLookupError:
        return False
    finally:
        os.close(fd)
    return True


def pidfd_send_signal(fd: int, signal: int) -> None:
    """Send a signal to the process of that descriptor; ProcessLookupError when it has ended."""
    if hasattr(signals, "pidfd_send_signal"):
        signals.pidfd_send_signal(fd, signal)
    else:
        calls.syscall("pidfd_send_signal", fd, int(signal), None, 0)
