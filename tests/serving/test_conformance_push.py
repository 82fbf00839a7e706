"""The workflow "Push" of the distribution spec's conformance suite (v1.1.1 conformance/02_push_test.go and newer)."""

from __future__ import annotations

import pytest

from tests.support.calling import OCTETS, Caller, Reply
from tests.support.images import (
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_EMPTY,
    OCI_INDEX,
    OCI_MANIFEST,
    Json,
    descriptor,
    digest,
    encode,
    index,
    manifest,
)

DATA = b"0123456789abcdef"
NAME = digest(DATA)
DUMMY = "sha256:" + "0" * 64


def begin(caller: Caller, repository: str = "app", **queries: str) -> Reply:
    reply = caller("POST", f"/v2/{repository}/blobs/uploads/", headers={"Content-Length": "0"}, **queries)
    assert reply.status == 202
    assert reply.location.startswith(f"/v2/{repository}/blobs/uploads/")
    return reply


def patch(caller: Caller, location: str, start: int, data: bytes) -> Reply:
    return caller("PATCH", location, data, {**OCTETS, "Content-Range": f"{start}-{start + len(data) - 1}"})


def stored(caller: Caller, name: str = NAME, data: bytes = DATA) -> bool:
    reply = caller("GET", f"/v2/app/blobs/{name}")
    return (reply.status, reply.body) == (200, data)


def test_a_streamed_patch_without_a_range_and_a_put(caller: Caller) -> None:
    sent = caller("PATCH", begin(caller).location, DATA, OCTETS)
    assert sent.status == 202
    done = caller("PUT", sent.location, digest=NAME)
    assert done.status == 201
    assert caller("GET", done.location).body == DATA


def test_a_patch_of_unknown_length_comes_chunked(caller: Caller) -> None:
    sent = caller("PATCH", begin(caller).location, iter([DATA[:5], DATA[5:]]), OCTETS)
    assert (sent.status, sent.headers["Range"]) == (202, "0-15")
    assert caller("PUT", sent.location, digest=NAME).status == 201
    assert stored(caller)


def test_a_post_and_a_put(caller: Caller) -> None:
    assert caller("GET", f"/v2/app/blobs/{NAME}").status == 404
    done = caller("PUT", begin(caller).location, DATA, OCTETS, digest=NAME)
    assert (done.status, done.location) == (201, f"/v2/app/blobs/{NAME}")
    assert done.headers["Docker-Content-Digest"] == NAME
    assert stored(caller)


def test_a_single_post(caller: Caller) -> None:
    done = caller("POST", "/v2/app/blobs/uploads/", DATA, OCTETS, digest=NAME)
    assert (done.status, done.location) == (201, f"/v2/app/blobs/{NAME}")
    assert stored(caller)


def test_the_session_id_is_a_uuid(caller: Caller) -> None:
    import uuid

    reply = begin(caller)
    assert uuid.UUID(reply.location.rpartition("/")[2]).version == 4


def test_chunks_in_order_each_answered_with_how_far_it_got(caller: Caller) -> None:
    first = patch(caller, begin(caller).location, 0, DATA[:10])
    assert (first.status, first.headers["Range"]) == (202, "0-9")
    second = patch(caller, first.location, 10, DATA[10:])
    assert (second.status, second.headers["Range"]) == (202, "0-15")
    assert caller("PUT", second.location, headers={"Content-Length": "0"}, digest=NAME).status == 201
    assert stored(caller)


def test_the_last_chunk_in_the_closing_put(caller: Caller) -> None:
    first = patch(caller, begin(caller).location, 0, DATA[:10])
    done = caller("PUT", first.location, DATA[10:], {**OCTETS, "Content-Range": "10-15"}, digest=NAME)
    assert done.status == 201
    assert stored(caller)


