"""The supervisor's side of its clients: what waits to be sent to each, and what each may do.

A slow client must not hold the container up for long: what waits for one is bounded (`MAX_WAITING`). The client that
started the container is to it what a terminal or a pipe is to a program: output waits until it takes it. Any other that
takes nothing for `PATIENCE` seconds is dropped.
"""

from __future__ import annotations

import os
import socket
import struct
from collections import deque
from collections.abc import Callable

from oci.container.frames import EXIT, HEADER, MAX_FRAME, Unframer, document_frame

__all__ = ["MAX_CLIENTS", "MAX_WAITING", "PATIENCE", "Client", "peer_may"]

MAX_WAITING = 1 << 20  # bytes that wait for one client before the container's output waits too
MAX_CLIENTS = 64
PATIENCE = 2.0  # seconds
_CREDENTIALS = struct.Struct("iII")  # struct ucred of unix(7): pid, uid, gid


def peer_may(connection: socket.socket) -> bool:
    """Whether the other end is ours: the user that we are, or root."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(raw)
    return uid in (0, os.geteuid())


class Client:
    """One connection; `welcome`d once it has said what it wants."""

    def __init__(self, connection: socket.socket, *, primary: bool, clock: Callable[[], float]) -> None:
        connection.setblocking(False)
        self.connection = connection
        self.fd = connection.fileno()
        self.primary = primary
        self.output = False  # wants the container's output
        self.stdin = False  # is the one whose input goes to the container
        self.open = True  # False: the pump is to close it
        self.broken = False  # takes nothing any more; what it has sent before counts
        self.leaving = False  # to be closed when all is sent
        self._clock = clock
        self._unframer = Unframer()
        self._waiting: deque[bytes | memoryview] = deque()
        self._size = 0
        self._since = 0.0  # since when it has taken nothing

    @property
    def waiting(self) -> int:
        """Bytes that wait to be sent."""
        return self._size

    @property
    def full(self) -> bool:
        return self._size >= MAX_WAITING

    def overdue(self) -> bool:
        """Whether it holds the container up and has taken nothing for too long."""
        return self.full and not self.primary and self._clock() - self._since > PATIENCE

    def queue(self, data: bytes) -> None:
        """Have a whole frame sent, at once as far as the socket takes it."""
        if not self.open or self.broken:
            return
        if not self._size:
            self._since = self._clock()
        self._waiting.append(data)
        self._size += len(data)
        if len(self._waiting) == 1:
            self.send()

    def send(self) -> None:
        """Send what waits, as far as it goes."""
        while self._waiting:
            head = self._waiting[0]
            try:
                sent = self.connection.send(head)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                self.broken = True
                self._waiting.clear()
                self._size = 0
                break
            self._since = self._clock()
            self._size -= sent
            if sent == len(head):
                self._waiting.popleft()
            else:
                self._waiting[0] = memoryview(head)[sent:]
        if self.leaving:
            self.open = False

    def receive(self) -> list[tuple[int, bytes]] | None:
        """The frames that have come; None when the other end is gone. Raises InvalidInput for nonsense."""
        try:
            data = self.connection.recv(MAX_FRAME + HEADER.size)
        except (BlockingIOError, InterruptedError):
            return []
        except OSError:
            return None
        return list(self._unframer.feed(data)) if data else None

    def say_exit(self, value: dict[str, object]) -> None:
        """The last frame; the connection ends when it is sent."""
        self.leaving = True
        self.queue(document_frame(EXIT, value))
        if self.broken:
            self.open = False

    def close(self) -> None:
        """By the pump, which forgets the descriptor in the same moment: the next client may get its number."""
        self.open = False
        self._waiting.clear()
        self._size = 0
        self.connection.close()
