"""Copying what refers to an image: found once each, to a bounded depth, and found again at the destination."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from oci.errors import BlobNotFound, DestinationError, InvalidInput, LimitExceeded
from oci.layout.layout import Layout
from oci.spec import Descriptor, Platform
from oci.transports import attached
from oci.transports.copy import copy
from oci.transports.names import open_destination, open_source
from oci.verification.verify import verify
from tests.support.images import (
    OCI_EMPTY,
    OCI_INDEX,
    OCI_MANIFEST,
    Json,
    LayoutMaker,
    descriptor,
    index,
    manifest,
    tar_layer,
)


class Maker(LayoutMaker):
    """A layout with images, and referrers made in view."""

    def refer(self, subject: Json, content: bytes, **more: object) -> Json:
        """Store a manifest about `subject`, listed without a tag; gives its descriptor."""
        self.put(content)
        self.put(b"{}")
        named = {key: subject[key] for key in ("mediaType", "digest", "size")}
        made = manifest(
            descriptor(b"{}", OCI_EMPTY), [descriptor(content, "text/plain")], subject=named, artifactType="a/b", **more
        )
        described = self.document(made, OCI_MANIFEST)
        self.entries.append(described)
        return described


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker(tmp_path / "source")


def run(maker: Maker, target: str, tag: str = "v1", **options: Any) -> Descriptor:
    with open_source(f"oci:{maker.path}:{tag}") as source, open_destination(target) as destination:
        return copy(source, destination, with_referrers=True, **options)


def listed(target: str, subject: Json) -> set[str]:
    """The digests of what refers to a document, in what `target` names."""
    with open_source(target) as source:
        return {str(one.digest) for one in source.referrers(Descriptor.from_json(subject))}


@pytest.mark.parametrize("kind", ["oci:{}/copy:v1", "oci-archive:{}/copy.tar:v1"])
def test_referrers_and_their_referrers_are_copied(maker: Maker, tmp_path: Path, kind: str) -> None:
    image = maker.image([tar_layer({"a": b"1"})])
    maker.tag("v1", image)
    sbom = maker.refer(image, b"sbom")
    signature = maker.refer(sbom, b"signature of the sbom")
    other = maker.image([tar_layer({"b": b"2"})])
    maker.tag("v2", other)
    maker.refer(other, b"of another image")
    maker.finish()
    target = kind.format(tmp_path)
    assert str(run(maker, target).digest) == image["digest"]
    assert listed(target, image) == {sbom["digest"]}
    assert listed(target, sbom) == {signature["digest"]}
    with open_source(target) as source:
        assert str(source.resolve().digest) == image["digest"]
        assert source.has(Descriptor.from_json(descriptor(b"sbom", "text/plain")).digest)
        assert not source.has(Descriptor.from_json(descriptor(b"of another image", "text/plain")).digest)
    if target.startswith("oci:"):
        assert verify(tmp_path / "copy").ok


def test_each_image_of_an_index_has_its_own(maker: Maker, tmp_path: Path) -> None:
    images = [
        maker.image([tar_layer({"a": b"1"})], architecture=name) | {"platform": {"os": "linux", "architecture": name}}
        for name in ("amd64", "arm64")
    ]
    top = maker.document(index(images), OCI_INDEX)
    maker.tag("v1", top)
    about = [maker.refer(one, content) for one, content in ((top, b"whole"), (images[0], b"amd"), (images[1], b"arm"))]
    maker.finish()
    run(maker, f"oci:{tmp_path}/all:v1")
    for subject, referrer in zip((top, *images), about, strict=True):
        assert listed(f"oci:{tmp_path}/all:v1", subject) == {referrer["digest"]}
    run(maker, f"oci:{tmp_path}/one:v1", platform=Platform("linux", "arm64"))
    assert listed(f"oci:{tmp_path}/one:v1", images[1]) == {about[2]["digest"]}
    assert listed(f"oci:{tmp_path}/one:v1", images[0]) == set()


def test_without_being_asked_no_referrer_comes_along(maker: Maker, tmp_path: Path) -> None:
    image = maker.image([])
    maker.tag("v1", image)
    maker.refer(image, b"sbom")
    maker.finish()
    with open_source(f"oci:{maker.path}:v1") as source, open_destination(f"oci:{tmp_path}/copy:v1") as destination:
        copy(source, destination)
    assert listed(f"oci:{tmp_path}/copy:v1", image) == set()


def test_a_second_copy_changes_nothing(maker: Maker, tmp_path: Path) -> None:
    image = maker.image([])
    maker.tag("v1", image)
    maker.refer(image, b"sbom")
    maker.finish()
    run(maker, f"oci:{tmp_path}/copy:v1")
    before = (tmp_path / "copy/index.json").read_bytes()
    run(maker, f"oci:{tmp_path}/copy:v1")
    assert (tmp_path / "copy/index.json").read_bytes() == before
    assert len(json.loads(before)["manifests"]) == 2


class Lying:
    """A source whose list of referrers says what a test wants."""

    def __init__(self, source: Any, lists: Any) -> None:
        self._source, self._lists = source, lists

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def referrers(self, subject: Descriptor) -> Iterator[Descriptor]:
        yield from self._lists(subject)


def lying(maker: Maker, target: str, lists: Any, **options: Any) -> None:
    with open_source(f"oci:{maker.path}:v1") as source, open_destination(target) as destination:
        copy(Lying(source, lists), destination, with_referrers=True, **options)  # type: ignore[arg-type]


def test_lists_that_name_each_other_end(maker: Maker, tmp_path: Path) -> None:
    image = maker.image([])
    maker.tag("v1", image)
    one, two = maker.refer(image, b"1"), maker.refer(image, b"2")
    maker.finish()
    everything = [Descriptor.from_json(value) for value in (image, one, two, one)]
    lying(maker, f"oci:{tmp_path}/copy:v1", lambda _subject: iter(everything))
    assert len(Layout.open(tmp_path / "copy").index().model.manifests) == 3


def test_a_chain_without_end_is_ended(maker: Maker, tmp_path: Path) -> None:
    image = maker.image([])
    maker.tag("v1", image)
    last = image
    for number in range(attached.MAX_CHAIN):
        last = maker.refer(last, b"%d" % number)
    maker.finish()
    run(maker, f"oci:{tmp_path}/all:v1")
    assert len(Layout.open(tmp_path / "all").index().model.manifests) == 1 + attached.MAX_CHAIN
    maker.refer(last, b"one more")
    maker.finish()
    with pytest.raises(LimitExceeded, match="referrers of referrers"):
        run(maker, f"oci:{tmp_path}/copy:v1")
    assert Layout.open(tmp_path / "copy").index().model.manifests == ()


def test_a_list_without_end_is_ended(maker: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = maker.image([])
    maker.tag("v1", image)
    for number in range(6):
        maker.refer(image, b"%d" % number)
    maker.finish()
    monkeypatch.setattr(attached, "MAX_REFERRERS", 5)
    with pytest.raises(LimitExceeded, match="limit of 5"):
        run(maker, f"oci:{tmp_path}/copy:v1")


def test_a_referrer_that_is_listed_and_not_stored_is_left_out_with_a_warning(maker: Maker, tmp_path: Path) -> None:
    image = maker.image([])
    maker.tag("v1", image)
    there = maker.refer(image, b"1")
    maker.finish()
    gone = Descriptor.from_json(descriptor(b"nowhere", OCI_MANIFEST))
    strange = Descriptor.from_json(descriptor(b"1", "text/plain"))
    told: list[str] = []
    lists = [gone, Descriptor.from_json(there), strange]
    lying(
        maker,
        f"oci:{tmp_path}/copy:v1",
        lambda subject: lists if str(subject.digest) == image["digest"] else (),
        warn=told.append,
    )
    assert listed(f"oci:{tmp_path}/copy:v1", image) == {there["digest"]}
    assert len(told) == 2


def test_a_referrer_whose_blob_is_missing_fails_before_the_name_is_given(maker: Maker, tmp_path: Path) -> None:
    image = maker.image([])
    maker.tag("v1", image)
    maker.refer(image, b"sbom")
    maker.blob_path(descriptor(b"sbom", "x/y")["digest"]).unlink()
    maker.finish()
    with pytest.raises(BlobNotFound):
        run(maker, f"oci:{tmp_path}/copy:v1")
    assert Layout.open(tmp_path / "copy").index().model.manifests == ()


def test_what_a_list_says_of_a_referrer_does_not_reach_the_index(maker: Maker, tmp_path: Path) -> None:
    image = maker.image([])
    maker.tag("v1", image)
    there = maker.refer(image, b"1")
    maker.finish()
    loud = Descriptor.from_json(there).replace(
        annotations={"org.opencontainers.image.ref.name": "latest"}, urls=("http://x/",)
    )
    lying(maker, f"oci:{tmp_path}/copy:v1", lambda subject: [loud] if str(subject.digest) == image["digest"] else ())
    entries = json.loads((tmp_path / "copy/index.json").read_text())["manifests"]
    assert entries[0] == there
    assert len(entries) == 2


def test_what_can_not_be_is_refused_before_anything_is_written(maker: Maker, tmp_path: Path) -> None:
    maker.tag("v1", maker.image([]))
    maker.finish()
    with pytest.raises(InvalidInput, match="compressing"):
        run(maker, f"oci:{tmp_path}/copy:v1", compression=("zstd", None))
    with pytest.raises(DestinationError, match="single images"):
        run(maker, f"docker-archive:{tmp_path}/copy.tar:x:v1")
    assert not (tmp_path / "copy.tar").exists()
