"""What `inspect`, `history` and `ls` show, as values and in their JSON shapes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from oci.image.image import Image
from oci.inspect.history import history
from oci.inspect.listing import Row, rows
from oci.inspect.summary import summarise
from oci.layout.blobs import ChainBlobs, MemoryBlobs
from oci.layout.layout import Layout
from oci.layout.schema import names, schema_faults
from oci.spec.descriptor import Descriptor
from oci.spec.digest import Digest
from tests.support import images
from tests.support.images import LayoutMaker, tar_layer

BASE = tar_layer({"base": b"1" * 1000})
TOP = tar_layer({"top": b"2"})
AMD64 = {"os": "linux", "architecture": "amd64"}
ARM64 = {"os": "linux", "architecture": "arm64", "variant": "v8"}


@pytest.fixture
def maker(tmp_path: Path) -> LayoutMaker:
    return LayoutMaker(tmp_path / "layout")


def load(maker: LayoutMaker, described: dict[str, Any]) -> Image:
    maker.tag("v1", described)
    layout = Layout.open(maker.finish())
    return Image.load(layout.blobs, layout.resolve("v1"))


def keeps(schema: str, value: object) -> bool:
    faults = list(schema_faults(schema, json.loads(json.dumps(value))))
    assert faults == []
    return True


def test_a_summary_says_what_the_contract_names(maker: LayoutMaker) -> None:
    described = maker.image([BASE, TOP], author="A", config={"User": "nobody", "Vendor": "kept"})
    summary = summarise(load(maker, described), "./layout:v1")
    manifest = maker.read(described["digest"])
    value = summary.to_json()
    assert value["reference"] == "./layout:v1"
    assert value["digest"] == described["digest"]
    assert value["mediaType"] == images.OCI_MANIFEST
    assert value["size"] == described["size"] + manifest["config"]["size"] + len(BASE.data) + len(TOP.data)
    assert value["platform"] == "linux/amd64"
    assert value["created"] == "2024-01-02T03:04:05Z"
    assert value["config"] == {"User": "nobody", "Vendor": "kept"}
    assert value["layers"] == [
        {"digest": one.digest, "diffId": one.diff_id, "mediaType": one.media_type, "size": len(one.data)}
        for one in (BASE, TOP)
    ]
    assert value["annotations"] == {}
    assert [step["createdBy"] for step in value["history"]] == ["layer 0", "layer 1"]
    assert keeps("cli/inspect", value)


def test_history_joins_each_step_to_its_layer(maker: LayoutMaker) -> None:
    steps = [
        {"created": "2024-01-01T00:00:00Z", "created_by": "ADD", "comment": "base"},
        {"created_by": "ENV", "empty_layer": True},
        {"created_by": "RUN"},
        {"created_by": "CMD", "empty_layer": True},
    ]
    joined = [step.to_json() for step in history(load(maker, maker.image([BASE, TOP], history=False) | {}))]
    assert [step["digest"] for step in joined] == [BASE.digest, TOP.digest]
    assert joined[0]["created"] is None
    again = LayoutMaker(maker.path.parent / "again")
    made = images.config([BASE.diff_id, TOP.diff_id]) | {"history": steps}
    described = again.document(made, images.OCI_CONFIG)
    manifest = images.manifest(described, [BASE.descriptor(), TOP.descriptor()])
    joined = [step.to_json() for step in history(load(again, again.document(manifest, images.OCI_MANIFEST)))]
    assert [step["digest"] for step in joined] == [BASE.digest, None, TOP.digest, None]
    assert [step["diffId"] for step in joined] == [BASE.diff_id, None, TOP.diff_id, None]
    assert [step["emptyLayer"] for step in joined] == [False, True, False, True]
    assert joined[0] == {
        "created": "2024-01-01T00:00:00Z",
        "createdBy": "ADD",
        "comment": "base",
        "emptyLayer": False,
        "digest": BASE.digest,
        "diffId": BASE.diff_id,
        "size": len(BASE.data),
    }
    assert keeps("cli/history", joined)


@pytest.mark.parametrize("steps", [1, 3])
def test_history_that_fits_badly_hides_nothing(maker: LayoutMaker, steps: int) -> None:
    made = images.config([BASE.diff_id, TOP.diff_id]) | {"history": [{"created_by": "x"}] * steps}
    described = maker.document(made, images.OCI_CONFIG)
    manifest = images.manifest(described, [BASE.descriptor(), TOP.descriptor()])
    joined = history(load(maker, maker.document(manifest, images.OCI_MANIFEST)))
    digests = [step.digest for step in joined]
    assert digests == [BASE.digest, TOP.digest] + [None] * (steps - 2)


def test_a_config_with_too_few_diff_ids_can_still_be_shown(maker: LayoutMaker) -> None:
    described = maker.document(images.config([BASE.diff_id]), images.OCI_CONFIG)
    manifest = images.manifest(described, [BASE.descriptor(), TOP.descriptor()])
    value = summarise(load(maker, maker.document(manifest, images.OCI_MANIFEST)), "x").to_json()
    assert [layer["diffId"] for layer in value["layers"]] == [BASE.diff_id, None]
    assert keeps("cli/inspect", value)


def listing(maker: LayoutMaker) -> list[Row]:
    layout = Layout.open(maker.finish())
    found = list(rows(layout.index().model.manifests, layout.blobs))
    assert keeps("cli/ls", [row.to_json() for row in found])
    return found


def image_size(maker: LayoutMaker, described: dict[str, Any], *layers: images.LayerBlob) -> int:
    config: int = maker.read(described["digest"])["config"]["size"]
    return int(described["size"]) + config + sum(len(layer.data) for layer in layers)


def test_a_listing_has_a_row_for_each_entry(maker: LayoutMaker) -> None:
    first, second = maker.image([BASE, BASE]), maker.image([TOP], architecture="arm64", variant="v8", created=None)
    maker.tag("v1", first)
    maker.tag(None, second)
    value = [row.to_json() for row in listing(maker)]
    assert value == [
        {
            "tag": "v1",
            "digest": first["digest"],
            "mediaType": images.OCI_MANIFEST,
            "platform": "linux/amd64",
            "size": image_size(maker, first, BASE),  # a layer that is there twice is stored once
            "created": "2024-01-02T03:04:05Z",
        },
        {
            "tag": None,
            "digest": second["digest"],
            "mediaType": images.OCI_MANIFEST,
            "platform": "linux/arm64/v8",
            "size": image_size(maker, second, TOP),
            "created": None,
        },
    ]


def test_an_index_is_listed_with_all_its_platforms_and_the_size_of_all_its_images(maker: LayoutMaker) -> None:
    old = maker.image([BASE], created="2024-01-01T10:00:00+09:00") | {"platform": AMD64}
    new = maker.image([BASE], architecture="arm64", created="2024-01-01T02:00:00Z") | {"platform": ARM64}
    attestation = maker.image([TOP], os="unknown", architecture="unknown", created="2030-01-01T00:00:00Z")
    attestation["platform"] = {"os": "unknown", "architecture": "unknown"}
    index = maker.document(images.index([old, new, attestation]), images.OCI_INDEX)
    maker.tag("multi", index)
    (row,) = listing(maker)
    assert [str(platform) for platform in row.platforms] == ["linux/amd64", "linux/arm64/v8"]
    assert row.to_json()["platform"] is None
    assert row.created == "2024-01-01T02:00:00Z"
    sizes = [image_size(maker, one) for one in (old, new, attestation)]
    assert row.size == index["size"] + sum(sizes) + len(BASE.data) + len(TOP.data)


def test_damaged_and_missing_images_still_have_their_row(maker: LayoutMaker) -> None:
    missing = maker.image([BASE]) | {"platform": AMD64}
    damaged = maker.image([TOP])
    maker.tag("missing", missing)
    maker.tag("damaged", damaged)
    maker.tag("other", images.descriptor(b"<x/>", "text/xml"))
    maker.put(b"<x/>")
    maker.blob_path(missing["digest"]).unlink()
    maker.blob_path(damaged["digest"]).write_bytes(b"{}")
    value = [(row.tag, row.to_json()["platform"], row.size) for row in listing(maker)]
    assert value == [("missing", "linux/amd64", None), ("damaged", None, None), ("other", None, 4)]


def test_indexes_nested_without_end_are_followed_so_far(maker: LayoutMaker) -> None:
    inner: dict[str, Any] = {"mediaType": images.OCI_INDEX, "digest": "sha256:" + "0" * 64, "size": 300}
    for _ in range(30):
        inner = maker.document(images.index([inner]), images.OCI_INDEX)
    maker.tag("deep", inner)
    (row,) = listing(maker)
    assert row.size is None


def test_a_loop_of_indexes_ends(maker: LayoutMaker) -> None:
    # No digest can be found for such a loop, but a store can claim anything.
    looping = images.descriptor(b"", images.OCI_INDEX) | {"size": 300}

    class Looping(MemoryBlobs):
        @contextmanager
        def open(self, descriptor: Descriptor) -> Iterator[Iterator[bytes]]:
            yield iter([json.dumps(images.index([looping])).encode()])

        def has(self, digest: Digest) -> bool:
            return True

    (row,) = rows([Descriptor.from_json(looping)], Looping())
    assert row.size == 300


def test_an_image_with_many_tags_is_read_once(maker: LayoutMaker) -> None:
    described = maker.image([BASE])
    for number in range(20):
        maker.tag(f"v{number}", described)
    layout = Layout.open(maker.finish())
    opened: list[Digest] = []

    class Counting(ChainBlobs):
        @contextmanager
        def open(self, descriptor: Descriptor) -> Iterator[Iterator[bytes]]:
            opened.append(descriptor.digest)
            with super().open(descriptor) as chunks:
                yield chunks

    found = list(rows(layout.index().model.manifests, Counting(layout.blobs)))
    assert [row.tag for row in found] == [f"v{number}" for number in range(20)]
    assert {row.size for row in found} == {image_size(maker, described, BASE)}
    assert len(opened) == 2  # manifest and config


def test_an_entry_with_more_blobs_than_anybody_has_says_less(
    maker: LayoutMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oci.inspect.listing.MAX_BLOBS", 10)
    entries = [images.descriptor(str(number).encode(), "text/plain") for number in range(20)]
    for number in range(20):
        maker.put(str(number).encode())
    maker.tag("many", maker.document(images.index(entries), images.OCI_INDEX))
    maker.tag("few", maker.document(images.index(entries[:5]), images.OCI_INDEX))
    many, few = listing(maker)
    assert many.size is None
    assert few.size is not None


@pytest.mark.parametrize(("said", "created"), [("2024-05-06T07:08:09Z", "2024-05-06T07:08:09Z"), ("yesterday", None)])
def test_a_time_in_an_annotation_counts_only_if_it_is_one(maker: LayoutMaker, said: str, created: str | None) -> None:
    described = maker.image([BASE], created=None)
    maker.tag("v1", described | {"annotations": {"org.opencontainers.image.created": said}})
    (row,) = listing(maker)
    assert row.created == created


def test_embedded_content_needs_no_blob(maker: LayoutMaker) -> None:
    maker.tag("other", images.descriptor(b"<x/>", "text/xml", embed=True))
    (row,) = listing(maker)
    assert row.size == 4


def test_every_schema_of_the_command_line_is_a_schema() -> None:
    from jsonschema import Draft202012Validator

    from oci.layout.schema import load as load_schema

    found = [name for name in names() if name.startswith("cli/")]
    assert {"cli/verify", "cli/inspect", "cli/ls", "cli/history", "cli/files", "cli/diff-images"} <= set(found)
    assert {"cli/diff-container", "cli/ps", "cli/gc", "cli/image", "cli/unpack"} <= set(found)
    for name in found:
        schema = load_schema(name)
        Draft202012Validator.check_schema(schema)
        assert schema["$id"] == f"https://ocikit.example/schemas/{name}.json"
        assert schema["title"]
