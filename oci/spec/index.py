"""The image index: manifests for several platforms, or the table of a layout (image-spec v1.1.1 image-index.md).

Docker's manifest list has the same shape and is read as an equal. Entries may be indexes themselves, or of any type.
"""

from __future__ import annotations

from collections.abc import Mapping

from oci.spec import media_types
from oci.spec.descriptor import Descriptor, read_descriptor, read_descriptors, read_media_type
from oci.spec.record import Record, field
from oci.spec.wire import Fields, put


class Index(Record):
    """Descriptors of manifests, in the order written; `media_type` is None where the document doesn't state its own."""

    manifests: tuple[Descriptor, ...]
    media_type: str | None = media_types.INDEX
    subject: Descriptor | None = None
    artifact_type: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    extra: Mapping[str, object] = field(default_factory=dict, hash=False)

    @property
    def listed_type(self) -> str | None:
        """The artifactType that an entry of it has in a list of manifests (descriptor.md#properties)."""
        return self.artifact_type

    @classmethod
    def from_fields(cls, fields: Fields, media_type: str | None) -> Index:
        """Take an index's fields (`schemaVersion` and `mediaType` are read before). Raises InvalidDocument."""
        return cls(
            manifests=read_descriptors(fields, "manifests"),
            media_type=media_type,
            subject=read_descriptor(fields, "subject"),
            artifact_type=read_media_type(fields, "artifactType"),
            annotations=fields.optional_string_map("annotations") or {},
            extra=fields.extra(),
        )

    def to_json(self) -> dict[str, object]:
        """The index's object, its fields in the spec's order, unknown ones behind them."""
        value: dict[str, object] = {"schemaVersion": 2}
        put(value, "mediaType", self.media_type)
        put(value, "artifactType", self.artifact_type)
        value["manifests"] = [manifest.to_json() for manifest in self.manifests]
        put(value, "subject", None if self.subject is None else self.subject.to_json())
        put(value, "annotations", dict(self.annotations) or None)
        value.update(self.extra)
        return value
