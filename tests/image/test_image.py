"""Reading images: documents, layers that are verified as they are read, and choosing one of several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from oci.errors import (
    BlobNotFound,
    DiffIdMismatch,
    DigestMismatch,
    InvalidDocument,
    LimitExceeded,
    NoMatchingPlatform,
)
from oci.image.image import Image
from oci.image.layer import Layer
from oci.image.select import all_images, select
from oci.layout.blobs import MemoryBlobs
from oci.spec.descriptor import Descriptor
from oci.spec.digest import Digest
from oci.spec.platform import Platform
from tests.support import images

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64", "v8")


class Store:
    """Documents and layers in memory."""

    def __init__(self) -> None:
        self.blobs = MemoryBlobs()

    def put(self, data: bytes, media_type: str, **more: object) -> images.Json:
        self.blobs.put([data])
        return images.descriptor(data, media_type, **more)

    def image(self, *layers: images.LayerBlob, docker: bool = False, **fields: Any) -> images.Json:
        for layer in layers:
            self.blobs.put([layer.data])
        diff_ids = fields.pop("diff_ids", [layer.diff_id for layer in layers])
        config = images.encode(images.config(diff_ids, **fields))
        described = self.put(config, images.DOCKER_CONFIG if docker else images.OCI_CONFIG)
        kind = images.DOCKER_MANIFEST if docker else images.OCI_MANIFEST
        return self.put(
            images.encode(images.manifest(described, [layer.descriptor() for layer in layers], media_type=kind)), kind
        )

    def index(self, *entries: images.Json, **more: object) -> images.Json:
        return self.put(images.encode(images.index(entries)), images.OCI_INDEX, **more)


@pytest.fixture
def store() -> Store:
    return Store()


def read(layer: Layer) -> bytes:
    with layer.open() as chunks:
        return b"".join(chunks)


ARCHIVE = images.tar({"x": b"hello"})


@pytest.mark.parametrize("docker", [False, True])
def test_an_image_is_its_documents_and_its_layers(store: Store, docker: bool) -> None:
    made = images.layer(ARCHIVE, media_type=images.DOCKER_LAYER_GZIP if docker else images.OCI_LAYER_GZIP)
    image = Image.load(store.blobs, Descriptor.from_json(store.image(made, docker=docker)))
    assert image.platform == AMD64
    (layer,) = image.layers
    assert str(layer.diff_id) == made.diff_id
    assert read(layer) == ARCHIVE
    assert image.config.media_type == (images.DOCKER_CONFIG if docker else images.OCI_CONFIG)


def test_a_layer_is_what_its_bytes_say_even_if_its_type_says_another_compression(store: Store) -> None:
    plain = images.layer(ARCHIVE, media_type=images.OCI_LAYER)
    wrong = images.LayerBlob(plain.data, images.OCI_LAYER_GZIP, plain.diff_id)
    image = Image.load(store.blobs, Descriptor.from_json(store.image(wrong)))
    assert read(image.layers[0]) == ARCHIVE


def test_a_layer_that_is_not_what_the_config_says_is_an_error(store: Store) -> None:
    made = images.layer(ARCHIVE, diff_id=images.digest(b"other"))
    image = Image.load(store.blobs, Descriptor.from_json(store.image(made)))
    with pytest.raises(DiffIdMismatch):
        read(image.layers[0])


def test_a_layer_can_be_embedded_in_its_descriptor() -> None:
    described = Descriptor.from_json(images.descriptor(ARCHIVE, images.OCI_LAYER, embed=True))
    layer = Layer(descriptor=described, diff_id=Digest.of(ARCHIVE), blobs=MemoryBlobs())
    assert read(layer) == ARCHIVE
    forged = images.descriptor(ARCHIVE, images.OCI_LAYER, embed=True) | {"digest": images.digest(b"other")}
    with pytest.raises(DigestMismatch):
        read(Layer(descriptor=Descriptor.from_json(forged), diff_id=None, blobs=MemoryBlobs()))


def test_what_is_no_layer_is_not_read_as_one(store: Store) -> None:
    described = Descriptor.from_json(store.put(ARCHIVE, "application/octet-stream"))
    with pytest.raises(InvalidDocument, match="not one of a layer"):
        read(Layer(descriptor=described, diff_id=None, blobs=store.blobs))


def test_a_layer_that_is_not_there_is_named(store: Store) -> None:
    made = images.layer(ARCHIVE)
    image = Image.load(store.blobs, Descriptor.from_json(store.image(made)))
    store.blobs.delete(Digest.parse(made.digest))
    with pytest.raises(BlobNotFound, match=made.digest):
        read(image.layers[0])


def test_a_number_of_layers_that_differs_shows_when_layers_are_asked_for(store: Store) -> None:
    image = Image.load(store.blobs, Descriptor.from_json(store.image(images.layer(ARCHIVE), diff_ids=[])))
    assert image.platform == AMD64
    with pytest.raises(InvalidDocument, match="1 layers, the config has 0 diff_ids"):
        _ = image.layers


def test_an_artifact_is_no_image(store: Store) -> None:
    described = store.put(b"{}", images.OCI_EMPTY)
    manifest = images.manifest(described, [], artifactType="application/x.sbom")
    found = Descriptor.from_json(store.put(images.encode(manifest), images.OCI_MANIFEST))
    with pytest.raises(
        InvalidDocument,
        match=r"artifact of type 'application/x.sbom', not a container image; `ocikit artifact inspect` shows it",
    ):
        Image.load(store.blobs, found)


def test_an_index_is_no_image_until_a_platform_is_chosen(store: Store) -> None:
    found = Descriptor.from_json(store.index(store.image(images.layer(ARCHIVE))))
    with pytest.raises(InvalidDocument, match="choose one with a platform"):
        Image.load(store.blobs, found)
    assert Image.load(store.blobs, found, platform=AMD64).platform == AMD64


def test_a_config_that_is_missing_or_too_large_is_named(store: Store) -> None:
    config = images.encode(images.config([]))
    described = images.descriptor(config, images.OCI_CONFIG)
    found = Descriptor.from_json(store.put(images.encode(images.manifest(described, [])), images.OCI_MANIFEST))
    with pytest.raises(BlobNotFound):
        Image.load(store.blobs, found)
    described["size"] = 1 << 30
    found = Descriptor.from_json(store.put(images.encode(images.manifest(described, [])), images.OCI_MANIFEST))
    with pytest.raises(LimitExceeded, match="config"):
        Image.load(store.blobs, found)


# Choosing


def test_the_fitting_image_of_nested_indexes_is_chosen(store: Store) -> None:
    arm = store.image(images.layer(ARCHIVE), architecture="arm64") | {
        "platform": {"os": "linux", "architecture": "arm64"}
    }
    amd = store.image(images.layer(ARCHIVE)) | {"platform": {"os": "linux", "architecture": "amd64"}}
    top = Descriptor.from_json(store.index(store.index(arm), store.index(amd)))
    assert select(store.blobs, top, ARM64).platform.architecture == "arm64"
    assert select(store.blobs, top, AMD64).platform.architecture == "amd64"
    with pytest.raises(NoMatchingPlatform, match="linux/arm64, linux/amd64"):
        select(store.blobs, top, Platform("linux", "s390x"))


def test_all_images_are_given_once_and_attestations_never(store: Store) -> None:
    one, other = store.image(images.layer(ARCHIVE)), store.image(images.layer(ARCHIVE), architecture="arm64")
    beside = store.image(images.layer(ARCHIVE), architecture="unknown", os="unknown") | {
        "platform": {"os": "unknown", "architecture": "unknown"}
    }
    top = Descriptor.from_json(store.index(one, beside, store.index(other, one)))
    assert [image.platform.architecture for image in all_images(store.blobs, top)] == ["amd64", "arm64"]


def test_indexes_nested_without_end_are_refused(store: Store) -> None:
    nested = store.image(images.layer(ARCHIVE))
    for _ in range(30):
        nested = store.index(nested)
    with pytest.raises(LimitExceeded, match="levels of indexes"):
        list(all_images(store.blobs, Descriptor.from_json(nested)))


def test_looking_at_an_image_loads_no_codec(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = "import sys, oci.image.image; print([m for m in sys.modules if m in ('zstandard', 'isal', 'dataclasses')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
