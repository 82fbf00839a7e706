"""A server that says exactly what a test tells it to: every lie, cut and stall that HTTP/1.1 allows, over TLS too.

    with ScriptedServer() as server:
        server.on("GET", r"/v2/a/manifests/.*", body=b"{}", headers={"Content-Type": "application/json"})
        server.on("GET", r"/v2/a/blobs/.*", status=307, headers={"Location": "/elsewhere"}, times=1)
        server.on("POST", r"/token", lambda request: Answer(body=request.body))
        ...                                    # server.url, server.host ("127.0.0.1:PORT")
        assert server.paths("GET") == ["/v2/a/manifests/v1"]

Rules are asked in the order they were given; one with `times` is used up after so many answers. What no rule takes gets
a 404 with the code UNSUPPORTED. A rule's answer is an `Answer`, or a function of the `Request` that gives one.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

__all__ = ["Answer", "Request", "ScriptedServer"]

Pairs = Mapping[str, str] | Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Request:
    """What a client sent. `headers` has lower-case names, the last value where one came twice."""

    method: str
    path: str  # with its query, as it was sent; an absolute URL where the server is used as a proxy
    headers: Mapping[str, str]
    body: bytes
    connection: int  # the how many-th connection it came on, from 0
    match: re.Match[str] | None = None  # of the rule's pattern, for a function that answers


@dataclass(frozen=True)
class Answer:
    """What the server says. Without `length`, Content-Length is the body's (none with `chunked` or `until_close`)."""

    status: int = 200
    headers: Pairs = ()
    body: bytes | Iterable[bytes] = b""
    reason: str = "Scripted"
    length: int | None = None  # says this Content-Length, whatever the body is
    chunked: bool = False
    until_close: bool = False  # no length at all: the body ends with the connection
    raw: bytes | None = None  # these bytes instead of a status line, headers and body
    cut_after: int | None = None  # reset the connection after so many bytes of the body (0: after the headers)
    stall_after: int | None = None  # send so many bytes of the body, then nothing, and keep the connection
    drip: tuple[int, float] | None = None  # send all, the head too, so many bytes at a time, so many seconds apart
    delay: float = 0.0  # seconds before the answer begins
    hang_up: bool = False  # close in place of an answer
    before_body: bool = False  # answer without reading the request's body; then close
    ignore_body: bool = False  # with before_body: keep the connection open, and read nothing
    close: bool = False  # close behind the answer, though nothing said so


@dataclass
class _Rule:
    method: re.Pattern[str]
    path: re.Pattern[str]
    answer: Answer | Callable[[Request], Answer]
    times: int | None
    early: bool = False


