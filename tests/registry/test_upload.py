"""Uploads against a scripted registry: every way the spec has, and what happens when one is turned down or cut off."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from oci.errors import (
    AuthenticationFailed,
    ConnectionFailed,
    DigestMismatch,
    ProtocolViolation,
    RegistryRefused,
    SizeMismatch,
)
from oci.layout.blobs import Content
from oci.registry import upload as uploads
from oci.registry.client import Client
from oci.registry.mounts import mount
from oci.registry.repository import Repository
from oci.registry.settings import Settings
from oci.registry.upload import Uploader, put_blob
from oci.spec.descriptor import Descriptor
from oci.spec.digest import Digest
from tests.support.scripted import Answer, Request, ScriptedServer
from tests.support.shelf import Shelf, refused

BIG = bytes(range(256)) * 2048  # 512 KiB: more than goes with a POST
SMALL = b"small enough"
MIB = 1 << 20


class Registry:
    """A scripted server with a shelf behind it, and our client of it; `slept` are the pauses that were made."""

    def __init__(self, server: ScriptedServer, repository: Repository, slept: list[float]) -> None:
        self.server, self.repository, self.slept = server, repository, slept
        self.shelf = Shelf()

    def on(self, *rule: object, **more: object) -> None:
        self.server.on(*rule, **more)  # type: ignore[arg-type]

    def asked(self) -> list[str]:
        """METHOD and path of each request, the queries and the names of uploads left out."""
        return [f"{one.method} {self._short(one.path)}" for one in self.server.requests]

    @staticmethod
    def _short(path: str) -> str:
        path, _, query = path.partition("?")
        return re.sub("upload-[0-9-]+", "ID", path.removeprefix("/v2/app/blobs/uploads/")) + (
            "?digest" if "digest=" in query else ""
        )

    def sizes(self, method: str) -> list[int]:
        return [len(one.body) for one in self.server.requests if one.method == method]

    def put(self, data: bytes, content: Content | None = None, descriptor: Descriptor | None = None) -> None:
        self.shelf.serve(self.server)
        put_blob(self.repository, descriptor or of(data), content or holding(data))


@pytest.fixture
def registry() -> Iterator[Registry]:
    slept: list[float] = []
    with ScriptedServer() as server, Client(server.host, Settings(sleep=slept.append, plain_http=True)) as client:
        yield Registry(server, Repository(client, "app"), slept)


def of(data: bytes, algorithm: str = "sha256") -> Descriptor:
    return Descriptor(media_type="application/octet-stream", digest=Digest.of(data, algorithm), size=len(data))


def holding(data: bytes, piece: int = 50_000) -> Content:
    @contextmanager
    def opened() -> Iterator[Iterator[bytes]]:
        yield (data[at : at + piece] for at in range(0, len(data), piece))

    return opened


# The ways of the spec


def test_a_small_blob_goes_with_one_request(registry: Registry) -> None:
    registry.put(SMALL)
    assert registry.asked() == ["POST ?digest"]
    (post,) = registry.server.requests
    assert (post.body, post.headers["content-length"]) == (SMALL, str(len(SMALL)))
    assert post.headers["content-type"] == "application/octet-stream"
    assert post.path.endswith(f"?digest=sha256%3A{Digest.of(SMALL).encoded}")
    assert registry.shelf.blobs == {str(Digest.of(SMALL)): SMALL}


def test_a_registry_that_begins_an_upload_instead_is_not_asked_for_this_again(registry: Registry) -> None:
    registry.on("POST", r"/v2/app/blobs/uploads/\?digest=.*", _begun_by_post(registry))
    registry.shelf.serve(registry.server)
    uploader = Uploader(registry.repository)
    for data in (SMALL, b"another"):
        uploader.put(of(data), holding(data))
    assert registry.asked() == ["POST ?digest", "PUT ID?digest", "POST ", "PUT ID?digest"]
    assert set(registry.shelf.blobs.values()) == {SMALL, b"another"}


def _begun_by_post(registry: Registry) -> object:
    def answer(request: Request) -> Answer:
        registry.shelf.uploads["upload-9"] = bytearray()
        return Answer(202, {"Location": "/v2/app/blobs/uploads/upload-9?_state=0"})

    return answer


@pytest.mark.parametrize("status", [400, 404, 405, 411, 501])
def test_a_registry_that_refuses_content_with_a_post_gets_it_in_two_steps(registry: Registry, status: int) -> None:
    registry.on("POST", r"/v2/app/blobs/uploads/\?digest=.*", status=status)
    registry.put(SMALL)
    assert registry.asked() == ["POST ?digest", "POST ", "PUT ID?digest"]
    assert registry.slept == []


def test_a_large_blob_goes_in_one_put_to_the_location_with_its_query_kept(registry: Registry) -> None:
    registry.put(BIG)
    post, put = registry.server.requests
    assert (post.method, post.path, post.headers["content-length"]) == ("POST", "/v2/app/blobs/uploads/", "0")
    assert put.path == f"/v2/app/blobs/uploads/upload-0-0?_state=0&digest=sha256%3A{Digest.of(BIG).encoded}"
    assert put.headers["content-length"] == str(len(BIG))
    assert "transfer-encoding" not in put.headers
    assert put.body == BIG


def test_a_location_may_be_absolute(registry: Registry) -> None:
    registry.shelf.location = lambda path: registry.server.url + path
    registry.put(BIG)
    assert registry.asked() == ["POST ", "PUT ID?digest"]


def test_an_empty_blob_is_a_blob(registry: Registry) -> None:
    registry.on("POST", r"/v2/app/blobs/uploads/\?digest=.*", status=405)
    registry.put(b"")
    assert registry.shelf.blobs == {str(Digest.of(b"")): b""}
    assert registry.server.requests[-1].headers["content-length"] == "0"


def test_another_algorithm_is_said_when_the_upload_begins(registry: Registry) -> None:
    descriptor = of(BIG, "sha512")
    registry.put(BIG, descriptor=descriptor)
    post, put = registry.server.requests
    assert post.path == "/v2/app/blobs/uploads/?digest-algorithm=sha512"
    assert put.path.endswith(f"digest=sha512%3A{descriptor.digest.encoded}")
    assert registry.shelf.blobs == {str(descriptor.digest): BIG}


# Chunks


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "CHUNK_SIZE", 200_000)
    monkeypatch.setattr(uploads, "LEAST_CHUNK", 40_000)


@pytest.mark.parametrize("refusal", [Answer(413), Answer(405), refused(400, "UNSUPPORTED")])
def test_a_refused_put_is_followed_by_chunks(registry: Registry, small_chunks: None, refusal: Answer) -> None:
    registry.on("PUT", r"/v2/app/.*", refusal, times=1)
    registry.put(BIG)
    assert registry.asked() == [
        "POST ",
        "PUT ID?digest",
        "DELETE ID",
        "POST ",
        *["PATCH ID"] * 3,
        "PUT ID?digest",
    ]
    patches = [one for one in registry.server.requests if one.method == "PATCH"]
    assert [one.headers["content-range"] for one in patches] == ["0-199999", "200000-399999", "400000-524287"]
    assert [one.path.rpartition("=")[2] for one in patches] == ["0", "200000", "400000"]  # each its own Location
    assert "content-range" not in registry.server.requests[-1].headers
    assert registry.server.requests[-1].body == b""
    assert registry.shelf.blobs == {str(Digest.of(BIG)): BIG}


def test_chunks_keep_to_the_least_length_that_the_registry_names(registry: Registry, small_chunks: None) -> None:
    registry.shelf.min_chunk = 300_000
    registry.on("PUT", r"/v2/app/.*", status=413, times=1)
    registry.put(BIG)
    assert registry.sizes("PATCH") == [300_000, len(BIG) - 300_000]


def test_chunks_that_are_too_long_become_shorter(registry: Registry, small_chunks: None) -> None:
    registry.on("PUT", r"/v2/app/.*", status=413, times=1)
    registry.on("PATCH", r"/v2/app/.*", lambda seen: _at_most(60_000, seen, registry))
    registry.put(BIG)
    assert set(registry.sizes("PATCH")) == {200_000, 100_000, 50_000, len(BIG) % 50_000}
    assert registry.shelf.blobs == {str(Digest.of(BIG)): BIG}


def _at_most(limit: int, seen: Request, registry: Registry) -> Answer:
    return Answer(413) if len(seen.body) > limit else registry.shelf.answer(seen)


def test_chunks_of_any_length_refused_are_an_error(registry: Registry, small_chunks: None) -> None:
    registry.on("PUT|PATCH", r"/v2/app/.*", status=413)
    with pytest.raises(RegistryRefused) as raised:
        registry.put(BIG)
    assert raised.value.status == 413
    assert registry.sizes("PATCH") == [200_000, 100_000, 50_000]
    assert registry.shelf.uploads == {}


def test_a_chunk_that_was_taken_in_part_goes_on_from_there(registry: Registry, small_chunks: None) -> None:
    registry.on("PUT", r"/v2/app/.*", status=413, times=1)

    def partly(seen: Request) -> Answer:
        return registry.shelf.answer(Request(seen.method, seen.path, {}, seen.body[:150_000], seen.connection))

    registry.on("PATCH", r"/v2/app/.*", partly)
    registry.put(BIG)
    patches = [one.headers["content-range"] for one in registry.server.requests if one.method == "PATCH"]
    assert patches == ["0-199999", "150000-349999", "300000-499999", "450000-524287"]
    assert registry.shelf.blobs == {str(Digest.of(BIG)): BIG}


# Cuts and faults


def _keeps_then_cuts(registry: Registry, count: int) -> object:
    """Take so many bytes of a request's body, then hang up."""

    def answer(seen: Request) -> Answer:
        name = seen.path.partition("?")[0].rpartition("/")[2]
        registry.shelf.uploads[name] += seen.body[:count]
        return Answer(hang_up=True)

    return answer


