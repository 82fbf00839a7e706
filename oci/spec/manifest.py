"""The image manifest: one config and its layers, or an artifact (image-spec v1.1.1 manifest.md).

Docker's schema 2 manifest has the same shape and is read as an equal; its media types are kept as they are.
"""

from __future__ import annotations

from collections.abc import Mapping

from oci.spec import media_types
from oci.spec.descriptor import Descriptor, read_descriptor, read_descriptors, read_media_type
from oci.spec.record import Record, field
from oci.spec.wire import Fields, put


class Manifest(Record):
    """A config and layers, base layer first; `subject` names the manifest that this one says something about."""

    config: Descriptor
    layers: tuple[Descriptor, ...]
    media_type: str = media_types.MANIFEST
    subject: Descriptor | None = None
    artifact_type: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    extra: Mapping[str, object] = field(default_factory=dict, hash=False)

    @property
    def listed_type(self) -> str:
        """The artifactType that an entry of it has in a list of manifests (descriptor.md#properties)."""
        return self.artifact_type or self.config.media_type

    @classmethod
    def from_fields(cls, fields: Fields, media_type: str) -> Manifest:
        """Take a manifest's fields (`schemaVersion` and `mediaType` are read before). Raises InvalidDocument."""
        config = read_descriptor(fields, "config")
        if config is None:
            raise fields.missing("config")
        artifact_type = read_media_type(fields, "artifactType")
        if artifact_type is None and config.media_type == media_types.EMPTY:
            raise fields.fault("config", "with the empty media type, the manifest must have an artifactType")
        return cls(
            config=config,
            layers=read_descriptors(fields, "layers"),
            media_type=media_type,
            subject=read_descriptor(fields, "subject"),
            artifact_type=artifact_type,
            annotations=fields.optional_string_map("annotations") or {},
            extra=fields.extra(),
        )

    def to_json(self) -> dict[str, object]:
        """The manifest's object, its fields in the spec's order, unknown ones behind them."""
        value: dict[str, object] = {"schemaVersion": 2, "mediaType": self.media_type}
        put(value, "artifactType", self.artifact_type)
        value["config"] = self.config.to_json()
        value["layers"] = [layer.to_json() for layer in self.layers]
        put(value, "subject", None if self.subject is None else self.subject.to_json())
        put(value, "annotations", dict(self.annotations) or None)
        value.update(self.extra)
        return value
