"""Hostile clients: names that would leave the layout, forged headers, smuggled requests, slow and endless bodies."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from oci.errors import OciError
from oci.serving import Server
from oci.serving.incoming import GRACE, MIN_RATE, Pace, length_of, parse_header
from oci.serving.sockets import THREADS
from tests.support.calling import OCTETS, Caller
from tests.support.images import digest

HOSTILE = [
    "/v2/../../etc/passwd",
    "/v2/app/../../../etc/manifests/v1",
    "/v2/app%2f..%2f..%2fetc/manifests/v1",
    "/v2/..%2fapp/tags/list",
    "/v2/app/manifests/..%2f..%2fx",
    "/v2/app/manifests/%2e%2e",
    "/v2/app/blobs/sha256:..%2f..%2f..%2findex.json",
    "/v2/app/blobs/../../index.json",
    "/v2/app/blobs/uploads/..%2f..%2findex.json",
    "/v2/app/blobs/uploads/%2e%2e",
    "/v2/app%00/tags/list",
    "/v2/app%0d%0aX-Evil:%20yes/tags/list",
    "/v2/app/manifests/v1%0d%0aX-Evil:%20yes",
    "/v2/app/referrers/sha256:%0d%0aX-Evil:yes",
    "/v2/.ocikit-serve/tags/list",
    "/v2/app/blobs/sha256+x:" + "a" * 400,
    "/v2/app/manifests/x:" + "a" * 300,
    "/v2/app/blobs/uploads/" + "x" * 5000,
    "/v2/" + "a/" * 500 + "b/tags/list",
    "/v2/" + "a" * 300 + "/tags/list",
    "/v2/caf%C3%A9/tags/list",
    "/v2/%ff%fe/tags/list",
    "//v2/app/tags/list",
]


@contextmanager
def raw(server: Server, data: bytes) -> Iterator[socket.socket]:
    host, port = server.host.split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(data)
        yield connection


def answer(server: Server, data: bytes) -> bytes:
    """Everything that comes back, until the server ends the connection."""
    with raw(server, data) as connection:
        connection.shutdown(socket.SHUT_WR)
        found = b""
        while part := connection.recv(65536):
            found += part
        return found


def listing(layout: Path) -> list[str]:
    return sorted(str(path.relative_to(layout)) for path in layout.rglob("*"))


@pytest.mark.parametrize("target", HOSTILE)
def test_a_name_that_is_none_is_refused_and_touches_nothing(
    server: Server, caller: Caller, tmp_path: Path, target: str
) -> None:
    before = listing(tmp_path / "layout")
    for method in ("GET", "PUT", "POST", "PATCH", "DELETE"):
        reply = caller(method, target, b"{}")
        assert 400 <= reply.status < 500
        assert reply.headers["X-Evil"] is None
    assert listing(tmp_path / "layout") == before
    assert not (tmp_path / "etc").exists()


@pytest.mark.parametrize("name", ["v1", "a/b", "tags", "blobs/uploads", "manifests/x", "a/manifests/b"])
def test_a_repository_may_be_called_like_an_endpoint(caller: Caller, name: str) -> None:
    pushed = caller.push_image(name, "v1")
    assert caller("GET", f"/v2/{name}/tags/list").json == {"name": name, "tags": ["v1"]}
    assert caller("HEAD", f"/v2/{name}/manifests/{pushed}").status == 200


def test_what_a_client_says_ends_no_header_and_no_log_line(tmp_path: Path) -> None:
    lines: list[str] = []
    with Server(tmp_path / "layout", log=lines.append) as server, Caller(server.host) as caller:
        caller.push_image("app", "v1")
        reply = caller("GET", "/v2/app/tags/list?n=1&last=%0d%0aX-Evil:%20yes", headers={"User-Agent": "x\x9b31m"})
        assert reply.headers["X-Evil"] is None
        caller("GET", "/v2/app%0aerror:%20forged/tags/list")
        caller(
            "GET", f"/v2/app/referrers/{digest(b'')}?artifactType=a%0d%0aX-Evil:%20yes&n=0", headers={"User-Agent": "y"}
        )
    assert all(line.isprintable() for line in lines)
    assert not any(line.startswith("error") for line in lines)


@pytest.mark.parametrize("target", [b"//[", b"//[::1/v2/", b"http://[/", b"[", b"*", b"/%", b"/%5b%5B", b"//"])
def test_a_target_that_is_no_url_is_the_clients_fault_and_no_error_of_ours(tmp_path: Path, target: bytes) -> None:
    lines: list[str] = []
    with Server(tmp_path / "layout", log=lines.append) as server:
        for method in (b"GET", b"OPTIONS"):
            found = answer(server, method + b" " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            assert found.startswith(b"HTTP/1.1 4")
    assert not any(line.startswith("error") for line in lines)


def test_credentials_are_not_logged(tmp_path: Path) -> None:
    lines: list[str] = []
    with Server(tmp_path / "layout", log=lines.append) as server, Caller(server.host) as caller:
        caller("GET", "/v2/", headers={"Authorization": "Basic c2VjcmV0OnBhc3N3b3Jk"})
    assert lines
    assert "c2VjcmV0" not in "".join(lines)


@pytest.mark.parametrize(
    "head",
    [
        b"GET /v2/ HTTP/1.1\nHost: x\n\n",
        b"GET /v2/ HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost: x\x00y\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET /v2/\r\n\r\n",
        b"GET http://elsewhere/v2/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http:/v2/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET elsewhere:80 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT elsewhere:80 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v2/#x HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v2/_cata\tlog HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v2/_cata\rlog HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v2/\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v2/\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET  /v2/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"G\x00T /v2/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"get /v2/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v2/ HTTP/1. 1\r\nHost: x\r\n\r\n",
        b"GET /v2/ HTTP/01.1\r\nHost: x\r\n\r\n",
        b"GET /v2/ HTTP/1.1\t\r\nHost: x\r\n\r\n",
        b"GET /v2/ HTTP/9.9\r\nHost: x\r\n\r\n",
        b"\r\n\r\nGET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nAccept: x\r\n\r\n",
        b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"POST /v2/a/blobs/uploads/ HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\nx",
        b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1_0\r\n\r\nx",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /v2/ HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(200)) + b"\r\n",
        b"GET /v2/ HTTP/1.1\r\nX: " + b"y" * 40000 + b"\r\n\r\n",
        b"GET /v2/" + b"y" * 40000 + b" HTTP/1.1\r\n\r\n",
    ],
)
def test_a_request_that_could_be_understood_in_two_ways_is_refused_and_ends_the_connection(
    server: Server, head: bytes
) -> None:
    found = answer(server, head + b"GET /v2/_catalog HTTP/1.1\r\nHost: x\r\n\r\n")
    assert found.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5"))
    assert found.count(b"HTTP/1.1 ") == 1
    assert b"repositories" not in found


@pytest.mark.parametrize(
    "body",
    [
        b"zz\r\n\r\n",
        b"-1\r\nx\r\n0\r\n\r\n",
        b"5\r\nabc\r\n0\r\n\r\n",
        b"3\nabc\r\n0\r\n\r\n",
        b"3\r\nabcX0\r\n\r\n",
        b"fffffffffffffffff\r\n",
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b"3;" + b"x" * 1000 + b"\r\nabc\r\n0\r\n\r\n",
        b"3\r\nabc\r\n0\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
        b"3\r\nabc\r\n",
    ],
)
def test_a_chunked_body_that_is_damaged_is_400(server: Server, caller: Caller, body: bytes) -> None:
    target = caller("POST", "/v2/app/blobs/uploads/").location
    head = f"PATCH {target} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    found = answer(server, head + body)
    assert found.startswith(b"HTTP/1.1 400 ")
    assert found.count(b"HTTP/1.1 ") == 1


def test_a_chunk_that_claims_to_be_huge_takes_no_memory(server: Server, caller: Caller) -> None:
    target = caller("POST", "/v2/app/blobs/uploads/").location
    head = f"PATCH {target} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    assert b" 400 " in answer(server, head + b"7ffffffffffffff\r\nabc").partition(b"\r\n")[0]
    assert caller("GET", target).headers["Range"] == "0-2"


def test_a_client_that_waits_to_be_asked_is_asked_only_when_it_is_welcome(server: Server) -> None:
    head = b"Host: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
    with raw(server, b"POST /v2/app/blobs/uploads/?digest=nonsense HTTP/1.1\r\n" + head) as connection:
        first = connection.recv(65536)
        assert first.startswith(b"HTTP/1.1 400 ")
        assert b"Connection: close" in first
    name = digest(b"abc")
    with raw(server, b"POST /v2/app/blobs/uploads/?digest=%s HTTP/1.1\r\n" % name.encode() + head) as connection:
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"abc")
        assert connection.recv(65536).startswith(b"HTTP/1.1 201 ")


def test_a_connection_is_used_on_after_an_error_with_a_small_body(caller: Caller) -> None:
    for _ in range(3):
        reply = caller("PATCH", "/v2/app/blobs/uploads/00000000-0000-4000-8000-000000000000", b"x" * 1000, OCTETS)
        assert (reply.status, reply.headers["Connection"]) == (404, None)


def test_a_client_that_sends_a_large_unwanted_body_still_sees_the_answer(caller: Caller) -> None:
    reply = caller("PATCH", "/v2/app/blobs/uploads/00000000-0000-4000-8000-000000000000", b"x" * (8 << 20), OCTETS)
    assert (reply.status, reply.headers["Connection"]) == (404, "close")
    assert caller("GET", "/v2/").status == 200


def test_several_requests_in_one_packet_are_answered_in_order(server: Server) -> None:
    one = b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n"
    found = answer(server, one + one + b"GET /v2/_catalog HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert found.count(b"HTTP/1.1 200 OK") == 3
    assert found.endswith(b'{"repositories":[]}')


def test_a_head_that_comes_too_slowly_is_cut_off(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oci.serving.sockets.HEAD_TIME", 0.3)
    with raw(server, b"GET /v2/ HTTP/1.1\r\n") as connection:
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
        with raw(server, head + sent) as connection:
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
    with raw(server, head + start) as connection:
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
    with raw(server, head + b"abc") as connection:
        assert connection.recv(65536).startswith(b"HTTP/1.1 408 ")
    assert caller("GET", target).headers["Range"] == "0-2"


def test_a_client_that_stops_reading_is_cut_off(
    server: Server, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oci.serving.gateway.STALL", 0.1)
    data = b"x" * (24 << 20)  # more than the kernel's buffers take
    name = caller.push_blob("app", data)
    with raw(server, f"GET /v2/app/blobs/{name} HTTP/1.1\r\nHost: x\r\n\r\n".encode()) as connection:
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
        with raw(server, body), ExitStack() as waiting:
            time.sleep(0.2)
            found = []
            for _ in range(3):
                connection = waiting.enter_context(raw(server, b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n"))
                connection.settimeout(0.3)
                with suppress(TimeoutError):
                    found.append(connection.recv(65536))
    assert len(found) >= 2  # one may wait; the end of the first connection waits too
    for reply in found:
        assert reply.startswith(b"HTTP/1.1 503 ")
        assert b'"TOOMANYREQUESTS"' in reply
    assert not any(line.startswith("error") for line in lines)


def test_a_blob_that_is_damaged_on_disk_is_no_manifest_and_no_endless_body(
    server: Server, caller: Caller, tmp_path: Path
) -> None:
    name = caller.push_image("app", "v1")
    (tmp_path / "layout/blobs" / name.replace(":", "/")).write_bytes(b"{}")
    reply = caller("GET", "/v2/app/manifests/v1")
    assert (reply.status, reply.code) == (500, "UNKNOWN")
    blob = digest(b"layer")
    path = tmp_path / "layout/blobs" / blob.replace(":", "/")
    path.unlink()
    os.mkfifo(path)
    assert caller("GET", f"/v2/app/blobs/{blob}").status in (404, 500)


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


@pytest.mark.parametrize("line", [b"", b": x", b"a b: c", b"a: b\rc", b"a\xff: b", b"a: \x7f"])
def test_a_header_line_that_is_none_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match="Illegal header"):
        parse_header(line)


def test_lengths() -> None:
    assert length_of({}, chunked=False) == 0
    assert length_of({"content-length": "007"}, chunked=False) == 7
    assert length_of({"transfer-encoding": "Chunked"}, chunked=True) is None
