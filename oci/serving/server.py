"""The registry's sockets, by cheroot: the one module that imports it (docs/adr/0007 says why this library).

cheroot gives the listening socket, the pool of threads, keep-alive and the order of a shutdown. What a registry needs
beyond that is here: bodies that are neither read into memory nor drained without end, `100 Continue` only once the
request is welcome, sendfile, TLS handshakes outside the accepting thread, clients that must keep a pace, a log line.
"""

from __future__ import annotations

import logging
import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, Self

from cheroot.makefile import StreamReader
from cheroot.server import Gateway, HeaderReader, HTTPConnection, HTTPRequest, HTTPServer
from cheroot.workers.threadpool import ThreadPool

from oci.errors import ConfigurationError, LayoutError, show
from oci.layout.layout import Layout
from oci.serving.app import App
from oci.serving.exchange import Answer, FilePart, Refusal, Request, error_body
from oci.serving.incoming import MAX_HEADERS, STALL, Incoming, Pace, length_of, parse_header
from oci.serving.naming import own_repository
from oci.serving.store import Store
from oci.serving.uploads import Uploads
from oci.spec.reference import is_repository

if TYPE_CHECKING:
    import ssl

__all__ = ["MAX_HEAD", "THREADS", "Server"]

MAX_HEAD = 32 << 10  # bytes of request line and headers; a token may have some KiB
MAX_DRAIN = 1 << 20  # bytes of a body that nobody wanted, read so that the connection can be used on
MAX_WAITING = 256  # connections with a request that waits for a thread; more get 503
THREADS = 32  # requests at a time: five pushes with six connections each
IDLE_CONNECTIONS = 256  # kept alive between requests
HEAD_TIME = 10.0  # seconds for a whole head: slow loris sends a byte now and then
KEEP_ALIVE = 60  # seconds without a request
PIECE = 4 << 20  # bytes of a file sent between two looks at its pace
LINGER = 2.0  # seconds in which the rest of an unwanted body is thrown away
STOP_TIME = 0.5  # seconds for requests that are under way when the server stops

Log = Callable[[str], object]


def _quiet(line: str) -> None:
    """The log of a server that nobody listens to."""


class Server:
    """A registry over a layout, from `with` until its end.

    `layout` is a Layout or its path; unless `read_only` it is made if it isn't there. `port` 0 takes a free one; `host`
    and `url` say where it listens. `repository` names the repository of bare tags (see `naming`). `htpasswd` and `tls`
    (certificate, key) are paths. Raises LayoutError and ConfigurationError on entering.
    """

    def __init__(
        self,
        layout: Layout | str | os.PathLike[str],
        *,
        address: str = "127.0.0.1",
        port: int = 0,
        repository: str | None = None,
        read_only: bool = False,
        htpasswd: str | None = None,
        tls: tuple[str, str] | None = None,
        log: Log | None = None,
    ) -> None:
        if repository is not None and not is_repository(repository):
            raise ConfigurationError(repository, "is not a repository's name")
        self._layout, self._address, self._port = layout, (address, port), port
        self._repository, self._read_only, self._htpasswd, self._tls = repository, read_only, htpasswd, tls
        self._log: Log = log if log is not None else _quiet
        self._stack = ExitStack()
        self._ended = threading.Event()
        self.host = self.url = self.repository = ""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            app = self._app(stack)
            web = _Web(self._address, app, self._log, None if self._tls is None else _tls_context(*self._tls))
            _started(web)
            stack.callback(web.stop)
            self._stack = stack.pop_all()
        self.host = _place(self._address[0], web.bind_addr[1])
        self.url = f"{'http' if self._tls is None else 'https'}://{self.host}"
        return self

    def _app(self, stack: ExitStack) -> App:
        passwords = None
        if self._htpasswd is not None:
            from oci.serving.passwords import Passwords

            passwords = Passwords(self._htpasswd)
        layout = self._layout
        if not isinstance(layout, Layout):
            exists = self._read_only or os.path.lexists(f"{os.fspath(layout)}/oci-layout")
            layout = Layout.open(layout) if exists else Layout.create(layout, exist_ok=True)
        self.repository = self._repository or own_repository(str(layout))
        store = Store(layout, own=self.repository)
        uploads = None
        if not self._read_only:
            try:
                stack.enter_context(store.writing())
            except PermissionError as error:
                raise LayoutError(
                    str(layout), f"can't be written to ({error.strerror}); serve it with --read-only"
                ) from None
            uploads = Uploads(f"{store.folder}/uploads", layout.blobs)
        return App(store, uploads, passwords=passwords, log=self._log)

    def __exit__(self, *exception: object) -> None:
        self._stack.close()
        self._ended.set()

    def wait(self) -> None:
        """Wait until the server has ended; signals are handled meanwhile."""
        # Not for ever: a signal that comes just before the wait begins would not be seen until it ends.
        while not self._ended.wait(0.2):
            pass


