"""`oci:DIRECTORY[:TAG]`: an image layout as source and as destination."""

from __future__ import annotations

from contextlib import ExitStack

from oci.layout.blobs import BlobWriter, Content
from oci.layout.layout import Layout
from oci.spec.descriptor import Descriptor
from oci.transports.destination import IndexDestination
from oci.transports.source import ReaderSource

__all__ = ["LayoutDestination", "LayoutSource"]


class LayoutSource(ReaderSource):
    """An image in a layout directory."""

    transport = "oci"


class LayoutDestination(IndexDestination):
    """A tag in a layout directory, which must exist: `Layout.create(path, exist_ok=True)` makes it.

    From here until `close` no `gc` of another process removes anything, so what `has` says stays true.
    """

    # Measured: between fast local disks two at once gain and cost nothing; they pay where a read or an fsync waits.
    parallel = 2

    def __init__(self, layout: Layout, *, tag: str | None = None) -> None:
        super().__init__(tag)
        self.layout = layout
        self._held = ExitStack()
        self._held.enter_context(layout.blobs.hold())

    @property
    def reference(self) -> str:
        return f"oci:{self.layout}" + (f":{self._tag}" if self._tag is not None else "")

    def has(self, descriptor: Descriptor) -> bool:
        return self.layout.blobs.keep(descriptor.digest, descriptor.size)

    def put_blob(self, descriptor: Descriptor, content: Content) -> None:
        # Not `put`: whoever calls has asked, and a look for a file that is not there costs as much as a small blob.
        with content() as chunks, self.layout.blobs.writer(expected=descriptor) as writer:
            for chunk in chunks:
                writer.write(chunk)
            writer.commit()

    def writer(self) -> BlobWriter:
        return self.layout.blobs.writer()

    def put_document(self, raw: bytes, descriptor: Descriptor) -> None:
        self.layout.blobs.put((raw,), expected=descriptor)

    def commit(self, raw: bytes, descriptor: Descriptor) -> None:
        self.put_document(raw, descriptor)
        with self.layout.edit_index() as edit:
            edit.index = self._listed(edit.index, descriptor)

    def close(self) -> None:
        self._held.close()
