"""Removing what nothing needs any more: stopped containers, dangling images, layers without images, leftovers.

As docker's `system prune`: a container that doesn't run, an image that nothing names and no container uses; with
`everything` any image that no container uses; with `volumes` anonymous volumes without a container. A named volume is
never touched. `plan` says what would go without removing anything, and `df` shows its bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from oci.errors import LayoutError, OciError
from oci.layout import refs
from oci.spec.record import Record
from oci.storage.check import leftovers
from oci.storage.disk import disk_bytes
from oci.storage.inventory import Entry, container_size, inventory, layer_sizes
from oci.storage.repair import repair

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.spec.digest import Digest
    from oci.storage.containers import ContainerRow
    from oci.storage.store import Store

__all__ = ["Pruned", "plan", "prune"]


class Pruned(Record):
    """What was removed (or would be): names, IDs and digests of each kind, and the bytes that it freed."""

    containers: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    blobs: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    leftovers: tuple[str, ...] = ()
    freed: int = 0


def prune(
    store: Store,
    *,
    everything: bool = False,
    volumes: bool = False,
    dry_run: bool = False,
    remove_container: Callable[[ContainerRow], object] | None = None,
) -> Pruned:
    """Remove stopped containers (by `remove_container`), dangling images, unused layers and leftovers.

    `everything`: all images that no container uses. `volumes`: unused anonymous volumes too. Without
    `remove_container` containers stay. LayoutError when a document can't be read: then no image is touched.
    """
    if dry_run:
        return plan(store, everything=everything, volumes=volumes, containers=remove_container is not None)
    gone, freed = _remove_containers(store, remove_container)
    with store.exclusive():
        found = plan(store, everything=everything, containers=False)
        blobs = _remove_images(store, found, everything)
    removed = []
    if volumes:
        sizes = {volume.name: disk_bytes(volume.path) for volume in store.volumes.prune(dry_run=True)}
        removed = [volume.name for volume in store.volumes.prune()]
        freed += sum(sizes.get(name, 0) for name in removed)
    return found.replace(
        containers=gone, blobs=tuple(map(str, blobs)), volumes=tuple(removed), freed=found.freed + freed
    )


def _remove_containers(
    store: Store, remove_container: Callable[[ContainerRow], object] | None
) -> tuple[tuple[str, ...], int]:
    gone, freed = [], 0
    for row in _stopped(store) if remove_container is not None else ():
        size = container_size(store, row)
        try:
            assert remove_container is not None  # for the type checker
            remove_container(row)
        except OciError as error:  # it was started meanwhile, or removed by somebody else
            if store.warn is not None:
                store.warn(f"container {row.name} stays: {error}")
            continue
        gone.append(row.name)
        freed += size
    return tuple(gone), freed


def _stopped(store: Store) -> list[ContainerRow]:
    return [row for row in store.containers.list() if row.status in ("created", "exited")]


def _remove_images(store: Store, found: Pruned, everything: bool) -> list[Digest]:
    from oci.layout.collect import gc

    layout = store.images
    if found.images:
        doomed = {entry.descriptor.digest for entry in _doomed(inventory(store), _used(store, ()), everything)}
        with layout.edit_index() as edit:
            kept = tuple(entry for entry in edit.index.manifests if entry.digest not in doomed)
            edit.index = edit.index.replace(manifests=kept)
    collected = gc(layout)
    store.layers.remove(found.layers)
    repair(store, leftovers(store))
    return [digest for digest, _ in collected.blobs]


def plan(
    store: Store,
    *,
    everything: bool = False,
    volumes: bool = False,
    containers: bool = True,
    entries: Sequence[Entry] | None = None,
    sizes: Mapping[str, int] | None = None,
) -> Pruned:
    """What `prune` would remove. `entries` and `sizes` (of containers by ID) are what a caller knows already."""
    from oci.layout.collect import reachable

    if entries is None:
        entries = inventory(store)
    stopped = _stopped(store) if containers else []
    doomed = _doomed(entries, _used(store, stopped), everything)
    try:
        reachable(store.images)  # or nothing of images/ is removed
    except LayoutError:
        if not containers or sizes is None:
            raise
        doomed, kept = [], None
    else:
        kept = [entry for entry in entries if entry not in doomed]
    blobs = _unneeded_blobs(store, kept)
    layers = {} if kept is None else layer_sizes(store)
    for name in _needed_layers(store, kept or (), stopped):
        layers.pop(name, None)
    unused = store.volumes.prune(dry_run=True) if volumes else ()
    freed = sum(blobs.values()) + sum(layers.values()) + sum(disk_bytes(volume.path) for volume in unused)
    for row in stopped:
        freed += container_size(store, row) if sizes is None else sizes.get(row.id, 0)
    return Pruned(
        containers=tuple(row.name for row in stopped),
        images=tuple(entry.name or str(entry.descriptor.digest) for entry in doomed),
        blobs=tuple(map(str, blobs)),
        layers=tuple(sorted(layers)),
        volumes=tuple(volume.name for volume in unused),
        leftovers=tuple(finding.where for finding in leftovers(store)),
        freed=freed,
    )


def _used(store: Store, without: Sequence[ContainerRow]) -> set[str]:
    """The manifests that containers use, except those of some containers that go."""
    gone = {row.id for row in without}
    return {row.manifest for row in store.containers.list() if row.id not in gone}


def _doomed(entries: Sequence[Entry], used: set[str], everything: bool) -> list[Entry]:
    """The entries that go; one that lists what is beside images (a signature) goes with its subject only, by hand."""
    doomed = []
    for entry in entries:
        manifests = {str(image.manifest.digest) for image in entry.images} | {str(entry.descriptor.digest)}
        if manifests & used or not entry.images or refs.beside_images(entry.descriptor):
            continue
        if everything or entry.name is None:
            doomed.append(entry)
    return doomed


def _unneeded_blobs(store: Store, kept: Sequence[Entry] | None) -> dict[Digest, int]:
    if kept is None:
        return {}
    needed = frozenset[object]().union(*(entry.blobs for entry in kept))
    blobs = store.images.blobs
    return {digest: blobs.size(digest) or 0 for digest in blobs.digests() if digest not in needed}


def _needed_layers(store: Store, kept: Sequence[Entry], without: Sequence[ContainerRow]) -> set[str]:
    gone = {row.id for row in without}
    needed = {name for entry in kept for image in entry.images for pair in image.layers for name in pair}
    for row in store.containers.list():
        if row.id not in gone:
            needed.update(row.layers)
    return needed
