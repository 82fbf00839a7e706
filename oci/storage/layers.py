"""Layers, unpacked once each: `layers/<id>/fs`, whatever images and containers use them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from oci.spec.digest import Digest
from oci.spec.record import Record

if TYPE_CHECKING:
    from oci.image.image import Image
    from oci.layout.blobs import BlobReader
    from oci.spec.descriptor import Descriptor
    from oci.storage.store import Store
    from oci.streams.progress import Progress

__all__ = ["LayerFolder", "Layers"]


class LayerFolder(Record):
    """One unpacked layer; `path` is its tree, `size` the bytes of its files' contents."""

    id: str
    diff_id: Digest
    path: str
    size: int


class Layers:
    """The layer folders of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def path(self, layer_id: str) -> str:
        """The tree of the layer of that id, there or not."""
        return f"{self._store.root}/layers/{layer_id}/fs"

    def ensure(
        self, image: Image, *, progress: Progress | None = None, warn: Callable[[str], object] | None = None
    ) -> tuple[LayerFolder, ...]:
        """The folders of an image's layers, bottom first; those that are missing are unpacked, verified."""
        raise NotImplementedError

    def possible_ids(self, blobs: BlobReader, manifests: Iterable[Descriptor]) -> set[str]:
        """The ids that the layers of these images have, or would have."""
        raise NotImplementedError

    def needed_ids(self) -> set[str]:
        """The layers that an image in `images/` or a container needs."""
        raise NotImplementedError

    def remove(self, ids: Iterable[str]) -> tuple[LayerFolder, ...]:
        """Remove layers that nobody needs, under `Store.exclusive`; those that were there."""
        raise NotImplementedError
