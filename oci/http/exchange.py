"""One exchange with one server: the only door to `urllib3`.

`urllib3` makes and keeps the connections (TCP, TLS, proxies, reuse across threads). Nothing else of it is used: no
redirects, no retries, no decoding, no bodies read ahead; those are decisions of `registry`. What comes back goes
through `answer`, which bounds it. Every failure becomes one of our errors here, and without the library's own text,
which holds URLs with their queries.

A server may answer before a body is sent (RFC 9110 section 15.5.14: 413): what it says is looked for while we send,
so that a 401 or a 413 is an answer and not a broken pipe.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from http.client import HTTPException
from time import monotonic
from typing import TYPE_CHECKING, Any, Self, cast
from weakref import WeakSet

import urllib3.exceptions as faults
from urllib3.connection import HTTPConnection, HTTPSConnection, ProxyConfig
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util import Timeout
from urllib3.util import parse_url as parse_proxy
from urllib3.util.wait import wait_for_read

from oci.errors import ConnectionFailed, ProtocolViolation
from oci.http.answer import MIN_RATE, PATIENCE, Answer, Headers, Pipe, Response, Stale, check_framing
from oci.http.dial import dial
from oci.http.failures import NotReached, NotTrusted, broken, is_untrusted, not_reached
from oci.http.outgoing import BodyFailed, Outgoing, headers_to_send
from oci.http.proxies import Proxy, proxy_for
from oci.http.urls import Url, is_loopback_name, parse_url

if TYPE_CHECKING:
    import socket
    from ssl import SSLContext

    from oci.http.settings import HttpSettings

__all__ = ["Headers", "Http", "NotReached", "NotTrusted", "Response"]

MAX_SERVERS = 64  # whose connections are kept; a registry can send us to another server for each blob
POOL = 16  # connections kept for each server: twice the layers that are moved at a time
PIECE = 1 << 18  # bytes sent between two looks for an early answer
JOINED = 1 << 15  # bytes of a body that are copied behind the head; larger ones take several packets anyway
TICK = 1.0  # seconds that sending waits before it looks again
HURRY = 5.0  # seconds for TLS where plain HTTP will be tried after it


class _Silence(logging.Filter):
    """Keeps our requests out of the library's log: it would write URLs with their queries."""

    def __init__(self) -> None:
        super().__init__()
        self.ours = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:
        return not getattr(self.ours, "busy", False)


_SILENCE = _Silence()
for _name in ("urllib3.connectionpool", "urllib3.connection", "urllib3.util.retry"):
    logging.getLogger(_name).addFilter(_SILENCE)


class _Door:
    """What the connections to one server share."""

    def __init__(self, http: Http, url: Url, far: bool) -> None:
        self.place, self.location, self.far = url.origin, url.location, far
        self.stall, self.connect_timeout = http.settings.stall_timeout, http.settings.connect_timeout
        self.watch, self.is_closing = http._watch, http._closing.is_set
        self.near = False  # plain http because the host's name says that it is this machine, and for no other reason
        self.here = False  # it is this machine, as was found
        self.proxy: Proxy | None = None
        self.trust_more: Any = None  # () -> None: load the system's authorities, which take 20 ms