def _started(web: _Web) -> None:
    """Let a server run in threads that don't outlive the program, however that ends: its workers are as this one is."""
    listening, failed = threading.Event(), list[Exception]()

    def run() -> None:
        try:
            web.prepare()
        except (ConfigurationError, OSError) as error:
            failed.append(error)
        finally:
            listening.set()
        if not failed:
            web.serve()

    threading.Thread(target=run, name="ocikit serve", daemon=True).start()
    listening.wait()
    if failed:
        raise failed[0]


def _place(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _tls_context(cert: str, key: str) -> ssl.SSLContext:
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    for path in (cert, key):
        if not os.path.isfile(path):
            raise ConfigurationError(path, "no such file")
    try:
        # A password would be asked for on the terminal, in the middle of nowhere.
        context.load_cert_chain(cert, key, password=lambda: "")
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
        raise ConfigurationError(f"{cert}, {key}", f"no certificate with its key: {reason}") from None
    return context


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

    def line(self, limit: int) -> bytes:
        line: bytes = self.readline(limit)
        return line

    def has_data(self) -> bool:
        """Whether a request is there already, also inside the TLS layer, where select() doesn't see it."""
        pending = getattr(self._socket, "pending", None)
        return bool(super().has_data()) or (pending is not None and pending() > 0)  # type: ignore[no-untyped-call]


class _Headers(HeaderReader):
    """Reads headers as `incoming` wants them; cheroot gets to see those that it acts upon, and no `Expect`."""

    def __call__(self, rfile: Any, hdict: Any = None) -> Any:
        seen: dict[str, str] = {}
        for _ in range(MAX_HEADERS + 1):
            line = rfile.readline()
            if line == b"\r\n":
                break
            if not line.endswith(b"\r\n"):
                raise ValueError("HTTP requires CRLF terminators")
            name, value = parse_header(line[:-2])
            if name in seen:
                if name in ("content-length", "transfer-encoding", "host", "authorization", "content-range", "range"):
                    raise ValueError("A header that must stand once stands twice.")
                value = f"{seen[name]}, {value}"
            seen[name] = value
        else:
            raise ValueError("Too many headers.")
        hdict[None] = seen
        if "close" in [word.strip().lower() for word in seen.get("connection", "").split(",")]:
            hdict[b"Connection"] = b"close"
        elif seen.get("connection", "").lower() == "keep-alive":
            hdict[b"Connection"] = b"Keep-Alive"
        if "transfer-encoding" in seen:
            hdict[b"Transfer-Encoding"] = seen["transfer-encoding"].encode("latin-1")
        return hdict


class _Head(HTTPRequest):
    """A request whose head is read as `incoming` wants it; what breaks HTTP is told as the spec has it."""

    header_reader = _Headers()

    def simple_response(self, status: object, msg: str = "") -> None:
        self.close_connection = True
        body = error_body("UNSUPPORTED", msg or str(status))
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        with suppress(OSError):
            self.conn.wfile.write(f"{head}Connection: close\r\n\r\n".encode("latin-1", "replace") + body)


class _Connection(HTTPConnection):
    """A connection that is cut off when the server stops, and whose head must come in time."""

    RequestHandlerClass = _Head

    def __init__(self, server: Any, sock: Any, makefile: Any) -> None:
        super().__init__(server, sock, makefile)
        self.rfile.close()
        self.rfile = _Wire(sock, self.rbufsize)
        self._shaken = not hasattr(sock, "do_handshake")

    def communicate(self) -> bool:
        web: _Web = self.server
        with web.serving(self):
            # A timer for the whole head: the socket's timeout counts from byte to byte.
            timer = web.clock() + HEAD_TIME
            self.socket.settimeout(HEAD_TIME)
            if not self._shaken:
                try:
                    self.socket.do_handshake()
                except OSError:  # ssl.SSLError is one: a client that doesn't trust us, or speaks no TLS
                    return False
                self._shaken = True
            web.due[self] = timer
            return bool(super().communicate())  # type: ignore[no-untyped-call]


class _Pool(ThreadPool):
    """cheroot's pool, with an end to its queue, and without the tenth of a second that it waits for its threads."""

    def __init__(self, server: Any) -> None:
        super().__init__(server, min=THREADS, max=THREADS, accepted_queue_size=MAX_WAITING, accepted_queue_timeout=1)

    def grow(self, amount: int) -> None:
        pool: Any = self
        workers = [pool._spawn_worker() for _ in range(amount)]
        while not all(worker.ready for worker in workers):
            time.sleep(0.001)
        pool._threads.extend(workers)


class _Web(HTTPServer):
    """cheroot's server, set up for a registry."""

    ConnectionClass = _Connection
    request_queue_size = 128
    max_request_header_size = MAX_HEAD
    keep_alive_conn_limit = IDLE_CONNECTIONS
    timeout = KEEP_ALIVE
    expiration_interval = 0.2  # seconds; a stop waits for it
    shutdown_timeout = 5
    clock = staticmethod(time.monotonic)

    def __init__(self, address: tuple[str, int], app: App, log: Log, context: ssl.SSLContext | None) -> None:
        super().__init__(address, _Gateway, server_name="ocikit")
        self.app, self.log = app, log
        self.requests = _Pool(self)
        if context is not None:
            self.ssl_adapter = _Adapter(context)
        self.due: dict[_Connection, float] = {}
        self._active: set[_Connection] = set()
        self._mutex = threading.Lock()

    @staticmethod
    def bind_socket(socket_: socket.socket, bind_addr: tuple[str, int]) -> socket.socket:
        """Bind; cheroot leaves a socket open that can't be bound, and words the reason so that it can't be told on."""
        try:
            socket_.bind(bind_addr)
        except OSError as error:
            socket_.close()
            raise ConfigurationError(_place(*bind_addr[:2]), f"can't listen there: {error.strerror or error}") from None
        return socket_

    def serving(self, connection: _Connection) -> _Serving:
        return _Serving(self, connection)

    def begin(self, connection: _Connection) -> None:
        with self._mutex:
            self._active.add(connection)

    def end(self, connection: _Connection) -> None:
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
            self.cut(self.clock())
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

    def __init__(self, web: _Web, connection: _Connection) -> None:
        self._web, self._connection = web, connection

    def __enter__(self) -> None:
        self._web.begin(self._connection)

    def __exit__(self, *exception: object) -> None:
        self._web.end(self._connection)


class _Gateway(Gateway):
    """One request, from cheroot's words to ours and back."""

    def respond(self) -> None:
        request, web = self.req, self.req.server
        connection: _Connection = request.conn
        web.due.pop(connection, None)  # the head is here
        connection.socket.settimeout(STALL)
        started = web.clock()
        headers: dict[str, str] = request.inheaders[None]
        waits = headers.get("expect", "").lower() == "100-continue" and request.response_protocol == "HTTP/1.1"
        request.rfile = None  # cheroot would read the rest of the body into memory
        method, path = request.method.decode("latin-1"), request.path.decode("utf-8", "replace")
        try:
            length = length_of(headers, chunked=request.chunked_read)
        except Refusal as refusal:
            self._send(refusal.answer(), close=True)
            self._log(method, path, headers, refusal.status, 0, started)
            return
        ask = (lambda: connection.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")) if waits else None
        body = Incoming(connection.rfile, length, ask=ask, pace=Pace(web.clock))
        peer = str(connection.remote_addr)
        asked = Request(method, path, request.qs.decode("latin-1"), headers, body, peer=peer)
        answer, close = web.app.handle(asked)
        # Said before the rest of the body is read: a client that waits for the answer may not send it.
        close = close or (not body.ended and not body.asked) or body.left > MAX_DRAIN
        size = 0
        try:
            size = self._send(answer, close=close)
        finally:
            if isinstance(answer.body, FilePart):
                answer.body.close()
            self._log(method, path, headers, answer.status, size, started)
        if not body.ended and body.asked and not self._drained(body, close=close):
            request.close_connection = True

    def _drained(self, body: Incoming, *, close: bool) -> bool:
        """Read what is left of a body that nobody wanted; say whether it ended, so that the connection can be used on.

        Where it can't be, what comes is thrown away for a moment: to close a socket with unread bytes resets the
        connection, and the client may never see the answer.
        """
        connection, clock = self.req.conn, self.req.server.clock
        connection.socket.settimeout(LINGER)
        until, left = clock() + LINGER, MAX_DRAIN
        try:
            if close:
                connection.socket.shutdown(socket.SHUT_WR)
                while clock() < until and connection.rfile.some(1 << 16):
                    pass
                return False
            while clock() < until and left > 0 and (data := body.read(min(left, 1 << 16))):
                left -= len(data)
        except (Refusal, OSError):
            return False
        return body.ended

    def _send(self, answer: Answer, *, close: bool) -> int:
        """Send an answer; gives the number of its body's bytes."""
        request = self.req
        request.close_connection = request.close_connection or close
        request.status = f"{answer.status} {_PHRASES.get(answer.status, 'Error')}".encode("ascii")
        head = list(answer.headers)
        if answer.status not in (204, 304):
            head.append(("Content-Length", str(answer.length)))
        request.outheaders = [(name.encode("ascii"), _value(value)) for name, value in head]
        request.ensure_headers_sent()
        if isinstance(answer.body, FilePart):
            self._send_file(answer.body)
            return answer.body.length
        if answer.body:
            request.write(answer.body)
        return len(answer.body)

    def _send_file(self, part: FilePart) -> None:
        sock = self.req.conn.socket
        pace = Pace(self.req.server.clock)
        position, end = part.offset, part.offset + part.length
        plain = not hasattr(sock, "do_handshake")
        if plain:
            # Let the kernel wait, not us: six downloads at once took a tenth longer with Python between the pieces.
            sock.setsockopt(
                socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", int(STALL), int(STALL % 1 * 1_000_000))
            )
            sock.setblocking(True)
        while position < end:
            if plain:
                try:
                    sent = os.sendfile(sock.fileno(), part.descriptor, position, min(end - position, PIECE))
                except BlockingIOError:
                    raise TimeoutError("timed out") from None
            else:
                data = os.pread(part.descriptor, min(end - position, 1 << 18), position)
                sock.sendall(data)
                sent = len(data)
            if sent == 0:  # the file is shorter than it was: nothing that can be sent would be right
                raise ConnectionAbortedError("a blob became shorter while it was sent")
            position += sent
            pace.moved(sent)

    def _log(self, method: str, path: str, headers: dict[str, str], status: int, size: int, started: float) -> None:
        web = self.req.server
        agent = show(headers.get("user-agent", "-"))
        took = web.clock() - started
        query = f"?{self.req.qs.decode('latin-1')}" if self.req.qs else ""
        web.log(
            f'{self.req.conn.remote_addr} {show(method)} {show(path + query)} {status} {size} {took:.3f}s "{agent}"'
        )


def _value(value: str) -> bytes:
    """A header's value; nothing that comes from a client may end it."""
    if "\r" in value or "\n" in value or "\0" in value:
        raise ValueError("a header's value with a line break")
    return value.encode("latin-1")


_PHRASES = {
    200: "OK",
    201: "Created",
    202: "Accepted",
    204: "No Content",
    206: "Partial Content",
    304: "Not Modified",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    409: "Conflict",
    413: "Payload Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    429: "Too Many Requests",
    500: "Internal Server Error",
    507: "Insufficient Storage",
}