def test_a_first_chunk_out_of_order_is_416(caller: Caller) -> None:
    reply = patch(caller, begin(caller).location, 3, DATA[3:])
    assert (reply.status, reply.code) == (416, "BLOB_UPLOAD_INVALID")


def test_a_chunk_sent_again_is_416_with_where_to_go_on(caller: Caller) -> None:
    begun = begin(caller)
    patch(caller, begun.location, 0, DATA[:10])
    again = patch(caller, begun.location, 0, DATA[:10])
    assert (again.status, again.headers["Range"]) == (416, "0-9")
    assert patch(caller, again.location, 10, DATA[10:]).status == 202


def test_a_last_chunk_out_of_order_is_416_and_nothing_is_lost(caller: Caller) -> None:
    first = patch(caller, begin(caller).location, 0, DATA[:10])
    wrong = caller("PUT", first.location, DATA[12:], {**OCTETS, "Content-Range": "12-15"}, digest=NAME)
    assert wrong.status == 416
    right = caller("PUT", first.location, DATA[10:], {**OCTETS, "Content-Range": "10-15"}, digest=NAME)
    assert right.status == 201


def test_get_of_an_upload_is_204_with_range_and_location(caller: Caller) -> None:
    begun = begin(caller)
    patch(caller, begun.location, 0, DATA[:10])
    state = caller("GET", begun.location)
    assert (state.status, state.headers["Range"], state.body) == (204, "0-9", b"")
    assert patch(caller, state.location, 10, DATA[10:]).status == 202


def test_an_upload_that_is_not_known_is_404(caller: Caller) -> None:
    for method in ("GET", "PATCH", "PUT", "DELETE"):
        reply = caller(method, "/v2/app/blobs/uploads/00000000-0000-4000-8000-000000000000", digest=NAME)
        assert (reply.status, reply.code) == (404, "BLOB_UPLOAD_UNKNOWN")


def test_a_cancelled_upload_is_gone(caller: Caller) -> None:
    begun = begin(caller)
    patch(caller, begun.location, 0, DATA)
    assert caller("DELETE", begun.location, headers={"Content-Length": "0"}).status == 204
    assert caller("GET", begun.location).status == 404
    assert caller("PUT", begun.location, digest=NAME).status == 404


@pytest.mark.parametrize("way", ["post", "put", "patch"])
def test_a_wrong_digest_is_400_and_nothing_is_stored(caller: Caller, way: str) -> None:
    if way == "post":
        reply = caller("POST", "/v2/app/blobs/uploads/", DATA, OCTETS, digest=DUMMY)
    elif way == "put":
        reply = caller("PUT", begin(caller).location, DATA, OCTETS, digest=DUMMY)
    else:
        reply = caller("PUT", caller("PATCH", begin(caller).location, DATA, OCTETS).location, digest=DUMMY)
    assert (reply.status, reply.code) == (400, "DIGEST_INVALID")
    assert caller("HEAD", f"/v2/app/blobs/{DUMMY}").status == 404
    assert caller("HEAD", f"/v2/app/blobs/{NAME}").status == 404


@pytest.mark.parametrize("wrong", ["sha256:short", "md5:d41d8cd98f00b204e9800998ecf8427e", "nonsense", ""])
def test_a_digest_that_is_none_or_cannot_be_computed_is_400(caller: Caller, wrong: str) -> None:
    for reply in (
        caller("POST", "/v2/app/blobs/uploads/", DATA, OCTETS, digest=wrong),
        caller("PUT", begin(caller).location, DATA, OCTETS, digest=wrong),
    ):
        assert (reply.status, reply.code) == (400, "DIGEST_INVALID")


def test_a_closing_put_without_a_digest_is_400_and_the_upload_goes_on(caller: Caller) -> None:
    begun = begin(caller)
    assert caller("PUT", begun.location, b"").code == "DIGEST_INVALID"
    assert caller("PUT", begun.location, DATA, OCTETS, digest=NAME).status == 201


