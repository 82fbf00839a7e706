"""Sockets, threads, keep-alive and the end of a registry, by cheroot (docs/adr/0007 says why this library).

What is added to it: TLS handshakes outside the accepting thread, heads that must come in time, a queue whose end is
told at once, reads that wait for no more than the next bytes, and an end within a second. A connection has a thread
only while it says something: before its first byte, and between requests, it waits in a selector.
"""

from __future__ import annotations

import errno
import logging
import queue
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from cheroot.makefile import StreamReader
from cheroot.server import HTTPConnection, HTTPServer
from cheroot.workers.threadpool import ThreadPool

from oci.errors import ConfigurationError, show
from oci.serving.app import App
from oci.serving.exchange import error_body
from oci.serving.gateway import Gateway, Head

if TYPE_CHECKING:
    import ssl

__all__ = ["MAX_HEAD", "THREADS", "Connection", "Web", "place"]

MAX_HEAD = 32 << 10  # bytes of request line and headers; a token may have some KiB
MAX_WAITING = 256  # connections with a request that waits for a thread; more get 503
THREADS = 32  # requests at a time: five pushes with six connections each
IDLE_CONNECTIONS = 256  # kept alive between requests, or before the first one
HEAD_TIME = 10.0  # seconds for a handshake and a whole head: slow loris sends a byte now and then
HURRY = 1.0  # seconds for that while others wait for a thread
PATIENCE = 60.0  # seconds between two lines about connections that can't be accepted
KEEP_ALIVE = 60  # seconds without a request
STOP_TIME = 0.5  # seconds for requests that are under way when the server stops

Log = Callable[[str], object]


class _Listening(socket.socket):
    """A listening socket that bears it when the program may open no more files.

    cheroot would try again without a pause, and look after no other connection meanwhile: none would ever end.
    """

    def __init__(self, web: Web, bound: socket.socket) -> None:
        super().__init__(bound.family, bound.type, bound.proto, fileno=bound.detach())
        self._web, self._told = web, -PATIENCE

    def accept(self) -> tuple[socket.socket, Any]:
        try:
            return super().accept()
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                raise
            if self._web.clock() - self._told > PATIENCE:
                self._told = self._web.clock()
                self._web.log(f"error: connections can't be accepted: {error.strerror}")
            time.sleep(0.05)
            raise BlockingIOError(errno.EWOULDBLOCK, error.strerror) from None


class _Adapter:
    """cheroot's seam for TLS: the handshake comes later, in the thread that serves the connection."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context

    def bind(self, sock: socket.socket) -> socket.socket:
        return sock

    def wrap(self, sock: socket.socket) -> tuple[socket.socket, dict[str, str]]:
        return self._context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False), {}

    def makefile(self, sock: socket.socket, mode: str = "r", size: int = -1) -> Any:
        from cheroot.makefile import MakeFile

        return MakeFile(sock, mode, size)


class _Wire(StreamReader):
    """The reading end of a connection: no call waits for more than the next bytes."""

    def __init__(self, sock: socket.socket, size: int) -> None:
        super().__init__(sock, "rb", size)
        self._socket = sock

    def some(self, size: int) -> bytes:
        source: Any = self  # io.BufferedReader in Python, as cheroot has it: its buffer can be looked at
        buffered = len(source._read_buf) - source._read_pos
        data: bytes = source.read(min(size, buffered)) if buffered else source.raw.read(size)
        return data

    def line(self, limit: int, moved: Callable[[int], object]) -> bytes:
        line = b""
        while len(line) < limit and not line.endswith(b"\n"):
            there = self.peek(1)  # all that the buffer has; waits, for one read, where it has nothing
            if not there:
                break
            end = there.find(b"\n", 0, limit - len(line)) + 1
            part: bytes = self.read(end or min(len(there), limit - len(line)))  # type: ignore[no-untyped-call]
            moved(len(part))
            line += part
        return line

    def has_data(self) -> bool:
        """Whether a request is there already, also inside the TLS layer, where select() doesn't see it."""
        pending = getattr(self._socket, "pending", None)
        return bool(super().has_data()) or (pending is not None and pending() > 0)  # type: ignore[no-untyped-call]


class Connection(HTTPConnection):
    """A connection that is cut off when the server stops, and whose head must come in time."""

    RequestHandlerClass = Head

    def __init__(self, server: Any, sock: Any, makefile: Any) -> None:
        super().__init__(server, sock, makefile)
        self.rfile.close()
        self.rfile = _Wire(sock, self.rbufsize)
        self._shaken = self.plain = not hasattr(sock, "do_handshake")
        self.fresh = True  # has not been waited for yet

    def communicate(self) -> bool:
        web: Web = self.server
        with web.serving(self):
            # A timer for the whole head: the socket's timeout counts from byte to byte.
            web.due[self] = web.clock() + HEAD_TIME
            self.socket.settimeout(HEAD_TIME)
            if not self._shaken:
                try:
                    self.socket.do_handshake()
                except OSError:  # ssl.SSLError is one: a client that doesn't trust us, or speaks no TLS
                    return False
                self._shaken = True
            return bool(super().communicate())  # type: ignore[no-untyped-call]


