"""The workflow "Content Management" of the conformance suite (distribution-spec conformance/04_management_test.go)."""

from __future__ import annotations

import pytest

from oci.serving.exchange import CODES, Refusal
from tests.support.calling import Caller
from tests.support.images import OCI_INDEX, OCI_MANIFEST, descriptor, digest, encode, index

DUMMY = "sha256:" + "0" * 64


def tags(caller: Caller) -> list[str]:
    found: list[str] = caller("GET", "/v2/app/tags/list").json["tags"]
    return found


def test_a_deleted_tag_is_gone_and_its_manifest_is_not(caller: Caller) -> None:
    name = caller.push_image("app", "v1")
    caller.push_image("app", "v2")
    assert caller("DELETE", "/v2/app/manifests/v1").status == 202
    assert caller("GET", "/v2/app/manifests/v1").status == 404
    assert caller("GET", f"/v2/app/manifests/{name}").status == 200
    assert tags(caller) == ["v2"]


def test_the_last_tag_of_a_manifest_may_go_too(caller: Caller) -> None:
    name = caller.push_image("app", "v1")
    caller("DELETE", "/v2/app/manifests/v1")
    assert caller("HEAD", f"/v2/app/manifests/{name}").status == 200
    assert tags(caller) == []


def test_a_deleted_manifest_is_gone_with_all_its_tags(caller: Caller) -> None:
    name = caller.push_image("app", "v1")
    caller.push_image("app", "same")
    other = caller.push_image("app", "other", layer=b"other")
    assert caller("DELETE", f"/v2/app/manifests/{name}").status == 202
    for reference in (name, "v1", "same"):
        assert caller("GET", f"/v2/app/manifests/{reference}").status == 404
    assert tags(caller) == ["other"]
    assert caller("GET", f"/v2/app/manifests/{other}").status == 200


@pytest.mark.parametrize("reference", ["nope", DUMMY, ".no-tag"])
def test_deleting_what_is_not_there_is_404(caller: Caller, reference: str) -> None:
    caller.push_image("app", "v1")
    reply = caller("DELETE", f"/v2/app/manifests/{reference}")
    assert (reply.status, reply.code) == (404, "MANIFEST_UNKNOWN")
    reply = caller("DELETE", f"/v2/nobody/manifests/{reference}")
    assert (reply.status, reply.code) == (404, "NAME_UNKNOWN")


def test_a_deleted_manifest_can_be_pushed_again(caller: Caller) -> None:
    raw = encode(caller.image("app"))
    name = caller.push_manifest("app", raw, "v1")
    caller("DELETE", f"/v2/app/manifests/{name}")
    caller.push_manifest("app", raw, "v1")
    assert caller("GET", "/v2/app/manifests/v1").body == raw


def test_a_deleted_blob_is_gone(caller: Caller) -> None:
    name = caller.push_blob("app", b"content")
    assert caller("DELETE", f"/v2/app/blobs/{name}").status == 202
    for method in ("GET", "HEAD", "DELETE"):
        assert caller(method, f"/v2/app/blobs/{name}").status == 404
    caller.push_blob("app", b"content")
    assert caller("GET", f"/v2/app/blobs/{name}").body == b"content"


def test_deleting_a_blob_that_is_not_there_is_404(caller: Caller) -> None:
    reply = caller("DELETE", f"/v2/app/blobs/{DUMMY}")
    assert (reply.status, reply.code) == (404, "BLOB_UNKNOWN")


def test_a_blob_that_a_manifest_needs_is_not_deleted(caller: Caller) -> None:
    manifest = caller.push_image("app", "v1", layer=b"needed")
    reply = caller("DELETE", f"/v2/app/blobs/{digest(b'needed')}")
    assert (reply.status, reply.code) == (405, "UNSUPPORTED")
    assert caller("GET", f"/v2/app/blobs/{digest(b'needed')}").body == b"needed"
    caller("DELETE", f"/v2/app/manifests/{manifest}")
    assert caller("DELETE", f"/v2/app/blobs/{digest(b'needed')}").status == 202


def test_a_blob_deleted_in_one_repository_stays_in_another(caller: Caller) -> None:
    for repository in ("app", "other"):
        caller.push_blob(repository, b"shared")
    caller("DELETE", f"/v2/app/blobs/{digest(b'shared')}")
    assert caller("GET", f"/v2/other/blobs/{digest(b'shared')}").body == b"shared"


def test_an_image_of_an_index_is_not_deleted_before_the_index(caller: Caller) -> None:
    image = encode(caller.image("app"))
    caller.push_manifest("app", image)
    whole = caller.push_manifest("app", index([descriptor(image, OCI_MANIFEST)]), "v1", OCI_INDEX)
    reply = caller("DELETE", f"/v2/app/manifests/{digest(image)}")
    assert (reply.status, reply.code) == (405, "UNSUPPORTED")
    assert caller("DELETE", f"/v2/app/manifests/{whole}").status == 202
    assert caller("GET", f"/v2/app/manifests/{digest(image)}").body == image
    assert caller("DELETE", f"/v2/app/manifests/{digest(image)}").status == 202
    assert caller("GET", f"/v2/app/manifests/{digest(image)}").status == 404


def test_a_tag_that_moves_leaves_the_manifest_that_it_had(caller: Caller) -> None:
    first = caller.push_image("app", "latest", layer=b"first")
    second = caller.push_image("app", "latest", layer=b"second")
    assert caller("HEAD", "/v2/app/manifests/latest").headers["Docker-Content-Digest"] == second
    assert caller("GET", f"/v2/app/manifests/{first}").status == 200
    assert tags(caller) == ["latest"]


@pytest.mark.parametrize(
    ("method", "target", "allowed"),
    [
        ("POST", "/v2/app/blobs/" + DUMMY, {"GET", "HEAD", "DELETE"}),
        ("PATCH", "/v2/app/manifests/v1", {"GET", "HEAD", "PUT", "DELETE"}),
        ("DELETE", "/v2/app/tags/list", {"GET", "HEAD"}),
        ("GET", "/v2/app/blobs/uploads/", {"POST"}),
        ("BREW", "/v2/", {"GET", "HEAD"}),
    ],
)
def test_a_method_that_an_endpoint_does_not_have_is_405(
    caller: Caller, method: str, target: str, allowed: set[str]
) -> None:
    reply = caller(method, target)
    assert (reply.status, reply.code) == (405, "UNSUPPORTED")
    assert set(reply.headers["Allow"].split(", ")) == allowed


def test_the_codes_are_the_specs() -> None:
    """spec.md#error-codes; UNKNOWN, which is none of them, goes with 5xx only: the spec's list is for 4XX."""
    spec = """BLOB_UNKNOWN BLOB_UPLOAD_INVALID BLOB_UPLOAD_UNKNOWN DIGEST_INVALID MANIFEST_BLOB_UNKNOWN MANIFEST_INVALID
        MANIFEST_UNKNOWN NAME_INVALID NAME_UNKNOWN SIZE_INVALID UNAUTHORIZED DENIED UNSUPPORTED TOOMANYREQUESTS"""
    assert {*spec.split(), "UNKNOWN"} == CODES
    with pytest.raises(AssertionError):
        Refusal(400, "UNKNOWN", "no code of the spec")


def test_anything_else_is_404(caller: Caller) -> None:
    for target in ("/", "/v1/", "/v2/app", "/v2/app/nothing/x", "/v2/app/manifests/", "/favicon.ico", "/v3/"):
        assert caller("GET", target).status == 404
