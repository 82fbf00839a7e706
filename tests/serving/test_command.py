"""`ocikit serve`: what it prints, how it ends, and that a kill -9 loses nothing that was acknowledged."""

from __future__ import annotations

import http.client
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from oci.verification.verify import verify
from tests.support.calling import OCTETS, Caller
from tests.support.images import OCI_MANIFEST, digest, encode
from tests.support.peers import ROOT
from tests.support.served import served


def refused(*arguments: object) -> tuple[int, str]:
    """Run a command line that can't work: its exit status and what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "oci", "serve", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=20,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


def wait_until(true: Callable[[], bool]) -> None:
    for _ in range(1000):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("it never came true")


def test_it_says_where_it_listens_and_logs_each_request(tmp_path: Path) -> None:
    with served(tmp_path / "layout") as server:
        with Caller(server.host) as caller:
            caller.push_image("app", "v1")
        assert server.end() == 0
        log = server.log.read_text().splitlines()
    assert "tags without a repository are in layout" in log[0]
    assert any(" PUT /v2/app/manifests/v1 201 0 " in line for line in log)
    assert all(line[:4].isdigit() and line[10] == "T" for line in log[1:])


def test_quiet_is_silent(tmp_path: Path) -> None:
    with served(tmp_path / "layout", "-q") as server:
        with Caller(server.host) as caller:
            caller.push_image("app", "v1")
        server.end()
        assert server.log.read_text() == ""


def test_it_serves_on_when_nobody_reads_its_log_any_more(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "oci", "serve", str(tmp_path / "layout"), "--listen", "127.0.0.1:0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        host = process.stdout.readline().split()[2].removeprefix("http://")
        process.stderr.close()
        connection = http.client.HTTPConnection(host, timeout=10)
        connection.connect()
        first = connection.sock.getsockname()
        for _ in range(3):
            connection.request("GET", "/v2/")
            with connection.getresponse() as answer:
                assert answer.status == 200
                answer.read()
            assert connection.sock.getsockname() == first
        connection.close()
    finally:
        process.terminate()
        status = process.wait(10)
        process.stdout.close()
    assert status == 0


@pytest.mark.parametrize(("how", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_it_ends_within_a_second_whatever_its_clients_do(tmp_path: Path, how: signal.Signals, status: int) -> None:
    with served(tmp_path / "layout") as server, Caller(server.host) as caller:
        target = caller("POST", "/v2/app/blobs/uploads/").location
        host, port = server.host.split(":")
        with socket.create_connection((host, int(port))) as slow, socket.create_connection((host, int(port))):
            slow.sendall(f"PATCH {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc".encode())
            wait_until(lambda: caller("GET", target).headers["Range"] == "0-2")
            started = time.monotonic()
            assert server.end(how) == status
            assert time.monotonic() - started < 2.5  # half a second on an idle machine
    with served(tmp_path / "layout") as server, Caller(server.host) as caller:
        done = caller("PUT", target, b"defghi", {**OCTETS, "Content-Range": "3-8"}, digest=digest(b"abcdefghi"))
        assert done.status == 201


def test_a_request_that_is_under_way_is_still_answered(tmp_path: Path) -> None:
    with served(tmp_path / "layout") as server:
        host, port = server.host.split(":")
        with socket.create_connection((host, int(port)), timeout=10) as client:
            head = (
                f"POST /v2/app/blobs/uploads/?digest={digest(b'abc')} HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n"
            )
            client.sendall(head.encode() + b"a")
            time.sleep(0.1)
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.05)
            client.sendall(b"bc")
            assert client.recv(65536).startswith(b"HTTP/1.1 201 ")
        assert server.process.wait(10) == 0


def test_wrong_usage_is_told_in_one_line(tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    for arguments, words in (
        ((layout, "--listen", "x"), "expected HOST:PORT"),
        ((layout, "--listen", "127.0.0.1:99999"), "expected HOST:PORT"),
        ((layout, "--listen", "::1:5000"), "stands in brackets"),
        ((layout, "--tls-cert", "x"), "belong together"),
        ((layout, "--repository", "No"), "not a repository's name"),
        ((f"oci:{layout}:v1",), "name the layout alone"),
    ):
        status, said = refused(*arguments)
        assert (status, said.count("\n")) == (2, 1)
        assert words in said
    assert not layout.exists()


def test_what_cannot_be_served_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for arguments, words in (
        ((tmp_path / "missing", "--read-only"), "no such directory"),
        ((tmp_path / "file",), "not a directory"),
        ((tmp_path / "new", "--listen", "127.0.0.1:0", "--htpasswd", tmp_path / "none"), "No such file"),
    ):
        status, said = refused(*arguments)
        assert (status, said.count("\n")) == (1, 1)
        assert words in said


def test_a_server_that_cannot_start_leaves_no_layout_behind(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no certificate")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for arguments, words in (
            (("--listen", f"127.0.0.1:{taken.getsockname()[1]}"), "can't listen there: Address already in use"),
            (("--listen", "192.0.2.1:5000"), "can't listen there"),
            (("--listen", "nobody.invalid:5000"), "can't listen there"),
            (("--listen", "a..b:5000"), "can't listen there: not a host's name"),
            (("--listen", "x" * 300 + ":5000"), "can't listen there: not a host's name"),
            (("--tls-cert", tmp_path / "text", "--tls-key", tmp_path / "text"), "no certificate with its key"),
            (("--htpasswd", tmp_path / "text", "--listen", "127.0.0.1:0"), "text:1: expected USER:HASH"),
        ):
            status, said = refused(tmp_path / "new" / "layout", *arguments)
            assert (status, said.count("\n")) == (1, 1)
            assert words in said
    assert os.listdir(tmp_path) == ["text"]


def test_an_address_that_strangers_reach_is_warned_of(tmp_path: Path) -> None:
    with served(tmp_path / "layout", "--listen", "0.0.0.0:0") as server:
        server.end()
        assert "whoever reaches this address can push" in server.log.read_text()


def test_a_server_that_may_open_no_more_files_serves_on_when_clients_went(tmp_path: Path) -> None:
    with served(tmp_path / "layout") as server:
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (40, 40))
        host, port = server.host.split(":")
        crowd = [socket.create_connection((host, int(port))) for _ in range(60)]
        wait_until(lambda: "Too many open files" in server.log.read_text())
        time.sleep(0.2)
        for connection in crowd:
            connection.close()
        with Caller(server.host, timeout=5) as caller:
            assert caller("GET", "/v2/").status == 200
        assert server.log.read_text().count("error: ") == 1


# kill -9


def test_what_was_acknowledged_is_there_after_a_kill(tmp_path: Path) -> None:
    """Pushes until it is killed, many times over; each 201 must be kept, and nothing may be half there."""
    layout = tmp_path / "layout"
    kept: dict[str, str] = {}
    blobs: list[str] = []
    for turn in range(4):
        with served(layout, "-q") as server:
            with Caller(server.host) as caller:
                for tag, name in kept.items():
                    assert caller("HEAD", f"/v2/app/manifests/{tag}").headers["Docker-Content-Digest"] == name
                for name in blobs:
                    assert caller("HEAD", f"/v2/app/blobs/{name}").status == 200
            killer = threading.Timer(0.2 + 0.05 * turn, server.kill)
            killer.start()
            try:
                with Caller(server.host) as caller:
                    for number in range(10_000):
                        data = b"%d-%d" % (turn, number)
                        value = caller.image("app", layer=data)
                        blobs.append(digest(data))
                        raw, tag = encode(value), f"t{turn}-{number}"
                        reply = caller("PUT", f"/v2/app/manifests/{tag}", raw, {"Content-Type": OCI_MANIFEST})
                        assert reply.status == 201
                        kept[tag] = digest(raw)
            except (OSError, http.client.HTTPException):
                pass  # how a client sees that the server is gone
            killer.join()
    assert len(kept) > 3
    report = verify(layout, fast=True)
    assert {finding.code for finding in report.errors} <= {"schema", "config"}


def test_an_upload_goes_on_after_a_kill(tmp_path: Path) -> None:
    data = os.urandom(3 << 20)
    with served(tmp_path / "layout", "-q") as server, Caller(server.host) as caller:
        target = caller("POST", "/v2/app/blobs/uploads/").location
        host, port = server.host.split(":")
        with socket.create_connection((host, int(port))) as client:
            head = f"PATCH {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n"
            client.sendall(head.encode() + data[: 2 << 20])
            wait_until(lambda: caller("GET", target).headers["Range"] != "0-0")
            server.kill()
    with served(tmp_path / "layout", "-q") as server, Caller(server.host) as caller:
        there = int(caller("GET", target).headers["Range"].partition("-")[2]) + 1
        assert 1 < there <= 2 << 20
        rest = {**OCTETS, "Content-Range": f"{there}-{len(data) - 1}"}
        assert caller("PUT", target, data[there:], rest, digest=digest(data)).status == 201
        assert caller("GET", f"/v2/app/blobs/{digest(data)}").body == data
