"""A registry that lies, stalls, sends without an end or speaks no HTTP, pulled from through the library.

Each case: one clear error in bounded time, nothing kept at the destination but what was verified, and no secret in what
is said. Waiting is injected; the wall clock is only asked whether it all came to an end.
"""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import json
from pathlib import Path

import pytest

from oci.errors import (
    ConnectionFailed,
    DigestMismatch,
    OciError,
    RegistryError,
)
from oci.registry.connect import connect
from oci.spec.digest import Digest
from tests.support.commands import digests_of
from tests.support.hostile import (
    LOGIN,
    attacked,
    endless,
    in_time,
    name,
    one_clear_line,
    wants_token,
)
from tests.support.images import OCI_INDEX, OCI_MANIFEST, encode, index
from tests.support.library import pull, registry_ref, settings
from tests.support.scripted import Answer, Request, ScriptedServer
from tests.support.shelf import JSON, Shelf, refused

# What is served is not what was asked for


def test_a_manifest_with_another_digest_than_asked_for(server: ScriptedServer, shelf: Shelf, victim: Path) -> None:
    wanted = next(one for one in shelf.manifests if one.startswith("sha256:"))
    server.on(
        "GET", r"/v2/app/manifests/.*", headers={"Content-Type": OCI_MANIFEST}, body=shelf.manifests["v1"][1] + b" "
    )
    shelf.serve(server)
    with in_time(), pytest.raises(DigestMismatch):
        pull(f"docker://{server.host}/app@{wanted}", victim)
    assert set(digests_of(victim)) == {"mine"}


def test_a_docker_content_digest_that_is_not_the_bodys(server: ScriptedServer, shelf: Shelf, victim: Path) -> None:
    kind, raw = shelf.manifests["v1"]
    headers = {"Content-Type": kind, "Docker-Content-Digest": "sha256:" + "0" * 64}
    server.on("GET", r"/v2/app/manifests/.*", headers=headers, body=raw)
    shelf.serve(server)
    attacked(server, victim)


@pytest.mark.parametrize("said", ["sha256:short", "md5:" + "0" * 32, "\x01", "sha256:" + "g" * 64, "x" * 5000])
def test_a_docker_content_digest_that_is_none(server: ScriptedServer, shelf: Shelf, victim: Path, said: str) -> None:
    kind, raw = shelf.manifests["v1"]
    server.on("GET", r"/v2/app/manifests/.*", headers={"Content-Type": kind, "Docker-Content-Digest": said}, body=raw)
    shelf.serve(server)
    try:
        with in_time():
            pull(name(server), victim)
    except OciError as error:  # either: what it says may be ignored, the bytes are held against nothing but a tag
        one_clear_line(error)


@pytest.mark.parametrize("change", ["flipped", "shorter", "longer", "empty", "endless"])
def test_a_blob_that_is_not_what_its_descriptor_says(
    server: ScriptedServer, shelf: Shelf, victim: Path, change: str
) -> None:
    largest = max(shelf.blobs, key=lambda one: len(shelf.blobs[one]))
    data = shelf.blobs[largest]
    bent = {
        "flipped": Answer(body=data[:-1] + bytes([data[-1] ^ 1])),
        "shorter": Answer(body=data[:-1]),
        "longer": Answer(body=data + b"x"),
        "empty": Answer(),
        "endless": Answer(body=endless(), chunked=True),
    }[change]
    server.on("GET", f"/v2/app/blobs/{largest}", bent)
    shelf.serve(server)
    error = attacked(server, victim)
    assert largest in str(error) or largest[7:19] in str(error)
    assert not (victim / "blobs/sha256" / largest[7:]).exists()


@pytest.mark.parametrize("length", [0, 1, 299_000, 10**15, 10**30])
def test_a_content_length_that_lies(server: ScriptedServer, shelf: Shelf, victim: Path, length: int) -> None:
    largest = max(shelf.blobs, key=lambda one: len(shelf.blobs[one]))
    server.on("GET", f"/v2/app/blobs/{largest}", body=shelf.blobs[largest], length=length, close=True)
    shelf.serve(server)
    attacked(server, victim)


@pytest.mark.parametrize("text", ["-1", "12, 13", "ten", "0x10", "+5", "1e3", "5 5"])
def test_a_content_length_that_is_no_number(server: ScriptedServer, shelf: Shelf, victim: Path, text: str) -> None:
    kind, raw = shelf.manifests["v1"]
    server.on(
        "GET", r"/v2/app/manifests/.*", headers={"Content-Type": kind, "Content-Length": text}, body=raw, close=True
    )
    shelf.serve(server)
    try:
        with in_time():
            pull(name(server), victim)
    except OciError as error:
        one_clear_line(error)


