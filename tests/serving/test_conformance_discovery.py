"""The workflow "Content Discovery" of the distribution spec's conformance suite (conformance/03_discovery_test.go)."""

from __future__ import annotations

import re

import pytest

from oci.serving import Server
from tests.support.calling import Caller, Reply
from tests.support.images import OCI_CONFIG, OCI_EMPTY, OCI_INDEX, OCI_MANIFEST, Json, descriptor, digest, encode, index

TYPE_A, TYPE_B = "application/vnd.example.a", "application/vnd.example.b"


def next_page(reply: Reply) -> str | None:
    """The target of `Link: <…>; rel="next"`."""
    link = reply.headers["Link"]
    if link is None:
        return None
    match = re.fullmatch(r'<([^<>]+)>; rel="next"', link)
    assert match is not None, link
    return match[1]


# Tags


@pytest.fixture
def tagged(caller: Caller) -> Caller:
    raw = encode(caller.image("app"))
    for tag in ("test2", "Test0", "test0", "_x", "1.0", "test10"):
        caller.push_manifest("app", raw, tag)
    return caller


SORTED = ["1.0", "Test0", "_x", "test0", "test10", "test2"]


def test_tags_are_listed_in_ascii_order(tagged: Caller) -> None:
    reply = tagged("GET", "/v2/app/tags/list")
    assert (reply.status, reply.json) == (200, {"name": "app", "tags": SORTED})
    assert reply.headers["Link"] is None


def test_n_limits_the_list_and_link_leads_through_all_of_it(tagged: Caller) -> None:
    reply = tagged("GET", "/v2/app/tags/list", n="4")
    assert reply.json["tags"] == SORTED[:4]
    target = next_page(reply)
    assert target is not None
    rest = tagged("GET", target)
    assert (rest.json["tags"], next_page(rest)) == (SORTED[4:], None)


def test_n_of_all_tags_has_no_next_page(tagged: Caller) -> None:
    for number in ("6", "7", "999999999"):
        reply = tagged("GET", "/v2/app/tags/list", n=number)
        assert (reply.json["tags"], next_page(reply)) == (SORTED, None)


def test_n_of_zero_is_an_empty_list_without_a_link(tagged: Caller) -> None:
    reply = tagged("GET", "/v2/app/tags/list", n="0")
    assert (reply.status, reply.json["tags"], next_page(reply)) == (200, [], None)


@pytest.mark.parametrize("number", ["-1", "x", "1.5", "", "٣", "9" * 5000])
def test_n_that_is_no_number_is_400(tagged: Caller, number: str) -> None:
    assert tagged("GET", "/v2/app/tags/list", n=number).status == 400


def test_last_begins_behind_that_tag_whether_it_is_there_or_not(tagged: Caller) -> None:
    assert tagged("GET", "/v2/app/tags/list", last="test0").json["tags"] == ["test10", "test2"]
    assert tagged("GET", "/v2/app/tags/list", last="test1", n="1").json["tags"] == ["test10"]
    assert tagged("GET", "/v2/app/tags/list", last="zzz").json["tags"] == []


def test_tags_of_a_repository_that_is_not_there_are_404(caller: Caller) -> None:
    reply = caller("GET", "/v2/nobody/tags/list")
    assert (reply.status, reply.code) == (404, "NAME_UNKNOWN")


def test_a_repository_with_manifests_and_no_tags_has_an_empty_list(caller: Caller) -> None:
    caller.push_image("app")
    assert caller("GET", "/v2/app/tags/list").json == {"name": "app", "tags": []}


# The catalog


def test_the_catalog_lists_repositories_page_by_page(caller: Caller) -> None:
    assert caller("GET", "/v2/_catalog").json == {"repositories": []}
    for name in ("b/c", "a", "z", "b"):
        caller.push_image(name, "v1")
    assert caller("GET", "/v2/_catalog").json == {"repositories": ["a", "b", "b/c", "z"]}
    found, target = [], "/v2/_catalog?n=1"
    while target:
        reply = caller("GET", target)
        found += reply.json["repositories"]
        target = next_page(reply) or ""
    assert found == ["a", "b", "b/c", "z"]


# Referrers


def referrers(caller: Caller, subject: str, **queries: str) -> Reply:
    reply = caller("GET", f"/v2/app/referrers/{subject}", **queries)
    assert reply.status == 200
    assert reply.headers["Content-Type"] == OCI_INDEX
    assert {key: reply.json[key] for key in ("schemaVersion", "mediaType")} == {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
    }
    return reply


def refer(caller: Caller, subject: Json, kind: str, *, by_config: bool = False, note: str = "x") -> str:
    """Push an artifact about `subject`, its type said by itself or by its config."""
    config = encode({"for": kind}) if by_config else b"{}"
    caller.push_blob("app", config)
    value = caller.image("app", subject=subject, annotations={"org.example.note": note}) | {
        "config": descriptor(config, kind if by_config else OCI_EMPTY)
    }
    return caller.push_manifest("app", value if by_config else value | {"artifactType": kind})


def test_a_digest_without_referrers_has_an_empty_list_never_404(caller: Caller) -> None:
    for repository in ("app", "nobody"):
        reply = caller("GET", f"/v2/{repository}/referrers/{digest(b'nothing')}")
        assert (reply.status, reply.json["manifests"]) == (200, [])
        assert reply.headers["Content-Type"] == OCI_INDEX


