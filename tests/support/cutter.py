"""A TCP proxy on loopback that cuts, stalls or slows connections: the network as it is on a bad day.

::

    with Cutter(registry.port) as network:
        network.cut_down(after=100_000)          # the next connection with 100,000 bytes down ends there
        …  f"docker://{network.host}/app:v1"

`down` is from the server to the client (a pull), `up` from the client to the server (a push). Each order is carried out
once, by the first connection that gets so far, unless `times` says more; bytes are counted per connection.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading
from dataclasses import dataclass
from typing import Self

CHUNK = 65_536


@dataclass
class _Order:
    way: str
    after: int
    times: int
    how: str  # "end", "reset", "stall"


class Cutter:
    """Listens on a port of its own and hands everything on to `port`."""

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._orders: list[_Order] = []
        self._threads: list[threading.Thread] = []
        self._refusing = False
        self.cuts = 0
        self.connections = 0
        self.bytes = {"up": 0, "down": 0}
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"

    def cut_down(self, *, after: int, times: int = 1, hard: bool = False) -> None:
        """End a connection once so many bytes came from the server; all of them arrive, unless `hard` resets it."""
        self._give(_Order("down", after, times, "reset" if hard else "end"))

    def cut_up(self, *, after: int, times: int = 1) -> None:
        """Reset a connection once so many bytes went to the server."""
        self._give(_Order("up", after, times, "reset"))

    def stall_down(self, *, after: int, times: int = 1) -> None:
        """Let nothing through any more on a connection, and keep it open."""
        self._give(_Order("down", after, times, "stall"))

    def stall_up(self, *, after: int, times: int = 1) -> None:
        """The same once so many bytes went to the server."""
        self._give(_Order("up", after, times, "stall"))

    def refuse(self, refusing: bool = True) -> None:
        """Close new connections at once, as while a server restarts."""
        self._refusing = refusing

    def mend(self) -> None:
        """Forget all orders."""
        with self._lock:
            self._orders.clear()
        self._refusing = False

    def _give(self, order: _Order) -> None:
        with self._lock:
            self._orders.append(order)

    def _due(self, way: str, passed: int) -> _Order | None:
        with self._lock:
            for order in self._orders:
                if order.way == way and passed >= order.after and order.times > 0:
                    order.times -= 1
                    self.cuts += 1
                    return order
        return None

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        # A connection of our own wakes `accept`.
        with contextlib.suppress(OSError), socket.create_connection(self._listener.getsockname(), timeout=1):
            pass
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    def _start(self, work: object, *arguments: socket.socket) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            if self._stop.is_set():
                client.close()
                return
            self.connections += 1
            if self._refusing:
                _reset(client)
                continue
            self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._target)
        except OSError:
            _reset(client)
            return
        with client, server:
            cut = True
            # A peer that resets, as one that was killed does, is no fault of the proxy's.
            with contextlib.suppress(OSError):
                cut = self._relay(client, server)
            if cut:  # both ends learn of it at once: a server must not wait for the rest of an upload
                _reset(client)
                _reset(server)

    def _relay(self, client: socket.socket, server: socket.socket) -> bool:
        """Hand on until an end closes; True if an order cut it before."""
        passed = {"up": 0, "down": 0}
        with selectors.DefaultSelector() as ready:
            ready.register(client, selectors.EVENT_READ, ("up", server))
            ready.register(server, selectors.EVENT_READ, ("down", client))
            while not self._stop.is_set():
                for key, _ in ready.select(0.05):
                    way, other = key.data
                    assert isinstance(key.fileobj, socket.socket)
                    data = key.fileobj.recv(self._room(way, passed[way]))
                    if not data:
                        if way == "down":
                            return False  # all that came was handed on already
                        with contextlib.suppress(OSError):
                            other.shutdown(socket.SHUT_WR)
                        ready.unregister(client)
                        continue
                    other.sendall(data)
                    passed[way] += len(data)
                    with self._lock:
                        self.bytes[way] += len(data)
                    order = self._due(way, passed[way])
                    if order is not None:
                        if order.how == "stall":
                            self._stop.wait()
                        elif order.how == "end":
                            _end(client)
                        return True
        return True

    def _room(self, way: str, passed: int) -> int:
        """How many bytes may be read without passing the place of a cut."""
        with self._lock:
            places = [o.after - passed for o in self._orders if o.way == way and o.times > 0 and o.after > passed]
        return min([CHUNK, *places])


def _end(connection: socket.socket) -> None:
    """Say that nothing more comes, and wait until the other side has noticed: what was sent arrives."""
    connection.shutdown(socket.SHUT_WR)
    connection.settimeout(5)
    while connection.recv(CHUNK):
        pass


def _reset(connection: socket.socket) -> None:
    """Close with RST (SO_LINGER of 0), as a connection that was cut looks."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
