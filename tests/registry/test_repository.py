"""The verbs of one repository: what is believed of an answer, and what is not."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from oci.errors import (
    BlobNotFound,
    DigestMismatch,
    InvalidDocument,
    InvalidReference,
    LimitExceeded,
    ProtocolViolation,
    RefNotFound,
    RegistryRefused,
    UnsupportedDigest,
)
from oci.registry.repository import Repository
from oci.spec import media_types
from oci.spec.descriptor import Descriptor
from oci.spec.digest import Digest
from tests.support.images import LayoutMaker, tar_layer
from tests.support.pulling import fill, repository_of
from tests.support.registries import docker_registry
from tests.support.scripted import ScriptedServer

MANIFEST = b'{"schemaVersion":2,"config":{},"layers":[]}'
INDEX = b'{"schemaVersion":2,"manifests":[]}'
TYPED = b'{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json"}'
DIGEST = Digest.of(MANIFEST)


def says(server: ScriptedServer, body: bytes = MANIFEST, status: int = 200, **headers: str) -> None:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    server.on("GET", "/v2/app/manifests/.*", status=status, body=body, headers=named)


def test_a_manifest_comes_with_its_type_and_the_digest_of_its_bytes(server: ScriptedServer, app: Repository) -> None:
    says(server, Content_Type=media_types.MANIFEST)
    found = app.manifest("v1")
    assert (found.raw, found.media_type, found.digest) == (MANIFEST, media_types.MANIFEST, DIGEST)


def test_all_types_that_we_read_are_asked_for(server: ScriptedServer, app: Repository) -> None:
    says(server)
    app.manifest("v1")
    accepted = {one.strip() for one in server.requests[-1].headers["accept"].split(",")}
    assert {media_types.MANIFEST, media_types.INDEX, media_types.DOCKER_MANIFEST, media_types.DOCKER_LIST} <= accepted


@pytest.mark.parametrize(
    ("said", "body", "expected"),
    [
        (f"{media_types.INDEX}; charset=utf-8", INDEX, media_types.INDEX),
        (media_types.MANIFEST.upper(), MANIFEST, media_types.MANIFEST),
        ("application/vnd.example.New+json", MANIFEST, "application/vnd.example.New+json"),
        ("application/json", TYPED, media_types.DOCKER_MANIFEST),
        ("text/plain; charset=utf-8", TYPED, media_types.DOCKER_MANIFEST),
        ("no type", TYPED, media_types.DOCKER_MANIFEST),
        ("application/octet-stream", INDEX, media_types.INDEX),
        ("application/octet-stream", MANIFEST, media_types.MANIFEST),
        (None, INDEX, media_types.INDEX),
    ],
)
def test_the_media_type_is_the_headers_or_else_the_documents(
    said: str | None, body: bytes, expected: str, server: ScriptedServer, app: Repository
) -> None:
    says(server, body, **({} if said is None else {"Content_Type": said}))
    assert app.manifest("v1").media_type == expected


@pytest.mark.parametrize(
    ("said", "body"),
    [
        ("application/vnd.docker.distribution.manifest.v1+prettyjws", b'{"schemaVersion":1}'),
        ("application/json", b'{"schemaVersion":1,"fsLayers":[]}'),
    ],
)
def test_schema_1_is_one_clear_error(said: str, body: bytes, server: ScriptedServer, app: Repository) -> None:
    says(server, body, Content_Type=said)
    with pytest.raises(InvalidDocument, match=r"app:v1: is in Docker's schema 1 format.*pushed again"):
        app.manifest("v1")


def test_other_bytes_than_the_digest_says_are_refused(server: ScriptedServer, app: Repository) -> None:
    says(server, INDEX)
    with pytest.raises(DigestMismatch, match=rf"{app}@{DIGEST}: blob {DIGEST}"):
        app.manifest(DIGEST)


def test_other_bytes_than_the_registry_itself_says_are_refused(server: ScriptedServer, app: Repository) -> None:
    says(server, INDEX, Docker_Content_Digest=str(DIGEST))
    with pytest.raises(DigestMismatch, match=f"{app}:v1"):
        app.manifest("v1")


def test_a_sha512_digest_of_the_registry_is_checked_and_taken(server: ScriptedServer, app: Repository) -> None:
    stated = Digest("sha512", hashlib.sha512(MANIFEST).hexdigest())
    says(server, Docker_Content_Digest=str(stated))
    assert app.manifest("v1").digest == stated
    assert app.manifest(stated).digest == stated
    assert app.manifest(DIGEST).digest == DIGEST
    server.forget()
    says(server, INDEX, Docker_Content_Digest=str(stated))
    with pytest.raises(DigestMismatch):
        app.manifest("v1")


def test_a_digest_of_an_unknown_algorithm_says_nothing(server: ScriptedServer, app: Repository) -> None:
    says(server, Docker_Content_Digest="blake9:aaaa")
    assert app.manifest("v1").digest == DIGEST


def test_a_digest_header_that_is_none_is_refused(server: ScriptedServer, app: Repository) -> None:
    says(server, Docker_Content_Digest="sha256:short")
    with pytest.raises(ProtocolViolation, match="Docker-Content-Digest"):
        app.manifest("v1")


def test_a_manifest_that_is_not_there(server: ScriptedServer, app: Repository) -> None:
    says(server, b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}', 404)
    with pytest.raises(RefNotFound) as caught:
        app.manifest("v9")
    assert str(caught.value) == f"'v9' not found in {app}; `ocikit tags {app}` lists its tags"
    with pytest.raises(RefNotFound, match=f"'sha256:0+' not found in {app}$"):
        app.manifest(Digest("sha256", "0" * 64))


def test_a_digest_that_cannot_be_checked_is_not_asked_for(server: ScriptedServer, app: Repository) -> None:
    with pytest.raises(UnsupportedDigest, match="only sha256 and sha512 can be checked"):
        app.manifest(Digest.parse("md5:0123456789abcdef0123456789abcdef"))
    assert server.requests == []


def test_a_manifest_over_the_limit_is_not_read(server: ScriptedServer, app: Repository) -> None:
    says(server, b" " * 5000)
    with pytest.raises(LimitExceeded):
        app.manifest("v1", limit=1000)


def test_a_compressed_manifest_is_refused(server: ScriptedServer, app: Repository) -> None:
    says(server, Content_Encoding="gzip")
    with pytest.raises(ProtocolViolation, match="Content-Encoding 'gzip'"):
        app.manifest("v1")


@pytest.mark.parametrize("tag", ["v1\r\nX-Evil: 1", "../x", "", "-v1", "a b", "v1?x=y", "a" * 129])
def test_what_is_no_tag_is_never_sent(tag: str, server: ScriptedServer, app: Repository) -> None:
    with pytest.raises(InvalidReference):
        app.manifest(tag)
    assert server.requests == []


@pytest.mark.parametrize("name", ["App", "a//b", "../a", "a\r\nb", "", "a?b"])
def test_what_is_no_repository_is_never_sent(name: str, app: Repository) -> None:
    with pytest.raises(InvalidReference):
        Repository(app.client, name)


def test_a_head_request_says_what_a_tag_stands_for(server: ScriptedServer, app: Repository) -> None:
    headers = {"Content-Type": media_types.MANIFEST, "Docker-Content-Digest": str(DIGEST)}
    server.on("HEAD", "/v2/app/manifests/v1", headers=headers, body=MANIFEST)
    server.on("HEAD", "/v2/app/manifests/v2", status=404)
    assert app.head_manifest("v1") == Descriptor(media_type=media_types.MANIFEST, digest=DIGEST, size=len(MANIFEST))
    assert app.head_manifest("v2") is None
    assert server.paths("GET") in ([], ["/v2/"])


def test_a_head_answer_that_lacks_something_is_made_up_for_by_get(server: ScriptedServer, app: Repository) -> None:
    server.on("HEAD", "/v2/app/manifests/v1", headers={"Content-Type": media_types.MANIFEST}, body=MANIFEST)
    says(server, Content_Type=media_types.MANIFEST)
    found = app.head_manifest("v1")
    assert found is not None
    assert (found.digest, found.size) == (DIGEST, len(MANIFEST))


@pytest.mark.parametrize("said", [None, "application/json", "text/plain"])
def test_a_head_answer_without_a_type_is_made_up_for_by_get(
    said: str | None, server: ScriptedServer, app: Repository
) -> None:
    headers = {"Docker-Content-Digest": str(Digest.of(INDEX)), **({} if said is None else {"Content-Type": said})}
    server.on("HEAD|GET", "/v2/app/manifests/v1", headers=headers, body=INDEX)
    found = app.head_manifest("v1")
    assert found is not None
    assert found.media_type == media_types.INDEX


def test_a_head_answer_with_another_digest_is_refused(server: ScriptedServer, app: Repository) -> None:
    headers = {"Docker-Content-Digest": str(DIGEST), "Content-Type": media_types.MANIFEST}
    server.on("HEAD", "/v2/app/manifests/.*", headers=headers, body=MANIFEST)
    with pytest.raises(ProtocolViolation, match="it says that it has"):
        app.head_manifest(Digest.of(INDEX))


def test_the_size_of_a_blob_is_asked_by_head(server: ScriptedServer, app: Repository) -> None:
    server.on("HEAD", f"/v2/app/blobs/{DIGEST}", body=MANIFEST)
    assert app.blob_size(DIGEST) == len(MANIFEST)
    assert app.blob_size(Digest.of(INDEX)) is None


def test_a_head_answer_without_a_length_is_made_up_for_by_get(server: ScriptedServer, app: Repository) -> None:
    server.on("HEAD", "/v2/app/blobs/.*", until_close=True)
    server.on("GET", "/v2/app/blobs/.*", body=MANIFEST)
    assert app.blob_size(DIGEST) == len(MANIFEST)


@pytest.mark.parametrize("status", [200, 202, 204])
def test_a_delete_is_one_request(status: int, server: ScriptedServer, app: Repository) -> None:
    server.on("DELETE", ".*", status=status)
    app.delete_manifest(DIGEST)
    app.delete_manifest("v1")
    app.delete_blob(DIGEST)
    assert server.paths("DELETE") == [
        f"/v2/app/manifests/{DIGEST}",
        "/v2/app/manifests/v1",
        f"/v2/app/blobs/{DIGEST}",
    ]


def test_what_is_not_there_can_not_be_deleted(server: ScriptedServer, app: Repository) -> None:
    server.on("DELETE", ".*", status=404, body=b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}')
    with pytest.raises(RefNotFound):
        app.delete_manifest("v1")
    with pytest.raises(BlobNotFound):
        app.delete_blob(DIGEST)


@pytest.mark.parametrize(
    ("status", "body"), [(405, b'{"errors":[{"code":"UNSUPPORTED","message":"no"}]}'), (405, b""), (400, None)]
)
def test_a_registry_that_does_not_delete_gets_a_line_of_its_own(
    status: int, body: bytes | None, server: ScriptedServer, app: Repository
) -> None:
    server.on("DELETE", ".*", status=status, body=b'{"errors":[{"code":"UNSUPPORTED"}]}' if body is None else body)
    with pytest.raises(RegistryRefused, match=r"deleting a tag is not possible.*by its digest"):
        app.delete_manifest("v1")
    with pytest.raises(RegistryRefused, match="deleting is not possible in this registry; its operator"):
        app.delete_manifest(DIGEST)
    with pytest.raises(RegistryRefused, match="deleting blobs is not possible") as caught:
        app.delete_blob(DIGEST)
    assert caught.value.status == status


def test_another_refusal_of_a_delete_is_told_in_the_registrys_words(server: ScriptedServer, app: Repository) -> None:
    error = {"errors": [{"code": "NAME_INVALID", "message": "bad name"}]}
    server.on("DELETE", ".*", status=400, body=json.dumps(error).encode())
    with pytest.raises(RegistryRefused, match="bad name") as caught:
        app.delete_manifest(DIGEST)
    assert caught.value.codes == ("NAME_INVALID",)


def test_the_verbs_work_with_a_real_registry(tmp_path: Path) -> None:
    made = LayoutMaker(tmp_path / "layout")
    made.tag("v1", made.image([tar_layer({"hello": b"hello\n" * 1000})]))
    layout = made.finish()
    with docker_registry(tmp_path) as registry, repository_of(registry.host, "team/app") as app:
        fill(layout, f"{registry.host}/team/app:v1")
        found = app.manifest("v1")
        assert app.manifest(found.digest) == found
        head = app.head_manifest("v1")
        assert head is not None
        assert (head.digest, head.size, head.media_type) == (found.digest, len(found.raw), found.media_type)
        layer = json.loads(found.raw)["layers"][0]
        digest = Digest.parse(layer["digest"])
        assert app.blob_size(digest) == layer["size"]
        with app.open_blob(Descriptor(media_type="a/b", digest=digest, size=layer["size"])) as chunks:
            assert Digest.of(b"".join(chunks)) == digest
        assert list(app.tags()) == ["v1"]
        assert list(app.referrers(found.digest)) == []
        app.delete_manifest(found.digest)
        with pytest.raises(RefNotFound):
            app.manifest("v1")
        app.delete_blob(digest)
        assert app.blob_size(digest) is None
