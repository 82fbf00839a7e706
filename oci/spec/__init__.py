"""The words of the specs: pure values, no input or output (level 1).

Each module is one section of image-spec v1.1.1; the table is in README.md beside this file.
"""

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
