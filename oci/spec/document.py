"""Documents: the exact bytes beside what they mean, and the doors through which bytes become models.

`raw` is what is hashed, stored and copied; an unedited document is never encoded again. `Document.of` encodes an edited
model: compact, in the spec's order, unknown fields behind the known ones, the same bytes every time.
image-spec v1.1.1 manifest.md, image-index.md, config.md, media-types.md#compatibility-matrix.
"""

from __future__ import annotations

from oci.errors import InvalidDocument
from oci.spec import media_types
from oci.spec.config import ImageConfig
from oci.spec.descriptor import Descriptor, read_media_type
from oci.spec.digest import Digest
from oci.spec.index import Index
from oci.spec.manifest import Manifest
from oci.spec.record import Record
from oci.spec.wire import MAX_CONFIG, MAX_MANIFEST, Fields, dumps, loads
from oci.typed import Generic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    M = TypeVar("M", bound=Manifest | Index | ImageConfig)
else:
    M = None


class Document(Record, Generic[M]):
    """The bytes of a document, its model and its media type."""

    raw: bytes
    model: M
    media_type: str

    @classmethod
    def of(cls, model: M, *, media_type: str | None = None) -> Document[M]:
        """Encode a model. What comes out has been read back, so it keeps every rule. Raises InvalidDocument.

        `media_type` is for configs, whose model doesn't hold it (default: the OCI image config).
        """
        raw = dumps(model.to_json())
        document: Document[Manifest] | Document[Index] | Document[ImageConfig]
        if isinstance(model, Manifest):
            document = parse_manifest(raw, media_type=media_type)
        elif isinstance(model, Index):
            document = parse_index(raw, media_type=media_type)
        else:
            document = parse_config(raw, media_type=media_type)
        return document  # type: ignore[return-value]

    @property
    def descriptor(self) -> Descriptor:
        """The descriptor of these bytes: media type, sha256 digest, size."""
        return Descriptor(media_type=self.media_type, digest=Digest.of(self.raw), size=len(self.raw))


def parse_manifest(raw: bytes, *, media_type: str | None = None) -> Document[Manifest]:
    """Read an image manifest (OCI or Docker schema 2). `media_type` is what its descriptor says, if there is one.

    Raises InvalidDocument or LimitExceeded.
    """
    return _manifest(raw, _fields(raw, "manifest"), media_type)


def parse_index(raw: bytes, *, media_type: str | None = None) -> Document[Index]:
    """Read an image index or Docker manifest list. Raises InvalidDocument or LimitExceeded."""
    return _index(raw, _fields(raw, "index"), media_type)


def parse_document(raw: bytes, media_type: str | None = None) -> Document[Manifest] | Document[Index]:
    """Read a manifest or an index, whichever the media type (else the document itself) says it is.

    Raises InvalidDocument or LimitExceeded.
    """
    if media_types.is_manifest(media_type):
        return parse_manifest(raw, media_type=media_type)
    if media_types.is_index(media_type):
        return parse_index(raw, media_type=media_type)
    if media_type is not None:
        raise _wrong_type("document", media_type, "a manifest's or an index's")
    fields = _fields(raw, "document")
    own = read_media_type(fields.copy(), "mediaType")
    if media_types.is_index(own) or (own is None and "manifests" in fields):
        return _index(raw, fields.copy("index"), None)
    return _manifest(raw, fields.copy("manifest"), None)


def parse_config(raw: bytes, *, media_type: str | None = None) -> Document[ImageConfig]:
    """Read an image configuration (OCI or Docker). Raises InvalidDocument or LimitExceeded."""
    if media_type is not None and not media_types.is_config(media_type):
        raise _wrong_type("config", media_type, "an image configuration's")
    value = loads(raw, document="config", limit=MAX_CONFIG)
    fields = Fields(value, document="config", null_is_absent=True)
    return Document(raw=raw, model=ImageConfig.from_fields(fields), media_type=media_type or media_types.CONFIG)


def _fields(raw: bytes, document: str) -> Fields:
    return Fields(loads(raw, document=document, limit=MAX_MANIFEST), document=document)


def _manifest(raw: bytes, fields: Fields, media_type: str | None) -> Document[Manifest]:
    if media_type is not None and not media_types.is_manifest(media_type):
        raise _wrong_type("manifest", media_type, "an image manifest's")
    own = _read_head(fields, media_type, ("manifests",))
    if own is not None and not media_types.is_manifest(own):
        raise fields.fault("mediaType", f"{own} is not an image manifest's")
    named = own or media_type or media_types.MANIFEST
    return Document(raw=raw, model=Manifest.from_fields(fields, named), media_type=named)


def _index(raw: bytes, fields: Fields, media_type: str | None) -> Document[Index]:
    if media_type is not None and not media_types.is_index(media_type):
        raise _wrong_type("index", media_type, "an image index's")
    own = _read_head(fields, media_type, ("layers", "config"))
    if own is not None and not media_types.is_index(own):
        raise fields.fault("mediaType", f"{own} is not an image index's")
    return Document(raw=raw, model=Index.from_fields(fields, own), media_type=own or media_type or media_types.INDEX)


def _read_head(fields: Fields, expected: str | None, forbidden: tuple[str, ...]) -> str | None:
    """Read what manifests and indexes begin with; gives the document's own media type.

    `forbidden` are the fields by which another reader would take the document for the other kind: CVE-2021-41190, one
    digest that means two images.
    """
    own = read_media_type(fields, "mediaType")
    if own in media_types.DOCKER_SCHEMA_1 or "fsLayers" in fields:
        raise InvalidDocument(
            "Docker schema 1, which names no verifiable content; push the image again with a current tool",
            document=fields.document,
        )
    version = fields.integer("schemaVersion")
    if version != 2:
        raise fields.fault("schemaVersion", f"must be 2, got {version}")
    if own is not None and expected is not None and own != expected:
        raise fields.fault("mediaType", f"{own}, but its descriptor says {expected}")
    for name in forbidden:
        if name in fields:
            raise fields.fault(name, f"can't stand in a {fields.document}: it would be both a manifest and an index")
    return own


def _wrong_type(document: str, media_type: str, wanted: str) -> InvalidDocument:
    return InvalidDocument(f"the media type {media_type} is not {wanted}", document=document)
