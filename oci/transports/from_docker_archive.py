"""`docker-archive:FILE[:NAME:TAG]`: what `docker save` writes and `docker load` reads.

Two forms are read. Docker 25 and later write an image layout with a `manifest.json` beside it: where that layout holds
all of the image, it is taken from there, with its digest. Older ones (and skopeo, podman) write only `manifest.json`, a
config and uncompressed layers, often behind links; from those a manifest is made, with the config's bytes as they are
and each layer as its member's bytes. It is an OCI manifest, since the archive has none that could be kept, and tools
that don't find Docker's in a layout (skopeo before 1.14) are many; a Docker config is an OCI config by the
compatibility matrix. The V1 files (`repositories`, `VERSION`, `json`) are ignored.

The new form is written: any image goes in byte for byte, and the members of `manifest.json` are the layout's blobs, as
`docker load` of any age, podman and skopeo read them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from oci.errors import (
    BlobNotFound,
    DestinationError,
    InvalidDocument,
    LayoutError,
    OciError,
    RefNotFound,
    read_from,
    show,
)
from oci.layout import refs
from oci.layout.archive import ArchiveBlobs
from oci.layout.blobs import ChainBlobs, MemoryBlobs, VerifyingReader
from oci.layout.documents import MAX_CONFIG, MAX_DOCUMENT, read_manifest
from oci.layout.reader import INDEX_FILE, LAYOUT_FILE, blob_name
from oci.layout.tar_files import TarFiles
from oci.layout.walk import children, walk
from oci.spec import media_types, wire
from oci.spec.annotations import CONTAINERD_NAME, REF_NAME
from oci.spec.descriptor import Descriptor
from oci.spec.digest import Digest
from oci.spec.document import Document, parse_config, parse_document, parse_index
from oci.spec.index import Index
from oci.spec.manifest import Manifest
from oci.spec.platform import Platform
from oci.spec.record import Record
from oci.spec.reference import DEFAULT_TAG, RegistryRef, parse_name
from oci.streams.compression import sniff
from oci.transports.from_archive import ArchiveDestination
from oci.transports.source import BlobsSource

__all__ = ["DockerArchiveDestination", "DockerArchiveSource"]

MANIFEST_FILE = "manifest.json"
MAX_ITEMS = 10_000  # images in one archive

_COMPRESSIONS = ("none", "gzip", "zstd")  # those that a media type can say


class Item(Record):
    """One image of `manifest.json`: member names of config and layers, and the names that `docker load` gives it."""

    config: str
    layers: tuple[str, ...]
    tags: tuple[str, ...]


def read_items(files: TarFiles) -> tuple[Item, ...]:
    """Read `manifest.json`; LayoutError where there is none, InvalidDocument where it is something else."""
    if MANIFEST_FILE not in files:
        hint = "; it is an oci-archive" if LAYOUT_FILE in files else ""
        raise LayoutError(files.path, f"is not a docker archive: it has no file '{MANIFEST_FILE}'{hint}")
    document = f"{show(files.path)}: {MANIFEST_FILE}"
    value = wire.loads(files.read(MANIFEST_FILE, limit=MAX_DOCUMENT), document=document, limit=MAX_DOCUMENT)
    if not isinstance(value, list) or len(value) > MAX_ITEMS:
        raise InvalidDocument(f"expected an array of at most {MAX_ITEMS} images", document=document)
    items = []
    for number, item in enumerate(value):
        fields = wire.Fields(item, document=document, pointer=f"/{number}", null_is_absent=True)
        items.append(
            Item(
                config=fields.string("Config"),
                layers=fields.optional_strings("Layers") or (),
                tags=fields.optional_strings("RepoTags") or (),
            )
        )
    return tuple(items)


def _normal(name: str) -> str:
    """A name as Docker compares it; one that is no reference stands for itself."""
    try:
        return parse_name(name).name
    except OciError:
        return name


class _MemberBlobs(VerifyingReader):
    """Members of a docker archive under the digests that were found for them."""

    def __init__(self, files: TarFiles) -> None:
        self._files = files
        self.names: dict[Digest, str] = {}

    @contextmanager
    def open_raw(self, descriptor: Descriptor) -> Iterator[Iterator[bytes]]:
        name = self.names.get(descriptor.digest)
        if name is None:
            raise BlobNotFound(str(descriptor.digest), self._files.path)
        with self._files.open(name) as chunks:
            yield chunks

    def size(self, digest: Digest) -> int | None:
        name = self.names.get(digest)
        return None if name is None else self._files.size(name)


class DockerArchiveSource(BlobsSource):
    """An image in a docker archive: the one NAME:TAG names, else the only one."""

    def __init__(self, path: str | os.PathLike[str], *, name: str | None = None) -> None:
        self._path, self._name = os.fspath(path), name
        self._files = TarFiles(path)
        self.items = read_items(self._files)
        self._members, self._made = _MemberBlobs(self._files), MemoryBlobs()
        self._stored = ArchiveBlobs(self._files)
        super().__init__(ChainBlobs(self._made, self._members, self._stored))
        self._resolved: Descriptor | None = None

    @property
    def reference(self) -> str:
        return f"docker-archive:{self._path}" + (f":{self._name}" if self._name is not None else "")

    def resolve(self, platform: Platform | None = None) -> Descriptor:
        """Find the image; the archive holds one platform of each, so there is nothing to narrow."""
        if self._resolved is None:
            item = self._item()
            self._resolved = self._from_layout(item) or self._synthesised(item)
        return self._resolved

    def entries(self) -> Iterator[Descriptor]:
        """Give what an index.json of this archive would list: each image, under each of its names."""
        for item in self.items:
            found = self._from_layout(item) or self._synthesised(item)
            for name in item.tags:
                yield found.replace(annotations={**found.annotations, REF_NAME: name})
            if not item.tags:
                yield found

    def _item(self) -> Item:
        if not self.items:
            raise LayoutError(self._path, "holds no images")
        if self._name is not None:
            wanted = _normal(self._name)
            for item in self.items:
                if any(_normal(tag) == wanted for tag in item.tags):
                    return item
            raise RefNotFound(self._name, self._path, [tag for item in self.items for tag in item.tags])
        if len({item.config for item in self.items}) > 1:
            names = ", ".join(show(item.tags[0] if item.tags else item.config) for item in self.items[:20])
            raise LayoutError(self._path, f"holds several images; say which: {names}")
        return self.items[0]

    def _from_layout(self, item: Item) -> Descriptor | None:
        """Find the item's manifest in the layout beside `manifest.json`; None unless all of it is there."""
        if INDEX_FILE not in self._files or LAYOUT_FILE not in self._files:
            return None
        raw = self._files.read(INDEX_FILE, limit=MAX_DOCUMENT)
        with read_from(f"{self._path}: {INDEX_FILE}"):
            index = parse_index(raw).model
        config = self._files.identity(item.config)
        for entry in index.manifests:
            for descriptor in walk(self._stored, entry):
                if not media_types.is_manifest(descriptor.media_type) or not self._stored.has(descriptor.digest):
                    continue
                model = read_manifest(self._stored, descriptor).model
                named = self._files.identity(blob_name(model.config.digest))
                if named is not None and named == config:
                    whole = all(self._stored.has(child.digest) or child.urls for child in children(model))
                    return refs.untagged(descriptor) if whole else None
        return None

    def _synthesised(self, item: Item) -> Descriptor:
        """Make a manifest for an archive without one."""
        if item.config not in self._files:
            raise LayoutError(self._path, f"has no file {show(item.config)!r}, the config in its {MANIFEST_FILE}")
        raw = self._files.read(item.config, limit=MAX_CONFIG)
        with read_from(f"{self._path}: config {show(item.config)}"):
            config = parse_config(raw, media_type=media_types.CONFIG)
        diff_ids = config.model.diff_ids
        if len(diff_ids) != len(item.layers):
            raise InvalidDocument(
                f"{len(diff_ids)} diff_ids for {len(item.layers)} layers in {MANIFEST_FILE}",
                document=f"{show(self._path)}: {show(item.config)}",
                pointer="/rootfs/diff_ids",
            )
        self._made.put((raw,))
        layers = tuple(self._layer(name, diff_id) for name, diff_id in zip(item.layers, diff_ids, strict=True))
        manifest = Document.of(Manifest(config=config.descriptor, layers=layers, media_type=media_types.MANIFEST))
        self._made.put((manifest.raw,))
        return manifest.descriptor

    def _layer(self, name: str, diff_id: Digest) -> Descriptor:
        size = self._files.size(name)
        if size is None:
            raise LayoutError(self._path, f"has no file {show(name)!r}, a layer in its {MANIFEST_FILE}")
        with self._files.open(name) as chunks:
            compression, _ = sniff(chunks)
        if compression not in _COMPRESSIONS:
            raise LayoutError(self._path, f"layer {show(name)} is compressed with {compression}; decompress it first")
        # The diff_id is the digest of an uncompressed layer's bytes; whoever reads them checks that. For others the
        # bytes have to be read once to know their digest, unless they carry it as their name.
        digest = diff_id if compression == "none" else self._named_digest(name) or self._hashed(name)
        self._members.names[digest] = name
        return Descriptor(media_type=media_types.layer_media_type("oci", compression), digest=digest, size=size)

    def _named_digest(self, name: str) -> Digest | None:
        match name.split("/"):
            case ["blobs", "sha256", encoded]:
                return Digest.parse(f"sha256:{encoded}")
        return None

    def _hashed(self, name: str) -> Digest:
        hasher = Digest.of(b"").hasher()
        with self._files.open(name) as chunks:
            for chunk in chunks:
                hasher.update(chunk)
        return Digest("sha256", hasher.hexdigest())

    def referrers(self, subject: Descriptor, *, artifact_type: str | None = None) -> Iterator[Descriptor]:
        """Docker archives hold none."""
        return iter(())

    def close(self) -> None:
        self._files.close()