def test_a_cut_upload_goes_on_from_where_the_registry_is(registry: Registry) -> None:
    registry.on("PUT", r"/v2/app/.*", _keeps_then_cuts(registry, 300_000), times=1)
    registry.put(BIG)
    assert registry.asked() == ["POST ", "PUT ID?digest", "GET ID", "PATCH ID", "PUT ID?digest"]
    patch = registry.server.requests[3]
    assert patch.headers["content-range"] == "300000-524287"
    assert patch.body == BIG[300_000:]
    assert registry.shelf.blobs == {str(Digest.of(BIG)): BIG}
    assert len(registry.slept) == 1


def test_an_upload_that_can_not_say_how_far_it_is_begins_anew(registry: Registry) -> None:
    registry.on("PUT", r"/v2/app/.*", _keeps_then_cuts(registry, 300_000), times=1)
    registry.on("GET", r"/v2/app/.*", refused(400, "BLOB_UPLOAD_INVALID"))
    registry.put(BIG)
    assert registry.asked() == ["POST ", "PUT ID?digest", "GET ID", "DELETE ID", "POST ", "PUT ID?digest"]
    assert registry.shelf.blobs == {str(Digest.of(BIG)): BIG}


def test_an_upload_that_ran_out_begins_anew(registry: Registry) -> None:
    registry.on("PUT", r"/v2/app/.*", refused(404, "BLOB_UPLOAD_UNKNOWN"), times=1)
    registry.put(BIG)
    assert registry.asked() == ["POST ", "PUT ID?digest", "POST ", "PUT ID?digest"]


