"""Where a store's bytes are: images (shared and own), containers' writable layers, volumes; what prune would free.

Every layer folder and every blob is counted once in the totals, whatever number of images share it. Layers' sizes are
those that their rows tell; only writable layers and volumes are walked, so it takes no longer for large images.
"""

from __future__ import annotations

from collections import Counter

from oci.spec.record import Record
from oci.storage.disk import disk_bytes
from oci.storage.inventory import Entry, StockedImage, container_size, inventory, layer_sizes
from oci.storage.prune import plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.storage.containers import ContainerRow
    from oci.storage.store import Store

__all__ = ["ContainerUsage", "ImageUsage", "Usage", "VolumeUsage", "df"]


class ImageUsage(Record):
    """One image: bytes (layer folders and blobs) that other images use too, and that are its own.

    `folders` says how many bytes of them are in layer folders: 0 before the first container.
    """

    id: str
    names: tuple[str, ...]
    shared: int
    own: int
    folders: int
    containers: tuple[str, ...]

    @property
    def size(self) -> int:
        """All bytes of the image."""
        return self.shared + self.own


class ContainerUsage(Record):
    """One container: the bytes of its writable layer."""

    id: str
    name: str
    image: str
    size: int
    status: str


class VolumeUsage(Record):
    """One volume: its bytes on disk, and the containers that use it."""

    name: str
    size: int
    users: tuple[str, ...]
    anonymous: bool


class Usage(Record):
    """All of it. `prune` is what `store prune` would free, `prune_all` the same with `--all --volumes`."""

    images: tuple[ImageUsage, ...]
    containers: tuple[ContainerUsage, ...]
    volumes: tuple[VolumeUsage, ...]
    layers: int
    blobs: int
    prune: int
    prune_all: int

    @property
    def total(self) -> int:
        """Bytes of layers, blobs, writable layers and volumes."""
        return self.layers + self.blobs + sum(c.size for c in self.containers) + sum(v.size for v in self.volumes)


def df(store: Store) -> Usage:
    """Add up a store's disk use."""
    rows = store.containers.list()
    entries = inventory(store)
    layers = layer_sizes(store)
    sizes = {row.id: container_size(store, row) for row in rows}
    volumes = tuple(
        VolumeUsage(
            name=volume.name,
            size=disk_bytes(volume.path),
            users=store.volumes.users(volume.name),
            anonymous=volume.anonymous,
        )
        for volume in store.volumes.list()
    )
    blobs = store.images.blobs
    return Usage(
        images=_images(store, entries, layers, rows),
        containers=tuple(
            ContainerUsage(
                id=row.id, name=row.name, image=row.image_name or row.image_id, size=sizes[row.id], status=row.status
            )
            for row in rows
        ),
        volumes=volumes,
        layers=sum(layers.values()),
        blobs=sum(blobs.size(digest) or 0 for digest in blobs.digests()),
        prune=plan(store, entries=entries, sizes=sizes).freed,
        prune_all=plan(store, entries=entries, sizes=sizes, everything=True, volumes=True).freed,
    )


def _images(
    store: Store, entries: tuple[Entry, ...], layers: dict[str, int], rows: tuple[ContainerRow, ...]
) -> tuple[ImageUsage, ...]:
    images: dict[str, StockedImage] = {}
    names: dict[str, list[str]] = {}
    for entry in entries:
        for image in entry.images:
            key = str(image.manifest.digest)
            images[key] = image
            names.setdefault(key, []).extend([entry.name] if entry.name else [])
    needs = {key: _needs(store, image, layers) for key, image in images.items()}
    users = Counter(thing for needed in needs.values() for thing in needed)
    found = []
    for key, image in images.items():
        needed = needs[key]
        found.append(
            ImageUsage(
                id=image.id,
                names=tuple(dict.fromkeys(names[key])),
                shared=sum(size for thing, size in needed.items() if users[thing] > 1),
                own=sum(size for thing, size in needed.items() if users[thing] == 1),
                folders=sum(size for thing, size in needed.items() if thing in layers),
                containers=tuple(row.name for row in rows if row.manifest == key),
            )
        )
    return tuple(found)


def _needs(store: Store, image: StockedImage, layers: dict[str, int]) -> dict[str, int]:
    """What an image needs on disk, each thing with its bytes: layer folders by id, blobs by digest."""
    needed = {str(digest): store.images.blobs.size(digest) or 0 for digest in image.blobs}
    needed.update({name: layers[name] for pair in image.layers for name in pair if name in layers})
    return needed
