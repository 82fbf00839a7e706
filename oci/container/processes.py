"""A container's first process from outside: signals to it, and waiting for its end, by a descriptor of that process.

pidfd_open(2): unlike a pid, a descriptor is never another process's.
"""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING

from oci.container.connecting import ask_for_signal
from oci.errors import WrongState
from oci.linux import process

if TYPE_CHECKING:
    from oci.container.container import Container
    from oci.linux.process import Identity

__all__ = ["has_ended", "send_signal"]


def send_signal(container: Container, number: int) -> None:
    """Send a signal to the container's first process. WrongState when it has just ended."""
    init = container.row.init
    gone = WrongState(container.name, "exited", "it has just ended")
    try:
        if init is None:
            raise gone
        fd = process.pidfd_open(init.pid)
    except ProcessLookupError:
        raise gone from None
    try:
        if not init.alive():  # asked when the descriptor was there: it is this process's, or nobody's
            raise gone
        process.pidfd_send_signal(fd, number)
    except ProcessLookupError:
        raise gone from None
    except PermissionError:
        ask_for_signal(container, number)
    finally:
        os.close(fd)


def has_ended(who: Identity | None, seconds: float) -> bool:
    """Wait for the end of a process, so many seconds at most (infinity: as long as it takes)."""
    if who is None:
        return True
    try:
        fd = process.pidfd_open(who.pid)
    except ProcessLookupError:
        return True
    try:
        if not who.alive():
            return True
        ended = select.poll()
        ended.register(fd, select.POLLIN)
        return bool(ended.poll(None if seconds == float("inf") else max(0, int(seconds * 1000))))
    finally:
        os.close(fd)
