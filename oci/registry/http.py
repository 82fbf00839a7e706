"""One exchange with one server: the only door to `urllib3`.

`urllib3` makes and keeps the connections (TCP, TLS, proxies, reuse across threads). Nothing else of it is used: no
redirects, no retries, no decoding, no bodies read ahead; those are decisions of `client`. What comes back goes through
`answer`, which bounds it. Every failure becomes one of our errors here, and without the library's own text, which
holds URLs with their queries.

A server may answer before a body is sent (RFC 9110 section 15.5.14: 413): what it says is looked for while we send,
so that a 401 or a 413 is an answer and not a broken pipe.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from http.client import BadStatusLine, HTTPException, IncompleteRead, LineTooLong, RemoteDisconnected
from time import monotonic
from typing import TYPE_CHECKING, Any, Self, cast
from weakref import WeakSet

import urllib3.exceptions as faults
from urllib3.connection import HTTPConnection, HTTPSConnection, ProxyConfig
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util import Timeout
from urllib3.util import parse_url as parse_proxy
from urllib3.util.wait import wait_for_read

from oci.errors import ConnectionFailed, LimitExceeded, ProtocolViolation, SourceError, show
from oci.registry.answer import Answer, Pipe
from oci.registry.proxies import Proxy, proxy_for
from oci.registry.urls import Url, parse_url
from oci.streams.chunks import CHUNK

if TYPE_CHECKING:
    import socket
    from ssl import SSLContext

    from oci.registry.settings import Settings

__all__ = ["Headers", "Http", "NotReached", "NotTrusted", "Response"]

POOL = 16  # connections kept for each server: twice the layers that are moved at a time
MAX_DISCARD = 65536  # bytes read to keep a connection; a new one costs about as much
PATIENCE = 5  # times the stall time for what takes a server long: to answer an upload, or to send a whole document
PIECE = 1 << 18  # bytes sent between two looks for an early answer
TICK = 1.0  # seconds that sending waits before it looks again
HURRY = 5.0  # seconds for TLS where plain HTTP will be tried after it


class NotReached(ConnectionFailed):
    """No connection: nothing of the request was sent, so that any request may be sent again."""


class NotTrusted(NotReached):
    """A connection without trust: the certificate that was shown is refused, or one of ours is wanted."""


class Headers:
    """The headers of an answer; names in any case. Values are one line: folds and control characters became blanks."""

    __slots__ = ("_values",)

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in pairs:
            self._values.setdefault(name.lower(), []).append(_one_line(value))

    def get(self, name: str, default: str | None = None) -> str | None:
        """Give the first header of that name."""
        values = self._values.get(name.lower())
        return values[0] if values else default

    def all(self, name: str) -> list[str]:
        """Give every header of that name, in the order they came."""
        return list(self._values.get(name.lower(), ()))

    def __repr__(self) -> str:  # values hold tokens and signed URLs
        return f"Headers({', '.join(self._values)})"


def _one_line(value: str) -> str:
    if value.isprintable():
        return value.strip()
    return "".join(c if c.isprintable() else " " for c in value).strip()


class _Door:
    """What the connections to one server share."""

    def __init__(self, http: Http, url: Url, far: bool) -> None:
        self.place, self.location, self.far = url.origin, url.location, far
        self.stall = http.settings.stall_timeout
        self.watch, self.is_closing = http._watch, http._closing.is_set
        self.proxy: Proxy | None = None
        self.trust_more: Any = None  # () -> None: load the system's authorities, which take 20 ms


class _Connection(HTTPConnection):
    """A connection whose answers are bounded, and which looks for an answer while it sends."""

    def __init__(self, *values: Any, door: _Door, **named: Any) -> None:
        super().__init__(*values, **named)
        self._door, self._spoiled, self._ahead = door, False, b""
        self.answer: Answer | None = None
        self.response_class = self._answer_from  # type: ignore[assignment]

    def _answer_from(self, sock: socket.socket, *, method: str | None = None) -> Answer:
        door = self._door
        slow = method in ("POST", "PUT", "PATCH", "DELETE")
        pipe = Pipe(sock, door.place, door.is_closing, self._ahead)
        self._ahead = b""
        patience = door.stall * (PATIENCE if slow else 1)
        self.answer = Answer(pipe, method=method, patience=patience, stall=door.stall, last=self._spoiled)
        return self.answer

    def _new_conn(self) -> socket.socket:
        sock = super()._new_conn()
        if self._door.far and self._door.proxy is None:
            from oci.registry.redirects import is_local_address

            peer = sock.getpeername()[0]
            if is_local_address(peer):
                sock.close()
                raise ProtocolViolation(self._door.place, f"a redirect to {peer}, which is an address of this machine")
        self._door.watch(sock)
        return sock

    def connect(self) -> None:
        self._spoiled, self._ahead = False, b""
        tunnel = (self._tunnel_host, self._tunnel_port, self._tunnel_scheme)
        try:
            try:
                super().connect()
            except OSError as error:
                if self._door.trust_more is None or not _is_untrusted(error) or tunnel[0] is not None:
                    raise
                self._door.trust_more()
                self._door.trust_more = None
                self.close()
                super().connect()
        except (faults.HTTPError, OSError, HTTPException, ValueError) as error:
            self.close()
            raise _not_reached(self._door, error, self.timeout) from None
        except BaseException:
            self.close()
            raise
        self.is_verified = True  # as far as was asked for; without it, the library warns on stderr
        assert self.sock is not None
        self._door.watch(self.sock)

    def send(self, data: Any) -> None:
        """Send, for as long as there is progress; a BrokenPipeError when an answer is there to be read."""
        if self.sock is None:
            self.connect()
        sock, stall = self.sock, self._door.stall
        tick = min(TICK, stall)
        sock.settimeout(tick)
        view = memoryview(data).cast("B")
        waited, sent, looked = 0.0, 0, -PIECE if len(view) >= PIECE // 4 else 0
        while sent < len(view):
            if sent - looked >= PIECE:
                self._look_for_answer(sock, tick)
                looked = sent
            start = monotonic()
            try:
                sent += sock.send(view[sent : sent + PIECE])
                waited = 0.0
            except TimeoutError:
                waited += monotonic() - start
                self._look_for_answer(sock, tick)
                if waited >= stall:
                    reason = f"it took nothing of what was sent for {stall:g} seconds"
                    raise ConnectionFailed(self._door.place, reason) from None
            except OSError:  # the reason may be waiting to be read
                self._spoiled = True
                raise BrokenPipeError from None
            if self._door.is_closing():
                raise ConnectionFailed(self._door.place, "closed by us", again=False)

    def _look_for_answer(self, sock: socket.socket, tick: float) -> None:
        if not wait_for_read(sock, 0.0):
            return
        if hasattr(sock, "pending"):  # TLS: a session ticket makes the socket readable too, so read a byte and keep it
            sock.settimeout(0.0)
            try:
                self._ahead = sock.recv(1)
            except OSError as error:
                if isinstance(error, BlockingIOError) or "WANT" in str(getattr(error, "reason", "")).upper():
                    return
                if type(error).__name__ in ("SSLWantReadError", "SSLWantWriteError"):
                    return
            finally:
                sock.settimeout(tick)
        self._spoiled = True
        raise BrokenPipeError


class _TlsConnection(_Connection, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class Response:
    """An answer with its body still to read. Leaving the `with` block, or reading to the end, frees its connection."""

    def __init__(self, answer: Answer, raw: Any, url: Url, method: str) -> None:
        self._answer, self._raw, self._url = answer, raw, url
        self.status: int = answer.status
        self.headers = Headers(answer.headers.items())
        self.method = method
        self.place = url.public  # what errors name; no query
        self._done = False
        if answer.length == 0 or answer.isclosed():
            self._finish()

    @property
    def url(self) -> str:
        """The URL that was asked, with its query: to resolve a Location against, never for a message."""
        return str(self._url)

    def __repr__(self) -> str:
        return f"<Response {self.status} of {self.method} {self._url.public}>"

    def chunks(self, size: int = CHUNK) -> Iterator[bytes]:
        """Give the body in pieces of `size` bytes (the last is shorter); ConnectionFailed when it is cut or stalls."""
        read = self._answer.read_some
        while not self._done:
            try:
                data = read(size)
            except ConnectionFailed as error:
                self.close()
                raise ConnectionFailed(self.place, error.reason, again=error.again) from None
            except (OSError, HTTPException, ValueError) as error:
                self.close()
                raise _broken(self.place, error) from None
            except BaseException:
                self.close()
                raise
            if self._answer.isclosed():
                missing = self._answer.missing
                if missing:
                    self.close()
                    reason = f"the connection was cut, {missing} bytes before the end"
                    raise ConnectionFailed(self.place, reason)
                self._finish()
            if data:
                yield data

    def read(self, limit: int, what: str) -> bytes:
        """Read the whole body, at most `limit` bytes of it (LimitExceeded) in a bounded time."""
        said = self._answer.length
        if said is not None and said > limit:
            self.close()
            raise LimitExceeded(f"size of the {what} in bytes", limit, said)
        patience = self._answer.stall * PATIENCE
        until = monotonic() + patience
        data = bytearray()
        for chunk in self.chunks(min(CHUNK, limit + 1)):
            data += chunk
            if len(data) > limit:
                self.close()
                raise LimitExceeded(f"size of the {what} in bytes", limit)
            if monotonic() > until:
                self.close()
                raise ConnectionFailed(self.place, f"the {what} did not come within {patience:g} seconds")
        return bytes(data)

    def discard(self) -> None:
        """Be done with the body: read what is left if that is little, so that the connection can be used again."""
        said = self._answer.length
        try:
            if not self._done and said is not None and said <= MAX_DISCARD:
                for _ in self.chunks():
                    pass
        except (ConnectionFailed, ProtocolViolation):
            pass  # nobody wants what did not come
        finally:
            self.close()

    def close(self) -> None:
        """Free the connection; one with an unread body is closed."""
        if not self._done:
            self._done = True
            self._answer.close()
            self._raw.close()
            self._raw.release_conn()

    def abort(self) -> None:
        """Make a read that waits in another thread fail at once; `close` would wait for it."""
        self._answer.pipe.abort()

    def _finish(self) -> None:
        self._done = True
        self._answer.close()
        self._raw.release_conn()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class Http:
    """Sends requests to any server, each by the settings for its host; connections are kept. Threads may share it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._pools: dict[tuple[str, bool], tuple[HTTPConnectionPool, _Door]] = {}
        self._unverified: set[str] = set()
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._closing = threading.Event()

    def allow_unverified(self, location: str) -> None:
        """Take any certificate of this HOST[:PORT] (`insecure` in registries.conf)."""
        self._unverified.add(location.lower())

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] = {},
        body: bytes | Iterable[bytes] | None = None,
        length: int | None = None,
    ) -> Response:
        """Send one request and give its answer, whatever its status: no redirect, no second try, no credentials.

        A body of known `length` is sent with Content-Length, another iterable in chunks. ConnectionFailed (NotReached
        when nothing was sent) and ProtocolViolation are raised.
        """
        return self.exchange(method, parse_url(url), headers=headers, body=body, length=length)

    def exchange(
        self,
        method: str,
        url: Url,
        *,
        headers: Mapping[str, str] = {},
        body: bytes | Iterable[bytes] | None = None,
        length: int | None = None,
        far: bool = False,
        hurry: bool = False,
    ) -> Response:
        """`send` for a URL that was read, with two more words.

        `far`: the address must not be one of this machine or its link (where a redirect may lead). `hurry`: give up
        early on a server that doesn't speak TLS, because plain HTTP will be tried.
        """
        pool, door = self._pool(url, far, hurry)
        sent = _Sent(body, length, url)
        whole = {"Accept-Encoding": "identity", "User-Agent": self.settings.user_agent}
        whole.update(headers)
        if length is not None:
            whole["Content-Length"] = str(length)
        for name, value in whole.items():
            if not _is_sendable(value):
                raise ProtocolViolation(url.public, f"the header {name} would hold a line break or control character")
        connect = self.settings.connect_timeout
        forward = door.proxy is not None and url.scheme == "http"
        try:
            raw = pool.urlopen(
                method,
                str(url) if forward else url.target,
                body=sent.body,
                headers=whole,
                retries=False,
                redirect=False,
                assert_same_host=False,
                timeout=Timeout(connect=min(connect, HURRY) if hurry else connect, read=door.stall),
                preload_content=False,
                decode_content=False,
                release_conn=False,
            )
        except ConnectionFailed as error:
            raise type(error)(url.public, error.reason, again=error.again) from None
        except ProtocolViolation as error:
            raise ProtocolViolation(url.public, error.reason) from None
        except _BodyFailed as error:
            raise error.cause from error.cause.__cause__
        except (faults.HTTPError, OSError, HTTPException, ValueError) as error:
            raise _broken(url.public, error) from None
        finally:
            sent.close()
        answer = cast(_Connection, raw.connection).answer
        assert answer is not None
        response = Response(answer, raw, url, method)
        _check_framing(response)
        return response

    def _pool(self, url: Url, far: bool, hurry: bool) -> tuple[HTTPConnectionPool, _Door]:
        with self._lock:
            if self._closing.is_set():
                raise ConnectionFailed(url.public, "closed by us", again=False)
            key = (url.origin, far)
            if key not in self._pools:
                self._pools[key] = self._new_pool(url, far, hurry)
            return self._pools[key]

    def _new_pool(self, url: Url, far: bool, hurry: bool) -> tuple[HTTPConnectionPool, _Door]:
        door = _Door(self, url, far)
        words: dict[str, Any] = {"maxsize": POOL, "block": False, "door": door}
        host, port = url.host, url.port
        proxy = door.proxy = proxy_for(url, self.settings.proxies)
        secure = url.scheme == "https"
        if proxy is not None:
            words["_proxy"] = parse_proxy(proxy.url)
            words["_proxy_headers"] = dict(proxy.headers)
            words["_proxy_config"] = ProxyConfig(self._context_of_proxy(proxy), False, None, None)
            if not secure:
                host, port = proxy.host, proxy.port
        if secure:
            words["ssl_context"] = self._context(url, door, lazy=hurry)
        kind = _TlsPool if secure or (proxy is not None and proxy.url.startswith("https")) else _Pool
        return kind(host, port, **words), door

    def _context(self, url: Url, door: _Door, *, lazy: bool) -> SSLContext:
        from oci.registry.tls import context_for, trust_system

        tls = self.settings.tls
        if url.location in self._unverified:
            tls = tls.replace(verify=False)
        context = context_for(tls, url.host, url.port)
        if tls.verify:
            if lazy:
                door.trust_more = lambda: trust_system(context, tls)
            else:
                trust_system(context, tls)
        return context

    def _context_of_proxy(self, proxy: Proxy) -> SSLContext | None:
        if not proxy.url.startswith("https"):
            return None
        from oci.registry.tls import context_for, trust_system

        context = context_for(self.settings.tls, proxy.host, proxy.port)
        trust_system(context, self.settings.tls)
        return context

    def _watch(self, sock: socket.socket) -> None:
        with self._lock:
            self._sockets.add(sock)

    def close(self) -> None:
        """End all connections, those in use too: threads that wait for a server fail at once."""
        import socket

        with self._lock:
            self._closing.set()
            pools, sockets = list(self._pools.values()), list(self._sockets)
        for pool, _ in pools:
            pool.close()
        for sock in sockets:
            with suppress(OSError):  # the plain method: TLS's own would let the reading thread see undeciphered bytes
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    @property
    def closing(self) -> threading.Event:
        """Set once `close` was called: who sleeps between two tries waits on it."""
        return self._closing

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class _BodyFailed(Exception):  # noqa: N818 - carries the caller's own exception past the library
    def __init__(self, cause: BaseException) -> None:
        self.cause = cause


