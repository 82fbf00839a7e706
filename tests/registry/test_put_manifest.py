"""Manifests on their way up: by tag and by digest, what is checked of the answer, and the list of referrers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest

from oci.errors import (
    AuthenticationFailed,
    DigestMismatch,
    InvalidDocument,
    InvalidReference,
    ProtocolViolation,
    RegistryRefused,
)
from oci.registry import referrers_tag
from oci.registry.client import Client
from oci.registry.put_manifest import put_manifest
from oci.registry.repository import Repository
from oci.registry.settings import Settings
from oci.spec import media_types
from oci.spec.descriptor import EMPTY_DESCRIPTOR, Descriptor
from oci.spec.digest import Digest
from oci.spec.document import Document
from oci.spec.index import Index
from oci.spec.manifest import Manifest
from tests.support.scripted import Answer, Request, ScriptedServer
from tests.support.shelf import Shelf, refused

SUBJECT = Descriptor(media_type=media_types.MANIFEST, digest=Digest.of(b"the image"), size=9)
TAG = f"sha256-{SUBJECT.digest.encoded}"
SIGNATURE = "application/vnd.example.signature"


@pytest.fixture
def repository(server: ScriptedServer) -> Iterator[Repository]:
    with Client(server.host, Settings(sleep=lambda _: None, plain_http=True)) as client:
        yield Repository(client, "app")


@pytest.fixture
def shelf() -> Shelf:
    made = Shelf()
    made.blobs[str(EMPTY_DESCRIPTOR.digest)] = b"{}"
    return made


def manifest(subject: Descriptor | None = None, **fields: object) -> bytes:
    model = Manifest(config=EMPTY_DESCRIPTOR, layers=(), subject=subject, artifact_type=SIGNATURE)
    return Document.of(model.replace(**fields)).raw


def listed(shelf: Shelf, tag: str = TAG) -> list[dict[str, object]]:
    kind, raw = shelf.manifests[tag]
    assert kind == media_types.INDEX
    entries: list[dict[str, object]] = json.loads(raw)["manifests"]
    return entries


def test_a_manifest_goes_by_tag_under_its_own_type_byte_for_byte(
    server: ScriptedServer, repository: Repository, shelf: Shelf
) -> None:
    shelf.serve(server)
    raw = json.dumps(json.loads(manifest()), indent=7).encode()
    assert put_manifest(repository, raw, media_types.MANIFEST, "v1") == Digest.of(raw)
    (put,) = server.requests
    assert (put.method, put.path) == ("PUT", "/v2/app/manifests/v1")
    assert put.headers["content-type"] == media_types.MANIFEST
    assert put.headers["content-length"] == str(len(raw))
    assert put.body == raw
    assert shelf.manifests["v1"] == (media_types.MANIFEST, raw)


def test_a_manifest_goes_by_digest(server: ScriptedServer, repository: Repository, shelf: Shelf) -> None:
    shelf.serve(server)
    raw = manifest()
    put_manifest(repository, raw, media_types.MANIFEST, Digest.of(raw))
    assert server.paths() == [f"/v2/app/manifests/{Digest.of(raw)}"]


def test_a_sha512_digest_is_checked_as_such(server: ScriptedServer, repository: Repository) -> None:
    raw = manifest()
    wanted = Digest.of(raw, "sha512")
    server.on("PUT", ".*", status=201, headers={"Docker-Content-Digest": str(wanted)})
    assert put_manifest(repository, raw, media_types.MANIFEST, wanted) == wanted


def test_bytes_with_another_digest_are_not_sent(server: ScriptedServer, repository: Repository) -> None:
    with pytest.raises(DigestMismatch):
        put_manifest(repository, manifest(), media_types.MANIFEST, Digest.of(b"other"))
    assert server.requests == []


@pytest.mark.parametrize("tag", ["", "a/b", "../x", "v1\r\nX-Evil: 1", "-v", "v1?x=1", "x" * 129])
def test_what_is_no_tag_is_not_sent(server: ScriptedServer, repository: Repository, tag: str) -> None:
    with pytest.raises(InvalidReference):
        put_manifest(repository, manifest(), media_types.MANIFEST, tag)
    assert server.requests == []


def test_a_media_type_can_not_bring_a_header_of_its_own(server: ScriptedServer, repository: Repository) -> None:
    with pytest.raises(ProtocolViolation):
        put_manifest(repository, manifest(), "a/b\r\nX-Evil: 1", "v1")
    assert server.requests == []


@pytest.mark.parametrize("kind", [media_types.INDEX, media_types.DOCKER_MANIFEST, "application/vnd.example+json"])
def test_a_manifest_that_says_its_type_is_sent_under_no_other(
    server: ScriptedServer, repository: Repository, kind: str
) -> None:
    """spec.md#pushing-manifests: Content-Type MUST be the document's own mediaType, where it has one."""
    with pytest.raises(InvalidDocument, match="mediaType"):
        put_manifest(repository, manifest(), kind, "v1")
    assert server.requests == []


