"""The media types of the image spec, Docker's equals, and what each says of its content.

image-spec v1.1.1 media-types.md; Docker's schema 2 types stand beside them by its compatibility matrix. Names follow
RFC 6838 section 4.2, without parameters; types that are not listed here are kept and copied, never an error.
"""

from __future__ import annotations

from oci.lazily import re

DESCRIPTOR = "application/vnd.oci.descriptor.v1+json"
LAYOUT_HEADER = "application/vnd.oci.layout.header.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"
LAYER_TAR = "application/vnd.oci.image.layer.v1.tar"
LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
# Deprecated by the spec: read, never chosen for what we make.
NONDISTRIBUTABLE_TAR = "application/vnd.oci.image.layer.nondistributable.v1.tar"
NONDISTRIBUTABLE_GZIP = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
NONDISTRIBUTABLE_ZSTD = "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"

DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER_TAR = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"
DOCKER_LAYER_ZSTD = "application/vnd.docker.image.rootfs.diff.tar.zstd"
DOCKER_FOREIGN_TAR = "application/vnd.docker.image.rootfs.foreign.diff.tar"
DOCKER_FOREIGN_GZIP = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"

# Docker's first manifest format: no descriptors, so nothing of it can be verified. Named only to be refused clearly.
DOCKER_SCHEMA_1 = (
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
)

_COMPRESSION = {
    LAYER_TAR: "none",
    LAYER_GZIP: "gzip",
    LAYER_ZSTD: "zstd",
    NONDISTRIBUTABLE_TAR: "none",
    NONDISTRIBUTABLE_GZIP: "gzip",
    NONDISTRIBUTABLE_ZSTD: "zstd",
    DOCKER_LAYER_TAR: "none",
    DOCKER_LAYER_GZIP: "gzip",
    DOCKER_LAYER_ZSTD: "zstd",
    DOCKER_FOREIGN_TAR: "none",
    DOCKER_FOREIGN_GZIP: "gzip",
}

_LAYERS = {
    ("oci", "none"): LAYER_TAR,
    ("oci", "gzip"): LAYER_GZIP,
    ("oci", "zstd"): LAYER_ZSTD,
    ("docker", "none"): DOCKER_LAYER_TAR,
    ("docker", "gzip"): DOCKER_LAYER_GZIP,
    ("docker", "zstd"): DOCKER_LAYER_ZSTD,
}

_NONDISTRIBUTABLE = frozenset(
    (NONDISTRIBUTABLE_TAR, NONDISTRIBUTABLE_GZIP, NONDISTRIBUTABLE_ZSTD, DOCKER_FOREIGN_TAR, DOCKER_FOREIGN_GZIP)
)

_KNOWN = frozenset((DESCRIPTOR, LAYOUT_HEADER, INDEX, MANIFEST, CONFIG, EMPTY, DOCKER_LIST, DOCKER_MANIFEST))
_KNOWN |= {DOCKER_CONFIG, *_COMPRESSION}

# RFC 6838 section 4.2: restricted-name = restricted-name-first *126restricted-name-chars, on both sides of the slash.
_RESTRICTED_NAME = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"
GRAMMAR = f"{_RESTRICTED_NAME}/{_RESTRICTED_NAME}"


def is_media_type(text: str) -> bool:
    """Whether this is a media type name by RFC 6838 section 4.2 (parameters are no part of the name)."""
    return text in _KNOWN or re.fullmatch(GRAMMAR, text) is not None


def is_index(media_type: str | None) -> bool:
    """Whether documents of this type are read as an index (OCI index, Docker manifest list)."""
    return media_type in (INDEX, DOCKER_LIST)


def is_manifest(media_type: str | None) -> bool:
    """Whether documents of this type are read as an image manifest (OCI, Docker schema 2)."""
    return media_type in (MANIFEST, DOCKER_MANIFEST)


def is_config(media_type: str | None) -> bool:
    """Whether documents of this type are read as an image configuration (OCI, Docker)."""
    return media_type in (CONFIG, DOCKER_CONFIG)


def is_layer(media_type: str | None) -> bool:
    """Whether blobs of this type are file system layers that can be applied."""
    return media_type in _COMPRESSION


def is_nondistributable(media_type: str | None) -> bool:
    """Whether blobs of this type are layers that need not be pushed or stored (layer.md#non-distributable-layers)."""
    return media_type in _NONDISTRIBUTABLE


def is_docker(media_type: str | None) -> bool:
    """Whether this is one of Docker's own types."""
    return media_type is not None and media_type.startswith("application/vnd.docker.")


def layer_compression(media_type: str | None) -> str | None:
    """How a layer of this type is compressed: "none", "gzip", "zstd"; None where the type is no layer's."""
    return None if media_type is None else _COMPRESSION.get(media_type)


def layer_media_type(family: str, compression: str) -> str:
    """The type of a layer in the family "oci" or "docker", compressed with "none", "gzip" or "zstd".

    Raises ValueError for other words: they are the caller's, never an image's.
    """
    try:
        return _LAYERS[family, compression]
    except KeyError:
        raise ValueError(f"no layer media type for {family!r} with compression {compression!r}") from None
