"""What a layout or an archive holds, a row for each entry of its index.json: what `ls` shows.

Nothing is an error here: what an entry's documents don't say is None, and so is the size where a part of it is not
stored (a sparse index) or can't be read. Layers are not read. A hostile index costs bounded work: see the limits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypedDict

from oci.errors import OciError
from oci.layout.blobs import BlobReader
from oci.layout.documents import read_config, read_document
from oci.spec import media_types, rfc3339
from oci.spec.annotations import CREATED, REF_NAME
from oci.spec.descriptor import Descriptor
from oci.spec.digest import Digest
from oci.spec.index import Index
from oci.spec.manifest import Manifest
from oci.spec.platform import Platform
from oci.spec.record import Record

__all__ = ["MAX_CHILDREN", "MAX_DEPTH", "Row", "RowJson", "rows"]

MAX_DEPTH = 8  # levels of indexes in indexes that are looked into; real ones have two
MAX_CHILDREN = 1000  # documents read for one row; more, and the row says less


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
        self.read = 0
        self.whole = True


def rows(entries: Iterable[Descriptor], blobs: BlobReader) -> Iterator[Row]:
    """Give a row for each entry, in their order."""
    for entry in entries:
        gathered = _Gathered()
        _gather(entry, blobs, gathered, 0)
        yield Row(
            tag=entry.annotations.get(REF_NAME) or None,
            digest=entry.digest,
            media_type=entry.media_type,
            platforms=tuple(gathered.platforms),
            size=sum(gathered.sizes.values()) if gathered.whole else None,
            created=_newest(gathered.created) or entry.annotations.get(CREATED),
        )


def _gather(entry: Descriptor, blobs: BlobReader, gathered: _Gathered, depth: int) -> None:
    if entry.digest in gathered.sizes:
        return
    gathered.sizes[entry.digest] = entry.size
    if entry.platform is not None and _is_image(entry.platform):
        gathered.platforms[entry.platform] = None
    if not (media_types.is_index(entry.media_type) or media_types.is_manifest(entry.media_type)):
        gathered.whole = gathered.whole and blobs.has(entry.digest)
        return
    gathered.read += 1
    if depth > MAX_DEPTH or gathered.read > MAX_CHILDREN:
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


def _gather_image(entry: Descriptor, model: Manifest, blobs: BlobReader, gathered: _Gathered) -> None:
    for part in (model.config, *model.layers):
        gathered.sizes[part.digest] = part.size
        if part.data is None and not blobs.has(part.digest):
            gathered.whole = False
    if not media_types.is_config(model.config.media_type):
        return
    try:
        config = read_config(blobs, model.config).model
    except (OciError, OSError):
        return
    if entry.platform is None and _is_image(config.platform):
        gathered.platforms[config.platform] = None
    if config.created is not None and (entry.platform is None or _is_image(entry.platform)):
        gathered.created.append(config.created)


def _is_image(platform: Platform) -> bool:
    """Whether it is a platform to run on; BuildKit's attestations say `unknown`, cosign's signatures nothing."""
    return platform.os not in ("unknown", "")


def _newest(times: list[str]) -> str | None:
    return max(times, key=rfc3339.parse, default=None)
