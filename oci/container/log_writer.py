"""Writing a container's log: whole records, bounded files, never in the container's way.

`log.json` is the newest file; when it is full it becomes `log.json.1`, that `log.json.2`, …, and the oldest goes. A
line is one record; a longer one than docker's 16 KiB, or one that stays without its end, is several, only the last of
which ends with a newline. Records are written without fsync: a log may lose its last second to a power cut.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress

from oci.spec.quick_json import dumps

__all__ = ["FILES", "LOG", "MAX_PIECE", "SIZE", "LogWriter", "stamp"]

LOG = "log.json"
MAX_PIECE = 16384  # bytes of a line in one record, as docker has it
SIZE = 10 << 20  # bytes of one file, unless the container says otherwise
FILES = 3  # files kept, unless the container says otherwise


class LogWriter:
    """The log in the directory `folder` (a descriptor), which is the process's own."""

    def __init__(
        self,
        folder: int,
        *,
        clock: Callable[[], int],
        max_size: int | None = None,
        max_files: int | None = None,
    ) -> None:
        self._folder, self._clock = folder, clock
        self._max_size = SIZE if max_size is None or max_size <= 0 else max_size
        self._max_files = FILES if max_files is None or max_files <= 0 else max_files
        self._rest = {"stdout": b"", "stderr": b""}
        self.lost = 0  # bytes that the disk didn't take
        self._fd = self._open()
        self._size = os.fstat(self._fd).st_size
        if self._size and os.pread(self._fd, 1, self._size - 1) != b"\n":
            self._put(b"\n", 0)  # a writer died within a record: that one is lost, not the next

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(LOG, flags, 0o600, dir_fd=self._folder)

    def write(self, stream: str, data: bytes) -> None:
        """Log these bytes of "stdout" or "stderr"; what has no newline behind it waits for more."""
        data = self._rest[stream] + data if self._rest[stream] else data
        cut = data.rfind(b"\n") + 1
        lines = data[:cut].split(b"\n")
        lines.pop()
        rest = data[cut:]
        pieces: list[bytes] = []
        if len(rest) >= MAX_PIECE or any(len(line) >= MAX_PIECE for line in lines):
            for line in lines:
                pieces += _pieces(line + b"\n")
            *whole, rest = _pieces(rest) or [b""]
            pieces += whole
            self._records(stream, pieces)
        elif lines:
            self._records_of_lines(stream, lines)
        self._rest[stream] = rest

    def flush(self) -> None:
        """Log what waits for the end of its line: nothing came for a while, or nothing will."""
        for stream, rest in self._rest.items():
            if rest:
                self._rest[stream] = b""
                self._records(stream, [rest])

    @property
    def waiting(self) -> bool:
        """Whether something waits for the end of its line."""
        return any(self._rest.values())

    def close(self) -> None:
        self.flush()
        os.close(self._fd)

    def _records(self, stream: str, pieces: list[bytes]) -> None:
        tail = f',"stream":"{stream}","time":"{stamp(self._clock())}"}}\n'
        for piece in pieces:
            text = dumps(piece.decode("utf-8", "surrogateescape"))
            self._put(f'{{"log":{text}{tail}'.encode(), len(piece))

    def _records_of_lines(self, stream: str, lines: list[bytes]) -> None:
        """Lines without their newlines; the common case, of which there may be millions."""
        tail = f'\\n","stream":"{stream}","time":"{stamp(self._clock())}"}}\n'
        parts: list[str] = []
        size = 0
        for line in lines:
            text = dumps(line.decode("utf-8", "surrogateescape"))
            record = f'{{"log":{text[:-1]}{tail}'
            size += len(record)
            parts.append(record)
            if size >= self._max_size - self._size:
                self._put("".join(parts).encode(), size)
                parts, size = [], 0
        if parts:
            self._put("".join(parts).encode(), size)

    def _put(self, data: bytes, counted: int) -> None:
        """Append whole records; the file before is rotated away if they don't fit into it any more."""
        if self._size and self._size + len(data) > self._max_size:
            self._rotate()
        try:
            written = os.write(self._fd, data)
            if written < len(data):
                os.write(self._fd, data[written:])  # says why
        except OSError:  # a full disk must not stop the container
            self.lost += counted
            with suppress(OSError):
                os.ftruncate(self._fd, self._size)
        else:
            self._size += len(data)

    def _rotate(self) -> None:
        try:
            if self._max_files == 1:
                os.unlink(LOG, dir_fd=self._folder)
            for number in range(self._max_files - 1, 0, -1):
                older = LOG if number == 1 else f"{LOG}.{number - 1}"
                with suppress(FileNotFoundError):
                    os.rename(older, f"{LOG}.{number}", src_dir_fd=self._folder, dst_dir_fd=self._folder)
            fresh = self._open()
        except OSError:
            return  # goes on in the file that there is; tried again with the next record
        os.close(self._fd)
        self._fd, self._size = fresh, 0


def _pieces(line: bytes) -> list[bytes]:
    """A long line in pieces of at most MAX_PIECE, no character cut in two where it is UTF-8."""
    pieces = []
    while len(line) > MAX_PIECE:
        cut = MAX_PIECE
        while cut > MAX_PIECE - 4 and line[cut] & 0xC0 == 0x80:
            cut -= 1
        pieces.append(line[:cut])
        line = line[cut:]
    if line:
        pieces.append(line)
    return pieces


def stamp(moment: int) -> str:
    """A time in ns since 1970 as RFC 3339 with nanoseconds."""
    seconds, nanoseconds = divmod(moment, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{nanoseconds:09d}Z"
