"""Artifacts made in view, in memory: titles and layers may say anything. Nothing here uses what writes artifacts."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from oci.layout.blobs import MemoryBlobs
from oci.spec.descriptor import Descriptor
from oci.spec.index import Index
from oci.transports.source import IndexSource
from tests.support.images import (
    OCI_EMPTY,
    OCI_LAYER_GZIP,
    OCI_MANIFEST,
    Json,
    descriptor,
    digest,
    encode,
    manifest,
    tar,
)
from tests.support.images import Entries as Entries

TITLE = "org.opencontainers.image.title"
UNPACK = "io.deis.oras.content.unpack"
CONTENT = "io.deis.oras.content.digest"
KIND = "application/vnd.example.test"


@dataclass(frozen=True)
class One:
    """A layer: its bytes, its type, and its annotations."""

    data: bytes
    media_type: str = "application/octet-stream"
    annotations: Mapping[str, str] = field(default_factory=dict)

    def descriptor(self) -> Json:
        return descriptor(self.data, self.media_type, **({"annotations": self.annotations} if self.annotations else {}))


def file(title: str, data: bytes = b"x", **more: str) -> One:
    """A file of this title."""
    return One(data, annotations={TITLE: title, **more})


def folder(title: str, archive: bytes | Entries, **more: str) -> One:
    """A directory as oras has it: an archive (or its entries) gzipped, annotated."""
    plain = archive if isinstance(archive, bytes) else tar(archive)
    notes = {TITLE: title, UNPACK: "true", CONTENT: digest(plain), **more}
    return One(gzip.compress(plain, 6, mtime=0), OCI_LAYER_GZIP, notes)


def artifact(*layers: One, **more: object) -> tuple[IndexSource, Descriptor]:
    """An artifact of these layers: a source that holds it, and its manifest's descriptor."""
    return source_of(
        manifest(descriptor(b"{}", OCI_EMPTY), [one.descriptor() for one in layers], artifactType=KIND, **more),
        [one.data for one in layers],
    )


def source_of(document: Json, blobs: Iterable[bytes]) -> tuple[IndexSource, Descriptor]:
    """A source that holds one manifest and these blobs."""
    raw = encode(document)
    described = Descriptor.from_json(descriptor(raw, OCI_MANIFEST))
    index = Index(manifests=(described,))
    return IndexSource(MemoryBlobs([raw, b"{}", *blobs]), index, reference="memory", where="memory"), described
