"""Frames: what a supervisor and its clients say to each other over a unix socket.

A frame is one byte of kind, four bytes of length (big endian), and that many bytes. Client to supervisor: HELLO, STDIN,
STDIN_END, RESIZE, SIGNAL, and from the starter, before all else, ORDER; supervisor to client: STARTED or FAILED (to the
starter), WELCOME, STDOUT, STDERR, EXIT, which is the last. A kind that is not known is passed over, so that either end
may be newer.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from oci.errors import InvalidInput
from oci.spec.quick_json import dumps, loads

__all__ = [
    "EXIT",
    "FAILED",
    "HEADER",
    "HELLO",
    "MAX_FRAME",
    "ORDER",
    "RESIZE",
    "SIGNAL",
    "STARTED",
    "STDERR",
    "STDIN",
    "STDIN_END",
    "STDOUT",
    "WELCOME",
    "Unframer",
    "document_frame",
    "frame",
    "read_document",
]

HELLO, STDIN, STDIN_END, RESIZE, SIGNAL, ORDER = 1, 2, 3, 4, 5, 6
STARTED, FAILED, WELCOME, STDOUT, STDERR, EXIT = 16, 17, 18, 19, 20, 21

MAX_FRAME = 1 << 18  # four reads of a pipe; whoever claims more speaks another language
HEADER = struct.Struct(">BI")


def frame(kind: int, data: bytes | memoryview = b"") -> bytes:
    """One frame, whole."""
    return HEADER.pack(kind, len(data)) + data


def document_frame(kind: int, value: dict[str, object]) -> bytes:
    """A frame whose bytes are a JSON object."""
    return frame(kind, dumps(value).encode())


def read_document(data: bytes) -> dict[str, object]:
    """The JSON object of a frame. Raises InvalidInput."""
    try:
        value = loads(data.decode())
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise InvalidInput("a frame of a container's supervisor is damaged: not a JSON object")
    return value


class Unframer:
    """Takes bytes as they come and gives the frames that are whole."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """The frames that `data` completes, as (kind, bytes). Raises InvalidInput at one that is too long."""
        buffer = self._buffer
        buffer += data
        start = 0
        try:
            while len(buffer) - start >= HEADER.size:
                kind, size = HEADER.unpack_from(buffer, start)
                if size > MAX_FRAME:
                    raise InvalidInput(f"a frame of {size} bytes where at most {MAX_FRAME} are allowed")
                end = start + HEADER.size + size
                if len(buffer) < end:
                    break
                content = bytes(memoryview(buffer)[start + HEADER.size : end])
                start = end
                yield kind, content
        finally:
            if start:
                del buffer[:start]