class _Connection(HTTPConnection):
    """A connection whose answers are bounded, and which looks for an answer while it sends."""

    def __init__(self, *values: Any, door: _Door, **named: Any) -> None:
        super().__init__(*values, **named)
        self._door, self._spoiled, self._used, self._ahead = door, False, False, b""
        self._twin: socket.socket | None = None
        self._waited, self._moved = 0.0, 0
        self._behind_head = b""
        self.answer: Answer | None = None
        self.response_class = self._answer_from  # type: ignore[assignment]

    def _answer_from(self, sock: socket.socket, *, method: str | None = None) -> Answer:
        door = self._door
        slow = method in ("POST", "PUT", "PATCH", "DELETE")
        pipe = Pipe(sock, door.place, door.is_closing, self._ahead)
        self._ahead = b""
        patience = door.stall * (PATIENCE if slow else 1)
        reused, self._used = self._used, True
        self.answer = Answer(
            pipe, method=method, patience=patience, stall=door.stall, reused=reused, last=self._spoiled
        )
        return self.answer

    def _new_conn(self) -> socket.socket:
        seconds = self.timeout if isinstance(self.timeout, (int, float)) else self._door.connect_timeout
        options = self.socket_options or ()
        sock = dial(self.host, self.port, seconds=seconds, closing=self._door.is_closing, options=options)  # type: ignore[arg-type]
        if self._door.proxy is None:
            try:
                self._check_peer(sock.getpeername()[0])
            except BaseException:
                sock.close()
                raise
        self._drop_twin()
        self._twin = sock.dup()  # TLS takes the socket over, and a handshake has to be ended too
        self._door.watch(self._twin)
        return sock

    def _check_peer(self, peer: str) -> None:
        """See whom a name led to: who owns it may have it lead to this machine, or a name of this machine away."""
        from oci.http.redirects import is_local_address

        door = self._door
        if door.far and is_local_address(peer):
            reason = f"it leads to {peer}, which is an address of this machine or its link; not followed"
            raise ProtocolViolation(door.place, reason)
        door.here = is_loopback_name(peer)
        if door.near and not door.here:
            what = "give --tls-verify=false, or `insecure` in registries.conf, if that is meant"
            raise ProtocolViolation(door.place, f"plain http, but {peer} is another machine; {what}")

    def connect(self) -> None:
        self._spoiled, self._used, self._ahead = False, False, b""
        tunnelled = self._tunnel_host is not None
        try:
            try:
                super().connect()
            except OSError as error:
                if self._door.trust_more is None or not is_untrusted(error) or tunnelled:
                    raise
                self._door.trust_more()
                self._door.trust_more = None
                self.close()
                super().connect()
        except (faults.HTTPError, OSError, HTTPException, ValueError) as error:
            self.close()
            if self._door.is_closing():  # what a connection says that is shut from another thread means nothing
                raise NotReached(self._door.place, "closed by us", again=False) from None
            raise not_reached(
                _cause(error),
                place=self._door.place,
                location=self._door.location,
                proxy=self._door.proxy.location if self._door.proxy is not None else None,
                seconds=self.timeout if isinstance(self.timeout, (int, float)) else None,
            ) from None
        except BaseException:
            self.close()
            raise
        finally:
            self._drop_twin()
        self._used = False  # what a proxy answered doesn't count
        self.is_verified = True  # as far as was asked for; without it, the library warns on stderr
        assert self.sock is not None
        self._door.watch(self.sock)

    def _drop_twin(self) -> None:
        if self._twin is not None:
            self._twin.close()
            self._twin = None

    def request(self, method: str, url: str, body: Any = None, headers: Any = None, **named: Any) -> None:
        """Send a request. A small body goes with the head: one call, one packet, and the server wakes up once."""
        self._behind_head = b""
        if isinstance(body, bytes) and len(body) <= JOINED and "Content-Length" in (headers or ()):
            self._behind_head, body = body, None
        super().request(method, url, body, headers, **named)

    def send(self, data: Any) -> None:
        """Send, for as long as there is progress; a BrokenPipeError when an answer is there to be read."""
        if self._behind_head:
            data, self._behind_head = data + self._behind_head, b""
        if self.sock is None:
            self.connect()
        sock, stall = self.sock, self._door.stall
        tick = min(TICK, stall)
        sock.settimeout(tick)
        view = memoryview(data).cast("B")
        sent, looked = 0, -PIECE if len(view) >= PIECE // 4 else 0
        while sent < len(view):
            if sent - looked >= PIECE:
                self._look_for_answer(sock, tick)
                looked = sent
            start = monotonic()
            try:
                count = sock.send(view[sent : sent + PIECE])
            except TimeoutError:
                count = 0
                self._look_for_answer(sock, tick)
            except OSError:  # the reason may be waiting to be read
                self._spoiled = True
                raise BrokenPipeError from None
            sent += count
            self._waited += monotonic() - start
            self._moved += count
            if self._waited >= stall:
                if self._moved < self._waited * MIN_RATE:
                    reason = f"it took {self._moved} bytes of what was sent in {self._waited:.0f} seconds"
                    raise ConnectionFailed(self._door.place, reason)
                self._waited, self._moved = 0.0, 0
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


