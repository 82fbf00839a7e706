"""The words of the specs: pure values, no input or output (level 1).

Each module is one section of image-spec v1.1.1; the table is in README.md beside this file.
"""

# (No `from __future__ import annotations` here: it would stand for the module of that name.)
TYPE_CHECKING = False  # each name's module is imported when it is first asked for, as in oci/__init__.py
if TYPE_CHECKING:
    from oci.spec.config import Healthcheck, History, ImageConfig, RunConfig
    from oci.spec.descriptor import EMPTY_DESCRIPTOR, EMPTY_JSON, Descriptor
    from oci.spec.digest import Digest
    from oci.spec.document import Document, parse_config, parse_document, parse_index, parse_manifest
    from oci.spec.index import Index
    from oci.spec.layout_header import LayoutHeader
    from oci.spec.manifest import Manifest
    from oci.spec.platform import Platform, choose
    from oci.spec.reference import (
        ArchiveRef,
        DockerArchiveRef,
        LayoutRef,
        Reference,
        RegistryRef,
        StoreRef,
        parse_reference,
    )

_HOMES = {
    "ArchiveRef": "reference",
    "Descriptor": "descriptor",
    "Digest": "digest",
    "DockerArchiveRef": "reference",
    "Document": "document",
    "EMPTY_DESCRIPTOR": "descriptor",
    "EMPTY_JSON": "descriptor",
    "Healthcheck": "config",
    "History": "config",
    "ImageConfig": "config",
    "Index": "index",
    "LayoutHeader": "layout_header",
    "LayoutRef": "reference",
    "Manifest": "manifest",
    "Platform": "platform",
    "Reference": "reference",
    "RegistryRef": "reference",
    "RunConfig": "config",
    "StoreRef": "reference",
    "choose": "platform",
    "parse_config": "document",
    "parse_document": "document",
    "parse_index": "document",
    "parse_manifest": "document",
    "parse_reference": "reference",
}

__all__ = [
    "EMPTY_DESCRIPTOR",
    "EMPTY_JSON",
    "ArchiveRef",
    "Descriptor",
    "Digest",
    "DockerArchiveRef",
    "Document",
    "Healthcheck",
    "History",
    "ImageConfig",
    "Index",
    "LayoutHeader",
    "LayoutRef",
    "Manifest",
    "Platform",
    "Reference",
    "RegistryRef",
    "RunConfig",
    "StoreRef",
    "choose",
    "parse_config",
    "parse_document",
    "parse_index",
    "parse_manifest",
    "parse_reference",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'oci.spec' has no attribute {name!r}")
    found = globals()[name] = getattr(__import__(f"oci.spec.{home}", fromlist=[name]), name)
    return found


def __dir__() -> list[str]:
    return [*__all__]
