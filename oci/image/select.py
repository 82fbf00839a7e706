"""From whatever a reference led to, an index or a manifest, to the images that are meant.

Narrowing an index is `oci.layout.refs.narrow` (containerd's rules, nested indexes bounded and safe from cycles); here
is what an image's user asks: one image for a platform, or all of them.
"""

from __future__ import annotations

from collections.abc import Iterator

from oci.errors import InvalidDocument, LimitExceeded
from oci.image.image import Image
from oci.layout.blobs import BlobReader
from oci.layout.documents import read_document
from oci.layout.refs import MAX_NESTING, beside_images
from oci.spec import media_types
from oci.spec.descriptor import Descriptor
from oci.spec.digest import Digest
from oci.spec.index import Index
from oci.spec.platform import Platform

__all__ = ["all_images", "select"]

MAX_IMAGES = 10_000  # of one index with all below it; the largest seen have some hundred


def select(blobs: BlobReader, descriptor: Descriptor, platform: Platform, *, where: str = "") -> Image:
    """The image for a platform; a manifest's descriptor is taken as it is. NoMatchingPlatform lists what is there."""
    return Image.load(blobs, descriptor, platform=platform, where=where)


def all_images(blobs: BlobReader, descriptor: Descriptor) -> Iterator[Image]:
    """Every image below a descriptor, each digest once, in the order of the indexes; attestations are left out."""
    seen: set[Digest] = set()
    for leaf in _leaves(blobs, descriptor, seen, 0):
        if len(seen) > MAX_IMAGES:
            raise LimitExceeded(f"entries below the index {descriptor.digest}", MAX_IMAGES)
        yield Image.load(blobs, leaf)


def _leaves(blobs: BlobReader, descriptor: Descriptor, seen: set[Digest], depth: int) -> Iterator[Descriptor]:
    if descriptor.digest in seen or beside_images(descriptor):
        return
    seen.add(descriptor.digest)
    if not media_types.is_index(descriptor.media_type):
        yield descriptor
        return
    if depth >= MAX_NESTING:
        raise LimitExceeded(f"levels of indexes in {descriptor.digest}", MAX_NESTING)
    index = read_document(blobs, descriptor).model
    if not isinstance(index, Index):
        raise InvalidDocument("is not an index, as its descriptor says", document=str(descriptor.digest))
    for child in index.manifests:
        yield from _leaves(blobs, child, seen, depth + 1)
