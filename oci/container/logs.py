"""A container's log, read: JSON lines with docker's keys (`log`, `stream`, `time`), the newest in log.json.

Bytes that aren't UTF-8 are kept: each is written as the lone surrogate U+DC80 + byte that Python's "surrogateescape"
makes of it, which no UTF-8 text can contain; readers that don't know show U+FFFD. log_writer.py writes them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

from oci.container.log_writer import LOG, stamp
from oci.spec.quick_json import loads
from oci.spec.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.container.container import Container

__all__ = ["MAX_RECORD", "LogLine", "read_log", "read_logs"]

MAX_RECORD = 1 << 18  # bytes of one record: sixteen KiB of control characters take six times as much
_BLOCK = 1 << 16
_PAUSE = 0.1  # seconds between two looks at a log that is followed


class LogLine(Record):
    """One record of the log: a line with its newline, or a piece of one."""

    data: bytes
    stream: str  # "stdout" | "stderr"
    time: str  # RFC 3339 with nanoseconds, UTC


def read_logs(
    container: Container,
    *,
    follow: bool = False,
    tail: int | None = None,
    since: int | None = None,
    until: int | None = None,
) -> Iterator[LogLine]:
    """The log, oldest first; with `follow` on until the container has ended. `since`, `until`: ns since 1970.

    `tail`: only the last so many lines.
    """
    from oci.container.status import is_running

    lines = read_log(container.folder, tail=tail, alive=(lambda: is_running(container)) if follow else None)
    for line in lines:
        if since is not None and line.time < stamp(since):
            continue
        if until is not None and line.time > stamp(until):
            return
        yield line


def read_log(folder: str, *, tail: int | None = None, alive: Callable[[], bool] | None = None) -> Iterator[LogLine]:
    """The records in the log files of `folder`; while `alive` says so, those that are still to come."""
    files = _Files(folder)
    try:
        if tail is not None:
            files.skip_to(tail)
        while True:
            going_on = alive is not None and alive()  # asked before reading: what came until the end is read
            for raw in files.lines():
                line = _parse(raw)
                if line is not None:
                    yield line
            if not going_on:
                return
            time.sleep(_PAUSE)
            files.follow()
    finally:
        files.close()


class _Files:
    """The log files, oldest first, read from one to the next; the newest may grow, or be rotated away."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._fds: list[int] = []
        self._rest = b""
        # From the newest to the oldest: a file that is rotated meanwhile is met twice, none is missed.
        seen = set()
        number = 0
        while (fd := self._open(number)) is not None:
            status = os.fstat(fd)
            if status.st_ino in seen:
                os.close(fd)
            else:
                seen.add(status.st_ino)
                self._fds.insert(0, fd)
            number += 1

    def _open(self, number: int) -> int | None:
        name = f"{self._folder}/{LOG}.{number}" if number else f"{self._folder}/{LOG}"
        try:
            return os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None

    def lines(self) -> Iterator[bytes]:
        """The whole lines from where reading stopped to the end of the newest file."""
        while self._fds:
            block = os.read(self._fds[0], _BLOCK)
            if not block:
                if len(self._fds) == 1:
                    return
                os.close(self._fds.pop(0))
                self._rest = b""
                continue
            *whole, self._rest = (self._rest + block).split(b"\n")
            yield from whole
            if len(self._rest) > MAX_RECORD:
                self._rest = b""  # no record of ours: its end won't parse

    def follow(self) -> None:
        """Take in the files that have come since."""
        known = {os.fstat(fd).st_ino for fd in self._fds}
        fresh: list[int] = []
        number = 0
        while (fd := self._open(number)) is not None:
            if os.fstat(fd).st_ino in known:
                os.close(fd)
                break
            fresh.insert(0, fd)
            number += 1
        self._fds += fresh

    def skip_to(self, count: int) -> None:
        """Go on with the last `count` lines: records that end with a newline, and a last one without."""
        wanted = count
        for index in range(len(self._fds) - 1, -1, -1):
            position, found = _last_lines(self._fds[index], wanted)
            os.lseek(self._fds[index], position, os.SEEK_SET)
            wanted -= found
            if position > 0 or wanted <= 0:
                for fd in self._fds[:index]:
                    os.close(fd)
                del self._fds[:index]
                return

    def close(self) -> None:
        for fd in self._fds:
            os.close(fd)
        self._fds.clear()


def _last_lines(fd: int, count: int) -> tuple[int, int]:
    """Where the last `count` lines of a file begin, and how many there are (≤ count)."""
    end = position = os.fstat(fd).st_size
    if count <= 0:
        return end, 0
    buffer = b""
    while position > 0:
        step = min(len(buffer) + _BLOCK, position)  # doubling: every byte is looked at twice, not a thousand times
        position -= step
        buffer = os.pread(fd, step, position) + buffer
        # Where records begin: those in front of which a line of the log ended.
        starts = []
        ended_before = position == 0
        offset = 0 if position == 0 else buffer.find(b"\n") + 1
        while 0 <= offset < len(buffer):
            stop = buffer.find(b"\n", offset)
            stop = len(buffer) if stop < 0 else stop
            if ended_before:
                starts.append(offset)
            ended_before = b'\\n","stream":"' in buffer[max(offset, stop - 100) : stop]
            offset = stop + 1
        if len(starts) > count:
            return position + starts[-count], count
    return 0, min(count, len(starts) if end else 0)


def _parse(raw: bytes) -> LogLine | None:
    """A record; None for what is none: a line that a killed supervisor didn't finish."""
    try:
        value = loads(raw.decode())
        return LogLine(
            data=value["log"].encode("utf-8", "surrogateescape"),
            stream="stderr" if value["stream"] == "stderr" else "stdout",
            time=str(value["time"]),
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
