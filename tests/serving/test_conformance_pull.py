"""The workflow "Pull" of the distribution spec's conformance suite (v1.1.1 conformance/01_pull_test.go), and ranges."""

from __future__ import annotations

import pytest

from tests.support.calling import Caller
from tests.support.images import OCI_MANIFEST, digest

DUMMY = "sha256:" + "0" * 64
ACCEPT = {"Accept": OCI_MANIFEST}


def test_the_base_says_that_this_is_a_registry(caller: Caller) -> None:
    reply = caller("GET", "/v2/")
    assert (reply.status, reply.json) == (200, {})


def test_head_of_a_nonexistent_blob_is_404(caller: Caller) -> None:
    reply = caller("HEAD", f"/v2/app/blobs/{DUMMY}")
    assert (reply.status, reply.body) == (404, b"")


def test_head_of_an_existing_blob_is_200_with_digest_and_size(caller: Caller) -> None:
    name = caller.push_blob("app", b"content")
    reply = caller("HEAD", f"/v2/app/blobs/{name}")
    assert (reply.status, reply.body) == (200, b"")
    assert reply.headers["Docker-Content-Digest"] == name
    assert reply.headers["Content-Length"] == "7"


def test_get_of_a_nonexistent_blob_is_404(caller: Caller) -> None:
    reply = caller("GET", f"/v2/app/blobs/{DUMMY}")
    assert (reply.status, reply.code) == (404, "BLOB_UNKNOWN")


def test_get_of_an_existing_blob_gives_its_bytes(caller: Caller) -> None:
    name = caller.push_blob("app", b"content")
    reply = caller("GET", f"/v2/app/blobs/{name}")
    assert (reply.status, reply.body) == (200, b"content")
    assert reply.headers["Docker-Content-Digest"] == name


@pytest.mark.parametrize("data", [b"", b"{}"], ids=["empty", "empty JSON"])
def test_well_known_small_blobs_are_kept(caller: Caller, data: bytes) -> None:
    name = caller.push_blob("app", data)
    assert caller("HEAD", f"/v2/app/blobs/{name}").headers["Content-Length"] == str(len(data))
    assert caller("GET", f"/v2/app/blobs/{name}").body == data


@pytest.mark.parametrize("reference", ["nope", DUMMY, ".INVALID_MANIFEST_NAME"])  # the last is what the suite asks for
@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_a_nonexistent_manifest_is_404(caller: Caller, method: str, reference: str) -> None:
    caller.push_image("app", "v1")
    reply = caller(method, f"/v2/app/manifests/{reference}", headers=ACCEPT)
    assert reply.status == 404
    if method == "GET":
        assert reply.code == "MANIFEST_UNKNOWN"


def test_pulling_from_a_nonexistent_repository_is_404(caller: Caller) -> None:
    reply = caller("GET", "/v2/nobody/manifests/v1")
    assert (reply.status, reply.code) == (404, "NAME_UNKNOWN")


@pytest.mark.parametrize("by", ["tag", "digest"])
def test_head_of_a_manifest_is_200_with_digest_size_and_type(caller: Caller, by: str) -> None:
    name = caller.push_image("app", "v1")
    reply = caller("HEAD", f"/v2/app/manifests/{'v1' if by == 'tag' else name}", headers=ACCEPT)
    assert (reply.status, reply.body) == (200, b"")
    assert reply.headers["Docker-Content-Digest"] == name
    assert int(reply.headers["Content-Length"]) > 100
    assert reply.headers["Content-Type"] == OCI_MANIFEST


@pytest.mark.parametrize("by", ["tag", "digest"])
def test_get_of_a_manifest_gives_its_exact_bytes(caller: Caller, by: str) -> None:
    raw = b" " + str(caller.image("app")).replace("'", '"').encode() + b"\n"
    name = caller.push_manifest("app", raw, "v1")
    reply = caller("GET", f"/v2/app/manifests/{'v1' if by == 'tag' else name}", headers=ACCEPT)
    assert (reply.status, reply.body) == (200, raw)
    assert reply.headers["Docker-Content-Digest"] == name
    assert reply.headers["Content-Type"] == OCI_MANIFEST