@pytest.mark.parametrize("given", ["x-y", "5", "9-0", "0-5/", "-5", "0-99999999999999999999"])
def test_a_content_range_that_is_none_is_400(caller: Caller, given: str) -> None:
    reply = caller("PATCH", begin(caller).location, DATA, {**OCTETS, "Content-Range": given})
    assert (reply.status, reply.code) == (400, "BLOB_UPLOAD_INVALID")


def test_a_content_range_of_another_length_than_the_body_is_400(caller: Caller) -> None:
    reply = caller("PATCH", begin(caller).location, DATA, {**OCTETS, "Content-Range": "0-3"})
    assert (reply.status, reply.code) == (400, "SIZE_INVALID")


@pytest.mark.parametrize("said", ["0-9", "0-20"])
def test_a_content_range_is_held_against_a_chunked_body_too(caller: Caller, said: str) -> None:
    begun = begin(caller)
    reply = caller("PATCH", begun.location, iter([DATA[:5], DATA[5:]]), {**OCTETS, "Content-Range": said})
    assert (reply.status, reply.code) == (400, "SIZE_INVALID")
    reply = caller("PATCH", begin(caller).location, iter([DATA[:5], DATA[5:]]), {**OCTETS, "Content-Range": "0-15"})
    assert (reply.status, reply.headers["Range"]) == (202, "0-15")


@pytest.mark.parametrize("way", ["post", "put", "told", "not told"])
def test_a_blob_named_by_sha512(caller: Caller, way: str) -> None:
    name = digest(DATA, "sha512")
    if way == "post":
        done = caller("POST", "/v2/app/blobs/uploads/", DATA, OCTETS, digest=name)
    elif way == "put":
        done = caller("PUT", begin(caller).location, DATA, OCTETS, digest=name)
    else:
        begun = begin(caller, digest_algorithm="sha512") if way == "told" else begin(caller)
        done = caller("PUT", patch(caller, begun.location, 0, DATA).location, digest=name)
    assert (done.status, done.headers["Docker-Content-Digest"]) == (201, name)
    assert stored(caller, name)


def test_a_digest_algorithm_that_is_not_known_is_400(caller: Caller) -> None:
    reply = caller("POST", "/v2/app/blobs/uploads/", digest_algorithm="md5")
    assert (reply.status, reply.code) == (400, "DIGEST_INVALID")


# Mounts


def test_a_blob_of_another_repository_is_mounted(caller: Caller) -> None:
    caller.push_blob("app", DATA)
    done = caller("POST", "/v2/other/blobs/uploads/", mount=NAME, **{"from": "app"})
    assert (done.status, done.location) == (201, f"/v2/other/blobs/{NAME}")
    assert caller("GET", done.location).body == DATA


def test_a_mount_without_from_begins_an_upload(caller: Caller) -> None:
    caller.push_blob("app", DATA)
    begin(caller, "other", mount=NAME)
    begin(caller, "other", mount=DUMMY)
    assert caller("HEAD", f"/v2/other/blobs/{NAME}").status == 404


@pytest.mark.parametrize("source", ["app", "nobody", "NO", "", "../app"])
def test_a_mount_of_what_is_not_there_begins_an_upload_that_works(caller: Caller, source: str) -> None:
    begun = begin(caller, "other", mount=NAME, **{"from": source})
    assert caller("PUT", begun.location, DATA, OCTETS, digest=NAME).status == 201


def test_a_mounted_blob_outlives_its_source(caller: Caller) -> None:
    caller.push_blob("app", DATA)
    caller("POST", "/v2/other/blobs/uploads/", mount=NAME, **{"from": "app"})
    assert caller("DELETE", f"/v2/app/blobs/{NAME}").status == 202
    assert caller("GET", f"/v2/app/blobs/{NAME}").status == 404
    assert caller("GET", f"/v2/other/blobs/{NAME}").body == DATA


