"""Copying between all kinds of places: byte for byte, children first, verified; and compressed anew."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from oci.errors import (
    BlobNotFound,
    DestinationError,
    DiffIdMismatch,
    DigestMismatch,
    InvalidDocument,
    InvalidReference,
    OciError,
    RefNotFound,
)
from oci.layout.archive import Archive
from oci.layout.blobs import Content
from oci.layout.layout import Layout
from oci.layout.walk import walk
from oci.spec import Descriptor, Digest, Platform
from oci.streams.compression import decompress, detect
from oci.transports.base import ImageSource
from oci.transports.copy import copy
from oci.transports.from_layout import LayoutDestination
from oci.transports.names import open_destination, open_source
from tests.support.images import (
    DOCKER_LIST,
    OCI_EMPTY,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    Json,
    LayerBlob,
    LayoutMaker,
    config,
    digest,
    index,
    manifest,
    tar_layer,
)

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")


@pytest.fixture
def maker(tmp_path: Path) -> LayoutMaker:
    return LayoutMaker(tmp_path / "source")


def run(source: Path | str, target: str, **options: object) -> Descriptor:
    source = f"oci:{source}" if isinstance(source, Path) else source
    with open_source(source) as opened, open_destination(target) as destination:
        return copy(opened, destination, **options)  # type: ignore[arg-type]


def contents(place: Layout | Archive, start: Descriptor) -> dict[str, bytes]:
    found = {}
    for descriptor in walk(place.blobs, start):
        if place.blobs.has(descriptor.digest):
            with place.blobs.open(descriptor) as chunks:
                found[str(descriptor.digest)] = b"".join(chunks)
    return found


def image(maker: LayoutMaker, word: str = "a", **fields: str) -> Json:
    return maker.image([tar_layer({"base": b"shared"}), tar_layer({"word": word.encode() * 5000})], **fields)


def multi(maker: LayoutMaker, media_type: str = OCI_INDEX, *, docker: bool = False) -> Json:
    """An index with two platforms and BuildKit's attestation for the first."""
    entries = []
    for architecture in ("amd64", "arm64"):
        made = maker.image([tar_layer({"arch": architecture.encode()})], architecture=architecture, docker=docker)
        entries.append(made | {"platform": {"os": "linux", "architecture": architecture}})
    statement = maker.put(b'{"predicate":1}')
    in_toto = {"mediaType": "application/vnd.in-toto+json", "digest": statement, "size": 15}
    attestation = maker.document(
        manifest(
            maker.document(config([digest(b'{"predicate":1}')]), "application/vnd.oci.image.config.v1+json"), [in_toto]
        ),
        OCI_MANIFEST,
    )
    about = {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": entries[0]["digest"]}
    entries.append(attestation | {"platform": {"os": "unknown", "architecture": "unknown"}, "annotations": about})
    return maker.document(index(entries, media_type=media_type), media_type)


PLACES = ["oci:{}/layout:new", "oci-archive:{}/image.tar:new"]


@pytest.mark.parametrize("place", PLACES)
def test_an_image_arrives_byte_for_byte_under_its_new_name(maker: LayoutMaker, tmp_path: Path, place: str) -> None:
    made = image(maker)
    maker.tag("v1", made | {"x-note": 1, "annotations": {"k": "v"}})
    source = maker.finish()
    target = place.format(tmp_path)
    copied = run(source, target)
    assert str(copied.digest) == made["digest"]
    with open_source(target) as opened:
        found = opened.resolve()
        assert found.annotations == {"k": "v", "org.opencontainers.image.ref.name": "new"}
        assert found.extra == {"x-note": 1}
    origin = Layout.open(source)
    if place.startswith("oci:"):
        made_layout = Layout.open(tmp_path / "layout")
        assert contents(made_layout, found) == contents(origin, found)
    else:
        with Archive.open(tmp_path / "image.tar") as archive:
            assert contents(archive, found) == contents(origin, found)


@pytest.mark.parametrize("place", PLACES)
def test_a_platform_is_taken_out_of_an_index_alone(maker: LayoutMaker, tmp_path: Path, place: str) -> None:
    maker.tag("v1", multi(maker))
    source = maker.finish()
    target = place.format(tmp_path)
    copied = run(source, target, platform=ARM64)
    with open_source(target) as opened:
        found = opened.resolve()
        assert found.digest == copied.digest
        assert found.media_type == OCI_MANIFEST
        assert not opened.has(Layout.open(source).resolve("v1").digest)


@pytest.mark.parametrize("place", PLACES)
def test_all_platforms_come_with_attestations_and_nested_indexes(
    maker: LayoutMaker, tmp_path: Path, place: str
) -> None:
    top = maker.document(index([multi(maker), image(maker, "other")]), OCI_INDEX)
    maker.tag("v1", top)
    source = maker.finish()
    target = place.format(tmp_path)
    assert str(run(source, target).digest) == top["digest"]
    origin = Layout.open(source)
    with open_source(target) as opened:
        everything = contents(origin, origin.resolve("v1"))
        assert all(opened.has(Digest.parse(name)) for name in everything)


def test_what_is_there_already_is_neither_read_nor_written(maker: LayoutMaker, tmp_path: Path) -> None:
    maker.tag("a", image(maker, "a"))
    maker.tag("b", image(maker, "b"))
    source = maker.finish()
    run(f"oci:{source}:a", f"oci:{tmp_path}/t:a")
    shared = list((tmp_path / "t/blobs/sha256").iterdir())
    before = {p: p.stat().st_ino for p in shared}
    for path in shared:
        if (source / "blobs/sha256" / path.name).exists() and path.stat().st_size < 200:
            (source / "blobs/sha256" / path.name).write_bytes(b"damaged: must not be read")
    run(f"oci:{source}:b", f"oci:{tmp_path}/t:b")
    assert {p: p.stat().st_ino for p in shared} == before


def test_a_copy_over_itself_changes_nothing(maker: LayoutMaker, tmp_path: Path) -> None:
    maker.tag("v1", image(maker))
    source = maker.finish()
    before = {p: p.read_bytes() for p in source.rglob("*") if p.is_file()}
    run(f"oci:{source}:v1", f"oci:{source}:v1")
    after = {p: p.read_bytes() for p in source.rglob("*") if p.is_file()}
    assert set(before) == set(after)
    assert Layout.open(source).resolve("v1").annotations == {"org.opencontainers.image.ref.name": "v1"}


def test_without_a_tag_the_image_is_listed_untagged_once(maker: LayoutMaker, tmp_path: Path) -> None:
    maker.tag("v1", image(maker))
    source = maker.finish()
    for _ in range(2):
        run(source, f"oci:{tmp_path}/t")
    (entry,) = Layout.open(tmp_path / "t").index().model.manifests
    assert entry.annotations == {}


def test_a_tampered_blob_stops_the_copy_and_leaves_no_tag(maker: LayoutMaker, tmp_path: Path) -> None:
    made = image(maker)
    layer = maker.read(made["digest"])["layers"][1]
    data = maker.blob_path(layer["digest"]).read_bytes()
    maker.blob_path(layer["digest"]).write_bytes(data[:-1] + b"!")
    maker.tag("v1", made)
    source = maker.finish()
    with pytest.raises(DigestMismatch, match=layer["digest"]):
        run(source, f"oci:{tmp_path}/t:v1")
    target = Layout.open(tmp_path / "t")
    assert target.tags() == {}
    assert not target.blobs.has(Digest.parse(layer["digest"]))
    assert list((tmp_path / "t").glob(".tmp-*")) == []


def test_a_missing_blob_is_found_out_before_anything_is_copied(maker: LayoutMaker, tmp_path: Path) -> None:
    made = image(maker)
    layer = maker.read(made["digest"])["layers"][1]
    maker.blob_path(layer["digest"]).unlink()
    maker.tag("v1", made)
    with pytest.raises(BlobNotFound, match=layer["digest"]):
        run(maker.finish(), f"oci:{tmp_path}/t:v1")
    assert list(Layout.open(tmp_path / "t").blobs.digests()) == []


def test_a_blob_missing_at_the_source_and_there_at_the_destination_is_no_obstacle(
    maker: LayoutMaker, tmp_path: Path
) -> None:
    made = image(maker)
    maker.tag("v1", made)
    source = maker.finish()
    run(source, f"oci:{tmp_path}/t:v1")
    maker.blob_path(maker.read(made["digest"])["layers"][1]["digest"]).unlink()
    run(source, f"oci:{tmp_path}/t:v2")
    assert list(Layout.open(tmp_path / "t").tags()) == ["v1", "v2"]


def test_a_foreign_layer_with_urls_stays_a_descriptor(maker: LayoutMaker, tmp_path: Path) -> None:
    foreign = {
        "mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "digest": digest(b"elsewhere"),
        "size": 9,
        "urls": ["https://example.com/layer"],
    }
    here = tar_layer({"a": b"1"})
    maker.put(here.data)
    settings = maker.document(config([digest(b"x"), here.diff_id]), "application/vnd.oci.image.config.v1+json")
    made = maker.document(manifest(settings, [foreign, here.descriptor()]), OCI_MANIFEST)
    maker.tag("v1", made)
    source = maker.finish()
    assert str(run(source, f"oci:{tmp_path}/t:v1").digest) == made["digest"]
    converted = run(source, f"oci:{tmp_path}/t:none", compression=("none", None))
    layers = Layout.open(tmp_path / "t")
    model = list(walk(layers.blobs, converted))
    assert any(str(d.digest) == digest(b"elsewhere") and d.urls for d in model)


def test_a_sparse_index_is_copied_as_far_as_it_goes_with_a_warning(maker: LayoutMaker, tmp_path: Path) -> None:
    here, gone = image(maker, "a"), image(maker, "b")
    maker.tag("v1", maker.document(index([here, gone]), OCI_INDEX))
    maker.blob_path(gone["digest"]).unlink()
    warnings: list[str] = []
    run(maker.finish(), f"oci:{tmp_path}/t:v1", warn=warnings.append)
    assert len(warnings) == 1
    assert gone["digest"] in warnings[0]
    target = Layout.open(tmp_path / "t")
    assert target.resolve("v1", digest=None)
    assert target.blobs.has(Digest.parse(here["digest"]))


def test_embedded_content_stands_in_for_a_blob_that_is_not_stored(maker: LayoutMaker, tmp_path: Path) -> None:
    raw = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'
    import base64

    embedded = {
        "mediaType": "application/vnd.oci.image.config.v1+json",
        "digest": digest(raw),
        "size": len(raw),
        "data": base64.b64encode(raw).decode(),
    }
    maker.tag("v1", maker.document(manifest(embedded, []), OCI_MANIFEST))
    run(maker.finish(), f"oci:{tmp_path}/t:v1")
    assert Layout.open(tmp_path / "t").blobs.has(Digest.parse(digest(raw)))


def test_progress_adds_up(maker: LayoutMaker, tmp_path: Path) -> None:
    maker.tag("v1", image(maker))
    said: list[tuple[int, int | None, str]] = []
    source = maker.finish()
    run(source, f"oci:{tmp_path}/t:v1", progress=lambda *step: said.append(step))
    assert said[-1][0] == said[-1][1] == max(done for done, _, _ in said)
    assert {what.split()[0] for _, _, what in said} == {"layer", "config"}
    said.clear()
    run(source, f"oci:{tmp_path}/t:v2", progress=lambda *step: said.append(step))  # all of it is there
    assert said[-1][0] == said[-1][1]
    said.clear()
    run(source, f"oci:{tmp_path}/t:v3", compression=("zstd", None), progress=lambda *step: said.append(step))
    assert said[-1][0] == said[-1][1]


def test_an_artifact_is_copied_like_an_image(maker: LayoutMaker, tmp_path: Path) -> None:
    maker.put(b"hello")
    blob = {"mediaType": "text/plain", "digest": digest(b"hello"), "size": 5}
    made = maker.document(manifest(maker.document({}, OCI_EMPTY), [blob], artifactType="text/x"), OCI_MANIFEST)
    maker.tag("v1", made)
    source = maker.finish()
    assert str(run(source, f"oci:{tmp_path}/t:v1").digest) == made["digest"]
    assert str(run(source, f"oci:{tmp_path}/t:v2", compression=("zstd", None)).digest) == made["digest"]


def test_referrers_are_found_by_their_subject(maker: LayoutMaker) -> None:
    subject = image(maker)
    maker.tag("v1", subject)
    signature = manifest(maker.document({}, OCI_EMPTY), [], subject=subject, artifactType="text/x")
    described = maker.document(signature, OCI_MANIFEST)
    maker.tag(None, described)
    with open_source(f"oci:{maker.finish()}:v1") as source:
        assert [str(d.digest) for d in source.referrers(source.resolve())] == [described["digest"]]


# Compressed anew


def layer_bytes(layout: Layout, made: Descriptor) -> Iterator[tuple[str, str, str, str]]:
    """Each layer: media type, what its bytes are, digest of what is inside, and of the blob."""
    for descriptor in walk(layout.blobs, made):
        if ".layer." in descriptor.media_type or "rootfs.diff" in descriptor.media_type:
            with layout.blobs.open(descriptor) as chunks:
                raw = b"".join(chunks)
            kind = detect(raw)
            inside = b"".join(decompress([raw], kind))
            yield descriptor.media_type, kind, f"sha256:{hashlib.sha256(inside).hexdigest()}", str(descriptor.digest)


def test_a_layer_that_is_embedded_in_its_descriptor_is_compressed_anew_too(maker: LayoutMaker, tmp_path: Path) -> None:
    layer = tar_layer({"a": b"1"})
    made = config([layer.diff_id])
    described = maker.document(made, "application/vnd.oci.image.config.v1+json")
    embedded = layer.descriptor(embed=True)
    maker.tag("v1", maker.document(manifest(described, [embedded]), OCI_MANIFEST))
    copied = run(maker.finish(), f"oci:{tmp_path}/t:v1", compression=("zstd", None))
    blobs = Layout.open(tmp_path / "t").blobs
    (new,) = (found for found in walk(blobs, copied) if found.media_type.endswith("tar+zstd"))
    with blobs.open(new) as chunks:
        assert digest(b"".join(decompress(chunks, "zstd"))) == layer.diff_id


@pytest.mark.parametrize("docker", [False, True], ids=["oci", "docker"])
@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_new_compression_keeps_diff_ids_config_and_annotations(
    maker: LayoutMaker, tmp_path: Path, compression: str, docker: bool
) -> None:
    blobs = [tar_layer({"a": b"1" * 9000}), tar_layer({"b": b"2" * 9000}, media_type=OCI_LAYER)]
    if docker:
        blobs = [
            LayerBlob(b.data, f"application/vnd.docker.image.rootfs.diff.tar{s}", b.diff_id)
            for b, s in zip(blobs, (".gzip", ""), strict=True)
        ]
    made = maker.image(blobs, docker=docker)
    value = maker.read(made["digest"])
    value["annotations"], value["x-more"] = {"k": "v"}, [1]
    value["layers"][0]["annotations"] = {"l": "w", "io.github.containers.zstd-chunked.manifest-checksum": "x"}
    maker.tag("v1", maker.document(value, value["mediaType"]) | {"annotations": {"on": "entry"}})
    copied = run(maker.finish(), f"oci:{tmp_path}/t:v1", compression=(compression, None))
    layout = Layout.open(tmp_path / "t")
    layers = list(layer_bytes(layout, copied))
    assert [inside for _, _, inside, _ in layers] == [b.diff_id for b in blobs]
    assert {kind for _, kind, _, _ in layers} == {compression}
    stays_docker = docker and compression != "zstd"
    assert all(media_type.startswith("application/vnd.docker.") == stays_docker for media_type, *_ in layers)
    with layout.blobs.open(copied) as chunks:
        import json

        new = json.loads(b"".join(chunks))
    assert new["config"]["digest"] == value["config"]["digest"]
    assert (new["annotations"], new["x-more"]) == ({"k": "v"}, [1])
    changed = compression != "gzip"
    assert new["layers"][0]["annotations"].get("l") == "w"
    assert ("io.github.containers.zstd-chunked.manifest-checksum" in new["layers"][0]["annotations"]) != changed
    assert layout.resolve("v1").annotations == {"on": "entry", "org.opencontainers.image.ref.name": "v1"}


def test_layers_compressed_as_wanted_are_kept_unless_a_level_is_given(maker: LayoutMaker, tmp_path: Path) -> None:
    made = image(maker)
    maker.tag("v1", made)
    source = maker.finish()
    assert str(run(source, f"oci:{tmp_path}/t:a", compression=("gzip", None)).digest) == made["digest"]
    anew = run(source, f"oci:{tmp_path}/t:b", compression=("gzip", 1))
    assert str(anew.digest) != made["digest"]
    again = run(source, f"oci-archive:{tmp_path}/a.tar:b", compression=("gzip", 1))
    assert again.digest == anew.digest


def test_an_index_follows_its_images_and_the_attestation_its_image(maker: LayoutMaker, tmp_path: Path) -> None:
    maker.tag("v1", multi(maker))
    copied = run(maker.finish(), f"oci:{tmp_path}/t:v1", compression=("zstd", None))
    layout = Layout.open(tmp_path / "t")
    with layout.blobs.open(copied) as chunks:
        import json

        entries = json.loads(b"".join(chunks))["manifests"]
    assert [e["platform"]["architecture"] for e in entries] == ["amd64", "arm64", "unknown"]
    assert entries[2]["annotations"]["vnd.docker.reference.digest"] == entries[0]["digest"]
    assert entries[2]["digest"] in {
        d["digest"] for d in maker.read(Layout.open(maker.path).resolve("v1").digest.__str__())["manifests"]
    }
    assert {kind for _, kind, _, _ in layer_bytes(layout, copied)} == {"zstd"}


def test_a_docker_list_becomes_an_index_where_its_images_become_oci(maker: LayoutMaker, tmp_path: Path) -> None:
    made = maker.image(
        [
            LayerBlob(b.data, "application/vnd.docker.image.rootfs.diff.tar.gzip", b.diff_id)
            for b in [tar_layer({"a": b"1"})]
        ],
        docker=True,
    )
    maker.tag("v1", maker.document(index([made], media_type=DOCKER_LIST), DOCKER_LIST))
    source = maker.finish()
    kept = run(source, f"oci:{tmp_path}/t:none", compression=("none", None))
    assert kept.media_type == DOCKER_LIST
    changed = run(source, f"oci:{tmp_path}/t:zstd", compression=("zstd", None))
    assert changed.media_type == OCI_INDEX


def test_a_config_that_lies_about_a_layer_stops_the_copy(maker: LayoutMaker, tmp_path: Path) -> None:
    blob = tar_layer({"a": b"1"})
    maker.tag("v1", maker.image([LayerBlob(blob.data, blob.media_type, digest(b"another tar"))]))
    with pytest.raises(DiffIdMismatch):
        run(maker.finish(), f"oci:{tmp_path}/t:v1", compression=("zstd", None))
    assert Layout.open(tmp_path / "t").tags() == {}


def test_a_config_with_too_few_diff_ids_stops_the_copy(maker: LayoutMaker, tmp_path: Path) -> None:
    blob = tar_layer({"a": b"1"})
    maker.put(blob.data)
    settings = maker.document(config([]), "application/vnd.oci.image.config.v1+json")
    maker.tag("v1", maker.document(manifest(settings, [blob.descriptor()]), OCI_MANIFEST))
    with pytest.raises(InvalidDocument, match="0 diff_ids for the 1 layers"):
        run(maker.finish(), f"oci:{tmp_path}/t:v1", compression=("zstd", None))


# Archives as destinations


def test_an_archive_keeps_its_other_images_when_one_is_added_or_replaced(maker: LayoutMaker, tmp_path: Path) -> None:
    for word in "abc":
        maker.tag(word, image(maker, word))
    source = maker.finish()
    target = f"oci-archive:{tmp_path}/images.tar"
    run(f"oci:{source}:a", f"{target}:one")
    run(f"oci:{source}:b", f"{target}:two")
    run(f"oci:{source}:c", f"{target}:one")
    origin = Layout.open(source)
    with Archive.open(tmp_path / "images.tar") as archive:
        tags = archive.tags()
        assert {name: entry.digest for name, entry in tags.items()} == {
            "one": origin.resolve("c").digest,
            "two": origin.resolve("b").digest,
        }
        for entry in tags.values():
            assert contents(archive, entry)
        assert not archive.blobs.has(origin.resolve("a").digest)


def test_the_same_image_gives_the_same_archive_from_wherever_it_comes(maker: LayoutMaker, tmp_path: Path) -> None:
    maker.tag("v1", image(maker))
    source = maker.finish()
    run(source, f"oci-archive:{tmp_path}/a.tar:x")
    run(f"oci-archive:{tmp_path}/a.tar:x", f"oci-archive:{tmp_path}/b.tar:x")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_a_file_that_is_no_archive_is_not_overwritten(maker: LayoutMaker, tmp_path: Path) -> None:
    maker.tag("v1", image(maker))
    source = maker.finish()
    (tmp_path / "thesis.txt").write_text("years of work")
    for kind in ("oci-archive", "docker-archive"):
        with pytest.raises(DestinationError, match="exists"):
            run(source, f"{kind}:{tmp_path}/thesis.txt")
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
    (tmp_path / "empty").touch()  # mktemp makes such files
    run(source, f"oci-archive:{tmp_path}/empty")


# Names


@pytest.mark.parametrize("reference", ["docker://alpine", "alpine:3"])
def test_what_is_not_on_disk_needs_another_opener(reference: str) -> None:
    with pytest.raises(InvalidReference):
        open_source(reference)
    with pytest.raises(InvalidReference):
        open_destination(reference)
    seen: list[object] = []
    with pytest.raises(ZeroDivisionError):
        open_source(reference, others=lambda ref: seen.append(ref) or 1 // 0)  # type: ignore[arg-type,func-returns-value,return-value]
    assert len(seen) == 1


def test_a_destination_is_not_named_by_a_digest(tmp_path: Path) -> None:
    with pytest.raises(InvalidReference, match="named by a tag"):
        open_destination(f"oci:{tmp_path}/t@sha256:{'0' * 64}")
    assert list(tmp_path.iterdir()) == []


def test_a_source_that_is_not_there_makes_no_destination(tmp_path: Path) -> None:
    with pytest.raises(OciError):
        run(tmp_path / "nothing", f"oci:{tmp_path}/t:v1")
    assert list(tmp_path.iterdir()) == []


def test_an_image_is_taken_by_digest(maker: LayoutMaker, tmp_path: Path) -> None:
    one = image(maker, "a")
    maker.tag("v1", one)
    maker.tag("v2", image(maker, "b"))
    source = maker.finish()
    assert str(run(f"oci:{source}@{one['digest']}", f"oci:{tmp_path}/t:v1").digest) == one["digest"]
    with pytest.raises(RefNotFound):
        run(f"oci:{source}@sha256:{'0' * 64}", f"oci:{tmp_path}/t:v1")


# What a destination decides


class Bent(LayoutDestination):
    """A layout that says of itself what a test wants."""

    def __init__(self, path: Path, *, parallel: int = 2) -> None:
        super().__init__(Layout.create(path), tag="v1")
        self.parallel = parallel
        self.threads: set[int] = set()

    def put_blob(self, descriptor: Descriptor, content: Content) -> None:
        self.threads.add(threading.get_ident())
        super().put_blob(descriptor, content)


def many(maker: LayoutMaker, count: int = 5) -> Path:
    maker.tag("v1", maker.image([tar_layer({f"file{number}": b"x" * number}) for number in range(count)]))
    return maker.finish()


def test_a_destination_that_adopts_a_blob_gets_no_bytes_of_it(maker: LayoutMaker, tmp_path: Path) -> None:
    class Adopting(Bent):
        asked: ClassVar[list[object]] = []

        def adopt(self, descriptor: Descriptor, source: ImageSource) -> bool:
            self.asked.append(source)
            if source is not kin or not source.has(descriptor.digest):
                return False
            with source.open(descriptor) as chunks:
                self.layout.blobs.put(chunks)
            return True

        def put_blob(self, descriptor: Descriptor, content: Content) -> None:
            raise AssertionError("not to be carried")

    source = many(maker)
    heard: list[tuple[int, int | None]] = []
    with (
        open_source(f"oci:{source}:v1") as opened,
        open_source(f"oci:{source}:v1") as kin,
        Adopting(tmp_path / "t") as destination,
    ):
        copy(opened, destination, kin=[kin], progress=lambda done, total, _: heard.append((done, total)))
        assert destination.asked[:2] == [opened, kin]
    assert heard[-1][0] == heard[-1][1]


def test_a_source_that_waits_is_read_by_as_many_threads_as_it_wants(maker: LayoutMaker, tmp_path: Path) -> None:
    together = threading.Barrier(5, timeout=10)

    class Meeting(Bent):
        def put_blob(self, descriptor: Descriptor, content: Content) -> None:
            together.wait()
            super().put_blob(descriptor, content)

    with open_source(f"oci:{many(maker, 4)}:v1") as opened, Meeting(tmp_path / "t") as destination:
        opened.parallel = 5
        copy(opened, destination)
        assert len(destination.threads) == 5  # four layers and a config, all at once


def test_a_destination_that_takes_one_blob_at_a_time_gets_one_at_a_time(maker: LayoutMaker, tmp_path: Path) -> None:
    with open_source(f"oci:{many(maker)}:v1") as opened, Bent(tmp_path / "t", parallel=1) as destination:
        opened.parallel = 5
        copy(opened, destination)
        assert destination.threads == {threading.get_ident()}


def test_what_a_destination_reads_twice_is_counted_once(maker: LayoutMaker, tmp_path: Path) -> None:
    class Twice(Bent):
        def put_blob(self, descriptor: Descriptor, content: Content) -> None:
            with content() as chunks:
                assert next(chunks)
            super().put_blob(descriptor, content)

    heard: list[tuple[int, int | None]] = []
    with open_source(f"oci:{many(maker)}:v1") as opened, Twice(tmp_path / "t") as destination:
        copy(opened, destination, progress=lambda done, total, _: heard.append((done, total)))
    assert heard[-1][0] == heard[-1][1]
    assert [done for done, _ in heard] == sorted(done for done, _ in heard)


def test_an_interrupt_ends_what_waits_in_other_threads(maker: LayoutMaker, tmp_path: Path) -> None:
    ended = threading.Event()

    class Waiting(Bent):
        def put_blob(self, descriptor: Descriptor, content: Content) -> None:
            os.kill(os.getpid(), signal.SIGINT)  # for the main thread, which waits for us
            assert ended.wait(10)

        def abort(self) -> None:
            ended.set()

    with (
        open_source(f"oci:{many(maker)}:v1") as opened,
        Waiting(tmp_path / "t") as destination,
        pytest.raises(KeyboardInterrupt),
    ):
        copy(opened, destination)
    assert Layout.open(tmp_path / "t").tags() == {}