class _Sent:
    """A request's body on its way: of the promised length, and with errors of its own kept apart from the network's."""

    def __init__(self, body: bytes | Iterable[bytes] | None, length: int | None, url: Url) -> None:
        self._length, self._url = length, url
        self._pieces_of_caller: Iterator[bytes] | None = None
        self.body = body if body is None or isinstance(body, bytes) else self._pieces(body)

    def close(self) -> None:
        """Let go of the body: a server may have answered before its end."""
        for it in (self.body, self._pieces_of_caller):
            if (close := getattr(it, "close", None)) is not None:
                close()

    def _pieces(self, body: Iterable[bytes]) -> Iterator[bytes]:
        count = 0
        pieces = self._pieces_of_caller = iter(body)
        while True:
            try:
                piece = next(pieces)
            except StopIteration:
                break
            except OSError as error:
                raise _BodyFailed(error) from None
            count += len(piece)
            if self._length is not None and count > self._length:
                break
            yield piece
        if self._length is not None and count != self._length:
            more = "more than " if count > self._length else ""
            got = min(count, self._length)
            raise SourceError(f"what is sent to {self._url.public}", f"{more}{got} bytes in place of {self._length}")


def _is_sendable(value: str) -> bool:
    return all(" " <= c <= "~" or c == "\t" or "\xa0" <= c <= "\xff" for c in value)


