"""What `check` finds in a store, and what `repair` does about it; where images have their files."""

from __future__ import annotations

from pathlib import Path

from oci.storage.check import check
from oci.storage.images import find
from oci.storage.repair import check_and_repair
from oci.storage.store import Store


def codes(store: Store, *, deep: bool = False) -> list[str]:
    return [finding.code for finding in check(store, deep=deep)]


def mended(store: Store, *, deep: bool = False) -> list[tuple[str, bool]]:
    """What was found, and whether it was mended; afterwards nothing is found of what was."""
    answers = check_and_repair(store, deep=deep)
    left = {answer.finding.code for answer in answers if not answer.done}
    assert set(codes(store, deep=deep)) <= left
    return [(answer.finding.code, answer.done) for answer in answers]


def layer_named(store: Store, image: str, number: int) -> str:
    return store.layers.ensure(find(store, image).image)[number].id


def layer_path(store: Store, image: str, number: int) -> Path:
    return Path(store.layers.path(layer_named(store, image, number)))


def blob_of(store: Store, image: str, number: int) -> Path:
    layer = find(store, image).image.layers[number]
    return Path(store.images.blobs.blob_path(layer.descriptor.digest))
