"""An image: a manifest and its config as documents, and the layers they name, over wherever the blobs are.

image-spec v1.1.1 manifest.md, config.md; Docker's schema 2 types are read as equals. An image never changes: edits make
new documents (edit.py, builder.py).
"""

from __future__ import annotations

from oci.errors import InvalidDocument
from oci.image.layer import Layer
from oci.layout.blobs import BlobReader, WatchedBlobs
from oci.layout.documents import read_config, read_document
from oci.layout.refs import narrow
from oci.spec import media_types
from oci.spec.config import ImageConfig
from oci.spec.descriptor import Descriptor
from oci.spec.document import Document
from oci.spec.index import Index
from oci.spec.manifest import Manifest
from oci.spec.platform import Platform
from oci.spec.record import Record
from oci.streams.progress import Progress

__all__ = ["Image"]


class Image(Record):
    """One image, its documents verified and understood; its layers are verified as they are read."""

    descriptor: Descriptor
    manifest: Document[Manifest]
    config: Document[ImageConfig]
    blobs: BlobReader

    @classmethod
    def load(
        cls, blobs: BlobReader, descriptor: Descriptor, *, platform: Platform | None = None, where: str = ""
    ) -> Image:
        """Read the image that a descriptor names; of an index, the one for `platform`.

        InvalidDocument when it is no image: an index and no platform given, or an artifact, which has no config of an
        image. NoMatchingPlatform, BlobNotFound, SizeMismatch, DigestMismatch, LimitExceeded as they may.
        """
        if platform is not None:
            descriptor = narrow(descriptor, blobs, platform, where=where or str(descriptor.digest))
        document = read_document(blobs, descriptor)
        if isinstance(document.model, Index):
            raise InvalidDocument(
                "is an index of several images; choose one with a platform", document=str(descriptor.digest)
            )
        manifest = document.model
        if not media_types.is_config(manifest.config.media_type):
            kind = manifest.artifact_type or manifest.config.media_type
            raise InvalidDocument(
                f"is an artifact of type {kind!r}, not a container image; `ocikit artifact inspect` shows it",
                document=str(descriptor.digest),
            )
        return cls(
            descriptor=descriptor,
            manifest=Document(raw=document.raw, model=manifest, media_type=document.media_type),
            config=read_config(blobs, manifest.config, media_type=manifest.config.media_type),
            blobs=blobs,
        )

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers, lowest first; InvalidDocument when manifest and config don't list the same number."""
        descriptors, diff_ids = self.manifest.model.layers, self.config.model.diff_ids
        if len(descriptors) != len(diff_ids):
            raise InvalidDocument(
                f"the manifest has {len(descriptors)} layers, the config has {len(diff_ids)} diff_ids",
                document=str(self.descriptor.digest),
            )
        return tuple(
            Layer(descriptor=descriptor, diff_id=diff_id, blobs=self.blobs)
            for descriptor, diff_id in zip(descriptors, diff_ids, strict=True)
        )

    def watched(self, progress: Progress) -> Image:
        """The same image, whose layers tell how far they have been read: for unpacking, merging, comparing."""
        total = sum(layer.size for layer in self.manifest.model.layers)
        return self.replace(blobs=WatchedBlobs(self.blobs, progress, total))

    @property
    def platform(self) -> Platform:
        """The platform that the config says."""
        return self.config.model.platform
