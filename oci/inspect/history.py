"""The history of an image joined to its layers (image-spec v1.1.1 config.md#properties, `history`).

Each entry without `empty_layer` made the next layer. Where a config says too little or too much, nothing is hidden:
layers without an entry and entries without a layer get a row of their own.
"""

from __future__ import annotations

from typing import TypedDict

from oci.image.image import Image
from oci.spec.record import Record

__all__ = ["HistoryJson", "Step", "history"]


class HistoryJson(TypedDict):
    """One item of `history --json`."""

    created: str | None
    createdBy: str | None
    comment: str | None
    emptyLayer: bool
    digest: str | None
    diffId: str | None
    size: int | None


class Step(Record):
    """One step: what made it, and the layer that came of it; `size` is the layer's, as stored, in bytes."""

    created: str | None = None
    created_by: str | None = None
    comment: str | None = None
    empty_layer: bool = False
    digest: str | None = None
    diff_id: str | None = None
    size: int | None = None

    def to_json(self) -> HistoryJson:
        """The step as `history --json` lists it."""
        return {
            "created": self.created,
            "createdBy": self.created_by,
            "comment": self.comment,
            "emptyLayer": self.empty_layer,
            "digest": self.digest,
            "diffId": self.diff_id,
            "size": self.size,
        }


def history(image: Image) -> tuple[Step, ...]:
    """Every step of an image's making, oldest first."""
    layers, diff_ids = image.manifest.model.layers, image.config.model.diff_ids
    steps: list[Step] = []
    at = 0
    for entry in image.config.model.history:
        layer = layers[at] if not entry.empty_layer and at < len(layers) else None
        steps.append(
            Step(
                created=entry.created,
                created_by=entry.created_by,
                comment=entry.comment,
                empty_layer=entry.empty_layer,
                digest=None if layer is None else str(layer.digest),
                diff_id=None if layer is None or at >= len(diff_ids) else str(diff_ids[at]),
                size=None if layer is None else layer.size,
            )
        )
        at += layer is not None
    for rest in range(at, len(layers)):
        diff_id = str(diff_ids[rest]) if rest < len(diff_ids) else None
        steps.append(Step(digest=str(layers[rest].digest), diff_id=diff_id, size=layers[rest].size))
    return tuple(steps)
