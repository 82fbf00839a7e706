"""Images made in view: layers, documents and layouts from Python values, with hashlib, json and tarfile only.

Nothing here uses `oci`, so that what `oci` reads is not what `oci` wrote. Documents are plain dicts, which a test may
bend before it stores them::

    layout = LayoutMaker(tmp_path / "layout")
    base = tar_layer({"etc/": None, "etc/hostname": b"box\\n", "bin": ("symlink", "usr/bin")})
    layout.tag("v1", layout.image([base]))
    layout.finish()
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"
REF_NAME = "org.opencontainers.image.ref.name"

Json = dict[str, Any]
# A file's bytes, None for a directory, or (kind, target) with kind "symlink", "hardlink", "char", "block", "fifo".
What = bytes | None | tuple[str, str]
Entries = Mapping[str, What] | Iterable[tuple[str, What]]

_KINDS = {
    "symlink": tarfile.SYMTYPE,
    "hardlink": tarfile.LNKTYPE,
    "char": tarfile.CHRTYPE,
    "block": tarfile.BLKTYPE,
    "fifo": tarfile.FIFOTYPE,
}


def digest(data: bytes, algorithm: str = "sha256") -> str:
    """`sha256:…` of some bytes."""
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def encode(value: object) -> bytes:
    """Compact JSON."""
    return json.dumps(value, separators=(",", ":")).encode()


def tar(entries: Entries, *, pax: Mapping[str, Mapping[str, str]] = {}) -> bytes:
    """A tar archive of these entries in this order; names may repeat when given as pairs; `pax` adds records by name.

    A device's target is "MAJOR:MINOR". Owners are root, times are the epoch, so that the bytes are always the same.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, what in entries.items() if isinstance(entries, Mapping) else entries:
            info = tarfile.TarInfo(name.removesuffix("/") or "./")
            info.pax_headers = dict(pax.get(name, {}))
            data = b""
            if what is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
            elif isinstance(what, bytes):
                data = what
                info.size = len(data)
            else:
                kind, target = what
                info.type = _KINDS[kind]
                if kind in ("char", "block"):
                    info.devmajor, info.devminor = map(int, target.split(":"))
                else:
                    info.linkname = target
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


@dataclass(frozen=True)
class LayerBlob:
    """A layer's bytes as stored, its media type, and the diff_id of the tar inside."""

    data: bytes
    media_type: str
    diff_id: str

    @property
    def digest(self) -> str:
        return digest(self.data)

    def descriptor(self, **more: object) -> Json:
        return descriptor(self.data, self.media_type, **more)


def layer(archive: bytes, *, media_type: str = OCI_LAYER_GZIP, diff_id: str | None = None) -> LayerBlob:
    """Compress a tar archive as its media type says (gzip, or not at all)."""
    level = 6 if len(archive) < 100_000 else 1  # busybox is in the store of every test of containers
    data = gzip.compress(archive, level, mtime=0) if media_type.endswith("gzip") else archive
    return LayerBlob(data, media_type, diff_id or digest(archive))


def tar_layer(
    entries: Entries,
    *,
    media_type: str = OCI_LAYER_GZIP,
    pax: Mapping[str, Mapping[str, str]] = {},
) -> LayerBlob:
    """A layer of these entries; see `tar`."""
    return layer(tar(entries, pax=pax), media_type=media_type)


def descriptor(data: bytes, media_type: str, **more: object) -> Json:
    """The descriptor of some bytes; `embed=True` puts them into `data`."""
    value: Json = {"mediaType": media_type, "digest": digest(data), "size": len(data)}
    if more.pop("embed", False):
        value["data"] = base64.b64encode(data).decode()
    return value | more


def config(
    diff_ids: Iterable[str], *, architecture: str = "amd64", os: str = "linux", history: bool = True, **more: object
) -> Json:
    """An image config with one history entry a layer."""
    listed = list(diff_ids)
    value: Json = {
        "created": "2024-01-02T03:04:05Z",
        "architecture": architecture,
        "os": os,
        "config": {"Env": ["PATH=/usr/bin:/bin"], "Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": listed},
    }
    if history:
        value["history"] = [{"created": "2024-01-02T03:04:05Z", "created_by": f"layer {n}"} for n in range(len(listed))]
    return value | more


def manifest(
    config_descriptor: Json, layers: Iterable[Json], *, media_type: str = OCI_MANIFEST, **more: object
) -> Json:
    """An image manifest."""
    return {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": config_descriptor,
        "layers": list(layers),
    } | more


def index(manifests: Iterable[Json], *, media_type: str = OCI_INDEX, **more: object) -> Json:
    """An image index."""
    return {"schemaVersion": 2, "mediaType": media_type, "manifests": list(manifests)} | more


class LayoutMaker:
    """Writes an image layout file by file; nothing is checked, so anything can be made wrong."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: list[Json] = []
        (path / "blobs" / "sha256").mkdir(parents=True)
        (path / "oci-layout").write_bytes(b'{"imageLayoutVersion":"1.0.0"}')

    def blob_path(self, name: str) -> Path:
        algorithm, encoded = name.split(":")
        return self.path / "blobs" / algorithm / encoded

    def put(self, data: bytes, *, name: str | None = None) -> str:
        """Store a blob under its digest, or under another one; gives the digest."""
        name = name or digest(data)
        path = self.blob_path(name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        return name

    def document(self, value: object, media_type: str, **more: object) -> Json:
        """Store a JSON document and give its descriptor."""
        data = encode(value)
        self.put(data)
        return descriptor(data, media_type, **more)

    def image(self, layers: Iterable[LayerBlob], *, docker: bool = False, **config_fields: Any) -> Json:
        """Store an image of these layers and give its manifest's descriptor."""
        stored = list(layers)
        for one in stored:
            self.put(one.data)
        made = config([one.diff_id for one in stored], **config_fields)
        described = self.document(made, DOCKER_CONFIG if docker else OCI_CONFIG)
        kind = DOCKER_MANIFEST if docker else OCI_MANIFEST
        return self.document(manifest(described, [one.descriptor() for one in stored], media_type=kind), kind)

    def tag(self, name: str | None, described: Json) -> None:
        """Add an entry to index.json."""
        named = {"annotations": {**described.get("annotations", {}), REF_NAME: name}} if name is not None else {}
        self.entries.append(described | named)

    def finish(self, value: object = None) -> Path:
        """Write index.json (from the entries, or this value) and give the layout's path."""
        (self.path / "index.json").write_bytes(encode(index(self.entries) if value is None else value))
        return self.path

    def read(self, name: str) -> Any:
        """A stored document, parsed."""
        return json.loads(self.blob_path(name).read_bytes())


def pack(layout: Path, archive: Path, *, compressed: bool = False) -> Path:
    """An oci-archive of a layout directory."""
    with tarfile.open(archive, "w:gz" if compressed else "w") as packed:
        for path in sorted(layout.rglob("*")):
            packed.add(path, path.relative_to(layout).as_posix(), recursive=False)
    return archive