@dataclass
class ScriptedServer:
    """Listens on 127.0.0.1; a thread a connection. `tls` is (certificate, key) in PEM files, or has .cert and .key."""

    tls: object | None = None
    client_ca: Path | None = None  # with tls: clients must show a certificate of this authority
    address: str = "127.0.0.1"
    garbage: bytes = b""  # what is said to bytes that are no request of HTTP: Go's servers say "HTTP/1.1 400 …"
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    errors: list[BaseException] = field(default_factory=list)  # of functions that answer; raised again by __exit__

    def __post_init__(self) -> None:
        self._rules: list[_Rule] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server((self.address, 0), family=_family(self.address), backlog=64)
        self._context = self._tls_context()
        name = f"[{self.address}]" if ":" in self.address else self.address
        self.port: int = self._listener.getsockname()[1]
        self.host = f"{name}:{self.port}"
        self.url = f"{'https' if self.tls is not None else 'http'}://{self.host}"

    def _tls_context(self) -> ssl.SSLContext | None:
        if self.tls is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        cert, key = self.tls if isinstance(self.tls, tuple) else (self.tls.cert, self.tls.key)  # type: ignore[attr-defined]
        context.load_cert_chain(cert, key)
        if self.client_ca is not None:
            context.load_verify_locations(self.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    # What a test says and asks

    def on(
        self,
        method: str,
        path: str,
        answer: Answer | Callable[[Request], Answer] | None = None,
        /,
        *,
        times: int | None = None,
        **answered: object,
    ) -> None:
        """Add a rule: `method` and `path` are regular expressions for the whole of each ("GET|HEAD", "/v2/.*").

        The query belongs to the path; a pattern without "?" takes any query. The answer is given, or made of the words
        that `Answer` takes (status=, headers=, body=, …).
        """
        made = answer if answer is not None else Answer(**answered)  # type: ignore[arg-type]
        pattern = path if r"\?" in path else rf"(?:{path})(?:\?.*)?"
        early = isinstance(made, Answer) and made.before_body
        with self._lock:
            self._rules.append(_Rule(re.compile(method), re.compile(pattern, re.DOTALL), made, times, early))

    def forget(self) -> None:
        """Forget all rules and requests."""
        with self._lock:
            self._rules.clear()
            self.requests.clear()

    def paths(self, method: str = ".*") -> list[str]:
        """The paths that were asked for by these methods, in order."""
        with self._lock:
            return [seen.path for seen in self.requests if re.fullmatch(method, seen.method)]

    def hang_up_all(self) -> None:
        """Reset every open connection."""
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            _reset(connection)

    # Serving

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        with contextlib.suppress(OSError), socket.create_connection(self._listener.getsockname()[:2], timeout=1):
            pass
        with self._lock:
            connections, threads = list(self._open), list(self._threads)
        for connection in connections:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
        for thread in threads:
            thread.join(10)
        self._listener.close()
        if self.errors and exception[0] is None:
            raise self.errors[0]

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        with self._lock:
            self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            if self._stop.is_set():
                client.close()
                return
            number, self.connections = self.connections, self.connections + 1
            self._start(self._serve, client, number)

    def _serve(self, client: socket.socket, number: int) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._context is not None:
            client.settimeout(10)
            try:
                client = self._context.wrap_socket(client, server_side=True)
            except OSError:
                client.close()
                return
            client.settimeout(None)
        with self._lock:
            self._open.add(client)
        try:
            with contextlib.suppress(OSError), client.makefile("rb") as lines:
                while not self._stop.is_set() and self._exchange(client, lines, number):
                    pass
        except Exception as error:  # noqa: BLE001 - raised again in the test's own thread
            self.errors.append(error)
        finally:
            with self._lock:
                self._open.discard(client)
            with contextlib.suppress(OSError):
                client.close()

    def _exchange(self, client: socket.socket, lines: object, number: int) -> bool:
        """Read a request and answer it; False when the connection is to be closed."""
        head = _read_head(lines)
        if head is None:
            client.sendall(self.garbage)
            return False
        method, path, headers = head
        if headers.get("expect", "").lower() == "100-continue":
            client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        seen = Request(method, path, headers, b"", number)
        rule = self._find(seen)
        if rule is None or not rule.early:
            seen = Request(method, path, headers, _read_body(lines, headers), number)
        if rule is not None:
            seen = Request(method, path, headers, seen.body, number, rule.path.fullmatch(path))
        with self._lock:
            self.requests.append(seen)
        if rule is None:
            code = b'{"errors":[{"code":"UNSUPPORTED","message":"no rule of this test"}]}'
            answer = Answer(404, {"Content-Type": "application/json"}, code)
        else:
            answer = rule.answer if isinstance(rule.answer, Answer) else rule.answer(seen)
        return self._say(client, seen, answer)

    def _find(self, seen: Request) -> _Rule | None:
        with self._lock:
            for rule in self._rules:
                if rule.times != 0 and rule.method.fullmatch(seen.method) and rule.path.fullmatch(seen.path):
                    if rule.times is not None:
                        rule.times -= 1
                    return rule
        return None

    def _say(self, client: socket.socket, seen: Request, answer: Answer) -> bool:
        if answer.delay and self._stop.wait(answer.delay):
            return False
        if answer.hang_up:
            return False
        send = self._slowly(client, answer.drip) if answer.drip is not None else client.sendall
        if answer.raw is not None:
            send(answer.raw)
            if answer.ignore_body:
                self._stop.wait()
            return not (answer.close or answer.before_body)
        send(_head_of(answer))
        if seen.method == "HEAD" or answer.status in (204, 304):
            return not answer.close
        if answer.cut_after is not None or answer.stall_after is not None:
            place = answer.cut_after if answer.cut_after is not None else answer.stall_after
            body = answer.body if isinstance(answer.body, bytes) else b"".join(answer.body)
            send(_as_chunk(body[:place]) if answer.chunked else body[:place])
            if answer.stall_after is not None:
                self._stop.wait()
            else:
                _reset(client, gently=True)
            return False
        for piece in [answer.body] if isinstance(answer.body, bytes) else answer.body:
            send(_as_chunk(piece) if answer.chunked else piece)
        if answer.chunked:
            send(b"0\r\n\r\n")
        if answer.ignore_body:
            self._stop.wait()
        return not (answer.close or answer.until_close or answer.before_body)

    def _slowly(self, client: socket.socket, drip: tuple[int, float]) -> Callable[[bytes], None]:
        count, seconds = drip

        def send(data: bytes) -> None:
            for place in range(0, len(data), count):
                client.sendall(data[place : place + count])
                if self._stop.wait(seconds):
                    raise BrokenPipeError

        return send


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _read_head(lines: object) -> tuple[str, str, dict[str, str]] | None:
    first = lines.readline(65537)  # type: ignore[attr-defined]
    words = first.decode("latin-1").split()
    if len(words) != 3 or not words[2].startswith("HTTP/"):  # the end, or the begin of a TLS handshake
        return None
    headers: dict[str, str] = {}
    while (line := lines.readline(65537)) not in (b"\r\n", b"\n", b""):  # type: ignore[attr-defined]
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    return words[0], words[1], headers


def _read_body(lines: object, headers: Mapping[str, str]) -> bytes:
    read = lines.read  # type: ignore[attr-defined]
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = bytearray()
        while size := int(lines.readline().split(b";")[0], 16):  # type: ignore[attr-defined]
            body += read(size)
            read(2)
        while lines.readline() not in (b"\r\n", b""):  # type: ignore[attr-defined]
            pass
        return bytes(body)
    data: bytes = read(int(headers.get("content-length", "0")))
    return data


def _head_of(answer: Answer) -> bytes:
    pairs = list(answer.headers.items() if isinstance(answer.headers, Mapping) else answer.headers)
    names = {name.lower() for name, _ in pairs}
    if answer.chunked:
        pairs.append(("Transfer-Encoding", "chunked"))
    elif not answer.until_close and "content-length" not in names and answer.status != 204:
        if answer.length is not None:
            pairs.append(("Content-Length", str(answer.length)))
        elif isinstance(answer.body, bytes):
            pairs.append(("Content-Length", str(len(answer.body))))
    if answer.before_body and not answer.ignore_body:
        pairs.append(("Connection", "close"))
    lines = [f"HTTP/1.1 {answer.status} {answer.reason}", *(f"{name}: {value}" for name, value in pairs)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _as_chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b""


def _reset(connection: socket.socket, *, gently: bool = False) -> None:
    """Close with RST (SO_LINGER of 0), as a connection that was cut looks; `gently`: what was sent arrives first."""
    with contextlib.suppress(OSError):
        if gently:  # FIN behind the data: a body that ends before its length
            socket.socket.shutdown(connection, socket.SHUT_WR)
            return
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
