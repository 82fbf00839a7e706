"""Connecting to a name by all its addresses, and giving up when told to."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from oci.errors import ConnectionFailed
from oci.http import dial as module
from oci.http.dial import dial
from oci.http.exchange import Http
from oci.registry.settings import Settings

Found = list[tuple[int, int, int, str, tuple[object, ...]]]


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


@pytest.fixture
def swallower() -> Iterator[int]:
    """A port that takes no connection and refuses none: its queue is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        full.settimeout(0)
        address = full.getsockname()
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(address)
            fillers.append(filler)
        time.sleep(0.05)
        yield address[1]
        for filler in fillers:
            filler.close()


def names(monkeypatch: pytest.MonkeyPatch, *places: tuple[str, int]) -> None:
    found: Found = [
        (socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))
        for host, port in places
    ]
    monkeypatch.setattr(module.socket, "getaddrinfo", lambda *_: found)


def never() -> bool:
    return False


def test_the_next_address_is_tried_when_one_refuses(monkeypatch: pytest.MonkeyPatch, listener: socket.socket) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        refused = gone.getsockname()[1]
    port = listener.getsockname()[1]
    names(monkeypatch, ("127.0.0.1", refused), ("127.0.0.1", port))
    with dial("h", 0, seconds=5, closing=never) as sock:
        assert sock.getpeername()[1] == port
        assert sock.gettimeout() == 5


def test_an_address_that_swallows_packets_costs_a_moment(
    monkeypatch: pytest.MonkeyPatch, listener: socket.socket, swallower: int
) -> None:
    port = listener.getsockname()[1]
    names(monkeypatch, ("127.0.0.1", swallower), ("127.0.0.1", port))
    began = time.monotonic()
    with dial("h", 0, seconds=10, closing=never) as sock:
        assert sock.getpeername()[1] == port
    assert time.monotonic() - began < 2


def test_the_wait_has_an_end(monkeypatch: pytest.MonkeyPatch, swallower: int) -> None:
    names(monkeypatch, ("127.0.0.1", swallower))
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        dial("h", 0, seconds=0.3, closing=never)
    assert time.monotonic() - began < 2


def test_the_wait_is_ended_from_another_thread(swallower: int) -> None:
    http = Http(Settings(connect_timeout=60))
    threading.Timer(0.3, http.close).start()
    began = time.monotonic()
    with pytest.raises(ConnectionFailed, match="closed by us"):
        http.send("GET", f"http://127.0.0.1:{swallower}/")
    assert time.monotonic() - began < 1.3


def test_a_handshake_that_hangs_is_ended_from_another_thread(listener: socket.socket) -> None:
    http = Http(Settings(connect_timeout=60))
    threading.Timer(0.3, http.close).start()
    began = time.monotonic()
    with pytest.raises(ConnectionFailed, match=r"no connection|closed"):
        http.send("GET", f"https://127.0.0.1:{listener.getsockname()[1]}/")
    assert time.monotonic() - began < 1.3


def test_the_last_refusal_is_told_and_no_address_at_all_is_one_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        refused = gone.getsockname()[1]
    names(monkeypatch, ("127.0.0.1", refused))
    with pytest.raises(ConnectionRefusedError):
        dial("h", 0, seconds=5, closing=never)
    names(monkeypatch)
    with pytest.raises(OSError, match="assign"):
        dial("h", 0, seconds=5, closing=never)


def test_families_take_turns() -> None:
    four, six = socket.AF_INET, socket.AF_INET6
    found: Found = [(six, 1, 6, "", (n,)) for n in range(3)] + [(four, 1, 6, "", (n,)) for n in range(2)]
    assert [address[0] for address in module._in_turns(found)] == [six, four, six, four, six]