def test_a_mount_without_from_of_what_is_there_is_done(caller: Caller) -> None:
    caller.push_blob("app", DATA)
    done = caller("POST", "/v2/app/blobs/uploads/", mount=NAME)
    assert (done.status, done.location, done.headers["Docker-Content-Digest"]) == (201, f"/v2/app/blobs/{NAME}", NAME)


# Names


def test_a_repository_has_any_name_of_the_grammar(caller: Caller) -> None:
    for name in ("a", "0", "a.b", "a_b", "a__b", "a-b", "a---b", "a/b/c", "a.b_c__d-e/f0", "a" * 255):
        caller.push_blob(name, DATA)


def test_a_name_that_is_not_of_the_grammar_is_400(caller: Caller) -> None:
    bad = ("A", "a_", "_a", ".a", "a.", "-a", "a-", "a..b", "a___b", "a._b", "a//b", "a/", "a/B", "a%20b", "a" * 256)
    for name in bad:
        reply = caller("POST", f"/v2/{name}/blobs/uploads/", headers={"Content-Length": "0"})
        assert (name, reply.status, reply.code) == (name, 400, "NAME_INVALID")


def test_a_tag_may_be_any_of_the_grammar(caller: Caller) -> None:
    tags = ["0", "A.b-c_d", "_", "a", "v1.0", "x" * 128]
    for tag in tags:
        caller.push_image("app", tag)
    assert caller("GET", "/v2/app/tags/list").json["tags"] == tags


def test_a_tag_that_is_not_of_the_grammar_is_400(caller: Caller) -> None:
    raw = encode(caller.image("app"))
    for tag in (".a", "-a", "a+b", "a%20b", "%C3%A9", "x" * 129):
        reply = caller("PUT", f"/v2/app/manifests/{tag}", raw, {"Content-Type": OCI_MANIFEST})
        assert (tag, reply.status, reply.code) == (tag, 400, "MANIFEST_INVALID")


# Manifests


def test_a_manifest_is_accepted_under_several_tags(caller: Caller) -> None:
    raw = encode(caller.image("app"))
    for number in range(4):
        reply = caller("PUT", f"/v2/app/manifests/test{number}", raw, {"Content-Type": OCI_MANIFEST})
        assert (reply.status, reply.location) == (201, f"/v2/app/manifests/{digest(raw)}")
        assert caller("GET", reply.location).body == raw


def test_a_manifest_without_layers_is_accepted(caller: Caller) -> None:
    caller.push_manifest("app", caller.image("app") | {"layers": []}, "none")


def test_a_content_type_with_parameters_is_taken_without_them(caller: Caller) -> None:
    raw = encode(caller.image("app"))
    kind = {"Content-Type": f"{OCI_MANIFEST}; charset=utf-8"}
    assert caller("PUT", "/v2/app/manifests/v1", raw, kind).status == 201
    assert caller("GET", "/v2/app/manifests/v1").headers["Content-Type"] == OCI_MANIFEST


def test_without_a_content_type_the_document_says_what_it_is(caller: Caller) -> None:
    raw = encode(caller.image("app", media_type=DOCKER_MANIFEST) | {"mediaType": DOCKER_MANIFEST})
    assert caller("PUT", "/v2/app/manifests/v1", raw).status == 201
    assert caller("GET", "/v2/app/manifests/v1").headers["Content-Type"] == DOCKER_MANIFEST


def test_a_manifest_under_another_digest_is_400(caller: Caller) -> None:
    raw = encode(caller.image("app"))
    for reference in (DUMMY, "sha256:baddigeststring", f"md5:{'0' * 32}"):
        reply = caller("PUT", f"/v2/app/manifests/{reference}", raw, {"Content-Type": OCI_MANIFEST})
        assert (reply.status, reply.code) == (400, "DIGEST_INVALID")
    assert caller("HEAD", f"/v2/app/manifests/{digest(raw)}").status == 404


