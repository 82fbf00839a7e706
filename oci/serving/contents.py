"""What a manifest or index says, read once and kept: a document's bytes never change under its digest."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from oci.errors import OciError
from oci.layout.blobs import BlobReader
from oci.layout.documents import read_document
from oci.layout.walk import children
from oci.spec.descriptor import Descriptor
from oci.spec.digest import Digest
from oci.spec.document import Document
from oci.spec.index import Index
from oci.spec.manifest import Manifest
from oci.spec.record import Record

__all__ = ["MAX_KEPT", "Contents", "Library"]

MAX_KEPT = 200_000  # descriptors remembered, of all documents together: some 200 MB at the very most


class Contents(Record):
    """The parts of a document that serving needs; `artifact_type` is what the referrers API says of it."""

    children: tuple[Descriptor, ...]
    subject: Descriptor | None
    artifact_type: str | None
    annotations: Mapping[str, str]

    @classmethod
    def of(cls, document: Document[Manifest] | Document[Index]) -> Contents:
        """Take them from a document (spec.md#listing-referrers for the artifact type)."""
        model = document.model
        artifact_type = model.artifact_type
        if not artifact_type and isinstance(model, Manifest):
            artifact_type = model.config.media_type
        return cls(
            children=children(model),
            subject=model.subject,
            artifact_type=artifact_type or None,
            annotations=model.annotations,
        )


class Library:
    """Reads documents out of a store, each once; may be used by several threads at once."""

    def __init__(self, blobs: BlobReader) -> None:
        self._blobs = blobs
        self._kept: dict[tuple[Digest, str], Contents] = {}
        self._weight = 0
        self._lock = threading.Lock()

    def find(self, descriptor: Descriptor) -> Contents | None:
        """Give what a document says; None where it isn't stored, or can't be read.

        A layout that other tools write may lack documents and may hold damaged ones: what can't be read leads nowhere.
        """
        key = (descriptor.digest, descriptor.media_type)
        with self._lock:
            known = self._kept.get(key)
        if known is not None:
            return known
        try:
            contents = Contents.of(read_document(self._blobs, descriptor))
        except OciError:
            return None
        self.keep(descriptor, contents)
        return contents

    def keep(self, descriptor: Descriptor, contents: Contents) -> None:
        """Remember a document that was just read or written."""
        with self._lock:
            if self._weight > MAX_KEPT:
                self._kept.clear()
                self._weight = 0
            self._kept[descriptor.digest, descriptor.media_type] = contents
            self._weight += 1 + len(contents.children)
