"""Media types, annotations, reference names, tags and URIs: each by its own grammar."""

from __future__ import annotations

import pytest

from oci.spec import annotations, media_types
from oci.spec.uri import MAX_URI, is_uri

LONG = "1234567" + "1234567890" * 12


@pytest.mark.parametrize(
    "text", ["a/b", "application/vnd.oci.image.manifest.v1+json", f"{LONG}/{LONG}", "1/2", "a!#$&^_.+-/b!#$&^_.+-"]
)
def test_media_type_name_by_rfc_6838_is_taken(text: str) -> None:
    assert media_types.is_media_type(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "application",
        "/",
        "a/",
        "/b",
        ".foo/bar",
        "foo/.bar",
        f"{LONG}8/b",
        f"a/{LONG}8",
        "a/b/c",
        "a/b;c=d",
        "a/b\n",
        "a /b",
        "a/é",
        "a/b ",
    ],
)
def test_what_is_no_media_type_name_is_not_taken(text: str) -> None:
    assert not media_types.is_media_type(text)


@pytest.mark.parametrize("family", ["oci", "docker"])
@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_layer_type_and_compression_are_inverse(family: str, compression: str) -> None:
    media_type = media_types.layer_media_type(family, compression)
    assert media_types.layer_compression(media_type) == compression
    assert media_types.is_layer(media_type)
    assert media_types.is_docker(media_type) == (family == "docker")
    assert not media_types.is_nondistributable(media_type)


def test_layer_type_of_unknown_words_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="bzip2"):
        media_types.layer_media_type("oci", "bzip2")


@pytest.mark.parametrize(
    ("media_type", "compression"),
    [
        (media_types.NONDISTRIBUTABLE_TAR, "none"),
        (media_types.NONDISTRIBUTABLE_GZIP, "gzip"),
        (media_types.NONDISTRIBUTABLE_ZSTD, "zstd"),
        (media_types.DOCKER_FOREIGN_TAR, "none"),
        (media_types.DOCKER_FOREIGN_GZIP, "gzip"),
    ],
)
def test_nondistributable_layers_are_read_as_layers(media_type: str, compression: str) -> None:
    assert media_types.is_nondistributable(media_type)
    assert media_types.layer_compression(media_type) == compression


def test_unknown_media_types_belong_to_no_kind() -> None:
    for media_type in ("application/octet-stream", media_types.EMPTY, None):
        assert media_types.layer_compression(media_type) is None
        assert not media_types.is_layer(media_type)
        assert not media_types.is_manifest(media_type)
        assert not media_types.is_index(media_type)
        assert not media_types.is_config(media_type)


def test_docker_types_are_read_as_equals() -> None:
    assert media_types.is_manifest(media_types.DOCKER_MANIFEST)
    assert media_types.is_index(media_types.DOCKER_LIST)
    assert media_types.is_config(media_types.DOCKER_CONFIG)


@pytest.mark.parametrize(
    "name", ["v1.0", "latest", "a/b", "stable-release", "a--b", "a:b@c+d", "docker.io/library/a:1"]
)
def test_reference_name_by_the_grammar_of_annotations_is_taken(name: str) -> None:
    assert annotations.is_ref_name(name)


@pytest.mark.parametrize("name", ["", "-a", "a-", "a..b", "a---b", "a/", "/a", "a//b", "a b", "a\n", "é", "a" * 1025])
def test_what_is_no_reference_name_is_not_taken(name: str) -> None:
    assert not annotations.is_ref_name(name)


@pytest.mark.parametrize("tag", ["latest", "_", "v1__2", "A.b-c", "1" * 128])
def test_tag_by_the_distribution_spec_is_taken(tag: str) -> None:
    assert annotations.is_tag(tag)


@pytest.mark.parametrize("tag", ["", ".a", "-a", "a/b", "a:b", "1" * 129, "a\n", "é"])
def test_what_is_no_tag_is_not_taken(tag: str) -> None:
    assert not annotations.is_tag(tag)


@pytest.mark.parametrize(
    "text",
    [
        "https://example.com/foo",
        "http://u:p@[2001:db8::1]:80/a;b=c?q#f",
        "ftp://ftp.is.co.za/rfc/rfc1808.txt",
        "mailto:John.Doe@example.com",
        "urn:oasis:names:specification:docbook:dtd:xml:4.1.2",
        "file:///etc/hosts",
        "a:",
        "http://example.com/%20",
        "http://example.com?q=/?",
    ],
)
def test_uri_by_rfc_3986_is_taken(text: str) -> None:
    assert is_uri(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "value",
        "//host/a",
        "/a",
        "1a:b",
        "http://a b/",
        "http://a/%2",
        "http://a/#b#c",
        "http://[::1/",
        "http://a/[b]",
        "http://a/\n",
        "http://é/",
        "http://a/<b>",
        "http://a:port/",
        "x:" + "a" * MAX_URI,
    ],
)
def test_what_is_no_uri_is_not_taken(text: str) -> None:
    assert not is_uri(text)
