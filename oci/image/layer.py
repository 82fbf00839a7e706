"""One layer of an image: its descriptor in the manifest joined to its diff_id in the config.

image-spec v1.1.1 layer.md, config.md#properties (`rootfs.diff_ids`). The bytes that `open` gives are the uncompressed
tar; when they have been read to their end, the blob's size and digest and the diff_id have all been checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from oci.errors import CorruptStream, InvalidDocument, TarError, UnsafeEntry
from oci.layout.blobs import BlobReader, expect, open_content
from oci.spec import media_types
from oci.spec.descriptor import Descriptor
from oci.spec.digest import Digest
from oci.spec.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.streams.layer_reader import LayerReader

__all__ = ["Layer"]


class Layer(Record):
    """A layer that can be read; `diff_id` None means that nobody says what the uncompressed bytes should be."""

    descriptor: Descriptor
    diff_id: Digest | None
    blobs: BlobReader

    def expect(self) -> None:
        """Say that this layer will be opened, after those of which it was said before."""
        expect(self.blobs, self.descriptor)

    @contextmanager
    def open(self) -> Iterator[LayerReader]:
        """The tar bytes, from one verified pass over the blob; what the compression is, the bytes themselves say.

        Iterating raises SizeMismatch, DigestMismatch, DiffIdMismatch or CorruptStream no later than at the end. What is
        raised in the `with` block about the layer's bytes or entries leaves it with the layer's name.
        """
        from oci.streams.layer_reader import LayerReader  # codecs and threads: not for who only looks at documents

        descriptor = self.descriptor
        if not media_types.is_layer(descriptor.media_type):
            raise InvalidDocument(
                f"media type {descriptor.media_type!r} is not one of a layer", document=f"layer {descriptor.digest}"
            )
        try:
            with (
                open_content(self.blobs, descriptor) as chunks,
                LayerReader(
                    chunks,
                    digest=descriptor.digest,
                    size=descriptor.size,
                    diff_id=self.diff_id,
                    layer=str(descriptor.digest),
                ) as tar,
            ):
                yield tar
        except (CorruptStream, TarError, UnsafeEntry) as error:  # whoever reads the tar finds them; we know the layer
            error.said_of(f"layer {descriptor.digest}")
            raise
