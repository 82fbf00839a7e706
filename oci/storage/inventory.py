"""Which blobs and layers each entry of the store's index needs: what `df`, `prune` and `check` count with.

Only documents are read. What can't be read needs nothing that we know of; whoever removes blobs asks `collect.gc`,
which removes nothing as long as there is such a document.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from oci.errors import OciError
from oci.layout import refs
from oci.layout.blobs import is_at_hand
from oci.layout.documents import read_config, read_manifest
from oci.layout.walk import walk
from oci.spec import media_types
from oci.spec.descriptor import Descriptor
from oci.spec.digest import Digest
from oci.spec.record import Record
from oci.storage.disk import disk_bytes
from oci.storage.layer_folders import layer_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.layout.layout import Layout
    from oci.spec.manifest import Manifest
    from oci.storage.containers import ContainerRow
    from oci.storage.store import Store

__all__ = ["Entry", "StockedImage", "container_size", "inventory", "layer_sizes"]


class StockedImage(Record):
    """One image that is stored: its ID (digest of the config), its manifest, what it needs.

    `layers` has for each layer the ids that its folder may have: by its diff_id, or by its chain id (layers.py).
    """

    id: str
    manifest: Descriptor
    layers: tuple[tuple[str, str], ...]
    blobs: frozenset[Digest]


class Entry(Record):
    """One entry of index.json: its name, the images that are stored of it, and all blobs that it leads to."""

    name: str | None
    descriptor: Descriptor
    images: tuple[StockedImage, ...]
    blobs: frozenset[Digest]


def inventory(store: Store) -> tuple[Entry, ...]:
    """Every entry of the index, in its order. Raises what reading index.json raises."""
    known: dict[Digest, StockedImage | None] = {}
    return tuple(_entry(store.images, descriptor, known) for descriptor in store.images.index().model.manifests)


def _entry(layout: Layout, descriptor: Descriptor, known: dict[Digest, StockedImage | None]) -> Entry:
    images = []
    for found in _reachable(layout, descriptor, subjects=False):  # a signature's subject is no image of its own
        if media_types.is_manifest(found.media_type) and is_at_hand(layout.blobs, found):
            if found.digest not in known:
                known[found.digest] = _image(layout, found)
            image = known[found.digest]
            if image is not None:
                images.append(image)
    blobs = {one.digest for one in _reachable(layout, descriptor, subjects=True) if layout.blobs.has(one.digest)}
    return Entry(name=refs.name_of(descriptor), descriptor=descriptor, images=tuple(images), blobs=frozenset(blobs))


def _reachable(layout: Layout, descriptor: Descriptor, *, subjects: bool) -> Iterator[Descriptor]:
    yield descriptor
    with suppress(OciError):
        for found in walk(layout.blobs, descriptor, subjects=subjects):
            if found.digest != descriptor.digest:
                yield found


def _image(layout: Layout, descriptor: Descriptor) -> StockedImage | None:
    """An image that can be read; None for anything else (an artifact, a signature, a damaged one)."""
    try:
        model = read_manifest(layout.blobs, descriptor).model
        if not media_types.is_config(model.config.media_type):
            return None
        layers = _layers(layout, model)
    except OciError:
        return None
    named = (descriptor, model.config, *model.layers)
    return StockedImage(
        id=str(model.config.digest),
        manifest=descriptor,
        layers=layers,
        blobs=frozenset(one.digest for one in named if layout.blobs.has(one.digest)),
    )


def _layers(layout: Layout, model: Manifest) -> tuple[tuple[str, str], ...]:
    config = read_config(layout.blobs, model.config, media_type=model.config.media_type).model
    return layer_names(config)


# Bytes


def layer_sizes(store: Store) -> dict[str, int]:
    """The bytes of each layer folder, by its id."""
    return dict(store.state.all("SELECT id, size FROM layers"))


def container_size(store: Store, row: ContainerRow) -> int:
    """The bytes of a container's writable layer; 0 where there is none (any more)."""
    from oci.drivers.probe import driver_named

    snapshot = store.containers.snapshot(row)
    try:
        return driver_named(row.driver, store.layers.form).size(snapshot)
    except FileNotFoundError:
        return 0
    except OciError:  # it changes while it is counted
        return disk_bytes(snapshot.tree if row.driver == "copy" else snapshot.upper)