class _Pool(ThreadPool):
    """cheroot's pool, with an end to its queue, and without the tenth of a second that it waits for its threads."""

    def __init__(self, server: Any) -> None:
        super().__init__(server, min=THREADS, max=THREADS, accepted_queue_size=MAX_WAITING, accepted_queue_timeout=0)

    def grow(self, amount: int) -> None:
        pool: Any = self
        workers = [pool._spawn_worker() for _ in range(amount)]
        while not all(worker.ready for worker in workers):
            time.sleep(0.001)
        pool._threads.extend(workers)


_BUSY_BODY = error_body("TOOMANYREQUESTS", "too many requests wait already")
_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(_BUSY_BODY), _BUSY_BODY)
)


class Web(HTTPServer):
    """cheroot's server, set up for a registry."""

    ConnectionClass = Connection
    request_queue_size = 128
    max_request_header_size = MAX_HEAD
    keep_alive_conn_limit = IDLE_CONNECTIONS
    timeout = KEEP_ALIVE
    expiration_interval = 0.2  # seconds; a stop waits for it
    shutdown_timeout = 5
    clock = staticmethod(time.monotonic)

    app: App  # to be set before it serves

    def __init__(self, address: tuple[str, int], log: Log, context: ssl.SSLContext | None) -> None:
        super().__init__(address, Gateway, server_name="ocikit")
        self.log = log
        self._address, self._unbound = address, ""
        self.requests = _Pool(self)
        if context is not None:
            self.ssl_adapter = _Adapter(context)
        self.due: dict[Connection, float] = {}
        self._active: set[Connection] = set()
        self._mutex = threading.Lock()

    def prepare(self) -> None:
        """Listen, with workers ready; ConfigurationError says why not."""
        try:
            super().prepare()
        except UnicodeError:
            raise ConfigurationError(place(*self._address), "can't listen there: not a host's name") from None
        except OSError as error:
            why = self._unbound or error.strerror or str(error)
            raise ConfigurationError(place(*self._address), f"can't listen there: {why}") from None

    def bind_socket(  # type: ignore[override]  # a static method of cheroot's, which calls it by way of `self`
        self, socket_: socket.socket, bind_addr: tuple[str, int]
    ) -> socket.socket:
        """Bind; cheroot leaves a socket open that can't be bound, and words the reason so that it can't be told on."""
        try:
            socket_.bind(bind_addr)
        except OSError as error:
            socket_.close()
            self._unbound = error.strerror or str(error)
            raise
        return _Listening(self, socket_)

    def process_conn(self, conn: Connection) -> None:
        """Give a connection to a thread; called by the thread that accepts, which must not wait for anybody."""
        if conn.fresh and self.can_add_keepalive_connection:
            conn.fresh = False
            self.put_conn(conn)  # comes back when something was said
            return
        conn.fresh = False
        try:
            self.requests.put(conn)
        except queue.Full:
            with suppress(OSError):
                if conn.plain:
                    conn.socket.setblocking(False)
                    conn.socket.send(_BUSY)
                    conn.socket.shutdown(socket.SHUT_WR)
                    conn.socket.recv(MAX_HEAD)  # a close with bytes unread would take the answer back
            conn.close()

    def serving(self, connection: Connection) -> _Serving:
        return _Serving(self, connection)

    def begin(self, connection: Connection) -> None:
        with self._mutex:
            self._active.add(connection)

    def end(self, connection: Connection) -> None:
        with self._mutex:
            self._active.discard(connection)
            self.due.pop(connection, None)

    def cut(self, late_at: float | None = None) -> None:
        """Cut connections off: all that serve a request, or those whose head is late."""
        with self._mutex:
            doomed = [c for c in self._active if late_at is None or self.due.get(c, late_at) < late_at]
        for connection in doomed:
            with suppress(OSError):
                connection.socket.shutdown(socket.SHUT_RDWR)

    def serve(self) -> None:
        watch = threading.Thread(target=self._watch, name="ocikit serve: late heads", daemon=True)
        watch.start()
        super().serve()

    def _watch(self) -> None:
        while self.ready:
            crowded = self.requests.qsize > 0
            self.cut(self.clock() + (HEAD_TIME - HURRY if crowded else 0))
            time.sleep(0.25)

    def stop(self) -> None:
        timers = (threading.Timer(STOP_TIME, self.cut), threading.Timer(0.005, self._wake))
        for timer in timers:
            timer.daemon = True
            timer.start()
        super().stop()
        for timer in timers:
            timer.cancel()
        getattr(logging, "statistics", {}).pop(f"Cheroot HTTPServer {id(self)}", None)

    def _wake(self) -> None:
        """Let the thread that waits for connections see at once that it is over."""
        with suppress(OSError):
            socket.create_connection(self.bind_addr, timeout=0.1).close()

    def error_log(self, msg: str = "", level: int = 20, traceback: bool = False) -> None:
        if level >= logging.WARNING:
            self.log(f"error: {show(str(msg))}")


class _Serving:
    """Notes that a connection is being served; the clean-up is cheap, for there is one for every request."""

    def __init__(self, web: Web, connection: Connection) -> None:
        self._web, self._connection = web, connection

    def __enter__(self) -> None:
        self._web.begin(self._connection)

    def __exit__(self, *exception: object) -> None:
        self._web.end(self._connection)


def place(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
