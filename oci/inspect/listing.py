"""What a layout or an archive holds, a row for each entry of its index.json: what `ls` shows.

Nothing is an error here: what an entry's documents don't say is None, and so is the size where a part of it is not
stored (a sparse index) or can't be read. Layers are not read. What one entry can cost is bounded: see the limits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypedDict

from oci.errors import OciError
from oci.layout.blobs import BlobReader, is_at_hand
from oci.layout.documents import read_config, read_document
from oci.layout.refs import name_of
from oci.layout.walk import is_document
from oci.spec import media_types, rfc3339
from oci.spec.annotations import CREATED
from oci.spec.descriptor import Descriptor
from oci.spec.digest import Digest
from oci.spec.index import Index
from oci.spec.manifest import Manifest
from oci.spec.platform import Platform
from oci.spec.record import Record

__all__ = ["MAX_BLOBS", "MAX_DEPTH", "MAX_DOCUMENTS", "Row", "RowJson", "rows"]

# A row whose entry needs more than this says less.
MAX_DEPTH = 8  # levels of indexes in indexes that are looked into; real ones have two
MAX_DOCUMENTS = 1000  # manifests and indexes read for one row
MAX_BLOBS = 100_000  # different blobs counted for one row; a manifest's own are always counted whole


class RowJson(TypedDict):
    """One item of `ls --json`."""

    tag: str | None
    digest: str
    mediaType: str
    platform: str | None
    size: int | None
    created: str | None


class Row(Record):
    """One entry. `platforms` has one element for an image, those of all its images for an index.

    `size` is what manifests, configs and layers take as stored, each blob once, in bytes; None where a part isn't here.
    `created` is RFC 3339 text, of an index its newest image's.
    """

    tag: str | None
    digest: Digest
    media_type: str
    platforms: tuple[Platform, ...]
    size: int | None
    created: str | None

    def to_json(self) -> RowJson:
        """The row as `ls --json` lists it; an index of several platforms has none of its own."""
        return {
            "tag": self.tag,
            "digest": str(self.digest),
            "mediaType": self.media_type,
            "platform": str(self.platforms[0]) if len(self.platforms) == 1 else None,
            "size": self.size,
            "created": self.created,
        }


class _Gathered:
    """What is known of an entry while its documents are read."""

    def __init__(self) -> None:
        self.sizes: dict[Digest, int] = {}
        self.platforms: dict[Platform, None] = {}
        self.created: list[str] = []
        self.documents = 0
        self.whole = True

    def stored(self, blob: Descriptor, blobs: BlobReader) -> None:
        """Count a blob whose content doesn't matter here."""
        self.sizes[blob.digest] = blob.size
        if not is_at_hand(blobs, blob):
            self.whole = False


def rows(entries: Iterable[Descriptor], blobs: BlobReader) -> Iterator[Row]:
    """Give a row for each entry, in their order."""
    known: dict[tuple[Digest, str, Platform | None], _Gathered] = {}  # an image may have many tags
    for entry in entries:
        key = (entry.digest, entry.media_type, entry.platform)
        gathered = known.get(key)
        if gathered is None:
            gathered = known[key] = _Gathered()
            _gather(entry, blobs, gathered, 0)
        yield Row(
            tag=name_of(entry),
            digest=entry.digest,
            media_type=entry.media_type,
            platforms=tuple(gathered.platforms),
            size=sum(gathered.sizes.values()) if gathered.whole else None,
            created=max(gathered.created, key=rfc3339.parse, default=None) or _annotated(entry),
        )


def _gather(entry: Descriptor, blobs: BlobReader, gathered: _Gathered, depth: int) -> None:
    if entry.digest in gathered.sizes:
        return
    if entry.platform is not None and _is_image(entry.platform):
        gathered.platforms[entry.platform] = None
    if len(gathered.sizes) >= MAX_BLOBS:
        gathered.whole = False
        return
    if not is_document(entry):
        gathered.stored(entry, blobs)
        return
    gathered.sizes[entry.digest] = entry.size
    gathered.documents += 1
    if depth > MAX_DEPTH or gathered.documents > MAX_DOCUMENTS:
        gathered.whole = False
        return
    try:
        model = read_document(blobs, entry).model
    except (OciError, OSError):
        gathered.whole = False
        return
    if isinstance(model, Index):
        for child in model.manifests:
            _gather(child, blobs, gathered, depth + 1)
    else:
        _gather_image(entry, model, blobs, gathered)


def _gather_image(entry: Descriptor, manifest: Manifest, blobs: BlobReader, gathered: _Gathered) -> None:
    for part in (manifest.config, *manifest.layers):
        gathered.stored(part, blobs)
    if not media_types.is_config(manifest.config.media_type):
        return
    try:
        config = read_config(blobs, manifest.config).model
    except (OciError, OSError):
        return
    platform = entry.platform or config.platform
    if _is_image(platform):
        gathered.platforms[platform] = None
        if config.created is not None:
            gathered.created.append(config.created)


def _is_image(platform: Platform) -> bool:
    """Whether it is a platform to run on; BuildKit's attestations say `unknown`, cosign's signatures nothing."""
    return platform.os not in ("unknown", "")


def _annotated(entry: Descriptor) -> str | None:
    """When an entry's annotation says that it was created, if that is a time: nobody has checked it."""
    text = entry.annotations.get(CREATED)
    if text is None:
        return None
    try:
        rfc3339.parse(text)
    except ValueError:
        return None
    return text
