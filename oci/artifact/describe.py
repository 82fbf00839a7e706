"""What an artifact is: its type, its subject, and the files in it."""

from __future__ import annotations

from collections.abc import Mapping

from oci.artifact.names import CONTENT_DIGEST, CONTENT_UNPACK
from oci.errors import InvalidDocument
from oci.layout.blobs import BlobReader
from oci.layout.documents import read_document
from oci.spec import media_types
from oci.spec.annotations import TITLE
from oci.spec.descriptor import EMPTY_DESCRIPTOR, Descriptor
from oci.spec.digest import Digest
from oci.spec.manifest import Manifest
from oci.spec.record import Record, field

__all__ = ["Artifact", "Content", "read_artifact"]


class Content(Record):
    """A layer (or a config that has a title): `folder` says that it is a directory in one tar."""

    descriptor: Descriptor
    title: str | None
    folder: bool

    @property
    def digest_of_tar(self) -> Digest | None:
        """The digest of a directory's uncompressed tar, if the artifact says it. InvalidDigest."""
        text = self.descriptor.annotations.get(CONTENT_DIGEST)
        return Digest.parse(text) if self.folder and text else None


class Artifact(Record):
    """An artifact's manifest, read; `type` is its artifactType, else its config's media type."""

    descriptor: Descriptor
    type: str
    config: Descriptor
    contents: tuple[Content, ...]
    subject: Descriptor | None
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)


def read_artifact(blobs: BlobReader, descriptor: Descriptor) -> Artifact:
    """Read a manifest as an artifact; every image is one too, mostly without titles. InvalidDocument for an index."""
    model = read_document(blobs, descriptor).model
    if not isinstance(model, Manifest):
        raise InvalidDocument(
            "an index, which has no files; choose one of its manifests", document=str(descriptor.digest)
        )
    layers = tuple(layer for layer in model.layers if not _is_empty(layer))
    # oras pulls a config that has a title too.
    titled = (model.config,) if model.config.annotations.get(TITLE) else ()
    return Artifact(
        descriptor=descriptor,
        type=model.listed_type,
        config=model.config,
        contents=tuple(_content(one) for one in (*titled, *layers)),
        subject=model.subject,
        annotations=model.annotations,
    )


def _is_empty(layer: Descriptor) -> bool:
    """Whether a layer only stands there because one must (manifest.md#guidance-for-an-empty-descriptor)."""
    return (
        layer.media_type == media_types.EMPTY
        and layer.digest == EMPTY_DESCRIPTOR.digest
        and TITLE not in layer.annotations
    )


def _content(descriptor: Descriptor) -> Content:
    annotations = descriptor.annotations
    return Content(
        descriptor=descriptor,
        title=annotations.get(TITLE) or None,
        folder=annotations.get(CONTENT_UNPACK) == "true",
    )
