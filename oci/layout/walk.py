"""Everything reachable from a descriptor, children before parents, as a copy must write it.

Children of an index are its manifests; of a manifest its config and layers (blobs or artifacts alike); of both also
the `subject`, when it is in the store (image-spec v1.1.1 manifest.md: a subject may well not exist). What is not stored
here is given as a leaf: a layout may lack blobs (image-layout.md#blobs).
"""

from __future__ import annotations

from collections.abc import Iterator

from oci.errors import LimitExceeded
from oci.layout.blobs import BlobReader, is_at_hand
from oci.layout.documents import read_document
from oci.spec import media_types
from oci.spec.descriptor import Descriptor
from oci.spec.index import Index
from oci.spec.manifest import Manifest

__all__ = ["children", "is_document", "walk"]

MAX_DEPTH = 32  # documents in documents; an index of indexes of images with subjects has about five
MAX_DESCRIPTORS = 1_000_000  # a bound on time and memory; each takes about 1 KiB


def is_document(descriptor: Descriptor) -> bool:
    """Say whether a descriptor is of a manifest or an index, by its media type."""
    return media_types.is_index(descriptor.media_type) or media_types.is_manifest(descriptor.media_type)


def children(model: Manifest | Index) -> tuple[Descriptor, ...]:
    """Give what a document refers to, without its subject."""
    return model.manifests if isinstance(model, Index) else (model.config, *model.layers)


def walk(blobs: BlobReader, descriptor: Descriptor, *, subjects: bool = False) -> Iterator[Descriptor]:
    """Give every descriptor reachable from one, each digest once, children first, the given one last.

    (Twice only for a digest that stands at one place for a document and at another for a blob: it is both.)
    With `subjects`, the documents that `subject` fields name are followed too, where they are stored. A document that
    is stored but can't be read raises; LimitExceeded past MAX_DEPTH levels or MAX_DESCRIPTORS.
    """
    # A stack of its own instead of recursion: depth is then a number to check, not the interpreter's limit.
    seen = {(descriptor.digest, is_document(descriptor))}
    stack = [(descriptor, _below(blobs, descriptor, subjects))]
    while stack:
        parent, pending = stack[-1]
        child = next(pending, None)
        if child is None:
            stack.pop()
            yield parent
        elif (key := (child.digest, is_document(child))) not in seen:
            seen.add(key)
            if len(seen) > MAX_DESCRIPTORS:
                raise LimitExceeded(f"descriptors below {descriptor.digest}", MAX_DESCRIPTORS)
            if len(stack) >= MAX_DEPTH:
                raise LimitExceeded(f"levels of documents below {descriptor.digest}", MAX_DEPTH)
            stack.append((child, _below(blobs, child, subjects)))


def _below(blobs: BlobReader, descriptor: Descriptor, subjects: bool) -> Iterator[Descriptor]:
    if not is_document(descriptor) or not is_at_hand(blobs, descriptor):
        return
    model = read_document(blobs, descriptor).model
    yield from children(model)
    if subjects and model.subject is not None and blobs.has(model.subject.digest):
        yield model.subject