def test_a_range_that_does_not_fit_is_followed_by_the_question_which_does(
    registry: Registry, small_chunks: None
) -> None:
    registry.on("PUT", r"/v2/app/.*", status=413, times=1)
    registry.on("PATCH", r"/v2/app/.*", _taken_but_refused(registry), times=1)
    registry.put(BIG)
    ranges = [one.headers["content-range"] for one in registry.server.requests if one.method == "PATCH"]
    assert ranges == ["0-199999", "200000-399999", "400000-524287"]
    assert "GET ID" in registry.asked()
    assert registry.shelf.blobs == {str(Digest.of(BIG)): BIG}


def _taken_but_refused(registry: Registry) -> object:
    def answer(seen: Request) -> Answer:
        registry.shelf.answer(seen)
        return Answer(416)

    return answer


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_passing_fault_is_waited_for(registry: Registry, status: int) -> None:
    registry.on("PUT", r"/v2/app/.*", status=status, times=2)
    registry.put(BIG)
    assert registry.asked().count("PUT ID?digest") == 3
    assert len(registry.slept) == 2
    assert registry.slept[1] > registry.slept[0] / 2
    assert registry.shelf.uploads == {}


def test_the_attempts_come_to_an_end(registry: Registry) -> None:
    registry.on("PUT|PATCH", r"/v2/app/.*", hang_up=True)
    with pytest.raises(ConnectionFailed):
        registry.put(BIG)
    assert len(registry.sizes("PUT|PATCH")) == 0
    assert sum(one.method in ("PUT", "PATCH") for one in registry.server.requests) == 5
    assert registry.shelf.blobs == {}