def _check_framing(response: Response) -> None:
    """Refuse what two readers could take for bodies of different length (RFC 9112 section 6.3)."""
    coding = ", ".join(response.headers.all("Transfer-Encoding")).lower()
    lengths = set(response.headers.all("Content-Length"))
    reason = ""
    if coding not in ("", "chunked", "identity"):
        reason = f"a body in the transfer coding {show(coding)!r}, which nobody asked for"
    elif len(lengths) > 1 or any(not (length.isascii() and length.isdigit()) for length in lengths):
        reason = f"a Content-Length of {show(', '.join(sorted(lengths)))!r}"
    if reason:
        response.close()
        raise ProtocolViolation(response.place, reason)


def _is_untrusted(error: BaseException) -> bool:
    return type(error).__name__ == "SSLCertVerificationError"


def _cause(error: BaseException) -> BaseException:
    """Give the error below what the library made of it."""
    while True:
        inner = next((a for a in getattr(error, "args", ()) if isinstance(a, BaseException)), error.__cause__)
        if inner is None or not isinstance(error, faults.HTTPError):
            return error
        error = inner


def _not_reached(door: _Door, error: Exception, timeout: object) -> NotReached | ProtocolViolation:
    """Say why there is no connection."""
    cause = _cause(error)
    place = door.place if door.proxy is None else f"{door.place} (through the proxy {door.proxy.location})"
    if _is_untrusted(cause):
        said = str(getattr(cause, "verify_message", "")) or "it can't be verified"
        what = f"put the authority that signed it into certs.d/{door.location}/ca.crt, or give --tls-verify=false"
        return NotTrusted(place, f"its certificate is not trusted: {said.rstrip('.')}; {what}", again=False)
    library_reason = getattr(cause, "reason", None)
    if library_reason is not None and _is_tls(cause):
        return _not_tls(place, str(library_reason))
    if isinstance(cause, TimeoutError):
        return NotReached(place, f"no connection within {timeout:g} seconds" if timeout else "no connection in time")
    if isinstance(error, faults.NameResolutionError):
        import socket

        said = str(getattr(cause, "strerror", None) or "unknown").lower()
        passing = getattr(cause, "errno", None) == socket.EAI_AGAIN
        return NotReached(place, f"the name can't be resolved: {said}", again=passing)
    if isinstance(cause, (OSError, HTTPException)):
        if "Tunnel connection failed" in str(cause):
            return NotReached(place, f"the proxy refuses: {show(str(cause).rpartition('failed: ')[2])}", again=False)
        said = getattr(cause, "strerror", None) or "it was closed at once"
        return NotReached(place, f"no connection: {said.lower()}")
    return NotReached(place, "no connection: the name or the proxy can't be used", again=False)


