"""A container's first process from outside: signals to it, and waiting for its end, by a descriptor of that process.

pidfd_open(2): unlike a pid, a descriptor is never another process's.
"""

from __future__ import annotations

from oci.container.connecting import ask_for_signal
from oci.errors import WrongState
from oci.linux import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.container.container import Container
    from oci.linux.process import Identity

__all__ = ["has_ended", "send_signal"]


def send_signal(container: Container, number: int) -> None:
    """Send a signal to the container's first process. WrongState when it has just ended."""
    init = container.row.init
    try:
        sent = init is not None and process.send_signal(init, number)
    except PermissionError:
        ask_for_signal(container, number)
        return
    if not sent:
        raise WrongState(container.name, "exited", "it has just ended")


def has_ended(who: Identity | None, seconds: float) -> bool:
    """Wait for the end of a container's process, so many seconds at most; one that nobody knows has ended."""
    return who is None or process.has_ended(who, seconds)