@pytest.mark.parametrize("raw", [b"no json", b"[]", b'{"layers":[]}', b'{"mediaType":5}'])
def test_what_says_no_type_is_sent_under_the_one_that_is_given(
    server: ScriptedServer, repository: Repository, raw: bytes
) -> None:
    server.on("PUT", "/v2/app/manifests/v1", status=201)
    put_manifest(repository, raw, "application/vnd.example+json", "v1")
    assert server.requests[0].headers["content-type"] == "application/vnd.example+json"


def test_a_registry_that_stored_something_else_is_not_believed(server: ScriptedServer, repository: Repository) -> None:
    server.on("PUT", ".*", status=201, headers={"Docker-Content-Digest": str(Digest.of(b"other"))})
    with pytest.raises(ProtocolViolation, match="stored something else"):
        put_manifest(repository, manifest(), media_types.MANIFEST, "v1")


def test_a_passing_fault_is_repeated(server: ScriptedServer, repository: Repository, shelf: Shelf) -> None:
    server.on("PUT", ".*", status=503, times=2)
    shelf.serve(server)
    put_manifest(repository, manifest(), media_types.MANIFEST, "v1")
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(413), "too large for this registry"),
        (refused(413, "SIZE_INVALID"), "too large for this registry"),
        (refused(400, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry"), "that it names is not in the repository"),
        (refused(404, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry"), "that it names is not in the repository"),
        (refused(400, "MANIFEST_INVALID", "manifest invalid"), "may not take the media type"),
        (Answer(415), "may not take the media type"),
        (refused(400, "TAG_INVALID", "manifest tag did not match URI"), "did not match URI"),
        (refused(409, "DENIED", "tag v1 is immutable"), "tag v1 is immutable"),
    ],
)
def test_a_refusal_says_what_it_means(
    server: ScriptedServer, repository: Repository, answer: Answer, words: str
) -> None:
    server.on("PUT", ".*", answer)
    with pytest.raises(RegistryRefused, match=words) as raised:
        put_manifest(repository, manifest(), media_types.MANIFEST, "v1")
    assert raised.value.status == answer.status
    assert len(server.requests) == 1


def test_without_the_right_to_push_it_is_a_matter_of_credentials(
    server: ScriptedServer, repository: Repository
) -> None:
    server.on("PUT", ".*", refused(403, "DENIED", "no push for you"))
    with pytest.raises(AuthenticationFailed, match="no push for you"):
        put_manifest(repository, manifest(), media_types.MANIFEST, "v1")


# Subjects


def test_a_registry_with_the_referrers_api_needs_no_list(
    server: ScriptedServer, repository: Repository, shelf: Shelf
) -> None:
    shelf.referrers_api = True
    shelf.serve(server)
    put_manifest(repository, manifest(SUBJECT), media_types.MANIFEST, "sig")
    assert len(server.requests) == 1


def test_without_it_the_manifest_is_listed_under_the_referrers_tag(
    server: ScriptedServer, repository: Repository, shelf: Shelf
) -> None:
    shelf.serve(server)
    raw = manifest(SUBJECT, annotations={"a": "b"})
    digest = put_manifest(repository, raw, media_types.MANIFEST, Digest.of(raw))
    (entry,) = listed(shelf)
    assert entry == {
        "mediaType": media_types.MANIFEST,
        "digest": str(digest),
        "size": len(raw),
        "annotations": {"a": "b"},
        "artifactType": SIGNATURE,
    }


def test_the_list_grows_and_keeps_what_it_has(server: ScriptedServer, repository: Repository, shelf: Shelf) -> None:
    shelf.serve(server)
    old = {"mediaType": "a/b", "digest": str(Digest.of(b"old")), "size": 3, "x-note": [1]}
    index = {"schemaVersion": 2, "mediaType": media_types.INDEX, "manifests": [old], "x-more": True}
    shelf.manifests[TAG] = (media_types.INDEX, json.dumps(index).encode())
    shelf.manifests[str(old["digest"])] = ("a/b", b"old")
    raws = [manifest(SUBJECT, annotations={"n": str(number)}) for number in range(3)]
    for raw in (*raws, raws[0]):
        put_manifest(repository, raw, media_types.MANIFEST, Digest.of(raw))
    entries = listed(shelf)
    assert [entry["digest"] for entry in entries] == [old["digest"], *(str(Digest.of(raw)) for raw in raws)]
    assert entries[0] == old
    assert json.loads(shelf.manifests[TAG][1])["x-more"] is True
    assert sum(one.method == "PUT" and one.path.endswith(TAG) for one in server.requests) == 3  # no duplicate


def test_the_type_of_a_config_stands_in_for_an_artifact_type(
    server: ScriptedServer, repository: Repository, shelf: Shelf
) -> None:
    shelf.serve(server)
    config = Descriptor(media_type="application/vnd.example.config", digest=EMPTY_DESCRIPTOR.digest, size=2)
    put_manifest(repository, manifest(SUBJECT, config=config, artifact_type=None), media_types.MANIFEST, "x")
    assert listed(shelf)[0]["artifactType"] == "application/vnd.example.config"


def test_an_index_has_a_subject_too(server: ScriptedServer, repository: Repository, shelf: Shelf) -> None:
    shelf.serve(server)
    raw = Document.of(Index(manifests=(), subject=SUBJECT, artifact_type=SIGNATURE)).raw
    put_manifest(repository, raw, media_types.INDEX, "x")
    assert listed(shelf)[0]["artifactType"] == SIGNATURE


def test_the_acknowledgement_has_to_be_of_the_subject(
    server: ScriptedServer, repository: Repository, shelf: Shelf
) -> None:
    def another(seen: Request) -> Answer:
        return Answer(shelf.answer(seen).status, {"OCI-Subject": str(Digest.of(b"other"))})

    server.on("PUT", "/v2/app/manifests/x", another)
    shelf.serve(server)
    put_manifest(repository, manifest(SUBJECT), media_types.MANIFEST, "x")
    assert len(listed(shelf)) == 1


@pytest.mark.parametrize("kind", [media_types.MANIFEST, media_types.INDEX])
def test_a_tag_that_holds_something_else_is_left_alone(
    server: ScriptedServer, repository: Repository, shelf: Shelf, kind: str
) -> None:
    shelf.serve(server)
    shelf.manifests[TAG] = (kind, manifest())
    with pytest.raises(ProtocolViolation, match="list of referrers"):
        put_manifest(repository, manifest(SUBJECT), media_types.MANIFEST, "x")
    assert shelf.manifests[TAG] == (kind, manifest())


def test_many_at_once_lose_nobody(server: ScriptedServer, repository: Repository, shelf: Shelf) -> None:
    shelf.serve(server)
    raws = [manifest(SUBJECT, annotations={"n": str(number)}) for number in range(12)]
    threads = [
        threading.Thread(target=put_manifest, args=(repository, raw, media_types.MANIFEST, Digest.of(raw)))
        for raw in raws
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {entry["digest"] for entry in listed(shelf)} == {str(Digest.of(raw)) for raw in raws}


def test_what_is_deleted_is_taken_from_the_list(server: ScriptedServer, repository: Repository, shelf: Shelf) -> None:
    shelf.serve(server)
    raws = [manifest(SUBJECT, annotations={"n": str(number)}) for number in range(2)]
    for raw in raws:
        put_manifest(repository, raw, media_types.MANIFEST, Digest.of(raw))
    referrers_tag.remove(repository, SUBJECT.digest, Digest.of(raws[0]))
    assert [entry["digest"] for entry in listed(shelf)] == [str(Digest.of(raws[1]))]
    before = len(server.requests)
    referrers_tag.remove(repository, SUBJECT.digest, Digest.of(raws[0]))
    assert [one.method for one in server.requests[before:]] == ["GET"]


def test_the_tag_of_another_algorithm_is_cut_to_what_a_tag_takes(
    server: ScriptedServer, repository: Repository, shelf: Shelf
) -> None:
    shelf.serve(server)
    subject = SUBJECT.replace(digest=Digest.of(b"x", "sha512"))
    put_manifest(repository, manifest(subject), media_types.MANIFEST, "x")
    assert len(listed(shelf, f"sha512-{subject.digest.encoded[:64]}")) == 1