def test_a_manifest_pushed_by_digest_alone_is_pulled_by_digest(caller: Caller) -> None:
    name = caller.push_image("app")
    assert digest(caller("GET", f"/v2/app/manifests/{name}").body) == name


def test_a_digest_that_is_none_is_400_with_the_spec_json(caller: Caller) -> None:
    reply = caller("GET", "/v2/app/manifests/sha256:totallywrong")
    assert (reply.status, reply.code) == (400, "DIGEST_INVALID")


@pytest.mark.parametrize(
    ("asked", "part", "content_range"),
    [
        ("bytes=500-1499", slice(500, 1500), "bytes 500-1499/2048"),
        ("bytes=500-", slice(500, 2048), "bytes 500-2047/2048"),
        ("bytes=-500", slice(1548, 2048), "bytes 1548-2047/2048"),
        ("bytes=2000-5000", slice(2000, 2048), "bytes 2000-2047/2048"),
        ("bytes=0-0", slice(0, 1), "bytes 0-0/2048"),
        ("bytes=-5000", slice(0, 2048), "bytes 0-2047/2048"),
    ],
)
def test_a_range_of_a_blob_is_206_with_just_those_bytes(
    caller: Caller, asked: str, part: slice, content_range: str
) -> None:
    data = bytes(range(256)) * 8
    name = caller.push_blob("app", data)
    reply = caller("GET", f"/v2/app/blobs/{name}", headers={"Range": asked})
    assert (reply.status, reply.body) == (206, data[part])
    assert reply.headers["Content-Range"] == content_range
    assert reply.headers["Content-Length"] == str(len(data[part]))


@pytest.mark.parametrize("asked", ["bytes=500-0", "bytes=5000-10000", "bytes=2048-", "bytes=-0"])
def test_a_range_that_cannot_be_satisfied_is_416(caller: Caller, asked: str) -> None:
    name = caller.push_blob("app", b"x" * 2048)
    reply = caller("GET", f"/v2/app/blobs/{name}", headers={"Range": asked})
    assert reply.status == 416
    assert reply.headers["Content-Range"] == "bytes */2048"


@pytest.mark.parametrize("asked", ["bytes=0-1,5-6", "lines=1-2", "bytes=x-y", "bytes", "bytes=99999999999999999999-"])
def test_a_range_that_is_not_understood_gives_the_whole(caller: Caller, asked: str) -> None:
    name = caller.push_blob("app", b"whole")
    reply = caller("GET", f"/v2/app/blobs/{name}", headers={"Range": asked})
    assert (reply.status, reply.body) == (200, b"whole")


def test_a_range_counts_only_while_the_content_is_the_one_that_if_range_names(caller: Caller) -> None:
    name = caller.push_blob("app", b"0123456789")
    etag = caller("HEAD", f"/v2/app/blobs/{name}").headers["ETag"]
    same = caller("GET", f"/v2/app/blobs/{name}", headers={"Range": "bytes=5-", "If-Range": etag})
    other = caller("GET", f"/v2/app/blobs/{name}", headers={"Range": "bytes=5-", "If-Range": '"other"'})
    assert (same.status, same.body, other.status, other.body) == (206, b"56789", 200, b"0123456789")


def test_what_the_client_has_already_is_304_without_a_body(caller: Caller) -> None:
    name = caller.push_image("app", "v1")
    etag = caller("GET", "/v2/app/manifests/v1").headers["ETag"]
    reply = caller("GET", "/v2/app/manifests/v1", headers={"If-None-Match": f'"x", {etag}'})
    assert (reply.status, reply.body, etag) == (304, b"", f'"{name}"')
    assert caller("GET", "/v2/app/manifests/v1", headers={"If-None-Match": '"x"'}).status == 200