def test_referrers_are_listed_with_type_and_annotations(caller: Caller) -> None:
    raw = encode(caller.image("app"))
    subject = descriptor(raw, OCI_MANIFEST)
    before = refer(caller, subject, TYPE_A, note="before")
    caller.push_manifest("app", raw, "v1")
    after = refer(caller, subject, TYPE_B, by_config=True, note="after")
    third = caller.push_manifest(
        "app",
        index([], subject=subject, artifactType=TYPE_A, annotations={"org.example.note": "index"}),
        media_type=OCI_INDEX,
    )
    listed = {entry["digest"]: entry for entry in referrers(caller, subject["digest"]).json["manifests"]}
    assert {
        name: (entry["artifactType"], entry["annotations"]["org.example.note"]) for name, entry in listed.items()
    } == {before: (TYPE_A, "before"), after: (TYPE_B, "after"), third: (TYPE_A, "index")}
    assert listed[third]["mediaType"] == OCI_INDEX
    assert listed[before]["size"] == len(caller("GET", f"/v2/app/manifests/{before}").body)


def test_an_index_without_an_artifact_type_has_none(caller: Caller) -> None:
    subject = descriptor(b"subject", OCI_MANIFEST)
    caller.push_manifest("app", index([], subject=subject), media_type=OCI_INDEX)
    (entry,) = referrers(caller, subject["digest"]).json["manifests"]
    assert set(entry) == {"mediaType", "digest", "size"}


def test_an_image_as_a_referrer_has_its_configs_type(caller: Caller) -> None:
    subject = descriptor(b"subject", OCI_MANIFEST)
    caller.push_image("app", "v1", subject=subject)
    (entry,) = referrers(caller, subject["digest"]).json["manifests"]
    assert entry["artifactType"] == OCI_CONFIG


def test_the_filter_is_applied_and_said_to_be(caller: Caller) -> None:
    subject = descriptor(b"subject", OCI_MANIFEST)
    first, _ = refer(caller, subject, TYPE_A), refer(caller, subject, TYPE_B)
    reply = referrers(caller, subject["digest"], artifactType=TYPE_A)
    assert [entry["digest"] for entry in reply.json["manifests"]] == [first]
    assert reply.headers["OCI-Filters-Applied"] == "artifactType"
    none = referrers(caller, subject["digest"], artifactType="application/none")
    assert (none.json["manifests"], none.headers["OCI-Filters-Applied"]) == ([], "artifactType")
    assert referrers(caller, subject["digest"]).headers["OCI-Filters-Applied"] is None


def test_a_filter_that_says_nothing_is_none(caller: Caller) -> None:
    subject = descriptor(b"subject", OCI_MANIFEST)
    name = refer(caller, subject, TYPE_A)
    reply = caller("GET", f"/v2/app/referrers/{subject['digest']}?artifactType=")
    assert [entry["digest"] for entry in reply.json["manifests"]] == [name]
    assert reply.headers["OCI-Filters-Applied"] is None


def test_a_referrer_of_a_subject_that_is_not_there_is_listed(caller: Caller) -> None:
    subject = descriptor(b"missing", OCI_MANIFEST)
    name = refer(caller, subject, TYPE_A)
    assert [entry["digest"] for entry in referrers(caller, subject["digest"]).json["manifests"]] == [name]


def test_a_deleted_referrer_is_not_listed(caller: Caller) -> None:
    subject = descriptor(b"subject", OCI_MANIFEST)
    first, second = refer(caller, subject, TYPE_A), refer(caller, subject, TYPE_B)
    assert caller("DELETE", f"/v2/app/manifests/{first}").status == 202
    assert [entry["digest"] for entry in referrers(caller, subject["digest"]).json["manifests"]] == [second]


def test_referrers_of_what_is_no_digest_are_400(caller: Caller) -> None:
    for wrong in ("v1", "sha256:short"):
        reply = caller("GET", f"/v2/app/referrers/{wrong}")
        assert (reply.status, reply.code) == (400, "DIGEST_INVALID")


def test_the_referrers_tag_of_older_clients_is_seen_too(caller: Caller) -> None:
    # spec.md#enabling-the-referrers-api: what an index under that tag lists, and says it itself, is included.
    subject = descriptor(b"subject", OCI_MANIFEST)
    raw = encode(caller.image("app", subject=subject))
    caller.push_manifest("app", raw)
    caller.push_manifest("app", index([descriptor(raw, OCI_MANIFEST)]), subject["digest"].replace(":", "-"), OCI_INDEX)
    assert [entry["digest"] for entry in referrers(caller, subject["digest"]).json["manifests"]] == [digest(raw)]


def test_many_referrers_come_page_by_page_none_twice(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oci.serving.listing.MAX_PAGE", 700)
    subject = descriptor(b"subject", OCI_MANIFEST)
    pushed = {refer(caller, subject, TYPE_A, note=str(number)) for number in range(7)}
    refer(caller, subject, TYPE_B)
    found: list[str] = []
    pages = 0
    target: str | None = f"/v2/app/referrers/{subject['digest']}?artifactType={TYPE_A}"
    while target:
        reply = caller("GET", target)
        assert reply.headers["OCI-Filters-Applied"] == "artifactType"
        found += [entry["digest"] for entry in reply.json["manifests"]]
        target, pages = next_page(reply), pages + 1
    assert len(found) == len(set(found)) == 7
    assert set(found) == pushed
    assert pages > 2


def test_referrers_in_one_repository_are_not_seen_in_another(server: Server, caller: Caller) -> None:
    subject = descriptor(b"subject", OCI_MANIFEST)
    refer(caller, subject, TYPE_A)
    assert caller("GET", f"/v2/other/referrers/{subject['digest']}").json["manifests"] == []
