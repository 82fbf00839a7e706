"""What an image is, at a glance: `inspect` without a selector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

from oci.image.image import Image
from oci.inspect.history import HistoryJson, Step, history
from oci.spec.digest import Digest
from oci.spec.platform import Platform
from oci.spec.record import Record

__all__ = ["LayerSummary", "Summary", "SummaryJson", "summarise"]


class LayerJson(TypedDict):
    digest: str
    diffId: str | None
    mediaType: str
    size: int


class SummaryJson(TypedDict):
    """The shape of `inspect --json`."""

    reference: str
    digest: str
    mediaType: str
    size: int
    platform: str
    created: str | None
    config: dict[str, object]
    layers: list[LayerJson]
    annotations: dict[str, str]
    history: list[HistoryJson]


class LayerSummary(Record):
    """A layer as the manifest lists it; `diff_id` is None where the config lists too few."""

    digest: Digest
    diff_id: Digest | None
    media_type: str
    size: int

    def to_json(self) -> LayerJson:
        return {
            "digest": str(self.digest),
            "diffId": None if self.diff_id is None else str(self.diff_id),
            "mediaType": self.media_type,
            "size": self.size,
        }


class Summary(Record):
    """An image in short; `size` is that of manifest, config and layers as stored, in bytes."""

    reference: str
    digest: Digest
    media_type: str
    size: int
    platform: Platform
    created: str | None
    author: str | None
    config: Mapping[str, object]
    layers: tuple[LayerSummary, ...]
    annotations: Mapping[str, str]
    history: tuple[Step, ...]

    def to_json(self) -> SummaryJson:
        """The summary as `inspect --json` prints it."""
        return {
            "reference": self.reference,
            "digest": str(self.digest),
            "mediaType": self.media_type,
            "size": self.size,
            "platform": str(self.platform),
            "created": self.created,
            "config": dict(self.config),
            "layers": [layer.to_json() for layer in self.layers],
            "annotations": dict(self.annotations),
            "history": [step.to_json() for step in self.history],
        }


def summarise(image: Image, reference: str) -> Summary:
    """Put together what a person asks of an image first; `reference` is how they named it."""
    manifest, config = image.manifest.model, image.config.model
    diff_ids = config.diff_ids
    return Summary(
        reference=reference,
        digest=image.descriptor.digest,
        media_type=image.manifest.media_type,
        size=len(image.manifest.raw) + manifest.config.size + sum(layer.size for layer in manifest.layers),
        platform=config.platform,
        created=config.created,
        author=config.author,
        config=config.run.to_json(),
        layers=tuple(
            LayerSummary(
                digest=layer.digest,
                diff_id=diff_ids[at] if at < len(diff_ids) else None,
                media_type=layer.media_type,
                size=layer.size,
            )
            for at, layer in enumerate(manifest.layers)
        ),
        annotations=manifest.annotations,
        history=history(image),
    )
