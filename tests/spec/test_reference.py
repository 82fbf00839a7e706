"""References in the syntax of containers-transports(5), with Docker's normalisation of names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oci.errors import InvalidReference
from oci.spec import ArchiveRef, Digest, DockerArchiveRef, LayoutRef, RegistryRef, StoreRef, parse_reference
from oci.spec.reference import MAX_REFERENCE, Reference, parse_name

HEX = "6c3c624b58dbbcd3c0dd82b4c53f04194d1247c6eebdaab7c610cf7d66709b3b"
DIGEST = Digest("sha256", HEX)


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("oci:img", LayoutRef("img")),
        ("oci:img:v1", LayoutRef("img", "v1")),
        ("oci:/a/b c:v1__2", LayoutRef("/a/b c", "v1__2")),
        ("oci:img:docker.io/library/alpine:3.20", LayoutRef("img", "docker.io/library/alpine:3.20")),
        (f"oci:img@sha256:{HEX}", LayoutRef("img", None, DIGEST)),
        (f"oci:img:v1@sha256:{HEX}", LayoutRef("img", "v1", DIGEST)),
        ("oci:img:docker.io/a__b/c:1", LayoutRef("img", "docker.io/a__b/c:1")),
        ("oci:me@host:tag", LayoutRef("me@host", "tag")),
        (f"oci:me@host@sha256:{HEX}", LayoutRef("me@host", None, DIGEST)),
        ("./img", LayoutRef("./img")),
        ("./img:v1", LayoutRef("./img", "v1")),
        ("../img:v1", LayoutRef("../img", "v1")),
        ("/srv/img:v1", LayoutRef("/srv/img", "v1")),
        (f"/srv/img@sha256:{HEX}", LayoutRef("/srv/img", None, DIGEST)),
        (".", LayoutRef(".")),
        ("..", LayoutRef("..")),
        ("oci-archive:a.tar", ArchiveRef("a.tar")),
        ("oci-archive:/a.tar:v1", ArchiveRef("/a.tar", "v1")),
        (f"oci-archive:a.tar@sha256:{HEX}", ArchiveRef("a.tar", None, DIGEST)),
        ("docker-archive:a.tar", DockerArchiveRef("a.tar")),
        ("docker-archive:a.tar:alpine", DockerArchiveRef("a.tar", "alpine:latest")),
        ("docker-archive:a.tar:h:5000/a/b:c", DockerArchiveRef("a.tar", "h:5000/a/b:c")),
        ("docker-archive:a.tar:h:5000/a/b", DockerArchiveRef("a.tar", "h:5000/a/b:latest")),
        ("docker://alpine", RegistryRef("docker.io", "library/alpine", "latest")),
        ("docker://alpine:3", RegistryRef("docker.io", "library/alpine", "3")),
        ("docker://me/app", RegistryRef("docker.io", "me/app", "latest")),
        ("docker://docker.io/alpine", RegistryRef("docker.io", "library/alpine", "latest")),
        ("docker://index.docker.io/alpine", RegistryRef("docker.io", "library/alpine", "latest")),
        ("docker://localhost:5000", RegistryRef("docker.io", "library/localhost", "5000")),  # as Docker reads it
        ("docker://localhost/app", RegistryRef("localhost", "app", "latest")),
        ("docker://localhost:5000/a/b:c", RegistryRef("localhost:5000", "a/b", "c")),
        ("docker://127.0.0.1:5000/a", RegistryRef("127.0.0.1:5000", "a", "latest")),
        ("docker://[::1]:5000/a", RegistryRef("[::1]:5000", "a", "latest")),
        ("docker://Host.example/a", RegistryRef("Host.example", "a", "latest")),
        (f"docker://alpine@sha256:{HEX}", RegistryRef("docker.io", "library/alpine", None, DIGEST)),
        (f"docker://alpine:3@sha256:{HEX}", RegistryRef("docker.io", "library/alpine", "3", DIGEST)),
        ("docker://a__b/c--d/e.f", RegistryRef("docker.io", "a__b/c--d/e.f", "latest")),
        ("alpine", StoreRef("alpine")),
        ("docker:dind", StoreRef("docker:dind")),
        ("oci", StoreRef("oci")),
        ("localhost:5000/app:v1", StoreRef("localhost:5000/app:v1")),
        (HEX, StoreRef(HEX)),
        (f"sha256:{HEX}", StoreRef(f"sha256:{HEX}")),
        (HEX[:12], StoreRef(HEX[:12])),
    ],
)
def test_reference_is_read_and_reads_back_from_its_text(text: str, reference: Reference) -> None:
    assert parse_reference(text) == reference
    assert parse_reference(str(reference)) == reference


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("oci:", "PATH is missing"),
        ("oci::v1", "PATH is missing"),
        ("oci:img:", "a tag is"),
        ("oci:img:a b", "a tag is"),
        ("oci:img:-a", "a tag is"),
        ("oci:img@sha256:abc", "64 lower-case"),
        (f"oci:img@sha256:{HEX.upper()}", "64 lower-case"),
        ("oci-archive:", "FILE is missing"),
        ("docker-archive:", "FILE is missing"),
        ("docker-archive:a.tar:", "name is missing"),
        ("docker-archive:a.tar:UP", "lower case"),
        (f"docker-archive:a.tar:alpine@sha256:{HEX}", "not digests"),
        ("docker://", "name is missing"),
        ("docker://:v1", "name is missing"),
        ("docker://localhost:5000/", "name is missing"),
        ("docker://Alpine", "try 'library/alpine'"),
        ("docker://h.example/A/b", "lower case"),
        ("docker://a//b", "lower-case letters"),
        ("docker://a/", "lower-case letters"),
        ("docker://a..b", "lower-case letters"),
        ("docker://a___b", "lower-case letters"),
        ("docker://-a", "lower-case letters"),
        ("docker://../../etc", "HOST"),
        ("docker://h.example:port/a", "HOST"),
        ("docker://h.example:65536/a", "there is no port 65536"),
        ("docker://h.example:0/a", "there is no port 0"),
        ("docker://-h.example/a", "HOST"),
        ("docker://user:pw@h.example/a", "behind '@'"),
        ("docker://alpine:", "a tag is"),
        ("docker://alpine:.a", "a tag is"),
        ("docker://alpine:" + "a" * 129, "a tag is"),
        ("docker://alpine@", "behind '@'"),
        ("docker://alpine@sha256:12", "behind '@'"),
        (f"docker://{HEX}", "image ID"),
        ("docker://" + "a" * 256, "longer than 255"),
        ("docker://é", "lower-case letters"),
        ("dir:/a", "unknown transport 'dir'; use oci:PATH"),
        ("https://h.example/a", "use docker://HOST/REPO"),
        ("docker:/alpine", "use docker://"),
        ("oci-archve:/a.tar", "did you mean oci-archive:"),
        ("zzz:/a", "known are oci:"),
        ("Alpine", "lower case"),
        ("alpine:a:b", "a tag is"),
        ("a" * (MAX_REFERENCE + 1), "longer than"),
        ("oci:img\0:v1", "control characters"),
        ("docker://alp\nine", "control characters"),
        ("\x1b[31m", "control characters"),
        ("al\x7fpine", "control characters"),
    ],
)
def test_reference_that_breaks_the_syntax_is_refused_with_what_to_do(text: str, reason: str) -> None:
    with pytest.raises(InvalidReference) as caught:
        parse_reference(text)
    assert reason in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


def test_registry_reference_has_its_names() -> None:
    reference = parse_name("alpine")
    assert reference.name == "docker.io/library/alpine:latest"
    assert reference.familiar == "alpine:latest"
    assert parse_name("docker.io/me/app:1").familiar == "me/app:1"
    assert parse_name("h.example/library/app:1").familiar == "h.example/library/app:1"


def test_store_names_are_filled_in_as_docker_does_and_ids_are_not_names() -> None:
    assert StoreRef("alpine").normalized == RegistryRef("docker.io", "library/alpine", "latest")
    assert StoreRef(HEX[:12]).normalized is not None
    assert StoreRef(HEX).normalized is None
    assert StoreRef(f"sha256:{HEX}").normalized is None


@given(st.text(max_size=40) | st.text(alphabet="oci:-archvedk/.@sha256_AZ \t\n%", max_size=60))
def test_any_text_is_a_reference_that_reads_back_or_one_clear_error(text: str) -> None:
    try:
        reference = parse_reference(text)
    except InvalidReference as error:
        message = str(error)
    else:
        message = str(reference)
        assert parse_reference(message) == reference
    assert "\n" not in message