# Documents


def _documents() -> dict[str, tuple[str, bytes]]:
    own = "sha256:" + "5" * 64
    history = [{"v1Compatibility": "{}"}]
    first = {"schemaVersion": 1, "name": "app", "tag": "v1", "fsLayers": [{"blobSum": own}], "history": history}
    twice = b'{"schemaVersion":2,"mediaType":"%b","config":{},"config":{},"layers":[]}' % OCI_MANIFEST.encode()
    return {
        "html": ("text/html", b"<html><body>Please log in to the Wi-Fi</body></html>"),
        "html that says it is a manifest": (OCI_MANIFEST, b"<html></html>"),
        "nothing": (OCI_MANIFEST, b""),
        "a number": (OCI_MANIFEST, b"17"),
        "names twice": (OCI_MANIFEST, twice),
        "not a number": (OCI_MANIFEST, b'{"schemaVersion":2,"config":NaN,"layers":[]}'),
        "deep": (OCI_MANIFEST, b'{"schemaVersion":2,"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
        "schema 1": ("application/vnd.docker.distribution.manifest.v1+json", encode(first)),
        "schema 1, signed": ("application/vnd.docker.distribution.manifest.v1+prettyjws", encode(first)),
        "schema 1 under no name": ("application/json", encode(first)),
        "five megabytes": (OCI_MANIFEST, b'{"schemaVersion":2,"x":"' + b"x" * (5 << 20) + b'"}'),
        "media type with an escape": ("application/\x1b[31mred", b"{}"),
    }


@pytest.mark.parametrize("what", list(_documents()))
def test_a_manifest_that_is_none(server: ScriptedServer, victim: Path, what: str) -> None:
    kind, raw = _documents()[what]
    server.on("GET", r"/v2/app/manifests/v1", headers={"Content-Type": kind}, body=raw)
    server.on("GET", r"/v2/app/manifests/.*", refused(404, "MANIFEST_UNKNOWN"))
    server.on(".*", r"/v2/app/.*", refused(404, "BLOB_UNKNOWN"))
    server.on("GET", r"/v2/", headers=JSON, body=b"{}")
    error = attacked(server, victim)
    if "schema 1" in what:
        assert "schema" in str(error).lower()
    assert len(server.requests) < 20


@pytest.mark.parametrize("count", [1, 10_000])
def test_an_index_of_thousands_costs_as_many_requests_as_one(server: ScriptedServer, victim: Path, count: int) -> None:
    """One image is wanted of it: the others are nobody's business."""
    platform = {"os": "linux", "architecture": "amd64"}
    children = [
        {"mediaType": OCI_MANIFEST, "digest": f"sha256:{n:064x}", "size": 9, "platform": platform} for n in range(count)
    ]
    server.on("GET", r"/v2/app/manifests/v1", headers={"Content-Type": OCI_INDEX}, body=encode(index(children)))
    server.on(".*", r"/v2/app/.*", refused(404, "MANIFEST_UNKNOWN"))
    server.on("GET", r"/v2/", headers=JSON, body=b"{}")
    attacked(server, victim, platform="linux/amd64")
    assert len(server.requests) < 5


def test_an_index_that_names_what_is_not_there_keeps_to_what_is(server: ScriptedServer, victim: Path) -> None:
    """Its own name, say: nobody can make a document that holds its own digest, so there is no such child."""
    pointer = {"mediaType": OCI_INDEX, "digest": "sha256:" + "5" * 64, "size": 300}
    server.on("GET", r"/v2/app/manifests/v1", headers={"Content-Type": OCI_INDEX}, body=encode(index([pointer])))
    server.on("GET", r"/v2/app/manifests/.*", refused(404, "MANIFEST_UNKNOWN"))
    warnings: list[str] = []
    with in_time():
        pull(name(server), victim, settings(warn=warnings.append))
    assert len(warnings) == 1
    assert "5" * 64 in warnings[0]
    assert len(server.requests) < 6


def test_an_index_whose_child_is_the_index_again(server: ScriptedServer, victim: Path) -> None:
    """Whatever digest is asked for, the same bytes come: a walk without an end, if digests were not checked."""
    pointer = {"mediaType": OCI_INDEX, "digest": "sha256:" + "5" * 64, "size": 300}
    server.on("GET", r"/v2/app/manifests/.*", headers={"Content-Type": OCI_INDEX}, body=encode(index([pointer])))
    server.on("GET", r"/v2/", headers=JSON, body=b"{}")
    attacked(server, victim)
    assert len(server.requests) < 10


# Bodies without an end, or with less than they say


@pytest.mark.parametrize("framing", ["chunked", "until_close", "length"])
def test_a_manifest_without_an_end(server: ScriptedServer, victim: Path, framing: str) -> None:
    how = {"chunked": {"chunked": True}, "until_close": {"until_close": True}, "length": {"length": 10**18}}[framing]
    answer = Answer(headers={"Content-Type": OCI_MANIFEST}, body=endless(), **how)  # type: ignore[arg-type]
    server.on("GET", r"/v2/app/manifests/.*", answer)
    server.on("GET", r"/v2/", headers=JSON, body=b"{}")
    attacked(server, victim)


def test_an_error_without_an_end(server: ScriptedServer, victim: Path) -> None:
    server.on("GET", r"/v2/app/manifests/.*", Answer(400, JSON, endless(), chunked=True))
    server.on("GET", r"/v2/", headers=JSON, body=b"{}")
    attacked(server, victim, kind=RegistryError)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503])
