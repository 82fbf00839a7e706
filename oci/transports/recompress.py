"""Copying with the layers compressed anew: the same tar bytes, so the same diff_ids and the same config.

What changes is each layer's descriptor, and with it the manifest and every index above. Kept: a layer that is
compressed as wanted already (unless a level is given), layers that needn't be stored (`urls`), artifacts and
attestations. Config bytes, annotations, platforms and unknown fields stay, except for annotations that speak of the
compressed bytes (tables of contents of lazily pulled layers) and BuildKit's link from an attestation to its image,
which follows the image's new digest.

Docker's formats know no zstd that its own tools accept everywhere: with zstd, a Docker manifest (and a list above it)
becomes its OCI equal, as skopeo does.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, cast

from oci.errors import InvalidDocument
from oci.layout.blobs import is_at_hand, name_of, open_content
from oci.layout.documents import read_config, read_document
from oci.spec import media_types
from oci.spec.descriptor import Descriptor
from oci.spec.digest import Digest
from oci.spec.document import Document
from oci.spec.index import Index
from oci.spec.manifest import Manifest
from oci.streams.progress import Meter
from oci.transports.base import ImageDestination, ImageSource

if TYPE_CHECKING:
    from oci.streams.compression_write import Written

__all__ = ["Recompression"]

# Annotations on layers that describe the compressed bytes, and would be wrong for others.
_OF_THE_BYTES = ("containerd.io/snapshot/stargz/", "io.containers.estargz.", "io.github.containers.zstd-chunked.")
_ATTESTED = "vnd.docker.reference.digest"  # BuildKit: on an attestation's entry in an index, the image it is about

_OCI_EQUAL = {
    media_types.DOCKER_LIST: media_types.INDEX,
    media_types.DOCKER_MANIFEST: media_types.MANIFEST,
    media_types.DOCKER_CONFIG: media_types.CONFIG,
    media_types.DOCKER_LAYER_TAR: media_types.LAYER_TAR,
    media_types.DOCKER_LAYER_GZIP: media_types.LAYER_GZIP,
    media_types.DOCKER_LAYER_ZSTD: media_types.LAYER_ZSTD,
    media_types.DOCKER_FOREIGN_TAR: media_types.NONDISTRIBUTABLE_TAR,
    media_types.DOCKER_FOREIGN_GZIP: media_types.NONDISTRIBUTABLE_GZIP,
}


class Recompression:
    """One copy's worth of new layers and documents: `begin`, copy the blobs it gives, then `finish`."""

    def __init__(
        self, source: ImageSource, destination: ImageDestination, compression: str, level: int | None, *, meter: Meter
    ) -> None:
        if compression not in ("none", "gzip", "zstd"):
            raise ValueError(f"unknown compression {compression!r}")
        self._source, self._destination, self._meter = source, destination, meter
        self._compression, self._level = cast("Written", compression), level
        self._layers: dict[Digest, Descriptor] = {}  # old → new; what is in neither dict is kept
        self._documents: dict[Digest, Descriptor] = {}
        self._by_text: dict[str, Descriptor] = {}
        self._wanted: dict[Digest, Digest] = {}  # layer → diff_id

    def begin(self, blobs: Sequence[Descriptor], documents: Sequence[Descriptor]) -> list[Descriptor]:
        """Decide which layers to compress anew; give the blobs that are copied as they are."""
        for descriptor in documents:
            model = self._read(descriptor).model
            if isinstance(model, Manifest):
                self._look(model)
        return [blob for blob in blobs if blob.digest not in self._wanted]

    def _read(self, descriptor: Descriptor) -> Document[Manifest] | Document[Index]:
        return read_document(self._source, descriptor)

    def _look(self, manifest: Manifest) -> None:
        if not media_types.is_config(manifest.config.media_type):
            return  # an artifact
        if not all(media_types.is_layer(layer.media_type) for layer in manifest.layers):
            return  # an attestation, or layers of a kind not known here
        if not any(self._is_to_change(layer) for layer in manifest.layers):
            return
        diff_ids = read_config(self._source, manifest.config).model.diff_ids
        if len(diff_ids) != len(manifest.layers):
            raise InvalidDocument(
                f"{len(diff_ids)} diff_ids for the {len(manifest.layers)} layers of its manifest",
                document=f"config {manifest.config.digest}",
                pointer="/rootfs/diff_ids",
            )
        for layer, diff_id in zip(manifest.layers, diff_ids, strict=True):
            if self._is_to_change(layer):
                self._wanted[layer.digest] = diff_id

    def _is_to_change(self, layer: Descriptor) -> bool:
        if media_types.is_nondistributable(layer.media_type):
            return False
        if self._level is None and media_types.layer_compression(layer.media_type) == self._compression:
            return False
        return is_at_hand(self._source, layer) or not layer.urls

    def finish(self, documents: Sequence[Descriptor]) -> Descriptor:
        """Write layers and documents, children first; commit the last document, and give its descriptor."""
        for number, descriptor in enumerate(documents):
            document = self._read(descriptor)
            model = document.model
            new: Document[Manifest] | Document[Index] = document
            if isinstance(model, Index):
                changed: Manifest | Index = self._index(model)
            else:
                changed = self._manifest(model)
            if changed != model:
                new = cast("Document[Manifest] | Document[Index]", Document.of(changed))
                descriptor = descriptor.replace(
                    media_type=new.media_type,
                    digest=new.descriptor.digest,
                    size=len(new.raw),
                    data=None,
                    urls=(),
                )
                self._documents[documents[number].digest] = descriptor
                self._by_text[str(documents[number].digest)] = descriptor
            if number < len(documents) - 1:
                self._destination.put_document(new.raw, descriptor)
            else:
                self._destination.commit(new.raw, descriptor)
        return descriptor

    def _index(self, index: Index) -> Index:
        entries = tuple(self._entry(entry) for entry in index.manifests)
        changed = index.replace(manifests=entries, subject=self._subject(index.subject))
        if index.media_type == media_types.DOCKER_LIST and any(
            media_types.is_docker(old.media_type) and not media_types.is_docker(new.media_type)
            for old, new in zip(index.manifests, entries, strict=True)
        ):
            changed = changed.replace(media_type=media_types.INDEX)
        return changed

    def _entry(self, entry: Descriptor) -> Descriptor:
        new = self._documents.get(entry.digest)
        if new is not None:
            entry = entry.replace(media_type=new.media_type, digest=new.digest, size=new.size, data=None, urls=())
        image = self._by_text.get(entry.annotations.get(_ATTESTED, ""))
        if image is not None:
            entry = entry.replace(annotations={**entry.annotations, _ATTESTED: str(image.digest)})
        return entry

    def _subject(self, subject: Descriptor | None) -> Descriptor | None:
        new = self._documents.get(subject.digest) if subject is not None else None
        if subject is None or new is None:
            return subject
        return subject.replace(media_type=new.media_type, digest=new.digest, size=new.size, data=None)

    def _manifest(self, manifest: Manifest) -> Manifest:
        if not media_types.is_config(manifest.config.media_type):
            return manifest.replace(subject=self._subject(manifest.subject))
        docker = media_types.is_docker(manifest.media_type)
        to_change = any(layer.digest in self._wanted for layer in manifest.layers)
        to_oci = docker and self._compression == "zstd" and to_change
        layers = tuple(
            self._layer(layer, "docker" if docker and not to_oci else "oci")
            if layer.digest in self._wanted and media_types.is_layer(layer.media_type)
            else layer
            for layer in manifest.layers
        )
        changed = manifest.replace(layers=layers, subject=self._subject(manifest.subject))
        if to_oci:
            changed = changed.replace(
                media_type=media_types.MANIFEST,
                config=_as_oci(changed.config),
                layers=tuple(_as_oci(layer) for layer in layers),
            )
        return changed

    def _layer(self, layer: Descriptor, family: str) -> Descriptor:
        """Give the descriptor of a layer's new form, which is made when it is met first."""
        made = self._layers.get(layer.digest)
        if made is None:
            made = self._layers[layer.digest] = self._compress(layer, self._wanted[layer.digest])
        return layer.replace(
            media_type=media_types.layer_media_type(family, self._compression),
            digest=made.digest,
            size=made.size,
            data=None,
            urls=(),
            annotations={k: v for k, v in layer.annotations.items() if not k.startswith(_OF_THE_BYTES)},
        )

    def _compress(self, layer: Descriptor, diff_id: Digest) -> Descriptor:
        from oci.streams.layer_reader import LayerReader
        from oci.streams.layer_writer import LayerWriter

        with (
            open_content(self._source, layer) as chunks,
            self._meter.share(name_of(layer), layer.size) as share,
            LayerReader(
                share.counted(chunks),
                digest=layer.digest,
                size=layer.size,
                diff_id=diff_id,
                layer=str(layer.digest),
            ) as tar,
            self._destination.writer() as blob,
            closing(LayerWriter(blob.write, self._compression, self._level)) as writer,
        ):
            for data in tar:
                writer.write(data)
            summary = writer.finish()
            # The reader has checked blob and diff_id by now: only a whole, right layer is committed.
            blob.commit(summary.digest)
        return layer.replace(digest=summary.digest, size=summary.size)


def _as_oci(descriptor: Descriptor) -> Descriptor:
    return descriptor.replace(media_type=_OCI_EQUAL.get(descriptor.media_type, descriptor.media_type))
