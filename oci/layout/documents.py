"""Reading documents (manifests, indexes, configs) out of a store: bounded before anything is read, verified, parsed.

The descriptor's `size` is checked against the limit first, so a hostile size never becomes memory. Embedded content
(`data`, image-spec v1.1.1 descriptor.md) stands in for a blob that is not in the store, after the same checks.
"""

from __future__ import annotations

from oci.errors import InvalidDocument, LimitExceeded, OciError, read_from
from oci.layout.blobs import BlobReader
from oci.spec import media_types
from oci.spec.descriptor import Descriptor
from oci.spec.document import Document, parse_config, parse_document, parse_index, parse_manifest
from oci.spec.wire import MAX_CONFIG, MAX_MANIFEST
from oci.streams.verify import verified

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.spec.config import ImageConfig
    from oci.spec.index import Index
    from oci.spec.manifest import Manifest

__all__ = [
    "MAX_CONFIG",
    "MAX_DOCUMENT",
    "MAX_HOLES",
    "artifact_type_of",
    "read_bytes",
    "read_config",
    "read_document",
    "read_index",
    "read_manifest",
]

MAX_DOCUMENT = MAX_MANIFEST  # bytes of a manifest or index
MAX_HOLES = 64 << 30  # bytes of holes in a sparse blob: hashing the most that one can have would take centuries


def read_bytes(
    blobs: BlobReader, descriptor: Descriptor, *, limit: int = MAX_DOCUMENT, what: str = "document"
) -> bytes:
    """Read a whole small blob, verified; LimitExceeded when its descriptor says more than `limit` bytes."""
    if descriptor.size > limit:
        raise LimitExceeded(f"size in bytes of {what} {descriptor.digest}", limit, descriptor.size)
    if descriptor.data is not None and not blobs.has(descriptor.digest):
        return b"".join(verified(iter((descriptor.data,)), descriptor.digest, descriptor.size))
    with blobs.open(descriptor) as chunks:
        return b"".join(chunks)


def read_document(blobs: BlobReader, descriptor: Descriptor) -> Document[Manifest] | Document[Index]:
    """Read a manifest or index, OCI or Docker; InvalidDocument for any other media type."""
    if not (media_types.is_index(descriptor.media_type) or media_types.is_manifest(descriptor.media_type)):
        raise InvalidDocument(
            f"media type {descriptor.media_type!r} is neither a manifest nor an index", document=str(descriptor.digest)
        )
    kind = "index" if media_types.is_index(descriptor.media_type) else "manifest"
    raw = read_bytes(blobs, descriptor)
    with read_from(f"{kind} {descriptor.digest}"):
        return parse_document(raw, descriptor.media_type)


def artifact_type_of(blobs: BlobReader, entry: Descriptor) -> str | None:
    """What an entry of a list says that it is, or else its document; None where neither can be read."""
    if entry.artifact_type is not None:
        return entry.artifact_type
    try:
        return read_document(blobs, entry).model.listed_type
    except OciError:
        return None


def read_manifest(blobs: BlobReader, descriptor: Descriptor) -> Document[Manifest]:
    """Read an image manifest; InvalidDocument where the descriptor is of something else."""
    if not media_types.is_manifest(descriptor.media_type):
        raise InvalidDocument(f"media type {descriptor.media_type!r} is no manifest", document=str(descriptor.digest))
    raw = read_bytes(blobs, descriptor, what="manifest")
    with read_from(f"manifest {descriptor.digest}"):
        return parse_manifest(raw, media_type=descriptor.media_type)


def read_index(blobs: BlobReader, descriptor: Descriptor) -> Document[Index]:
    """Read an image index; InvalidDocument where the descriptor is of something else."""
    raw = read_bytes(blobs, descriptor, what="index")
    with read_from(f"index {descriptor.digest}"):
        return parse_index(raw, media_type=descriptor.media_type)


def read_config(blobs: BlobReader, descriptor: Descriptor, *, media_type: str | None = None) -> Document[ImageConfig]:
    """Read an image configuration; with `media_type`, InvalidDocument where that is not one of a configuration."""
    raw = read_bytes(blobs, descriptor, limit=MAX_CONFIG, what="config")
    with read_from(f"config {descriptor.digest}"):
        return parse_config(raw, media_type=media_type)
