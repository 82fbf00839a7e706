"""Running a runtime from a supervisor: by posix_spawn(3), without `subprocess`.

To import `subprocess` would take a supervisor 5 ms of CPU, of the 25 that it takes to begin. posix_spawn changes no
directory and closes no descriptors. So this is for a process that stands in / and whose descriptors all end at an exec:
Python's own do (PEP 446), and what a supervisor was started with beyond the standard streams is closed at its start.
"""

from __future__ import annotations

import os
import select
from contextlib import suppress

from oci.errors import RuntimeFailed, show
from oci.linux.process import pidfd_open, pidfd_send_signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["run_alone"]

_SIGKILL, _SIGPIPE, _SIGXFSZ = 9, 13, 25  # the last two are ignored by Python, and would be by what it starts


def run_alone(
    name: str,
    verb: str,
    command: Sequence[str],
    streams: tuple[int | None, int | None, int | None],
    environment: Mapping[str, str],
    seconds: int,
) -> int:
    """A runtime's exit status (-n by signal n); a stream that is None is /dev/null. Raises RuntimeFailed."""
    actions: list[tuple[object, ...]] = []
    for number, fd in enumerate(streams):
        if fd is None:
            actions.append((os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0))
        else:
            actions.append((os.POSIX_SPAWN_DUP2, fd, number))
    try:
        pid = os.posix_spawn(
            command[0], list(command), environment, file_actions=actions, setsigdef=(_SIGPIPE, _SIGXFSZ)
        )
    except OSError as error:
        raise RuntimeFailed(f"{show(command[0])}: can't be started: {os.strerror(error.errno or 0)}") from None
    ended = False
    try:
        ended = _wait(pid, seconds)
    finally:
        if not ended:
            _kill(pid)
        _, status = os.waitpid(pid, 0)
    if not ended:
        raise RuntimeFailed(f"{name} {verb}: no end after {seconds} seconds; it was killed")
    return os.waitstatus_to_exitcode(status)


def _wait(pid: int, seconds: int) -> bool:
    """Whether it ended in this time."""
    try:
        fd = pidfd_open(pid)
    except OSError:  # a kernel before 5.3
        return True  # waitpid waits, as long as it takes
    try:
        events = select.poll()
        events.register(fd, select.POLLIN)
        return bool(events.poll(seconds * 1000))
    finally:
        os.close(fd)


def _kill(pid: int) -> None:
    with suppress(OSError):
        fd = pidfd_open(pid)
        try:
            pidfd_send_signal(fd, _SIGKILL)
        finally:
            os.close(fd)
