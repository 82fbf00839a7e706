"""Artifacts, referrers and lists of copies against docker-registry, which has no referrers API, and ours, which has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from oci.artifact.attach import attach
from oci.artifact.files import Draft, File
from oci.artifact.pack import push
from oci.artifact.pull import pull
from oci.registry.settings import Settings
from oci.serving.server import Server
from oci.spec import Descriptor
from oci.spec.reference import parse_name
from oci.transports.copy import copy
from oci.transports.copy_list import read_list
from oci.transports.copy_many import Outcome, copy_many
from oci.transports.names import open_destination, open_source
from oci.transports.places import OpenPlaces
from oci.transports.registries import Opener, opener
from oci.verification.verify import verify
from tests.support.images import OCI_INDEX, LayoutMaker, index, tar_layer
from tests.support.registries import DockerRegistry, docker_registry


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    with docker_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(scope="module", params=["docker-registry", "ocikit serve"])
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if request.param == "docker-registry":
        yield request.getfixturevalue("registry").host
        return
    with Server(tmp_path_factory.mktemp("serve") / "layout") as server:
        yield server.host


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hi.txt").write_text("hi\n")
    (tmp_path / "docs/img").mkdir(parents=True)
    (tmp_path / "docs/img/x").write_bytes(bytes(range(256)) * 4000)
    (tmp_path / "docs/l").symlink_to("img/x")
    return tmp_path


def client() -> Opener:
    return opener(Settings())


def pushed(reference: str, *words: str) -> Descriptor:
    with open_destination(reference, others=client().destination) as destination:
        return push(destination, Draft(files=tuple(map(File.parse, words)), artifact_type="application/vnd.x"))


def attached(reference: str, subject: Descriptor, word: str, kind: str = "a/b") -> Descriptor:
    beside = parse_name(reference.removeprefix("docker://")).replace(tag=None, digest=None)
    with open_destination(beside, others=client().destination) as destination:
        return attach(destination, subject, Draft(files=(File.parse(word),), artifact_type=kind))


def referrers(reference: str, subject: Descriptor) -> dict[str, str | None]:
    with open_source(reference, others=client().source) as source:
        return {str(one.digest): one.artifact_type for one in source.referrers(subject)}


def test_an_artifact_goes_to_a_registry_and_comes_back(host: str, place: Path) -> None:
    name = f"docker://{host}/artifacts/one:v1"
    made = pushed(name, "hi.txt:text/plain", "docs")
    with open_source(name, others=client().source) as source:
        assert source.resolve() == made
        pull(source, made, "out")
    assert (place / "out/docs/img/x").read_bytes() == (place / "docs/img/x").read_bytes()
    assert (place / "out/hi.txt").read_text() == "hi\n"


def test_what_is_there_is_not_sent_again(registry: DockerRegistry, place: Path) -> None:
    name = f"docker://{registry.host}/artifacts/again:v1"
    made = pushed(name, "hi.txt:text/plain", "docs")
    mark = registry.mark()
    assert pushed(name, "hi.txt:text/plain", "docs") == made
    assert registry.count("POST", since=mark) == 0


def test_what_is_attached_is_found_by_the_api_or_by_the_referrers_tag(host: str, place: Path) -> None:
    name = f"docker://{host}/artifacts/two:v1"
    subject = pushed(name, "hi.txt")
    first = attached(name, subject, "hi.txt", "application/spdx+json")
    second = attached(name, subject, "docs", "application/vnd.signature")
    assert referrers(name, subject) == {
        str(first.digest): "application/spdx+json",
        str(second.digest): "application/vnd.signature",
    }
    with open_source(name, others=client().source) as source:
        assert source.resolve() == subject  # no tag moved


def test_referrers_are_copied_from_registry_to_layout_and_back(host: str, place: Path) -> None:
    name = f"docker://{host}/artifacts/three:v1"
    subject = pushed(name, "hi.txt")
    sbom = attached(name, subject, "docs")
    signature = attached(name, sbom, "hi.txt", "c/d")
    back = f"docker://{host}/artifacts/four:v2"
    for here, there in ((name, "oci:layout:v1"), ("oci:layout:v1", back)):
        with (
            open_source(here, others=client().source) as source,
            open_destination(there, others=client().destination) as destination,
        ):
            assert copy(source, destination, with_referrers=True).digest == subject.digest
    assert verify(place / "layout").ok
    for reference in ("oci:layout:v1", back):
        assert referrers(reference, subject) == {str(sbom.digest): "a/b"}
        assert referrers(reference, sbom) == {str(signature.digest): "c/d"}


def test_a_mirror_asks_by_head_and_sends_nothing_that_is_there(registry: DockerRegistry, place: Path) -> None:
    maker = LayoutMaker(place / "from")
    children = [
        maker.image([tar_layer({"a": b"1", name: b""})], architecture=name)
        | {"platform": {"os": "linux", "architecture": name}}
        for name in ("amd64", "arm64", "s390x")
    ]
    maker.tag("v1", maker.document(index(children), OCI_INDEX))
    maker.tag("v2", children[0])
    maker.tag("x1", children[1])
    maker.finish()
    up = f'[[sync]]\nsource = "oci:from"\ndestination = "docker://{registry.host}/mirror/from"\n'
    across = (
        f'[[sync]]\nsource = "docker://{registry.host}/mirror/from"\n'
        f'destination = "docker://{registry.host}/mirror/to"\ntags = ["v*"]\n'
    )

    def run(text: str) -> list[Outcome]:
        with client().sharing() as sources, client().sharing() as destinations:
            places = OpenPlaces(sources=sources, destinations=destinations)
            return list(copy_many(read_list(text.encode(), "x.toml", toml=True), places))

    assert [one.status for one in run(up)] == ["copied"] * 3
    mark = registry.mark()
    assert [one.status for one in run(across)] == ["copied"] * 2
    # Mounted, not sent: no blob was uploaded.
    assert registry.count("PATCH", since=mark) == 0
    assert registry.count("PUT", "/blobs/", since=mark) == 0
    mark = registry.mark()
    again = run(across)
    assert [one.status for one in again] == ["same"] * 2
    assert [str(one.digest) for one in again] == [maker.entries[0]["digest"], children[0]["digest"]]
    asked = registry.requests()[mark:]
    assert {one.method for one in asked if "/manifests/" in one.path} == {"HEAD"}
    some = across.replace("/mirror/to", "/mirror/some") + 'platforms = ["linux/amd64", "linux/s390x"]\n'
    (one, two) = run(some)
    assert (one.status, two.status) == ("copied", "copied")
    assert one.digest != again[0].digest
    assert [one.status for one in run(some)] == ["same"] * 2
