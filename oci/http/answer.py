"""Reading one answer from a socket: bounded, and never without progress.

`http.client` reads what a server sends for as long as it sends. Below it, at the one place where bytes come in, a
server is held to three rules (RFC 9112 leaves them to us):

- the head (status line, headers, and all interim 1xx answers) comes within a time and a number of bytes;
- a body comes at `MIN_RATE` or faster, measured over the stall time. A server that sends one byte a minute keeps a
  socket's own timeout from ever running out (slow loris). Only time spent waiting counts, a slow consumer doesn't;
- what HTTP adds around a chunked body (sizes, extensions, trailers) stays in proportion to the body.

Reading costs no copy: `http.client` asks for the bytes of a whole chunk, and they are received into the object that is
handed out.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import socket
from collections.abc import Callable, Iterable, Iterator
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

from oci.errors import ConnectionFailed, LimitExceeded, ProtocolViolation, show
from oci.http.failures import broken
from oci.streams.chunks import CHUNK

if TYPE_CHECKING:
    from oci.http.urls import Url

__all__ = ["Answer", "Headers", "Pipe", "Response", "Stale", "check_framing"]

MAX_HEAD = 262144  # bytes of a status line and headers; http.client itself takes up to 100 headers of 64 KiB
MAX_INTERIM = 10  # 1xx answers before the real one; servers send one or two
MAX_OVERHEAD = 8  # bytes of chunk sizes and extensions for each byte of a chunked body; 6 is a body of one-byte chunks
SLACK = 65536  # bytes that come on top of it: trailers, and what was read ahead
MAX_DISCARD = 65536  # bytes read to keep a connection; a new one costs about as much
DISCARD_WITHIN = 2.0  # seconds for it
PATIENCE = 5  # times the stall time for what takes a server long: to answer an upload, or to send a whole document
MIN_RATE = 256  # bytes in each second of the stall time; a tenth of the slowest line that anybody pulls images over


class Pipe(io.RawIOBase):
    """The receiving end of a socket, with a budget of bytes and of time; `place` names the server in errors."""

    def __init__(self, sock: socket.socket, place: str, closing: Callable[[], bool], ahead: bytes = b"") -> None:
        super().__init__()
        # An unbuffered file of the socket's own holds it open after the connection let go of it.
        self._file: io.RawIOBase = sock.makefile("rb", buffering=0)
        self._sock, self._place, self._closing, self._ahead = sock, place, closing, ahead
        self._receive = sock.recv_into
        self._deadline: float | None = None
        self._stall, self._late = 0.0, ""
        self.silent = True  # nothing came yet
        self._waited, self._came = 0.0, 0
        self._budget: int | None = None

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Give the file that `http.client` reads from: it takes a Pipe for the socket."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._sock.fileno()

    def expect_head(self, seconds: float) -> None:
        """The head of an answer is due: within `seconds`, and in MAX_HEAD bytes."""
        self._budget = MAX_HEAD
        self.end_within(seconds, f"no complete answer within {seconds:g} seconds")

    def expect_body(self, stall: float) -> None:
        """The body is due: never `stall` seconds without progress."""
        self._deadline, self._stall, self._budget = None, stall, None
        self._waited, self._came = 0.0, 0
        if self._sock.fileno() >= 0:
            self._sock.settimeout(stall)

    def end_within(self, seconds: float, late: str) -> None:
        """All that is still due comes within so many seconds; `late` is what to say otherwise."""
        self._deadline, self._late = monotonic() + seconds, late

    def allow(self, count: int | None) -> None:
        """Take at most so many bytes more from the socket; None: no bound."""
        self._budget = count

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Receive; the hot loop of every download."""
        if self._ahead:
            buffer[: len(self._ahead)] = self._ahead
            count, self._ahead = len(self._ahead), b""
            return count
        start = monotonic()
        if self._deadline is not None:
            left = self._deadline - start
            if left <= 0:
                raise ConnectionFailed(self._place, self._late)
            self._sock.settimeout(min(left, self._stall) if self._stall else left)
        try:
            count = self._receive(buffer)
        except TimeoutError:
            raise ConnectionFailed(self._place, self._too_slow()) from None
        if count:
            self.silent = False
        elif not self._stall and not self.silent:  # http.client takes the end of all for the end of the headers
            raise ConnectionFailed(self._place, "the connection was cut within the headers of its answer")
        if self._closing():
            raise ConnectionFailed(self._place, "closed by us", again=False)
        if self._budget is not None:
            self._budget -= count
            if self._budget < 0:
                raise ProtocolViolation(self._place, self._too_much())
        if self._stall:
            self._check_progress(monotonic() - start, count)
        return count

    def _check_progress(self, waited: float, count: int) -> None:
        self._waited += waited
        self._came += count
        if self._waited >= self._stall:
            if count and self._came < self._waited * MIN_RATE:
                reason = f"only {self._came} bytes came in {self._waited:.0f} seconds"
                raise ConnectionFailed(self._place, f"{reason}; given up below {MIN_RATE} bytes a second")
            self._waited, self._came = 0.0, 0

    def _too_slow(self) -> str:
        if self._deadline is not None and (not self._stall or monotonic() >= self._deadline):
            return self._late
        return f"nothing more came within {self._stall:g} seconds"

    def _too_much(self) -> str:
        if not self._stall:
            return f"the headers of its answer are longer than {MAX_HEAD} bytes"
        return "a chunked body with more chunk headers or trailers than body"

    def abort(self) -> None:
        """End the connection below a read that waits in another thread."""
        with contextlib.suppress(OSError):  # the plain method: TLS's own would let that thread see undeciphered bytes
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


