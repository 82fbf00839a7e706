"""The terminal of a process that `exec` started: its pseudo-terminal here, ours there, until it ends."""

from __future__ import annotations

import os
import select
import signal
from contextlib import AbstractContextManager, nullcontext, suppress

from oci.container.console import is_terminal, raw_terminal, set_size, size_of
from oci.container.detach_keys import KeyScanner
from oci.container.waking import Handler, woken_by

__all__ = ["Detached", "relay"]

READ = 1 << 15
_DEADLY = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)


class Detached(Exception):  # noqa: N818 - it is no error
    """The detach keys were typed."""


def relay(master: int, pidfd: int, stdin: int | None, stdout: int, keys: bytes) -> None:
    """Move bytes until the process behind `pidfd` has ended and its output is read. Raises Detached."""
    terminal = stdin if is_terminal(stdin) else None
    killed_by: list[int] = []
    raw = raw_terminal(terminal) if terminal is not None else nullcontext()
    with raw, _woken(terminal, master, killed_by) as woken:
        _size(terminal if terminal is not None else stdout, master)
        _loop(master, pidfd, stdin, stdout, KeyScanner(keys if terminal is not None else b""), woken, killed_by)
    if killed_by:
        os.kill(os.getpid(), killed_by[0])  # the terminal is as it was, and the handler the old one


def _loop(
    master: int,
    pidfd: int,
    stdin: int | None,
    stdout: int,
    scanner: KeyScanner,
    woken: int | None,
    killed_by: list[int],
) -> None:
    os.set_blocking(master, False)
    waiting = b""
    ended = False
    while not killed_by:
        poll = select.poll()
        poll.register(master, select.POLLIN | (select.POLLOUT if waiting else 0))
        if not ended:
            poll.register(pidfd, select.POLLIN)
        if woken is not None:
            poll.register(woken, select.POLLIN)
        if stdin is not None and not waiting and not ended:
            poll.register(stdin, select.POLLIN)
        events = dict(poll.poll(0 if ended else None))
        if woken in events:
            with suppress(BlockingIOError):
                os.read(woken, 512)
        if pidfd in events:
            ended = True
        if stdin is not None and stdin in events:
            typed = _read(stdin)
            if typed == b"":
                stdin = None
            waiting += scanner.feed(typed or b"")
            if scanner.found:
                raise Detached
        if waiting:
            with suppress(BlockingIOError, OSError):
                waiting = waiting[os.write(master, waiting) :]
        if master in events and events[master] & (select.POLLIN | select.POLLHUP | select.POLLERR):
            data = _read(master)
            if data:
                _write(stdout, data)
            elif data is not None:  # nobody has the other end open any more
                select.select([pidfd], [], [])
                return
        elif ended:
            return


def _read(fd: int) -> bytes | None:
    try:
        return os.read(fd, READ)
    except (BlockingIOError, InterruptedError):
        return None
    except OSError:  # EIO of a terminal: its other end is closed
        return b""


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            select.select([], [fd], [])
        except BrokenPipeError:
            return


def _size(source: int, master: int) -> None:
    size = size_of(source)
    if size is not None:
        set_size(master, *size)


def _woken(terminal: int | None, master: int, killed_by: list[int]) -> AbstractContextManager[int | None]:
    """SIGWINCH gives the terminal our size; what would kill us is noted, so that our terminal is put back before."""
    handlers: dict[int, Handler] = dict.fromkeys(_DEADLY, killed_by.append)
    if terminal is not None:
        handlers[signal.SIGWINCH] = lambda number: _size(terminal, master)
    return woken_by(handlers)