class Http:
    """Sends requests to any server, each by the settings for its host; connections are kept. Threads may share it."""

    def __init__(self, settings: HttpSettings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._pools: dict[tuple[str, bool, bool], tuple[HTTPConnectionPool, _Door]] = {}
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._closing = threading.Event()

    def is_here(self, url: Url) -> bool:
        """Say whether connections to this server ended on this machine, whatever its name is."""
        with self._lock:
            found = [self._pools.get((url.origin, False, insecure)) for insecure in (False, True)]
        return any(pool is not None and pool[1].here for pool in found)

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
        insecure: bool = False,
    ) -> Response:
        """`send` for a URL that was read, with three more words.

        `far`: the address must not be one of this machine or its link (where a redirect may lead). `hurry`: give up
        early on a server that doesn't speak TLS, because plain HTTP will be tried. `insecure`: any certificate will do.
        """
        pool, door = self._pool(url, far, hurry, insecure)
        sent = Outgoing(body, length, url)
        whole = headers_to_send(headers, self.settings.user_agent, length, url)
        connect = self.settings.connect_timeout
        forward = door.proxy is not None and url.scheme == "http"
        words: dict[str, Any] = {
            "body": sent.body,
            "headers": whole,
            "retries": False,
            "redirect": False,
            "assert_same_host": False,
            "timeout": Timeout(connect=min(connect, HURRY) if hurry else connect, read=door.stall),
            "preload_content": False,
            "decode_content": False,
            "release_conn": False,
        }
        before, _SILENCE.ours.busy = getattr(_SILENCE.ours, "busy", False), True  # a body may be read by a request
        try:
            raw = _on_a_live_connection(pool, method, str(url) if forward else url.target, words)
        except ConnectionFailed as error:
            raise type(error)(url.public, error.reason, again=error.again) from None
        except ProtocolViolation as error:
            raise ProtocolViolation(url.public, error.reason) from None
        except BodyFailed as error:
            raise error.cause from error.cause.__cause__
        except Stale:
            raise ConnectionFailed(url.public, "the connection was closed before the answer's end") from None
        except (faults.HTTPError, OSError, HTTPException, ValueError) as error:
            raise broken(url.public, _cause(error)) from None
        finally:
            _SILENCE.ours.busy = before
            sent.close()
        answer = cast(_Connection, raw.connection).answer
        assert answer is not None
        response = Response(answer, raw, url, method)
        check_framing(response)
        return response

    def _pool(self, url: Url, far: bool, hurry: bool, insecure: bool) -> tuple[HTTPConnectionPool, _Door]:
        with self._lock:
            if self._closing.is_set():
                raise ConnectionFailed(url.public, "closed by us", again=False)
            key = (url.origin, far, insecure)  # who asks with less care does so for itself alone
            found = self._pools.pop(key, None) or self._new_pool(url, far, hurry, insecure)
            self._pools[key] = found  # the one used last stands last
            if len(self._pools) > MAX_SERVERS:  # its connections are closed when the last one in use comes back
                del self._pools[next(iter(self._pools))]
            return found

    def _new_pool(self, url: Url, far: bool, hurry: bool, insecure: bool) -> tuple[HTTPConnectionPool, _Door]:
        door = _Door(self, url, far)
        if url.scheme == "http" and self.settings.plain_http is None and not insecure:
            door.near = is_loopback_name(url.host)
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
            words["ssl_context"] = self._context(url, door, lazy=hurry, insecure=insecure)
        kind = _TlsPool if secure or (proxy is not None and proxy.url.startswith("https")) else _Pool
        return kind(host, port, **words), door

    def _context(self, url: Url, door: _Door, *, lazy: bool, insecure: bool) -> SSLContext:
        from oci.http.tls import context_for, trust_system

        tls = self.settings.tls
        if insecure:
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
        from oci.http.tls import context_for, trust_system

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


def _on_a_live_connection(pool: HTTPConnectionPool, method: str, target: str, words: dict[str, Any]) -> Any:
    """Send, and again where a kept connection turned out to be ended: all of those that are kept may be."""
    for _ in range(POOL):
        try:
            return pool.urlopen(method, target, **words)
        except Stale:
            if words["body"] is not None and not isinstance(words["body"], bytes):
                raise  # read already
    return pool.urlopen(method, target, **words)


def _cause(error: BaseException) -> BaseException:
    """Give the error below what the library made of it."""
    while True:
        inner = next((a for a in getattr(error, "args", ()) if isinstance(a, BaseException)), error.__cause__)
        if inner is None or not isinstance(error, faults.HTTPError):
            return error
        error = inner