def test_an_error_of_a_megabyte_of_escape_codes(server: ScriptedServer, victim: Path, status: int) -> None:
    """CVE-class: terminal escapes and forged lines in what a server says (CWE-150)."""
    words = "\x1b[2J\x1b]0;owned\x07\r\nerror: all is well\n" + "\x9b31m" * 200_000
    body = json.dumps({"errors": [{"code": "\x1b[31mDENIED", "message": words, "detail": words}] * 3}).encode()
    server.on(".*", r"/v2/app/.*", Answer(status, {**JSON, "WWW-Authenticate": 'Basic realm="\x1b[31m"'}, body))
    server.on("GET", r"/v2/", headers=JSON, body=b"{}")
    attacked(server, victim)


@pytest.mark.parametrize("what", ["manifest", "token"])
def test_an_answer_that_is_cut_short_each_time(server: ScriptedServer, shelf: Shelf, victim: Path, what: str) -> None:
    if what == "manifest":
        kind, raw = shelf.manifests["v1"]
        server.on("GET", r"/v2/app/manifests/.*", Answer(headers={"Content-Type": kind}, body=raw, cut_after=20))
    else:
        wants_token(server)
        server.on("GET", r"/token", Answer(headers=JSON, body=b'{"token":"abcdefgh"}', cut_after=5))
    shelf.serve(server)
    attacked(server, victim)
    assert len(server.requests) < 60


def test_a_blob_that_is_cut_after_no_byte_each_time(server: ScriptedServer, shelf: Shelf, victim: Path) -> None:
    server.on("GET", r"/v2/app/blobs/.*", lambda request: dataclasses.replace(shelf.answer(request), cut_after=0))
    shelf.serve(server)
    attacked(server, victim, kind=ConnectionFailed)
    assert len(server.requests) < 60


def test_a_blob_that_comes_by_the_byte_and_is_cut_each_time(server: ScriptedServer, shelf: Shelf, victim: Path) -> None:
    """Each connection makes progress, by one byte: 300,000 of them would be a day's work."""

    server.on("GET", r"/v2/app/blobs/.*", lambda request: dataclasses.replace(shelf.answer(request), cut_after=1))
    shelf.serve(server)
    attacked(server, victim)
    assert len(server.requests) < 3000


@pytest.mark.parametrize(
    "said", ["bytes 0-99/100", "bytes 7-/300000", "bytes x", "bytes 200000-100000/300000", "", "7"]
)
def test_a_content_range_that_is_another(server: ScriptedServer, shelf: Shelf, victim: Path, said: str) -> None:
    largest = max(shelf.blobs, key=lambda one: len(shelf.blobs[one]))
    data = shelf.blobs[largest]

    def answer(request: Request) -> Answer:
        if "range" not in request.headers:
            return Answer(headers={"Accept-Ranges": "bytes", "ETag": '"x"'}, body=data, cut_after=100_000)
        return Answer(206, {"Content-Range": said}, data[7:])

    server.on("GET", f"/v2/app/blobs/{largest}", answer)
    shelf.serve(server)
    attacked(server, victim)


