"""walk and gc: what is reachable stays, what isn't goes, and in doubt everything stays."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from oci.errors import LayoutError, LimitExceeded
from oci.layout import walk as walking
from oci.layout.collect import gc
from oci.layout.layout import Layout
from oci.layout.walk import walk
from oci.spec import Descriptor, Digest
from tests.support.images import (
    OCI_EMPTY,
    OCI_INDEX,
    OCI_MANIFEST,
    Json,
    LayoutMaker,
    descriptor,
    digest,
    encode,
    index,
    manifest,
    tar_layer,
)


@pytest.fixture
def maker(tmp_path: Path) -> LayoutMaker:
    return LayoutMaker(tmp_path / "layout")


def image(maker: LayoutMaker, word: str) -> Json:
    return maker.image([tar_layer({"base": b"shared"}), tar_layer({"word": word.encode()})])


def stored(layout: Layout) -> set[str]:
    return {str(d) for d in layout.blobs.digests()}


def referrer(maker: LayoutMaker, subject: Json) -> Json:
    empty = maker.document({}, OCI_EMPTY)
    maker.put(b"signature")
    blob = {"mediaType": "text/plain", "digest": digest(b"signature"), "size": 9}
    value = manifest(empty, [blob], subject=subject, artifactType="text/signature")
    return maker.document(value, OCI_MANIFEST)


# walk


def test_walk_gives_children_first_each_digest_once_and_the_start_last(maker: LayoutMaker) -> None:
    a, b = image(maker, "a"), image(maker, "b")
    top = maker.document(index([a, b, a]), OCI_INDEX)
    layout = Layout.open(maker.finish())
    order = [str(d.digest) for d in walk(layout.blobs, Descriptor.from_json(top))]
    assert order[-1] == top["digest"]
    assert len(order) == len(set(order)) == 1 + 2 + 2 + 3  # index, manifests, configs, layers (one shared)
    for parent in (a, b):
        model = maker.read(parent["digest"])
        for child in (model["config"], *model["layers"]):
            assert order.index(child["digest"]) < order.index(parent["digest"])


def test_walk_follows_subjects_only_when_asked_and_stored(maker: LayoutMaker) -> None:
    subject = image(maker, "a")
    signature = Descriptor.from_json(referrer(maker, subject))
    layout = Layout.open(maker.finish())
    assert subject["digest"] not in {str(d.digest) for d in walk(layout.blobs, signature)}
    assert subject["digest"] in {str(d.digest) for d in walk(layout.blobs, signature, subjects=True)}
    maker.blob_path(subject["digest"]).unlink()
    assert subject["digest"] not in {str(d.digest) for d in walk(layout.blobs, signature, subjects=True)}


def test_walk_is_bounded_in_depth_and_number(maker: LayoutMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    top = image(maker, "a")
    for _ in range(walking.MAX_DEPTH - 2):
        top = maker.document(index([top]), OCI_INDEX)
    layout = Layout.open(maker.finish())
    assert len(list(walk(layout.blobs, Descriptor.from_json(top)))) == walking.MAX_DEPTH + 2
    deeper = maker.document(index([top]), OCI_INDEX)
    with pytest.raises(LimitExceeded, match="levels of documents"):
        list(walk(layout.blobs, Descriptor.from_json(deeper)))
    monkeypatch.setattr(walking, "MAX_DESCRIPTORS", 5)
    with pytest.raises(LimitExceeded, match="descriptors below"):
        list(walk(layout.blobs, Descriptor.from_json(top)))


# gc


def test_gc_removes_what_nothing_names_and_tells_what(maker: LayoutMaker) -> None:
    a, b = image(maker, "a"), image(maker, "b")
    maker.tag("a", a)
    maker.tag("b", b)
    layout = Layout.open(maker.finish())
    before = stored(layout)
    assert gc(layout).blobs == ()
    layout.untag("b")
    planned = gc(layout, dry_run=True)
    assert stored(layout) == before
    done = gc(layout)
    assert planned == done
    model = maker.read(a["digest"])
    left = {a["digest"], model["config"]["digest"], *(layer["digest"] for layer in model["layers"])}
    assert stored(layout) == left
    assert {str(d) for d, _ in done.blobs} == before - left
    assert done.size > 0
    layout.untag("a")
    gc(layout)
    assert stored(layout) == set()


def test_gc_keeps_nested_indexes_attached_subjects_and_sha512(maker: LayoutMaker) -> None:
    subject = image(maker, "subject")
    maker.tag("sig", referrer(maker, subject))
    maker.tag("nested", maker.document(index([maker.document(index([image(maker, "deep")]), OCI_INDEX)]), OCI_INDEX))
    long = encode(manifest(maker.document({}, OCI_EMPTY), [], artifactType="text/x"))
    name = maker.put(long, name=digest(long, "sha512"))
    maker.tag("long", {"mediaType": OCI_MANIFEST, "digest": name, "size": len(long)})
    layout = Layout.open(maker.finish())
    before = stored(layout)
    assert gc(layout).blobs == ()
    assert stored(layout) == before


def test_gc_is_not_misled_by_an_image_that_is_also_listed_as_something_else(maker: LayoutMaker) -> None:
    found = image(maker, "a")
    layer = found | {"mediaType": "application/vnd.oci.image.layer.v1.tar"}
    maker.tag("v1", maker.document(index([layer, found]), OCI_INDEX))
    maker.tag("v2", found | {"mediaType": "application/octet-stream"})
    layout = Layout.open(maker.finish())
    assert gc(layout).blobs == ()


def test_gc_follows_documents_of_tomorrow(maker: LayoutMaker) -> None:
    part = maker.put(b"part of an artifact manifest")
    future = {"blobs": [{"mediaType": "text/x", "digest": part, "size": 28}], "subject": {"deep": [image(maker, "a")]}}
    maker.tag("x", maker.document(future, "application/vnd.oci.artifact.manifest.v1+json"))
    layout = Layout.open(maker.finish())
    before = stored(layout)
    assert gc(layout).blobs == ()
    assert stored(layout) == before


def test_gc_follows_a_document_of_tomorrow_that_is_embedded_in_its_descriptor(maker: LayoutMaker) -> None:
    part = maker.put(b"part of an artifact manifest")
    future = encode({"blobs": [{"mediaType": "text/x", "digest": part, "size": 28}]})
    maker.tag("x", descriptor(future, "application/vnd.oci.artifact.manifest.v1+json", embed=True))
    layout = Layout.open(maker.finish())
    assert gc(layout).blobs == ()
    assert stored(layout) == {part}


@pytest.mark.parametrize("damage", [b"{", b"", b"not json at all"])
def test_gc_removes_nothing_when_a_reachable_document_is_damaged(maker: LayoutMaker, damage: bytes) -> None:
    good, bad = image(maker, "a"), image(maker, "b")
    maker.put(b"garbage")
    maker.tag("a", good)
    maker.tag("b", bad)
    maker.blob_path(bad["digest"]).write_bytes(damage)
    layout = Layout.open(maker.finish())
    before = stored(layout)
    with pytest.raises(LayoutError, match=r"nothing was removed.*" + bad["digest"]):
        gc(layout)
    assert stored(layout) == before


def test_gc_goes_on_past_images_that_are_not_stored(maker: LayoutMaker) -> None:
    here, elsewhere = image(maker, "a"), image(maker, "b")
    maker.tag("v1", maker.document(index([here, elsewhere]), OCI_INDEX))
    maker.blob_path(elsewhere["digest"]).unlink()
    garbage = maker.put(b"garbage")
    layout = Layout.open(maker.finish())
    assert garbage in {str(d) for d, _ in gc(layout).blobs}
    assert layout.blobs.has(Digest.parse(here["digest"]))


def test_gc_can_keep_what_is_newer_than_a_time(maker: LayoutMaker) -> None:
    old, new = maker.put(b"old"), maker.put(b"new")
    os.utime(maker.blob_path(old), (1000, 1000))
    os.utime(maker.blob_path(new), (3000, 3000))
    layout = Layout.open(maker.finish())
    assert [str(d) for d, _ in gc(layout, keep_newer_than=2000).blobs] == [old]
    assert stored(layout) == {new}


def test_gc_leaves_foreign_files_alone(maker: LayoutMaker) -> None:
    (maker.path / "README").write_text("hello")
    (maker.path / "blobs" / "sha256" / "notes.txt").write_text("hello")
    layout = Layout.open(maker.finish())
    gc(layout)
    assert (maker.path / "README").exists()
    assert (maker.path / "blobs" / "sha256" / "notes.txt").exists()


def test_gc_removes_dead_writers_files_and_not_those_of_living_ones(maker: LayoutMaker) -> None:
    layout = Layout.open(maker.finish())
    dead = maker.path / ".tmp-00112233445566aa"
    dead.write_bytes(b"half a blob")
    with layout.blobs.writer() as writer:
        writer.write(b"in work")
        (alive,) = (path for path in maker.path.glob(".tmp-*") if path != dead)
        with pytest.raises(LayoutError, match="another process is writing"):
            gc(Layout.open(maker.path))
        assert [Path(p).name for p in gc(layout, dry_run=True).temporary] == [dead.name]
        assert alive.exists()
        writer.commit()
    layout.close()
    assert [Path(p).name for p in gc(layout).temporary] == [dead.name]
    assert list(maker.path.glob(".tmp-*")) == []


def test_blobs_that_are_not_named_yet_are_safe_from_another_process(maker: LayoutMaker) -> None:
    """The whole story: a writer has put a blob, gc runs elsewhere, then the writer names the blob."""
    layout = Layout.open(maker.finish())
    garbage = maker.put(b"garbage")
    blob, size = layout.blobs.put([b"in flight"])
    command = (
        "import sys; from oci.layout.layout import Layout; from oci.layout.collect import gc; "
        "gc(Layout.open(sys.argv[1]))"
    )
    run = [sys.executable, "-c", command, str(maker.path)]
    cwd = Path(__file__).parents[2]
    refused = subprocess.run(run, cwd=cwd, capture_output=True, text=True, check=False)
    assert "another process is writing" in refused.stderr
    assert stored(layout) == {garbage, str(blob)}
    layout.tag("v1", Descriptor(media_type="text/plain", digest=blob, size=size))
    subprocess.run(run, cwd=cwd, check=True)
    assert stored(layout) == {str(blob)}
