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
    begun: dict[int, socket.socket] = {}
    failed = OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    deadline = monotonic() + seconds
    poll = select.poll()
    next_at = 0.0
    try:
        while True:
            now = monotonic()
            if closing():
                raise OSError(errno.ECANCELED, "closed by us")
            if now >= deadline:
                raise TimeoutError
            if waiting and (not begun or now >= next_at):
                family, kind, protocol, address = waiting.pop()
                try:
                    sock = socket.socket(family, kind, protocol)
                except OSError as error:  # a family that this machine doesn't have
                    failed = error
                    continue
                begun[sock.fileno()] = sock
                sock.setblocking(False)
                for option in options:
                    sock.setsockopt(*option)
                code = sock.connect_ex(address)
                if code not in (0, errno.EINPROGRESS):
                    failed = OSError(code, os.strerror(code))
                    begun.pop(sock.fileno()).close()
                    continue
                poll.register(sock, select.POLLOUT)
                next_at = now + STAGGER
            if not begun:
                raise failed
            wait = min(TICK, deadline - now, next_at - now if waiting else TICK)
            for number, _ in poll.poll(max(1, int(wait * 1000))):
                code = begun[number].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code == 0:
                    sock = begun.pop(number)
                    sock.settimeout(seconds)
                    return sock
                failed = OSError(code, os.strerror(code))
                poll.unregister(number)
                begun.pop(number).close()
    finally:
        for sock in begun.values():
            sock.close()


_Address = tuple[int, int, int, tuple[object, ...]]


def _in_turns(found: Iterable[tuple[int, int, int, str, tuple[object, ...]]]) -> list[_Address]:
    """Give the addresses in the resolver's order, but with the families taking turns."""
    families: dict[int, list[_Address]] = {}
    for family, kind, protocol, _, address in found:
        families.setdefault(family, []).append((family, kind, protocol, address))
    turns = list(families.values())
    return [group[n] for n in range(max(map(len, turns), default=0)) for group in turns if n < len(group)]
