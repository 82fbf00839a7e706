"""Referrers by the API in all its ways, and by the tag where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from oci.errors import AuthenticationFailed, InvalidDocument, LimitExceeded, ProtocolViolation
from oci.registry import referrers
from oci.registry.referrers import has_api, referrers_tag
from oci.registry.repository import Repository
from oci.spec.descriptor import Descriptor
from oci.spec.digest import Digest
from tests.support.images import OCI_INDEX, OCI_MANIFEST, Json, encode, index
from tests.support.pulling import repository_of
from tests.support.registries import docker_registry
from tests.support.scripted import Answer, ScriptedServer

SUBJECT = Digest.of(b"subject")
PATH = f"/v2/app/referrers/{SUBJECT}"
TAG = f"/v2/app/manifests/sha256-{SUBJECT.encoded}"
SBOM, SIGNATURE = "application/vnd.example.sbom", "application/vnd.example.signature"


def entry(name: str, artifact_type: str | None = None) -> Json:
    made: Json = {"mediaType": OCI_MANIFEST, "digest": str(Digest.of(name.encode())), "size": 100}
    return made if artifact_type is None else made | {"artifactType": artifact_type}


def listed(*entries: Json, media_type: str = OCI_INDEX, **headers: str) -> Answer:
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(200, {"Content-Type": media_type, **more}, encode(index(entries)))


def digests(found: Iterator[Descriptor]) -> list[Digest]:
    return [one.digest for one in found]


def named(*names: str) -> list[Digest]:
    return [Digest.of(name.encode()) for name in names]


def test_the_api_gives_the_referrers(server: ScriptedServer, app: Repository) -> None:
    server.on("GET", PATH, listed(entry("a", SBOM), entry("b")))
    found = list(app.referrers(SUBJECT))
    assert digests(iter(found)) == named("a", "b")
    assert found[0].artifact_type == SBOM
    assert server.requests[-1].headers["accept"] == OCI_INDEX
    assert has_api(app, SUBJECT)


def test_the_registry_is_asked_to_filter_and_the_rest_is_done_here(server: ScriptedServer, app: Repository) -> None:
    server.on("GET", PATH, listed(entry("a", SBOM), entry("b", SIGNATURE), entry("c")))
    assert digests(app.referrers(SUBJECT, artifact_type=SBOM)) == named("a")
    assert server.paths()[-1] == f"{PATH}?artifactType=application%2Fvnd.example.sbom"


def test_a_filter_that_was_applied_is_believed_but_not_against_the_entries(
    server: ScriptedServer, app: Repository
) -> None:
    applied = {"OCI_Filters_Applied": "annotations, artifactType"}
    server.on("GET", PATH, listed(entry("a", SBOM), entry("b", SIGNATURE), entry("c"), **applied))
    assert digests(app.referrers(SUBJECT, artifact_type=SBOM)) == named("a", "c")


def test_pages_are_followed(server: ScriptedServer, app: Repository) -> None:
    server.on("GET", rf"{PATH}\?page=2", listed(entry("b"), entry("a")))
    server.on("GET", PATH, listed(entry("a"), Link=f"<{PATH}?page=2>; rel=next"))
    assert digests(app.referrers(SUBJECT)) == named("a", "b")


def test_pages_that_go_round_are_one_error(server: ScriptedServer, app: Repository) -> None:
    server.on("GET", PATH, listed(entry("a"), Link=f"<{PATH}?page=2>; rel=next"))
    with pytest.raises(ProtocolViolation, match="round in circles"):
        list(app.referrers(SUBJECT))


def test_a_page_that_is_lost_is_one_error(server: ScriptedServer, app: Repository) -> None:
    server.on("GET", rf"{PATH}\?page=2", status=404)
    server.on("GET", PATH, listed(entry("a"), Link=f"<{PATH}?page=2>; rel=next"))
    with pytest.raises(ProtocolViolation, match="lost a page"):
        list(app.referrers(SUBJECT))


def test_too_many_are_not_listed(server: ScriptedServer, app: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(referrers, "MAX_REFERRERS", 2)
    server.on("GET", PATH, listed(entry("a"), entry("b"), entry("c")))
    with pytest.raises(LimitExceeded):
        list(app.referrers(SUBJECT))


@pytest.mark.parametrize(
    "answer",
    [
        Answer(404, body=b"404 page not found"),
        Answer(405, body=b'{"errors":[{"code":"UNSUPPORTED"}]}'),  # ECR, before it had the API
        Answer(400, body=b"bad request"),  # Nexus
        Answer(406),
        Answer(200, {"Content-Type": "text/html"}, b"<html>a page for people</html>"),
        Answer(200, {"Content-Type": "application/vnd.example+json"}, b"{}"),
    ],
)
def test_without_the_api_the_tag_is_read(answer: Answer, server: ScriptedServer, app: Repository) -> None:
    server.on("GET", PATH, answer)
    server.on("GET", TAG, listed(entry("a", SBOM), entry("b", SIGNATURE)))
    assert digests(app.referrers(SUBJECT)) == named("a", "b")
    assert digests(app.referrers(SUBJECT, artifact_type=SIGNATURE)) == named("b")
    assert not has_api(app, SUBJECT)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(404),
        Answer(200, {"Content-Type": OCI_MANIFEST}, b'{"schemaVersion":2}'),
        Answer(200, {"Content-Type": OCI_INDEX}, b'{"schemaVersion":2,"manifests":7}'),
        Answer(200, {"Content-Type": OCI_INDEX}, b"nope"),
    ],
)
def test_without_api_and_valid_tag_there_are_none(answer: Answer, server: ScriptedServer, app: Repository) -> None:
    server.on("GET", PATH, status=404)
    server.on("GET", TAG, answer)
    assert list(app.referrers(SUBJECT)) == []


def test_an_api_answer_that_is_no_index_is_refused(server: ScriptedServer, app: Repository) -> None:
    server.on("GET", PATH, Answer(200, {"Content-Type": OCI_INDEX}, b'{"schemaVersion":2,"manifests":7}'))
    with pytest.raises(InvalidDocument):
        list(app.referrers(SUBJECT))


def test_a_registry_that_wants_credentials_is_not_one_without_the_api(server: ScriptedServer, app: Repository) -> None:
    server.on("GET", PATH, status=403)
    server.on("GET", TAG, listed(entry("a")))
    with pytest.raises(AuthenticationFailed):
        list(app.referrers(SUBJECT))


def test_the_tag_of_a_digest_is_the_specs() -> None:
    assert referrers_tag(Digest("sha256", "a" * 64)) == f"sha256-{'a' * 64}"
    assert referrers_tag(Digest("sha512", "a" * 128)) == f"sha512-{'a' * 64}"
    algorithm = "test+algorithm+using+algorithm+separators+and+lots+of+characters+to+excercise+overall+truncation"
    encoded = (
        "alsoSome=InTheEncodedSectionToShowHyphenReplacementAndLotsAndLotsOfCharactersToExcerciseEncodedTruncation"
    )
    expected = "test-algorithm-using-algorithm-s-alsoSome-InTheEncodedSectionToShowHyphenReplacementAndLotsAndLot"
    assert referrers_tag(Digest.parse(f"{algorithm}:{encoded}")) == expected


def test_docker_registry_has_no_api_and_that_is_no_error(tmp_path: Path) -> None:
    with docker_registry(tmp_path) as registry, repository_of(registry.host) as app:
        assert list(app.referrers(SUBJECT)) == []
        assert not has_api(app, SUBJECT)
