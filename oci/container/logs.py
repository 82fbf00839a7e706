"""A container's log: JSON lines with docker's keys (`log`, `stream`, `time`), in log.json, older ones in log.json.1, ….

Bytes that aren't UTF-8 are kept: each is written as the lone surrogate U+DC80 + byte that Python's "surrogateescape"
makes of it, which no UTF-8 text can contain; readers that don't know show U+FFFD.
"""

from __future__ import annotations

from collections.abc import Iterator

from oci.container.container import Container
from oci.spec.record import Record

__all__ = ["LogLine", "read_logs"]


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
    raise NotImplementedError
    yield