class DockerArchiveDestination(ArchiveDestination):
    """A new docker archive for one image; one that exists is refused, as skopeo and podman do."""

    stores_index = False

    def __init__(self, path: str | os.PathLike[str], *, name: str | None = None) -> None:
        where = os.fspath(path)
        if os.path.lexists(where) and not (os.path.isfile(where) and not os.path.getsize(where)):
            raise DestinationError(where, "exists; a docker archive is not added to, remove it first")
        self._named: RegistryRef | None = parse_name(name) if name is not None else None
        super().__init__(path, tag=self._named.tag if self._named is not None else None)

    @property
    def reference(self) -> str:
        return f"docker-archive:{self._path}" + (f":{self._named.familiar}" if self._named is not None else "")

    def commit(self, raw: bytes, descriptor: Descriptor) -> None:
        if self._named is not None:
            names = {REF_NAME: self._named.tag or DEFAULT_TAG, CONTAINERD_NAME: self._named.name}
            named = {**refs.untagged(descriptor).annotations, **names}
            descriptor = descriptor.replace(annotations=named)
        super().commit(raw, descriptor)

    def _beside(self, raw: bytes, descriptor: Descriptor) -> Mapping[str, bytes]:
        model = parse_document(raw, descriptor.media_type).model
        if isinstance(model, Index) or not media_types.is_config(model.config.media_type):
            raise DestinationError(self._path, "docker archives hold images only, and this is none")
        for child in children(model):
            if not self.has(child):
                raise BlobNotFound(str(child.digest), "the source; a docker archive must hold all layers")
        item = {
            "Config": blob_name(model.config.digest),
            "RepoTags": [self._named.familiar] if self._named is not None else None,
            "Layers": [blob_name(layer.digest) for layer in model.layers],
        }
        return {MANIFEST_FILE: wire.dumps([item])}