def test_a_manifest_by_sha512(caller: Caller) -> None:
    raw = encode(caller.image("app"))
    name = digest(raw, "sha512")
    reply = caller("PUT", f"/v2/app/manifests/{name}", raw, {"Content-Type": OCI_MANIFEST}, tag="v1")
    assert (reply.status, reply.headers["Docker-Content-Digest"]) == (201, name)
    assert caller("GET", "/v2/app/manifests/v1").headers["Docker-Content-Digest"] == name
    assert caller("GET", f"/v2/app/manifests/{name}").body == raw


@pytest.mark.parametrize(
    "raw",
    [b"", b"no", b"[]", b"{}", b'{"schemaVersion":1}', b'{"schemaVersion":2,"schemaVersion":2}', b"\xff", b"[" * 5000],
)
def test_a_manifest_that_is_none_is_400(caller: Caller, raw: bytes) -> None:
    reply = caller("PUT", "/v2/app/manifests/v1", raw, {"Content-Type": OCI_MANIFEST})
    assert (reply.status, reply.code) == (400, "MANIFEST_INVALID")


@pytest.mark.parametrize("kind", ["text/plain", OCI_INDEX, DOCKER_MANIFEST, "not a type", OCI_CONFIG])
def test_a_manifest_with_another_content_type_is_400(caller: Caller, kind: str) -> None:
    raw = encode(caller.image("app"))
    reply = caller("PUT", "/v2/app/manifests/v1", raw, {"Content-Type": kind})
    assert (reply.status, reply.code) == (400, "MANIFEST_INVALID")


def test_a_manifest_of_four_mebibytes_is_accepted_and_a_larger_one_is_413(caller: Caller) -> None:
    value = caller.image("app")
    value["annotations"] = {"org.example.filler": ""}
    value["annotations"]["org.example.filler"] = "x" * ((4 << 20) - len(encode(value)))
    caller.push_manifest("app", value, "large")
    value["annotations"]["org.example.filler"] += "x"
    reply = caller("PUT", "/v2/app/manifests/larger", encode(value), {"Content-Type": OCI_MANIFEST})
    assert (reply.status, reply.code) == (413, "SIZE_INVALID")
    chunked = caller("PUT", "/v2/app/manifests/larger", iter([encode(value)]), {"Content-Type": OCI_MANIFEST})
    assert (chunked.status, chunked.code) == (413, "SIZE_INVALID")


def test_a_manifest_that_names_a_missing_blob_is_refused(caller: Caller) -> None:
    value = caller.image("app")
    for field in ("config", "layers"):
        missing = descriptor(b"never pushed", OCI_CONFIG)
        bent = value | {field: missing if field == "config" else [missing]}
        reply = caller("PUT", "/v2/app/manifests/v1", encode(bent), {"Content-Type": OCI_MANIFEST})
        assert (reply.status, reply.code) == (400, "MANIFEST_BLOB_UNKNOWN")
    assert caller("GET", "/v2/app/manifests/v1").status == 404


def test_a_manifest_that_names_a_blob_of_another_repository_is_refused(caller: Caller) -> None:
    value = caller.image("app")
    reply = caller("PUT", "/v2/other/manifests/v1", encode(value), {"Content-Type": OCI_MANIFEST})
    assert (reply.status, reply.code) == (400, "MANIFEST_BLOB_UNKNOWN")


def test_a_manifest_that_lies_about_a_blobs_size_is_refused(caller: Caller) -> None:
    value = caller.image("app")
    value["layers"][0]["size"] += 1
    reply = caller("PUT", "/v2/app/manifests/v1", encode(value), {"Content-Type": OCI_MANIFEST})
    assert (reply.status, reply.code) == (400, "MANIFEST_INVALID")