def _is_tls(error: BaseException) -> bool:
    return type(error).__module__ == "ssl" or type(error).__name__.startswith("SSL")


def _not_tls(place: str, reason: str) -> NotReached:
    """Say why TLS did not come about, in words for the cases that people meet."""
    if any(
        word in reason for word in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH")
    ):
        what = "use --tls-verify=false, or `insecure` in registries.conf, if that is meant"
        return NotReached(place, f"it speaks plain HTTP on this port, not TLS; {what}", again=False)
    if "CERTIFICATE" in reason or "UNKNOWN_CA" in reason:
        return NotTrusted(place, _wants_certificate(reason), again=False)
    if "EOF" in reason:
        return NotReached(place, "it closed the connection in place of TLS")
    return NotReached(place, f"TLS failed: {_tls_words(reason)}", again=False)


def _wants_certificate(reason: str) -> str:
    return (
        f"it refuses our client certificate, or that there is none ({_tls_words(reason)}); "
        "certs.d/HOST/ may hold NAME.cert and NAME.key"
    )


def _tls_words(reason: str) -> str:
    return show(reason.replace("_", " ").lower())


def _broken(place: str, error: Exception) -> ConnectionFailed | ProtocolViolation:
    """Say what went wrong on a connection that was there."""
    cause = _cause(error)
    if isinstance(cause, IncompleteRead):
        return ConnectionFailed(place, "the connection was cut before the body's end")
    if isinstance(cause, (RemoteDisconnected, ConnectionError)):
        return ConnectionFailed(place, "the connection was closed before the answer's end")
    if _is_tls(cause):
        reason = str(getattr(cause, "reason", None) or "")
        if "CERTIFICATE" in reason or "UNKNOWN_CA" in reason:
            return NotTrusted(place, _wants_certificate(reason), again=False)
        return ConnectionFailed(place, f"TLS failed: {_tls_words(reason)}" if reason else "TLS failed")
    if isinstance(cause, TimeoutError) or isinstance(error, faults.TimeoutError):
        return ConnectionFailed(place, "no answer in time")
    if isinstance(cause, LineTooLong):
        return ProtocolViolation(place, "a line of its answer's headers is longer than 65536 bytes")
    if isinstance(cause, BadStatusLine):
        line = str(cause.args[0])[:80] if cause.args else ""
        tls = "\\x15\\x03" in line or line.startswith("\x15\x03")
        return ProtocolViolation(place, "it speaks TLS, not plain HTTP" if tls else f"not an answer of HTTP: {line}")
    if isinstance(cause, OSError):
        return ConnectionFailed(place, (cause.strerror or "the connection failed").lower())
    if isinstance(cause, HTTPException) and cause.args and "got more than" in str(cause):
        return ProtocolViolation(place, "its answer has too many headers")
    words = show(str(cause)) if isinstance(cause, HTTPException) else "bad chunk or header"
    return ProtocolViolation(place, f"an answer that breaks HTTP: {words}")
