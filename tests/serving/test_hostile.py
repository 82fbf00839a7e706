"""Hostile clients: names that would leave the layout, forged headers, smuggled requests, damaged bodies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from oci.serving import Server
from oci.serving.incoming import length_of, parse_header
from tests.support.calling import OCTETS, Caller, answer, raw
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
            found = answer(server.host, method + b" " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")
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
    found = answer(server.host, head + b"GET /v2/_catalog HTTP/1.1\r\nHost: x\r\n\r\n")
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
    found = answer(server.host, head + body)
    assert found.startswith(b"HTTP/1.1 400 ")
    assert found.count(b"HTTP/1.1 ") == 1


def test_a_chunk_that_claims_to_be_huge_takes_no_memory(server: Server, caller: Caller) -> None:
    target = caller("POST", "/v2/app/blobs/uploads/").location
    head = f"PATCH {target} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    assert b" 400 " in answer(server.host, head + b"7ffffffffffffff\r\nabc").partition(b"\r\n")[0]
    assert caller("GET", target).headers["Range"] == "0-2"


def test_a_client_that_waits_to_be_asked_is_asked_only_when_it_is_welcome(server: Server) -> None:
    head = b"Host: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
    with raw(server.host, b"POST /v2/app/blobs/uploads/?digest=nonsense HTTP/1.1\r\n" + head) as connection:
        first = connection.recv(65536)
        assert first.startswith(b"HTTP/1.1 400 ")
        assert b"Connection: close" in first
    name = digest(b"abc")
    with raw(server.host, b"POST /v2/app/blobs/uploads/?digest=%s HTTP/1.1\r\n" % name.encode() + head) as connection:
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
    found = answer(server.host, one + one + b"GET /v2/_catalog HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert found.count(b"HTTP/1.1 200 OK") == 3
    assert found.endswith(b'{"repositories":[]}')


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


@pytest.mark.parametrize("line", [b"", b": x", b"a b: c", b"a: b\rc", b"a\xff: b", b"a: \x7f"])
def test_a_header_line_that_is_none_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match="Illegal header"):
        parse_header(line)


def test_lengths() -> None:
    assert length_of({}, chunked=False) == 0
    assert length_of({"content-length": "007"}, chunked=False) == 7
    assert length_of({"transfer-encoding": "Chunked"}, chunked=True) is None
