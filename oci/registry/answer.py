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
from collections.abc import Callable
from time import monotonic

from oci.errors import ConnectionFailed, ProtocolViolation

__all__ = ["MAX_HEAD", "MAX_INTERIM", "MIN_RATE", "Answer", "Pipe"]

MAX_HEAD = 262144  # bytes of a status line and headers; http.client itself takes up to 100 headers of 64 KiB
MAX_INTERIM = 10  # 1xx answers before the real one; servers send one or two
MAX_OVERHEAD = 8  # bytes of chunk sizes and extensions for each byte of a chunked body; 6 is a body of one-byte chunks
SLACK = 65536  # bytes that come on top of it: trailers, and what was read ahead
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
        self._stall = 0.0
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
        self._deadline, self._stall, self._budget = monotonic() + seconds, seconds, MAX_HEAD

    def expect_body(self, stall: float) -> None:
        """The body is due: never `stall` seconds without progress."""
        self._deadline, self._stall, self._budget = None, stall, None
        self._waited, self._came = 0.0, 0
        if self._sock.fileno() >= 0:
            self._sock.settimeout(stall)

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
                raise ConnectionFailed(self._place, f"no complete answer within {self._stall:g} seconds")
            self._sock.settimeout(left)
        try:
            count = self._receive(buffer)
        except TimeoutError:
            what = "no answer" if self._deadline is not None else "nothing more came"
            raise ConnectionFailed(self._place, f"{what} within {self._stall:g} seconds") from None
        if self._closing():
            raise ConnectionFailed(self._place, "closed by us", again=False)
        if self._budget is not None:
            self._budget -= count
            if self._budget < 0:
                raise ProtocolViolation(self._place, self._too_much())
        if self._deadline is None:
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

    def _too_much(self) -> str:
        if self._deadline is not None:
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


class Answer(http.client.HTTPResponse):
    """An answer read through a Pipe; interim answers (RFC 9110 section 15.2) are passed over, a few of them."""

    def __init__(self, pipe: Pipe, *, method: str | None, patience: float, stall: float, last: bool) -> None:
        super().__init__(pipe, method=method)  # type: ignore[arg-type]
        self.pipe, self.stall = pipe, stall
        self._patience, self._last = patience, last
        pipe.expect_head(patience)

    def begin(self) -> None:
        self.pipe.expect_head(self._patience)
        for _ in range(MAX_INTERIM):
            super().begin()
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
