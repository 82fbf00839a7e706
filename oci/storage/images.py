"""Images of the store by their names, IDs and digests; taking and removing names, and images with their last name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oci.spec.descriptor import Descriptor
from oci.spec.digest import Digest
from oci.spec.record import Record
from oci.spec.reference import Reference, StoreRef

if TYPE_CHECKING:
    from oci.image.image import Image
    from oci.spec.platform import Platform
    from oci.storage.store import Store

__all__ = ["StoredImage", "find", "keep", "name_for", "names", "remove", "tag", "untag"]


class StoredImage(Record):
    """An image that was found: by which name (None: by its ID), its ID, its manifest's descriptor, its documents."""

    name: str | None
    id: Digest
    descriptor: Descriptor
    image: Image


def names(store: Store) -> tuple[tuple[str | None, Descriptor], ...]:
    """Every entry of the store's index: its whole name (None: untagged) and descriptor, which may be an index's."""
    raise NotImplementedError


def find(store: Store, text: str, platform: Platform | None = None) -> StoredImage:
    """The image that a user means by `text`: a name with or without tag, name@digest, an ID, a digest, or a prefix."""
    raise NotImplementedError


def tag(store: Store, text: str, name: str) -> str:
    """Give what `text` names another name; the whole name that it has now."""
    raise NotImplementedError


def untag(store: Store, name: str) -> None:
    """Take a name away; the image stays."""
    raise NotImplementedError


def remove(store: Store, text: str, *, force: bool = False) -> tuple[str, ...]:
    """Take a name away, and with the last one the image; a line for each thing that was removed."""
    raise NotImplementedError


def keep(store: Store, descriptor: Descriptor) -> None:
    """See to it that an image stays, whatever happens to its names: an untagged entry of the index."""
    raise NotImplementedError


def name_for(reference: Reference | StoreRef) -> str:
    """The whole name under which `pull` keeps what a reference names."""
    raise NotImplementedError
