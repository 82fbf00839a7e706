"""Where a store's bytes are: images (shared and own), containers' writable layers, volumes; what prune would free."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oci.spec.record import Record

if TYPE_CHECKING:
    from oci.storage.store import Store

__all__ = ["ContainerUsage", "ImageUsage", "Usage", "VolumeUsage", "df"]


class ImageUsage(Record):
    """One image: bytes on disk (layer folders and blobs) that others use too, and that would go with it."""

    id: str
    names: tuple[str, ...]
    shared: int
    own: int
    containers: tuple[str, ...]


class ContainerUsage(Record):
    """One container: the bytes of its writable layer (and log)."""

    id: str
    name: str
    size: int
    running: bool


class VolumeUsage(Record):
    """One volume: its bytes, and the containers that use it."""

    name: str
    size: int
    users: tuple[str, ...]
    anonymous: bool


class Usage(Record):
    """All of it; `layers` and `blobs` are each counted once, whatever number of images share them."""

    images: tuple[ImageUsage, ...]
    containers: tuple[ContainerUsage, ...]
    volumes: tuple[VolumeUsage, ...]
    layers: int
    blobs: int
    reclaimable: int


def df(store: Store) -> Usage:
    """Add up a store's disk use."""
    raise NotImplementedError
