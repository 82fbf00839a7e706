"""Connecting to a name: its addresses are tried side by side, and the wait can be ended from another thread.

A name often has addresses that don't work from here: IPv6 without a route swallows packets, and a connection tried to
it alone waits half a minute. As RFC 8305 ("Happy Eyeballs") says, the families take turns, and the next address is
tried once the one before has had a moment; the first that answers is taken.
"""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Callable, Iterable
from time import monotonic

__all__ = ["dial"]

MAX_ADDRESSES = 16  # of one name; content delivery networks give up to eight of each family
STAGGER = 0.25  # seconds for one address before the next is tried beside it, RFC 8305 section 5
TICK = 0.2  # seconds between two looks at whether we are to give up


def dial(
    host: str, port: int, *, seconds: float, closing: Callable[[], bool], options: Iterable[tuple[int, int, int]] = ()
) -> socket.socket:
    """Give a connection within `seconds`; OSError (TimeoutError, gaierror) for the reason that there is none."""
    waiting = _in_turns(socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM))[:MAX_ADDRESSES]
    waiting.reverse()
    deadline, next_at = monotonic() + seconds, 0.0
    race = _Race(options)
    try:
        while True:
            now = monotonic()
            if closing():
                raise OSError(errno.ECANCELED, "closed by us")
            if now >= deadline:
                raise TimeoutError
            if waiting and (not race.begun or now >= next_at):
                if not race.begin(waiting.pop()):
                    continue
                next_at = now + STAGGER
            if not race.begun:
                raise race.failed
            sock = race.wait(min(TICK, deadline - now, next_at - now if waiting else TICK))
            if sock is not None:
                sock.settimeout(seconds)
                return sock
    finally:
        race.close()


_Address = tuple[int, int, int, tuple[object, ...]]


class _Race:
    """Connections on their way, to several addresses of one name; `failed` is why the last one that failed did."""

    def __init__(self, options: Iterable[tuple[int, int, int]]) -> None:
        self._options, self._poll = tuple(options), select.poll()
        self.begun: dict[int, socket.socket] = {}
        self.failed = OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))

    def begin(self, place: _Address) -> bool:
        """Begin to connect; False where that failed at once."""
        family, kind, protocol, address = place
        try:
            sock = socket.socket(family, kind, protocol)
        except OSError as error:  # a family that this machine doesn't have
            self.failed = error
            return False
        self.begun[sock.fileno()] = sock
        sock.setblocking(False)
        for option in self._options:
            sock.setsockopt(*option)
        code = sock.connect_ex(address)
        if code not in (0, errno.EINPROGRESS):
            self._fail(sock.fileno(), code)
            return False
        self._poll.register(sock, select.POLLOUT)
        return True

    def wait(self, seconds: float) -> socket.socket | None:
        """Give the first one that is there within so many seconds."""
        for number, _ in self._poll.poll(max(1, int(seconds * 1000))):
            code = self.begun[number].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code == 0:
                return self.begun.pop(number)
            self._poll.unregister(number)
            self._fail(number, code)
        return None

    def _fail(self, number: int, code: int) -> None:
        self.failed = OSError(code, os.strerror(code))
        self.begun.pop(number).close()

    def close(self) -> None:
        """Give up all that are not there yet."""
        for sock in self.begun.values():
            sock.close()


def _in_turns(found: Iterable[tuple[int, int, int, str, tuple[object, ...]]]) -> list[_Address]:
    """Give the addresses in the resolver's order, but with the families taking turns."""
    families: dict[int, list[_Address]] = {}
    for family, kind, protocol, _, address in found:
        families.setdefault(family, []).append((family, kind, protocol, address))
    turns = list(families.values())
    return [group[n] for n in range(max(map(len, turns), default=0)) for group in turns if n < len(group)]
