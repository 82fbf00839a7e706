"""The client's loop: frames from the supervisor to our descriptors, what is typed to the supervisor.

It never waits for the supervisor with something to read from it: what is to be sent is bounded by not reading stdin any
more. Writing to our own stdout waits for whoever reads it.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress

from oci.container.console import is_terminal, raw_terminal, size_of
from oci.container.detach_keys import KeyScanner
from oci.container.frames import (
    EXIT,
    HEADER,
    MAX_FRAME,
    RESIZE,
    STDERR,
    STDIN,
    STDIN_END,
    STDOUT,
    WELCOME,
    frame,
    read_document,
)
from oci.container.launch import Channel
from oci.container.signals import FORWARDED
from oci.container.waking import woken_by

__all__ = ["Loop"]

READ = 1 << 15
LEAVING = 5.0  # seconds to say that our input has ended, when nobody reads our output
MAX_WAITING = 1 << 18  # bytes of input that wait for the supervisor


class Loop:
    """One client at work. `forward`: what to do with a signal that is the container's; None leaves it to us."""

    def __init__(
        self,
        channel: Channel,
        *,
        stdin: int | None,
        stdout: int,
        stderr: int,
        tty: bool,
        keys: bytes,
        forward: Callable[[int], None] | None,
    ) -> None:
        self._channel = channel
        self._stdin, self._stdout, self._stderr = stdin, stdout, stderr
        self._terminal = stdin if tty and is_terminal(stdin) else None
        self._scanner = KeyScanner(keys if self._terminal is not None else b"")
        self._forward = forward if self._terminal is None else None
        self._waiting = bytearray()
        self._said: dict[str, object] | None = None
        self._ended = False
        self._killed_by: int | None = None
        self._unread: float | None = None  # since when nobody reads our stdout any more
        self.detached = False

    def run(self) -> dict[str, object] | None:
        """Until the container's end (what the supervisor says of it; None: nothing), or the detach keys.

        Raises BrokenPipeError when nobody reads our stdout any more.
        """
        raw = raw_terminal(self._terminal) if self._terminal is not None else nullcontext()
        with raw, self._signals() as woken:
            self._channel.connection.setblocking(False)
            self._resize()
            for kind, data in self._channel.received:
                self._act(kind, data)
            self._channel.received.clear()
            self._loop(woken)
        if self._unread is not None:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        if self._killed_by is not None:
            os.kill(os.getpid(), self._killed_by)  # its handler is the old one again, and the terminal as it was
        return self._said

    def _loop(self, woken: int | None) -> None:
        connection = self._channel.connection.fileno()
        while not (self._ended or self.detached or self._killed_by is not None or self._has_left()):
            poll = select.poll()
            poll.register(connection, select.POLLIN | (select.POLLOUT if self._waiting else 0))
            if woken is not None:
                poll.register(woken, select.POLLIN)
            if self._stdin is not None and len(self._waiting) < MAX_WAITING:
                poll.register(self._stdin, select.POLLIN)
            for fd, what in poll.poll(None if self._unread is None else LEAVING * 1000):
                if fd == woken:
                    self._hear(fd)
                elif fd == connection:
                    if what & select.POLLOUT:
                        self._send()
                    if what & ~select.POLLOUT:
                        self._receive()
                elif fd == self._stdin:
                    self._read()

    # From the supervisor

    def _receive(self) -> None:
        try:
            data = self._channel.connection.recv(MAX_FRAME + HEADER.size)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self._ended = True
            return
        for kind, content in self._channel.unframer.feed(data):
            self._act(kind, content)

    def _act(self, kind: int, data: bytes) -> None:
        if self._unread is not None:
            self._ended = self._ended or kind == EXIT
        elif kind == STDOUT:
            self._write(self._stdout, data)
        elif kind == STDERR:
            self._write(self._stderr, data)
        elif kind == WELCOME and self._terminal is None and read_document(data).get("stdin") is not True:
            self._stdin = None  # another client has it, or the container has none: ours is left alone
        elif kind == EXIT:
            self._said = read_document(data)
            self._ended = True

    def _write(self, fd: int, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(fd, view) :]
            except BlockingIOError:  # somebody else has made it so
                select.select([], [fd], [])
            except BrokenPipeError:
                if fd == self._stdout:
                    self._leave()
                return

    def _leave(self) -> None:
        """Nobody reads what we write: our input ends too, as that of a program does which ends by SIGPIPE.

        Till that is said, output is taken and thrown away: the supervisor may wait for us to take it.
        """
        self._unread = time.monotonic()
        if self._stdin is not None and self._terminal is None:
            self._stdin = None
            self._waiting += frame(STDIN_END)
            self._send()

    def _has_left(self) -> bool:
        return self._unread is not None and (not self._waiting or time.monotonic() > self._unread + LEAVING)

    # To the supervisor

    def _read(self) -> None:
        assert self._stdin is not None
        try:
            data = os.read(self._stdin, READ)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:  # a terminal that hung up
            data = b""
        if not data:
            self._stdin = None
            self._waiting += frame(STDIN_END)
        else:
            data = self._scanner.feed(data)
            self.detached = self._scanner.found
            if data:
                self._waiting += frame(STDIN, data)
        self._send()

    def _send(self) -> None:
        while self._waiting:
            try:
                sent = self._channel.connection.send(self._waiting)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:  # what it still said is read until its end
                self._waiting.clear()
                self._stdin = None
                return
            del self._waiting[:sent]

    def _resize(self) -> None:
        size = size_of(self._terminal) if self._terminal is not None else None
        if size is not None:
            self._waiting += frame(RESIZE, size[0].to_bytes(2, "big") + size[1].to_bytes(2, "big"))
            self._send()

    # Signals

    def _signals(self) -> AbstractContextManager[int | None]:
        """Signals become events of the loop; see waking.py."""
        wanted: tuple[int, ...] = FORWARDED if self._forward is not None or self._terminal is not None else ()
        if self._terminal is not None:
            wanted = (*wanted, signal.SIGWINCH)
        return woken_by(dict.fromkeys(wanted, lambda number: None))  # `_hear` reads which it was

    def _hear(self, fd: int) -> None:
        with suppress(BlockingIOError):
            for number in os.read(fd, 512):
                if number == signal.SIGWINCH:
                    self._resize()
                elif self._forward is not None and number in FORWARDED:
                    self._forward(number)
                elif self._terminal is not None and number in FORWARDED:
                    self._killed_by = number