@pytest.mark.parametrize("place", ["manifest", "blob", "token"])
def test_a_bomb_by_content_encoding(server: ScriptedServer, shelf: Shelf, victim: Path, place: str) -> None:
    """A gigabyte of zeros in a megabyte, as the transfer's compression; we ask for identity and take nothing else."""
    bomb = gzip.compress(bytes(64 << 20), 9)
    headers = {"Content-Type": OCI_MANIFEST, "Content-Encoding": "gzip"}
    if place == "token":
        wants_token(server)
    pattern = {"manifest": r"/v2/app/manifests/.*", "blob": r"/v2/app/blobs/.*", "token": "/token"}[place]
    server.on("GET", pattern, headers=headers, body=bomb)
    shelf.serve(server)
    attacked(server, victim)
    assert all(request.headers.get("accept-encoding") == "identity" for request in server.requests)


# Slowness


@pytest.mark.parametrize("place", ["manifest", "blob"])
def test_a_body_that_stops_in_the_middle(server: ScriptedServer, shelf: Shelf, victim: Path, place: str) -> None:
    pattern = {"manifest": r"/v2/app/manifests/.*", "blob": r"/v2/app/blobs/.*"}[place]
    server.on("GET", pattern, lambda request: dataclasses.replace(shelf.answer(request), stall_after=10))
    shelf.serve(server)
    attacked(server, victim, settings(login=LOGIN, stall_timeout=0.2, attempts=3), kind=ConnectionFailed)


def test_headers_that_come_by_the_byte(server: ScriptedServer, shelf: Shelf, victim: Path) -> None:
    """Slow loris: each byte comes well before the time-out, the head never ends."""
    raw = b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(2000)) + b"\r\n"
    server.on("GET", r"/v2/app/manifests/.*", Answer(raw=raw, drip=(1, 0.05)))
    shelf.serve(server)
    attacked(server, victim, settings(login=LOGIN, stall_timeout=0.3, attempts=2))


@pytest.mark.parametrize("place", ["manifest", "token"])
def test_a_short_body_that_comes_by_the_byte(server: ScriptedServer, shelf: Shelf, victim: Path, place: str) -> None:
    """Slow loris again: a document is small, so its time is bounded as a whole, whatever the bytes' own pace is."""
    if place == "token":
        wants_token(server)
    pattern = {"manifest": r"/v2/app/manifests/.*", "token": "/token"}[place]
    body = b'{"schemaVersion":2,"token":"' + b"x" * 3000
    server.on("GET", pattern, Answer(headers={"Content-Type": OCI_MANIFEST}, body=body, drip=(1, 0.02)))
    shelf.serve(server)
    attacked(server, victim, settings(login=LOGIN, stall_timeout=0.2, attempts=2))


def test_a_server_that_takes_the_connection_and_says_nothing(server: ScriptedServer, victim: Path) -> None:
    server.on(".*", ".*", Answer(delay=3600))
    attacked(server, victim, settings(login=LOGIN, stall_timeout=0.2, attempts=3), kind=ConnectionFailed)


# HTTP that is none


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\r\n\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 99999 X\r\n\r\n",
        b"HTTP/1.1 -200 OK\r\n\r\n",
        b"HTTP/1.1 2x0 OK\r\n\r\n",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"A" * 200_000,
        b"HTTP/1.1 200 " + b"A" * 200_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"A" * 200_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(10_000)) + b"\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 100_000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 206 Partial Content\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 300 Choices\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 307 Away\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000,
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 20_000,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\xff\xfe\x00\x00" * 100,
    ],
    ids=lambda raw: repr(raw[:40]),
)
def test_an_answer_that_is_no_http(server: ScriptedServer, victim: Path, raw: bytes) -> None:
    server.on("GET", r"/v2/app/manifests/.*", Answer(raw=raw, close=True))
    server.on("GET", r"/v2/", headers=JSON, body=b"{}")
    attacked(server, victim)
    assert len(server.requests) < 30


def test_digests_are_checked_by_both_algorithms(server: ScriptedServer, shelf: Shelf) -> None:
    """A sha512 reference is held against the bytes too, whatever the registry says of sha256."""
    _, raw = shelf.manifests["v1"]
    server.on("GET", r"/v2/app/manifests/.*", headers={"Content-Type": OCI_MANIFEST}, body=raw)
    right = "sha512:" + hashlib.sha512(raw).hexdigest()
    with connect(registry_ref(name(server)), settings()) as found:
        assert found[0].manifest(Digest.parse(right)).raw == raw
        with pytest.raises(DigestMismatch):
            found[0].manifest(Digest.parse("sha512:" + "0" * 128))