def test_progress_begins_the_count_of_attempts_anew(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "CHUNK_SIZE", 1 << 20)
    registry.on("PUT|PATCH", r"/v2/app/.*", _keeps_then_cuts(registry, 60_000), times=8)
    registry.put(BIG)
    assert registry.shelf.blobs == {str(Digest.of(BIG)): BIG}


def test_a_refusal_is_an_error_at_once_and_the_upload_is_cancelled(registry: Registry) -> None:
    registry.on("PUT", r"/v2/app/.*", refused(403, "DENIED", "quota exceeded"))
    with pytest.raises(AuthenticationFailed, match="quota exceeded"):
        registry.put(BIG)
    assert registry.asked() == ["POST ", "PUT ID?digest", "DELETE ID"]
    assert registry.shelf.uploads == {}


def test_that_an_upload_can_not_be_cancelled_is_no_matter(registry: Registry) -> None:
    registry.on("PUT", r"/v2/app/.*", refused(403, "DENIED", "quota exceeded"))
    registry.on("DELETE", r"/v2/app/.*", hang_up=True)
    with pytest.raises(AuthenticationFailed, match="quota exceeded"):
        registry.put(BIG)


# Lies


@pytest.mark.parametrize(
    ("said", "error"), [(BIG[:-1] + b"!", DigestMismatch), (BIG[:-1], SizeMismatch), (BIG + b"!", SizeMismatch)]
)
def test_a_source_that_lies_leaves_nothing(registry: Registry, said: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        registry.put(BIG, holding(said))
    assert registry.shelf.blobs == {}
    assert "DELETE ID" in registry.asked()
    assert registry.slept == []


def test_a_small_lie_is_not_even_sent(registry: Registry) -> None:
    with pytest.raises(DigestMismatch):
        registry.put(SMALL, holding(SMALL[:-1] + b"!"))
    assert registry.asked() == []


@pytest.mark.parametrize("error", [OSError("the disk"), ConnectionFailed("https://source/", "was cut")])
def test_a_fault_of_the_source_is_told_as_it_is_and_nothing_is_repeated(registry: Registry, error: Exception) -> None:
    @contextmanager
    def broken() -> Iterator[Iterator[bytes]]:
        def chunks() -> Iterator[bytes]:
            yield BIG[:100_000]
            raise error

        yield chunks()

    with pytest.raises(type(error)) as raised:
        registry.put(BIG, broken)
    assert raised.value is error
    assert sum(one.startswith("POST") for one in registry.asked()) == 1
    assert registry.slept == []


@pytest.mark.parametrize("data", [SMALL, BIG])
def test_a_registry_that_stored_something_else_is_not_believed(registry: Registry, data: bytes) -> None:
    other = {"Docker-Content-Digest": str(Digest.of(b"other"))}
    registry.on("PUT", r"/v2/app/.*", status=201, headers=other)
    registry.on("POST", r"/v2/app/blobs/uploads/\?digest=.*", status=201, headers=other)
    with pytest.raises(ProtocolViolation, match="says that it has"):
        registry.put(data)


@pytest.mark.parametrize(
    "location",
    [
        "",
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "http://user:secret@127.0.0.1/x",
        "http://[::1/x",
        "/v2/a b",
        "/" * 20_000,
        "http://h:999999/",
    ],
)
def test_a_location_that_is_none_is_refused(registry: Registry, location: str) -> None:
    registry.on("POST", r"/v2/app/.*", status=202, headers={"Location": location} if location else {})
    with pytest.raises(ProtocolViolation, match="Location") as raised:
        registry.put(BIG)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("text", ["5-9", "0-99999999999999999999", "0-9999999999999999999", "many", "0-1048576"])
def test_a_range_that_can_not_be_leads_to_no_more_than_the_attempts(
    registry: Registry, small_chunks: None, text: str
) -> None:
    registry.on("PUT", r"/v2/app/.*", status=413, times=1)
    registry.on("PATCH", r"/v2/app/.*", status=202, headers={"Location": "/v2/app/blobs/uploads/x", "Range": text})
    registry.on("PUT", r"/v2/app/.*", refused(404, "BLOB_UPLOAD_UNKNOWN"))
    with pytest.raises((ProtocolViolation, ConnectionFailed, RegistryRefused)):
        registry.put(BIG)
    assert len(registry.server.requests) < 40


# Mounts


def test_a_mount_takes_one_request(registry: Registry) -> None:
    registry.shelf.blobs[str(Digest.of(BIG))] = BIG
    registry.shelf.serve(registry.server)
    assert mount(registry.repository, Digest.of(BIG), "team/base") is None
    (post,) = registry.server.requests
    assert post.path == f"/v2/app/blobs/uploads/?mount=sha256%3A{Digest.of(BIG).encoded}&from=team%2Fbase"
    assert registry.shelf.mounts == [("team/base", str(Digest.of(BIG)))]


def test_a_mount_of_something_else_is_not_believed(registry: Registry) -> None:
    other = {"Docker-Content-Digest": str(Digest.of(b"other")), "Location": "/v2/app/blobs/other"}
    registry.on("POST", r"/v2/app/blobs/uploads/\?mount=.*", status=201, headers=other)
    with pytest.raises(ProtocolViolation, match="says that it has"):
        mount(registry.repository, Digest.of(BIG), "base")


def test_a_mount_that_is_no_mount_is_an_upload_begun(registry: Registry) -> None:
    registry.shelf.takes_mounts = False
    registry.shelf.serve(registry.server)
    started = mount(registry.repository, Digest.of(BIG), "base")
    assert started is not None
    put_blob(registry.repository, of(BIG), holding(BIG), started=started)
    assert registry.asked() == ["POST ", "PUT ID?digest"]


@pytest.mark.parametrize("status", [400, 403, 404, 405])
def test_a_mount_that_is_an_error_is_followed_by_a_plain_upload(registry: Registry, status: int) -> None:
    registry.on("POST", r"/v2/app/blobs/uploads/\?mount=.*", status=status)
    registry.shelf.serve(registry.server)
    assert mount(registry.repository, Digest.of(BIG), "base") is not None
    assert registry.asked() == ["POST ", "POST "]


def test_a_mount_asks_for_the_rights_to_both_repositories(registry: Registry) -> None:
    challenge = f'Bearer realm="{registry.server.url}/token",service="x"'
    registry.on("GET", r"/token", body=b'{"token":"t"}', headers={"Content-Type": "application/json"})
    registry.on("POST", r"/v2/app/.*", status=401, headers={"WWW-Authenticate": challenge}, times=1)
    registry.shelf.serve(registry.server)
    mount(registry.repository, Digest.of(BIG), "base")
    (token,) = (one.path for one in registry.server.requests if one.path.startswith("/token"))
    scopes = sorted(word for word in re.split("[?&]", token.replace("%3A", ":").replace("%2C", ",")) if "scope" in word)
    assert scopes == ["scope=repository:app:pull,push", "scope=repository:base:pull"]
