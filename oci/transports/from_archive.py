"""`oci-archive:FILE[:TAG]`: a layout in one tar file as source and as destination.

As a destination a file that is there already keeps its other images: the new image is written into a new file, what
the old one's other entries name is copied behind it, and the new file takes the old one's place in one step (skopeo
replaces the file and loses them). What the old file held under the same tag (or, for an image without a tag, what it
held without one) is replaced. Two writers of one archive at the same time: the last one wins.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager

from oci.errors import DestinationError, LayoutError
from oci.layout import refs
from oci.layout.archive import Archive
from oci.layout.archive_writer import ArchiveWriter
from oci.layout.blobs import BlobWriter, Content
from oci.layout.reader import empty_index
from oci.layout.walk import walk
from oci.spec.descriptor import Descriptor
from oci.spec.document import Document
from oci.spec.index import Index
from oci.transports.destination import IndexDestination
from oci.transports.source import ReaderSource

__all__ = ["ArchiveDestination", "ArchiveSource"]


class ArchiveSource(ReaderSource):
    """An image in an oci-archive."""

    transport = "oci-archive"


class ArchiveDestination(IndexDestination):
    """A tag in an oci-archive; the file changes only with `commit`."""

    parallel = 1  # one file, written from its beginning to its end

    def __init__(self, path: str | os.PathLike[str], *, tag: str | None = None) -> None:
        super().__init__(tag)
        self._path = os.fspath(path)
        self._old = self._open_old()
        self._writer = ArchiveWriter(path)

    def _open_old(self) -> Archive | None:
        if not os.path.lexists(self._path) or (os.path.isfile(self._path) and not os.path.getsize(self._path)):
            return None
        try:
            return Archive.open(self._path)
        except LayoutError as error:
            raise DestinationError(self._path, f"exists and can't be added to; remove it first ({error})") from None

    @property
    def reference(self) -> str:
        return f"oci-archive:{self._path}" + (f":{self._tag}" if self._tag is not None else "")

    def has(self, descriptor: Descriptor) -> bool:
        return self._writer.has(descriptor.digest, descriptor.size)

    def put_blob(self, descriptor: Descriptor, content: Content) -> None:
        with content() as chunks:
            self._writer.put(chunks, descriptor)

    def writer(self) -> AbstractContextManager[BlobWriter]:
        return self._writer.writer()

    def put_document(self, raw: bytes, descriptor: Descriptor) -> None:
        self._writer.put((raw,), descriptor)

    def commit(self, raw: bytes, descriptor: Descriptor) -> None:
        self.put_document(raw, descriptor)
        index = self._listed(self._keep_old(), descriptor)
        self._writer.finish(Document.of(index).raw, self._beside(raw, descriptor))

    def _beside(self, raw: bytes, descriptor: Descriptor) -> Mapping[str, bytes]:
        """Give the files to write beside index.json."""
        return {}

    def _keep_old(self) -> Index:
        """Copy what the old file's other entries name; give its index.json without what this image replaces."""
        if self._old is None:
            return empty_index().model
        index = self._old.index().model
        kept = tuple(entry for entry in index.manifests if refs.name_of(entry) != self._tag)
        for entry in kept:
            for descriptor in walk(self._old.blobs, entry):
                if self._old.blobs.has(descriptor.digest) and not self.has(descriptor):
                    with self._old.blobs.open_raw(descriptor) as chunks:
                        self._writer.put(chunks, descriptor)
        return index.replace(manifests=kept)

    def close(self) -> None:
        self._writer.close()
        if self._old is not None:
            self._old.close()