class Stale(Exception):  # noqa: N818 - no error: the request is sent again
    """A connection that was kept, and that the server had ended meanwhile: it never saw the request."""


class Answer(http.client.HTTPResponse):
    """An answer read through a Pipe; interim answers (RFC 9110 section 15.2) are passed over, a few of them."""

    def __init__(
        self, pipe: Pipe, *, method: str | None, patience: float, stall: float, reused: bool, last: bool
    ) -> None:
        super().__init__(pipe, method=method)  # type: ignore[arg-type]
        self.pipe, self.stall = pipe, stall
        self._patience, self._reused, self._last = patience, reused, last
        pipe.expect_head(patience)

    def begin(self) -> None:
        self.pipe.expect_head(self._patience)
        for _ in range(MAX_INTERIM):
            try:
                super().begin()
            except OSError:
                if self._reused and self.pipe.silent:
                    raise Stale from None
                raise
            if not 100 <= self.status < 200:
                break
            if self.status == 101:
                raise http.client.HTTPException("an answer 101 that nobody asked for")
            self.headers = self.msg = None  # type: ignore[assignment]  # what makes `begin` read another one
        else:
            raise http.client.HTTPException(f"more than {MAX_INTERIM} interim answers")
        if self._last:
            self.will_close = True
        self.pipe.expect_body(self.stall)

    def read_some(self, size: int) -> bytes:
        """Read up to `size` bytes of the body; none at its end. A body that is cut ends early: see `missing`."""
        if self.chunked:
            self.pipe.allow(size * MAX_OVERHEAD + SLACK)
        return self.read(size)

    @property
    def missing(self) -> int:
        """How many bytes of a body with a Content-Length have not come."""
        return self.length or 0


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

    @property
    def content_length(self) -> int | None:
        """How long the body is by its Content-Length; None where that says nothing."""
        text = self.headers.get("Content-Length") or ""
        # `check_framing` has refused what is no number; one of thousands of digits is none for int() either.
        return int(text) if 0 < len(text) < 100 and text.isascii() and text.isdigit() else None

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
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.close()
                raise broken(self.place, error) from None
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
        self._within(self._answer.stall * PATIENCE, what)
        data = bytearray()
        for chunk in self.chunks(min(CHUNK, limit + 1)):
            data += chunk
            if len(data) > limit:
                self.close()
                raise LimitExceeded(f"size of the {what} in bytes", limit)
        return bytes(data)

    def glance(self, limit: int, seconds: float = DISCARD_WITHIN) -> bytes:
        """Read what comes of the body in `limit` bytes and a short time, whatever becomes of the rest, and close."""
        data = b""
        self._within(seconds, "body")
        try:
            for chunk in self.chunks(min(limit, 4096)):
                data += chunk
                if len(data) >= limit:
                    break
        except (ConnectionFailed, ProtocolViolation):
            pass  # nobody waits for it
        finally:
            self.close()
        return data[:limit]

    def _within(self, seconds: float, what: str) -> None:
        if not self._done:
            self._answer.pipe.end_within(seconds, f"the {what} did not come whole within {seconds:g} seconds")

    def discard(self) -> None:
        """Be done with the body: read what is left if that is little, so that the connection can be used again."""
        said = self._answer.length
        if not self._done and said is not None and said <= MAX_DISCARD:
            self.glance(MAX_DISCARD)
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


def check_framing(response: Response) -> None:
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
