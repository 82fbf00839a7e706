"""Slow clients, silent ones, and many at once: each is bounded in time, and none keeps the others waiting."""

from __future__ import annotations

import select
import socket
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from oci.errors import InvalidDocument, OciError
from oci.serving import Server
from oci.serving.incoming import GRACE, MIN_RATE, Pace
from oci.serving.pushing import LARGE
from oci.serving.sockets import THREADS
from oci.spec.document import parse_document
from tests.support.calling import Caller, raw


def test_a_head_that_comes_too_slowly_is_cut_off(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oci.serving.sockets.HEAD_TIME", 0.3)
    with raw(server.host, b"GET /v2/ HTTP/1.1\r\n") as connection:
        started, ended = time.monotonic(), False
        while not ended and time.monotonic() - started < 5:
            time.sleep(0.05)
            try:
                connection.sendall(b"X: y\r\n")
            except OSError:
                ended = True
        assert ended


@pytest.mark.parametrize("sent", [b"3\r\nabc", b"3\r\nabc\r", b"3\r\nabc\r\n", b"3\r\nabc\r\n5"])
def test_a_chunked_body_that_stops_anywhere_is_408_and_no_error_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr("oci.serving.gateway.STALL", 0.2)
    monkeypatch.setattr("oci.serving.gateway.LINGER", 0.1)
    lines: list[str] = []
    with Server(tmp_path / "layout", log=lines.append) as server, Caller(server.host) as caller:
        target = caller("POST", "/v2/app/blobs/uploads/").location
        head = f"PATCH {target} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        with raw(server.host, head + sent) as connection:
            assert connection.recv(65536).startswith(b"HTTP/1.1 408 ")
    assert not any(line.startswith("error") for line in lines)


@pytest.mark.parametrize("start", [b"", b"1;x=", b"0\r\nX: "])
def test_the_lines_of_a_chunked_body_must_keep_the_pace_too(
    server: Server, caller: Caller, monkeypatch: pytest.MonkeyPatch, start: bytes
) -> None:
    monkeypatch.setattr("oci.serving.incoming.GRACE", 0.2)
    monkeypatch.setattr("oci.serving.gateway.LINGER", 0.1)
    target = caller("POST", "/v2/app/blobs/uploads/").location
    head = f"PATCH {target} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    with raw(server.host, head + start) as connection:
        connection.settimeout(0.05)
        found, turn = b"", 0
        while not found and turn < 60:  # three seconds
            turn += 1
            connection.sendall(b"0")
            with suppress(TimeoutError):
                found = connection.recv(65536)
    assert found.startswith(b"HTTP/1.1 408 ")


def test_a_client_that_reads_a_long_answer_too_slowly_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oci.serving.incoming.GRACE", 0.2)
    monkeypatch.setattr("oci.serving.incoming.MIN_RATE", 10 << 20)
    monkeypatch.setattr("oci.serving.exchange.json.dumps", lambda *_, **__: "x" * (12 << 20))
    lines: list[str] = []
    with Server(tmp_path / "layout", log=lines.append) as server:
        host, port = server.host.split(":")
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect((host, int(port)))
            connection.sendall(b"GET /v2/_catalog HTTP/1.1\r\nHost: x\r\n\r\n")
            got, started = 0, time.monotonic()
            while not lines and time.monotonic() - started < 8:  # it is logged when it is over
                got += len(connection.recv(65536))
                time.sleep(0.02)
        assert got < 4 << 20
    assert [line.split()[1:3] for line in lines] == [["GET", "/v2/_catalog"]]


def test_a_body_that_stops_coming_is_408(server: Server, caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oci.serving.gateway.STALL", 0.2)
    monkeypatch.setattr("oci.serving.gateway.LINGER", 0.1)
    target = caller("POST", "/v2/app/blobs/uploads/").location
    head = f"PATCH {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n".encode()
    with raw(server.host, head + b"abc") as connection:
        assert connection.recv(65536).startswith(b"HTTP/1.1 408 ")
    assert caller("GET", target).headers["Range"] == "0-2"


def test_a_client_that_stops_reading_is_cut_off(
    server: Server, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oci.serving.gateway.STALL", 0.1)
    data = b"x" * (24 << 20)  # more than the kernel's buffers take
    name = caller.push_blob("app", data)
    with raw(server.host, f"GET /v2/app/blobs/{name} HTTP/1.1\r\nHost: x\r\n\r\n".encode()) as connection:
        time.sleep(1.5)
        got = 0
        try:
            while part := connection.recv(1 << 20):
                got += len(part)
        except ConnectionResetError:
            pass
    assert got < len(data)
    assert caller("GET", f"/v2/app/blobs/{name}").body == data


def test_a_transfer_must_keep_a_pace() -> None:
    now = [0.0]
    pace = Pace(lambda: now[0])
    for _ in range(100):  # twice the least rate, for hours
        now[0] += 60
        pace.moved(2 * 60 * MIN_RATE)
    slow = Pace(lambda: now[0])
    slow.moved(1)
    now[0] += GRACE - 1
    slow.moved(1)
    now[0] += 2
    with pytest.raises(TimeoutError):
        slow.moved(1)


def test_idle_connections_keep_nobody_out(server: Server, caller: Caller) -> None:
    host, port = server.host.split(":")
    idle = [socket.create_connection((host, int(port))) for _ in range(100)]
    try:
        for connection in idle:
            connection.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
        for connection in idle:
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert caller("GET", "/v2/").status == 200
    finally:
        for connection in idle:
            connection.close()


@pytest.mark.parametrize("said", [b"", b"GET /v2/"])
def test_clients_that_say_nothing_or_half_a_head_keep_nobody_waiting(
    server: Server, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr("oci.serving.sockets.HURRY", 0.3)
    host, port = server.host.split(":")
    silent = [socket.create_connection((host, int(port))) for _ in range(THREADS + 20)]
    try:
        for connection in silent:
            connection.sendall(said)
        time.sleep(0.1)
        with Caller(server.host, timeout=3) as caller:
            assert caller("GET", "/v2/").status == 200
    finally:
        for connection in silent:
            connection.close()


def test_what_finds_no_place_in_the_queue_is_told_so_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oci.serving.sockets.THREADS", 1)
    monkeypatch.setattr("oci.serving.sockets.MAX_WAITING", 1)
    lines: list[str] = []
    with Server(tmp_path / "layout", log=lines.append) as server:
        with Caller(server.host) as caller:
            target = caller("POST", "/v2/app/blobs/uploads/").location
        body = f"PATCH {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc".encode()
        time.sleep(0.2)  # the end of that connection has been seen
        with raw(server.host, body), ExitStack() as waiting:
            time.sleep(0.2)  # and this one has the only thread
            sent = b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n"
            crowd = [waiting.enter_context(raw(server.host, sent)) for _ in range(3)]
            found, until = list[bytes](), time.monotonic() + 5
            while len(found) < 2 and time.monotonic() < until:  # one of the three waits
                for connection in select.select(crowd, [], [], 0.1)[0]:
                    found.append(connection.recv(65536))
                    crowd.remove(connection)
    assert len(found) >= 2
    for reply in found:
        assert reply.startswith(b"HTTP/1.1 503 ")
        assert b'"TOOMANYREQUESTS"' in reply
    assert not any(line.startswith("error") for line in lines)


def test_large_manifests_are_taken_one_by_one_and_small_ones_pass_them(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, most, largest = [0], [0], threading.Event()
    small_is_done = threading.Event()

    def parse(raw: bytes, media_type: str | None) -> Any:
        if len(raw) < LARGE:
            return parse_document(raw, media_type)
        inside[0] += 1
        most[0] = max(inside[0], most[0])
        largest.set()
        small_is_done.wait(5)
        inside[0] -= 1
        raise InvalidDocument("not this one")

    monkeypatch.setattr("oci.serving.pushing.parse_document", parse)

    def push() -> None:
        with Caller(server.host) as caller:
            assert caller("PUT", "/v2/app/manifests/large", b" " * (LARGE + 1)).status == 400

    threads = [threading.Thread(target=push) for _ in range(4)]
    for thread in threads:
        thread.start()
    largest.wait(5)
    with Caller(server.host, timeout=4) as caller:
        caller.push_image("app", "small")
    small_is_done.set()
    for thread in threads:
        thread.join()
    assert most == [1]


def test_many_clients_at_once_are_answered(server: Server) -> None:
    failures: list[object] = []

    def work(number: int) -> None:
        try:
            with Caller(server.host) as caller:
                for turn in range(5):
                    pushed = caller.push_image(f"app{number % 3}", f"t{number}-{turn}", layer=b"%d" % turn)
                    assert caller("HEAD", f"/v2/app{number % 3}/manifests/{pushed}").status == 200
        except (OSError, OciError, AssertionError) as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with Caller(server.host) as caller:
        tags = [tag for number in range(3) for tag in caller("GET", f"/v2/app{number}/tags/list").json["tags"]]
    assert len(tags) == 60
