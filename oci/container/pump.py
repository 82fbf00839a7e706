"""The supervisor's loop: the container's output to its log and to clients, a client's input to the container.

One thread, one epoll. Nothing in it waits for anything but the next event; what waits is bounded: a client's output by
clients.py, the container's input by not reading from the client any more. The loop ends when the container's first
process has ended and its output is read to the end.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from oci.container.clients import MAX_CLIENTS, PATIENCE, Client, peer_may
from oci.container.console import set_size
from oci.container.frames import (
    HELLO,
    RESIZE,
    SIGNAL,
    STDERR,
    STDIN,
    STDIN_END,
    STDOUT,
    WELCOME,
    document_frame,
    frame,
    read_document,
)
from oci.container.log_writer import LogWriter
from oci.errors import InvalidInput

__all__ = ["Pump"]

READ = 1 << 16
MAX_INPUT = 1 << 18  # bytes of input that wait for the container
IDLE = 0.5  # seconds after which a line without its end is logged as it is
LINGER = 3600.0  # seconds that the first client has for the last of the output, when all else is done
GRACE = 2.0  # seconds that output may take after the container's end: a descriptor may have been given to others
_IN, _OUT, _GONE = select.EPOLLIN, select.EPOLLOUT, select.EPOLLHUP | select.EPOLLERR


class Pump:
    """What runs while the container runs.

    `outputs`: its stdout and stderr by name, or the console as "stdout"; `stdin`: where its input goes, a descriptor of
    its own in either case; `console`: the terminal's, for its size.
    """

    def __init__(
        self,
        *,
        log: LogWriter,
        outputs: dict[str, int],
        stdin: int | None,
        console: int | None = None,
        listener: socket.socket | None = None,
        on_signal: Callable[[int], None] = lambda number: None,
    ) -> None:
        self._log = log
        self._console = console
        self._stdin = stdin
        self._listener = listener
        self._on_signal = on_signal
        self._epoll = select.epoll()
        self._kinds = {"stdout": STDOUT, "stderr": STDERR}
        self._outputs = {fd: name for name, fd in outputs.items()}
        self._clients: dict[int, Client] = {}
        self._input: deque[memoryview] = deque()
        self._input_size = 0
        self._input_ended = False
        self._masks: dict[int, int] = {}
        self._parked: set[int] = set()
        self._wakeup = self._wake_by_signals()
        self.on_wakeup: Callable[[], None] = lambda: None  # called after every signal that came
        self._timer: tuple[float, Callable[[], None]] | None = None
        self.ended = False  # set by whoever reaps the container's first process
        for fd in self._outputs:
            os.set_blocking(fd, False)
            self._watch(fd, _IN)
        if stdin is not None:
            os.set_blocking(stdin, False)
        if listener is not None:
            listener.setblocking(False)
            self._watch(listener.fileno(), _IN)

    def _wake_by_signals(self) -> int:
        """signal(7) through a pipe: the loop is told of SIGCHLD and SIGTERM like of any other event."""
        reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        self._watch(reading, _IN)
        return reading

    def add(self, connection: socket.socket, *, primary: bool = False) -> Client:
        """Serve this connection too."""
        client = Client(connection, primary=primary, clock=time.monotonic)
        self._clients[client.fd] = client
        self._watch(client.fd, _IN)
        return client

    def in_a_while(self, seconds: float, action: Callable[[], None]) -> None:
        """Do this in so many seconds, unless the loop has ended by then; the first that was asked for counts."""
        if self._timer is None and seconds != float("inf"):
            self._timer = time.monotonic() + seconds, action

    def run(self) -> None:
        """Until the container's first process has ended and its output is read."""
        self.on_wakeup()
        deadline: float | None = None
        while self._outputs or not self.ended:
            if self.ended:
                now = time.monotonic()
                if deadline is None:
                    deadline = now + GRACE
                elif now > deadline:
                    break
            self._turn(self._pause())
        self._log.flush()

    def finish(self, value: dict[str, object]) -> None:
        """Tell every client how it ended; back when they have it or are gone, or (but for the first) took too long.

        All else is done by then: a pager that shows the end of the output for an hour keeps nothing but this process.
        """
        if self._listener is not None:
            self._forget(self._listener.fileno())
            self._listener.close()
            self._listener = None
        for client in list(self._clients.values()):
            client.say_exit(value)
            self._settle(client)
        began = time.monotonic()
        while self._clients:
            self._turn(0.2)
            waited = time.monotonic() - began
            for client in list(self._clients.values()):
                if waited > (LINGER if client.primary else PATIENCE):
                    self._drop(client)

    # One turn

    def _pause(self) -> float:
        """How long to wait for the next event at most, in seconds; -1 for ever."""
        if self.ended or self._parked or self._held_up():
            return 0.1
        if self._timer is not None:
            return min(IDLE, max(0.0, self._timer[0] - time.monotonic()))
        return IDLE if self._log.waiting else -1

    def _held_up(self) -> bool:
        """Whether output waits for a client; when the process has ended, what is left of it is little, and all read."""
        return not self.ended and any(client.full for client in self._clients.values())

    def _turn(self, pause: float) -> None:
        held = self._held_up()
        for fd in list(self._outputs):
            if fd in self._parked:
                self._take(fd)
            else:
                self._watch(fd, 0 if held else _IN)
        events = self._epoll.poll(pause)
        if not events and self._log.waiting:
            self._log.flush()
        if self._timer is not None and time.monotonic() >= self._timer[0]:
            action = self._timer[1]
            self._timer = None
            action()
        for fd, what in events:
            if fd == self._wakeup:
                with suppress(BlockingIOError):
                    os.read(fd, 512)
                self.on_wakeup()
            elif fd in self._outputs:
                if not self._held_up():
                    self._take(fd)
            elif fd == self._stdin:
                self._feed(gone=bool(what & _GONE))
            elif self._listener is not None and fd == self._listener.fileno():
                self._accept()
            elif fd in self._clients:
                self._serve(self._clients[fd], what)
        if held:
            for client in list(self._clients.values()):
                if client.overdue():
                    self._drop(client)

    def _take(self, fd: int) -> None:
        """Output of the container: to the log, to the clients."""
        try:
            data = os.read(fd, READ)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:  # EIO of a console: nobody has its other end open any more
            data = b""
        name = self._outputs[fd]
        if not data:
            self._forget(fd)
            if fd == self._console and not self.ended:
                self._parked.add(
                    fd
                )  # nobody has it open, of which epoll would tell without end; it may be opened again
            else:
                self._parked.discard(fd)
                del self._outputs[fd]
            return
        self._parked.discard(fd)
        self._log.write(name, data)
        packed = frame(self._kinds[name], data)
        for client in list(self._clients.values()):
            if client.output:
                client.queue(packed)
                self._settle(client)

    # Clients

    def _accept(self) -> None:
        assert self._listener is not None
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        if len(self._clients) >= MAX_CLIENTS or not peer_may(connection):
            connection.close()
            return
        self.add(connection)

    def _serve(self, client: Client, what: int) -> None:
        if what & _OUT:
            client.send()
        if client.open and what & (_IN | _GONE):
            try:
                frames = client.receive()
                if frames is None:
                    self._drop(client)
                    return
                for kind, data in frames:
                    self._act(client, kind, data)
            except InvalidInput:
                self._drop(client)
                return
        self._settle(client)

    def _act(self, client: Client, kind: int, data: bytes) -> None:
        if kind == HELLO:
            self.welcome(client, read_document(data))
        elif kind == STDIN and client.stdin:
            self._input.append(memoryview(data))
            self._input_size += len(data)
            self._feed()
        elif kind == STDIN_END and client.stdin:
            self._input_ended = True
            self._feed()
        elif kind == RESIZE and self._console is not None and len(data) == 4:
            set_size(self._console, int.from_bytes(data[:2], "big"), int.from_bytes(data[2:], "big"))
        elif kind == SIGNAL and len(data) == 4:
            self._on_signal(int.from_bytes(data, "big"))

    def welcome(self, client: Client, wishes: dict[str, object]) -> None:
        """Give a client what it asked for, as far as it is to be had."""
        client.output = wishes.get("output") is True
        for other in list(self._clients.values()):
            if other.stdin and other is not client:
                self._catch_up(other)
        taken = any(other.stdin for other in self._clients.values())
        client.stdin = wishes.get("stdin") is True and self._stdin is not None and not taken
        client.queue(document_frame(WELCOME, {"tty": self._console is not None, "stdin": client.stdin}))
        self._settle(client)

    def _catch_up(self, client: Client) -> None:
        """Hear what a client has said already: it may be gone, and its place free, without our having looked."""
        while client.open and self._input_size < MAX_INPUT:
            try:
                frames = client.receive()
                for kind, data in frames or ():
                    self._act(client, kind, data)
            except InvalidInput:
                frames = None
            if frames is None:
                self._drop(client)
            elif not frames:
                return

    def _settle(self, client: Client) -> None:
        """Watch a client for what there is to do with it now."""
        if not client.open:
            if self._clients.get(client.fd) is client:
                self._forget(client.fd)
                del self._clients[client.fd]
                client.close()
            return
        full = client.stdin and self._input_size >= MAX_INPUT
        self._watch(client.fd, (0 if full else _IN) | (_OUT if client.waiting else 0))

    def _drop(self, client: Client) -> None:
        client.open = False
        self._settle(client)

    # Input

    def _feed(self, *, gone: bool = False) -> None:
        """Write what waits to the container's stdin, as far as it takes it; close it at the end."""
        if self._stdin is None:
            return
        while self._input and not gone:
            try:
                written = os.write(self._stdin, self._input[0])
            except (BlockingIOError, InterruptedError):
                break
            except OSError:  # nobody reads any more
                gone = True
                break
            self._input_size -= written
            head = self._input.popleft()[written:]
            if head:
                self._input.appendleft(head)
        if gone or (self._input_ended and not self._input):
            self._input.clear()
            self._input_size = 0
            self._forget(self._stdin)
            os.close(self._stdin)
            self._stdin = None
        else:
            self._watch(self._stdin, _OUT if self._input else 0)
        for client in list(self._clients.values()):
            if client.stdin:
                self._settle(client)

    # epoll

    def _watch(self, fd: int, mask: int) -> None:
        if mask == 0:  # EPOLLHUP can't be masked: what is not to be heard of is taken out
            self._forget(fd)
        elif fd not in self._masks:
            self._epoll.register(fd, mask)
            self._masks[fd] = mask
        elif self._masks[fd] != mask:
            self._epoll.modify(fd, mask)
            self._masks[fd] = mask

    def _forget(self, fd: int) -> None:
        if self._masks.pop(fd, None) is not None:
            with suppress(OSError):
                self._epoll.unregister(fd)