@pytest.mark.parametrize(
    "layer",
    [
        descriptor(b"foreign", "application/vnd.oci.image.layer.nondistributable.v1.tar"),
        descriptor(b"foreign", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"),
        descriptor(b"elsewhere", "application/vnd.oci.image.layer.v1.tar", urls=["https://example.com/layer"]),
        descriptor(b"inside", "application/vnd.oci.image.layer.v1.tar", embed=True),
    ],
    ids=["nondistributable", "foreign", "urls", "data"],
)
def test_layers_that_need_not_be_there_are_not_asked_for(caller: Caller, layer: Json) -> None:
    caller.push_manifest("app", caller.image("app") | {"layers": [layer]}, "v1")


def test_an_index_goes_in_after_its_images_and_not_before(caller: Caller) -> None:
    image = encode(caller.image("app"))
    whole = index([descriptor(image, OCI_MANIFEST)])
    early = caller("PUT", "/v2/app/manifests/v1", encode(whole), {"Content-Type": OCI_INDEX})
    assert (early.status, early.code) == (400, "MANIFEST_BLOB_UNKNOWN")
    caller.push_manifest("app", image)
    caller.push_manifest("app", whole, "v1", OCI_INDEX)
    assert caller("GET", f"/v2/app/manifests/{digest(image)}").body == image
    nested = index([descriptor(encode(whole), OCI_INDEX)])
    caller.push_manifest("app", nested, "nested", OCI_INDEX)
    assert caller("GET", f"/v2/app/manifests/{digest(image)}").headers["Content-Type"] == OCI_MANIFEST


def test_an_empty_index_is_accepted(caller: Caller) -> None:
    caller.push_manifest("app", index([]), "empty", OCI_INDEX)


def test_a_subject_that_is_not_there_is_accepted_and_answered_with_oci_subject(caller: Caller) -> None:
    subject = descriptor(b"to come", OCI_MANIFEST)
    raw = encode(caller.image("app", subject=subject))
    reply = caller("PUT", f"/v2/app/manifests/{digest(raw)}", raw, {"Content-Type": OCI_MANIFEST})
    assert (reply.status, reply.headers["OCI-Subject"]) == (201, subject["digest"])
    raw = encode(index([], subject=subject))
    reply = caller("PUT", f"/v2/app/manifests/{digest(raw)}", raw, {"Content-Type": OCI_INDEX})
    assert (reply.status, reply.headers["OCI-Subject"]) == (201, subject["digest"])


def test_an_artifact_with_an_empty_config_is_accepted(caller: Caller) -> None:
    caller.push_blob("app", b"{}")
    empty = descriptor(b"{}", OCI_EMPTY)
    caller.push_manifest("app", manifest(empty, [empty], artifactType="application/vnd.example"), "artifact")


def test_unknown_fields_and_types_inside_are_kept(caller: Caller) -> None:
    value = caller.image("app") | {"x-custom": {"a": [1, None]}}
    value["layers"][0]["mediaType"] = "application/x-anything"
    value["config"]["mediaType"] = "application/x-config"
    caller.push_manifest("app", value, "v1")
    assert caller("GET", "/v2/app/manifests/v1").json == value


def test_a_push_by_digest_with_tags_beside_it(caller: Caller) -> None:
    raw = encode(caller.image("app"))
    target = f"/v2/app/manifests/{digest(raw)}?tag=1.2.3&tag=1.2&tag=latest"
    reply = caller("PUT", target, raw, {"Content-Type": OCI_MANIFEST})
    assert (reply.status, reply.headers["OCI-Tag"]) == (201, "1.2.3, 1.2, latest")
    assert caller("GET", "/v2/app/tags/list").json["tags"] == ["1.2", "1.2.3", "latest"]
    many = "&".join(f"tag=t{number}" for number in range(101))
    assert caller("PUT", f"/v2/app/manifests/{digest(raw)}?{many}", raw).status in (400, 414)
    assert caller("PUT", f"/v2/app/manifests/{digest(raw)}?tag=../x", raw).status == 400
