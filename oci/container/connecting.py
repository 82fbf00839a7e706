"""A connection to a container's supervisor, by the socket in the container's folder, however long its path is."""

from __future__ import annotations

import os
import socket

from oci.container.console import socket_address
from oci.container.frames import SIGNAL, frame
from oci.container.launch import Channel
from oci.errors import WrongState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.container.container import Container

__all__ = ["ATTACH_SOCKET", "GONE", "ask_for_signal", "connect"]

ATTACH_SOCKET = "attach.sock"
GONE = "its supervisor is gone: its output is kept no more, and how it ends won't be known"


def connect(container: Container) -> Channel:
    """Connect to the supervisor. WrongState when there is none."""
    try:
        folder = os.open(container.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        raise WrongState(container.name, container.row.status, "there is nobody to attach to") from None
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(socket_address(folder, ATTACH_SOCKET))
    except OSError:
        connection.close()
        reason = "start it first" if container.row.status != "running" else GONE
        raise WrongState(container.name, container.row.status, reason) from None
    finally:
        os.close(folder)
    return Channel(connection)


def ask_for_signal(container: Container, number: int) -> None:
    """Have the supervisor send a signal to its container: it may, where we may not (another user namespace)."""
    channel = connect(container)
    with channel.connection:
        channel.connection.sendall(frame(SIGNAL, number.to_bytes(4, "big")))
