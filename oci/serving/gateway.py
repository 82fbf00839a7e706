"""One request on a connection of cheroot's: its head by our rules, and the answer that `app` gives, sent.

cheroot reads heads leniently, whole bodies into memory, and sends `100 Continue` at once. So only its frame is used:
heads and bodies are read as `incoming` wants them, a client is asked for its body once the request is welcome, files go
out by sendfile, and each request becomes a line of the log.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from contextlib import suppress
from typing import Any

from cheroot import server as cheroot

from oci.errors import show
from oci.serving.exchange import Answer, FilePart, Refusal, Request, error_body
from oci.serving.incoming import MAX_HEADERS, STALL, Incoming, Pace, length_of, parse_header, parse_request_line

__all__ = ["Gateway", "Head"]

MAX_DRAIN = 1 << 20  # bytes of a body that nobody wanted, read so that the connection can be used on
PIECE = 4 << 20  # bytes of a file sent between two looks at its pace
SLICE = 1 << 18  # the same, of what is in memory
LINGER = 2.0  # seconds in which the rest of an unwanted body is thrown away


class _Headers(cheroot.HeaderReader):
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


class Head(cheroot.HTTPRequest):
    """A request whose head is read as `incoming` wants it; what breaks HTTP is told as the spec has it."""

    header_reader = _Headers()

    def read_request_line(self) -> bool:
        """Read the first line; cheroot's own way drops control characters out of targets, and stumbles over some."""
        line = self.rfile.readline()
        self.started_request = True
        if line == b"\r\n":  # RFC 9112 section 2.2: one empty line before a request is passed over
            line = self.rfile.readline()
        if not line:
            return False
        try:
            self.method, self.path, self.qs, self.request_protocol = parse_request_line(line)
        except Refusal as refusal:
            self.simple_response(_status_line(refusal.status), refusal.message)
            return False
        self.response_protocol = self.request_protocol.decode("ascii")
        return True

    def read_request_headers(self) -> bool:
        """Read the header fields; a request of HTTP/1.1 says its host (RFC 9112 section 3.2)."""
        if not super().read_request_headers():  # type: ignore[no-untyped-call]
            return False
        if self.response_protocol == "HTTP/1.1" and "host" not in self.inheaders[None]:
            self.simple_response(_status_line(400), "A request without a Host header.")
            return False
        return True

    def simple_response(self, status: object, msg: str = "") -> None:
        self.close_connection = True
        body = error_body("UNKNOWN" if str(status).startswith("500") else "UNSUPPORTED", msg or str(status))
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        with suppress(OSError):
            self.conn.wfile.write(f"{head}Connection: close\r\n\r\n".encode("latin-1", "replace") + body)


class Gateway(cheroot.Gateway):
    """One request, from cheroot's words to ours and back."""

    def respond(self) -> None:
        request, web = self.req, self.req.server
        connection: cheroot.HTTPConnection = request.conn
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
        except OSError as error:  # nearly always the client, who went or stopped reading
            request.close_connection = True
            if error.errno == errno.EIO:
                web.log(f"error: {show(method)} {show(path)}: {error}")
            return
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
        request.status = _status_line(answer.status).encode("ascii")
        head = list(answer.headers)
        if answer.status not in (204, 304):
            head.append(("Content-Length", str(answer.length)))
        request.outheaders = [(name.encode("ascii"), _value(value)) for name, value in head]
        request.ensure_headers_sent()
        if isinstance(answer.body, FilePart):
            self._send_file(answer.body)
            return answer.body.length
        self._send_bytes(answer.body)
        return len(answer.body)

    def _send_bytes(self, body: bytes) -> None:
        sock, pace = self.req.conn.socket, Pace(self.req.server.clock)
        for start in range(0, len(body), SLICE):
            part = body[start : start + SLICE]
            sock.sendall(part)  # all of it within the socket's timeout
            pace.moved(len(part))

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
                data = os.pread(part.descriptor, min(end - position, SLICE), position)
                sock.sendall(data)
                sent = len(data)
            if sent == 0:  # the file is shorter than it was: nothing that can be sent would be right
                raise OSError(errno.EIO, "the blob became shorter while it was sent")
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


def _status_line(status: int) -> str:
    return f"{status} {_PHRASES.get(status, 'Error')}"


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
    505: "HTTP Version Not Supported",
    507: "Insufficient Storage",
}
