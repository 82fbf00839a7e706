"""A registry that lies or leads astray while something is pushed to it: one error, in time, and no tag is moved."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from oci.errors import OciError
from oci.registry.settings import Settings
from tests.support.hostile import LOGIN, PASSWORD, in_time, name, one_clear_line
from tests.support.images import LayoutMaker, tar_layer
from tests.support.library import push, settings
from tests.support.scripted import Answer, Request, ScriptedServer
from tests.support.shelf import Shelf, refused

OTHER_DIGEST = "sha256:" + "0" * 64


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    maker = LayoutMaker(tmp_path_factory.mktemp("image") / "layout")
    maker.tag("v1", maker.image([tar_layer({"etc/": None}), tar_layer({"data": os.urandom(400_000)})]))
    return maker.finish()


def fails(server: ScriptedServer, image: Path, how: Settings | None = None, *, requests: int = 150) -> str:
    """Push, which has to fail."""
    with in_time(), pytest.raises(OciError) as caught:
        push(image, name(server), how or settings())
    assert len(server.requests) < requests
    return one_clear_line(caught.value)


def test_a_manifest_that_was_stored_as_another(server: ScriptedServer, shelf: Shelf, image: Path) -> None:
    lie = {"Location": "/v2/app/manifests/x", "Docker-Content-Digest": OTHER_DIGEST}
    server.on("PUT", r"/v2/app/manifests/.*", status=201, headers=lie)
    shelf.serve(server)
    assert OTHER_DIGEST in fails(server, image)


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_blob_that_was_stored_as_another(server: ScriptedServer, shelf: Shelf, image: Path, method: str) -> None:
    lie = {"Location": "/x", "Docker-Content-Digest": OTHER_DIGEST}
    server.on(method, r"/v2/app/blobs/uploads/.*", status=201, headers=lie)
    shelf.serve(server)
    fails(server, image)
    assert "v1" not in shelf.manifests


@pytest.mark.parametrize(
    "place",
    [
        None,
        "",
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "http://user:pass@127.0.0.1:1/x",
        "http://",
        "http://[",
        "http://127.0.0.1:99999/",
        "http://a b/",
        "/" + "x" * 70_000,
    ],
    ids=lambda place: repr(place)[:30],
)
def test_an_upload_that_goes_to_nowhere(server: ScriptedServer, shelf: Shelf, image: Path, place: str | None) -> None:
    headers = {"Range": "0-0"} if place is None else {"Location": place}
    server.on("POST", r"/v2/app/blobs/uploads/.*", status=202, headers=headers)
    shelf.serve(server)
    fails(server, image)
    assert "v1" not in shelf.manifests


@pytest.mark.parametrize(
    "status", [200, 202, 204, 206, 301, 302, 303, 307, 400, 401, 404, 405, 411, 413, 416, 500, 503]
)
def test_whatever_is_always_answered_to_the_bytes_of_a_blob(
    server: ScriptedServer, shelf: Shelf, image: Path, status: int
) -> None:
    """Also without having read them, as servers do that turn down a body for its length."""
    server.on(
        "PUT|PATCH", r"/v2/app/blobs/.*", Answer(status, {"Location": "/v2/app/blobs/uploads/x"}, before_body=True)
    )
    shelf.serve(server)
    fails(server, image)
    assert "v1" not in shelf.manifests


@pytest.mark.parametrize("said", ["0-999999999", "5-10", "bytes x", "0--1", "0-" + "9" * 300, ""])
def test_a_range_of_an_upload_that_is_nonsense(server: ScriptedServer, shelf: Shelf, image: Path, said: str) -> None:
    def patch(request: Request) -> Answer:
        answer = shelf.answer(request)
        assert isinstance(answer.headers, dict)
        return dataclasses.replace(answer, headers={**answer.headers, "Range": said})

    server.on("PUT", r"/v2/app/blobs/.*", lambda r: refused(413, "SIZE_INVALID") if r.body else shelf.answer(r))
    server.on("PATCH", ".*", patch)
    shelf.serve(server)
    try:
        with in_time():
            push(image, name(server))
    except OciError as error:
        one_clear_line(error)
        assert "v1" not in shelf.manifests
    assert len(server.requests) < 150


@pytest.mark.parametrize("said", ["9" * 30, "-1", "many", str(1 << 62), "0"])
def test_a_least_length_of_chunks_that_nobody_can_send(
    server: ScriptedServer, shelf: Shelf, image: Path, said: str
) -> None:
    """Nothing is allocated by a number of the server's."""

    def start(request: Request) -> Answer:
        answer = shelf.answer(request)
        assert isinstance(answer.headers, dict)
        return dataclasses.replace(answer, headers={**answer.headers, "OCI-Chunk-Min-Length": said})

    server.on("POST", r"/v2/app/blobs/uploads/", start)
    server.on("PUT", r"/v2/app/blobs/.*", lambda r: refused(413, "SIZE_INVALID") if r.body else shelf.answer(r))
    shelf.serve(server)
    with in_time():
        push(image, name(server))
    assert "v1" in shelf.manifests


def test_an_upload_that_is_sent_in_circles(server: ScriptedServer, shelf: Shelf, image: Path) -> None:
    server.on("PUT|PATCH", r"/circle", Answer(307, {"Location": "/circle"}))
    server.on("PUT|PATCH", r"/v2/app/blobs/.*", Answer(307, {"Location": "/circle"}))
    shelf.serve(server)
    fails(server, image)


def test_a_server_that_stops_reading(server: ScriptedServer, shelf: Shelf, tmp_path: Path) -> None:
    """More than the system's buffers hold, and nobody takes it."""
    maker = LayoutMaker(tmp_path / "large")
    maker.tag("v1", maker.image([tar_layer({"data": os.urandom(20 << 20)}, media_type=_PLAIN)]))
    server.on("PUT|PATCH", r"/v2/app/blobs/.*", Answer(before_body=True, ignore_body=True))
    shelf.serve(server)
    fails(server, maker.finish(), settings(stall_timeout=0.3, attempts=2))
    assert "v1" not in shelf.manifests


def test_a_login_is_not_told_when_a_push_is_refused(server: ScriptedServer, shelf: Shelf, image: Path) -> None:
    """A registry that says back what it was sent."""
    server.on(
        "POST|PUT", ".*", lambda r: refused(403, "DENIED", f"you sent {r.headers.get('authorization')} {PASSWORD}")
    )
    server.on(".*", ".*", refused(401, "UNAUTHORIZED", WWW_Authenticate='Basic realm="x"'), times=1)
    shelf.serve(server)
    fails(server, image, settings(login=LOGIN))


_PLAIN = "application/vnd.oci.image.layer.v1.tar"
