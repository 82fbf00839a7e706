"""A request's head and body as they come from a socket: bounded in size and in time (RFC 9112).

What two HTTP implementations could understand differently is refused: both Content-Length and Transfer-Encoding, two
lengths, folded lines, bare line feeds, spaces around names (request smuggling). A client that sends less than MIN_RATE
is cut off once its GRACE is used up, and so is one that sends nothing for STALL seconds: a thread belongs to it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Protocol
from urllib.parse import unquote_to_bytes

from oci.serving.exchange import Refusal

__all__ = [
    "GRACE",
    "MAX_HEADERS",
    "MIN_RATE",
    "STALL",
    "Incoming",
    "Pace",
    "Wire",
    "length_of",
    "parse_header",
    "parse_request_line",
]

MAX_HEADERS = 100  # header fields of one request; clients send about ten
MAX_CHUNK_LINE = 256  # bytes of a chunk's size line with its extensions, which nobody uses
MAX_TRAILERS = 8192  # bytes of the fields behind a chunked body, which nobody reads
STALL = 30.0  # seconds without a byte, either way
GRACE = 30.0  # seconds in which any rate will do
MIN_RATE = 1024  # bytes a second after that: far below the slowest line that could ever push an image

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# RFC 9112 section 3, with targets in origin-form (section 3.2.1) or `*`: we are no proxy. "#" begins no part of one.
_REQUEST = re.compile(rb"([A-Z]{1,32}) (\*|/[!\"$-~]*) (HTTP/[0-9]\.[0-9])\r\n")


class Wire(Protocol):
    """The socket's reading end."""

    def some(self, size: int) -> bytes:
        """Give what is there, at most `size` bytes; waits for the first one."""
        ...

    def line(self, limit: int, moved: Callable[[int], object]) -> bytes:
        """Give a line with its end, or as much of it as `limit` bytes hold; `moved` is told of each part of it."""
        ...


class Pace:
    """Says when a transfer is too slow; TimeoutError."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._start, self._moved = clock, clock(), 0

    def moved(self, size: int) -> None:
        """Note that bytes went through, and raise if it took too long."""
        self._moved += size
        if self._clock() - self._start > GRACE + self._moved / MIN_RATE:
            raise TimeoutError("timed out")


def parse_request_line(line: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """Read a request's first line → method, path, query, protocol; Refusal.

    The path is percent-decoded once, but for `%2F`: an escaped slash divides no names.
    """
    match = _REQUEST.fullmatch(line)
    if match is None:
        raise Refusal(400, "UNSUPPORTED", "Malformed request line.", close=True)
    method, target, protocol = match.groups()
    if protocol not in (b"HTTP/1.0", b"HTTP/1.1"):
        raise Refusal(505, "UNSUPPORTED", "HTTP is spoken here in version 1.1.", close=True)
    path, _, query = target.partition(b"?")
    if b"%" in path:
        path = b"%2F".join(unquote_to_bytes(part) for part in re.split(b"%2[Ff]", path))
    return method, path, query, protocol


def parse_header(line: bytes) -> tuple[str, str]:
    """Read one header line without its end; ValueError for what is no header of RFC 9112 section 5."""
    name, colon, value = line.partition(b":")
    if not colon or _TOKEN.fullmatch(name) is None:
        raise ValueError("Illegal header line.")
    value = value.strip(b" \t")
    if any((byte < 32 and byte != 9) or byte == 127 for byte in value):
        raise ValueError("Illegal header value.")
    return name.decode("ascii").lower(), value.decode("latin-1")


def length_of(headers: dict[str, str], *, chunked: bool) -> int | None:
    """Say how long a body is; None for a chunked one. Refusal where that is in doubt."""
    encoding, length = headers.get("transfer-encoding"), headers.get("content-length")
    if encoding is not None:
        if length is not None or not chunked or encoding.strip().lower() != "chunked":
            raise Refusal(400, "UNSUPPORTED", "the length of the body is in doubt", close=True)
        return None
    if length is None:
        return 0
    if not re.fullmatch("[0-9]{1,19}", length):
        raise Refusal(400, "SIZE_INVALID", "Content-Length is not a number", close=True)
    return int(length)


class Incoming:
    """A body; `ask` is called before its first byte is read, for a client that waits to be asked (100 Continue)."""

    def __init__(self, wire: Wire, length: int | None, *, ask: Callable[[], object] | None, pace: Pace) -> None:
        self._wire, self._length, self._ask, self._pace = wire, length, ask, pace
        self.left = length if length is not None else 0  # of the body, or of the present chunk
        self._between = length is None  # before the size line of a chunk
        self.ended = length == 0

    @property
    def length(self) -> int | None:
        return self._length

    @property
    def asked(self) -> bool:
        """Whether the client knows that it may send."""
        return self._ask is None

    def read(self, size: int) -> bytes:
        """See Body."""
        if self.ended:
            return b""
        data = b""
        try:
            if self._ask is not None:
                ask, self._ask = self._ask, None
                ask()
            if self._between and not self._next_chunk():
                self.ended = True
                return b""
            data = self._wire.some(min(size, self.left))
            self._pace.moved(len(data))
            if data:
                self._took(len(data))
        except TimeoutError:
            raise Refusal(408, "BLOB_UPLOAD_INVALID", "the body came too slowly", close=True) from None
        except OSError:  # the connection's, TLS included: nothing else is touched here
            data = b""
        if not data:
            raise Refusal(400, "SIZE_INVALID", "the connection was cut off before the body's end", close=True)
        return data

    def _took(self, size: int) -> None:
        self.left -= size
        if self.left > 0:
            return
        if self._length is not None:
            self.ended = True
        elif self._line(3) != b"\r\n":
            raise self._bad_chunk()
        else:
            self._between = True

    def _line(self, limit: int) -> bytes:
        return self._wire.line(limit, self._pace.moved)

    def _next_chunk(self) -> bool:
        """Read a chunk's size; False at the end of the body."""
        match = re.fullmatch(rb"([0-9a-fA-F]{1,15})[ \t]*(?:;[^\r\n]*)?\r\n", self._line(MAX_CHUNK_LINE))
        if match is None:
            raise self._bad_chunk()
        self.left, self._between = int(match[1], 16), False
        if self.left > 0:
            return True
        taken = 0
        while (line := self._line(MAX_TRAILERS)) != b"\r\n":
            taken += len(line)
            if taken > MAX_TRAILERS or not line.endswith(b"\r\n"):
                raise self._bad_chunk()
        return False

    @staticmethod
    def _bad_chunk() -> Refusal:
        return Refusal(400, "SIZE_INVALID", "the chunked body is damaged or was cut off", close=True)
