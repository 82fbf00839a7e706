"""ocikit: the OCI image toolkit for Python (`import oci`).

The names below are the library's public face; each is found in the module that the table names, and imported when it is
first asked for, so that `import oci` costs nothing. docs/library.md is the guide. (`unpack` is not among them: the
folder of that name would take its place; it is `from oci.unpack.rootfs import unpack`.)
"""

from __future__ import annotations

TYPE_CHECKING = False  # as type checkers read it; `typing` takes as long to import as Python takes to start
if TYPE_CHECKING:
    from typing import Any

    from oci.changeset.compare import compare
    from oci.changeset.merge import merge
    from oci.changeset.scan import scan
    from oci.container.container import Container
    from oci.errors import OciError
    from oci.image.builder import ImageBuilder
    from oci.image.create import Source, append
    from oci.image.edit import KEEP, edit_config
    from oci.image.image import Image
    from oci.image.layer import Layer
    from oci.image.select import all_images, select
    from oci.layout.archive import Archive
    from oci.layout.blobs import ChainBlobs, MemoryBlobs
    from oci.layout.layout import Layout
    from oci.runtime.settings import MountSetting, RunSettings
    from oci.spec.config import Healthcheck, History, ImageConfig, RunConfig
    from oci.spec.descriptor import Descriptor
    from oci.spec.digest import Digest
    from oci.spec.document import Document
    from oci.spec.index import Index
    from oci.spec.manifest import Manifest
    from oci.spec.platform import Platform
    from oci.spec.reference import parse_reference
    from oci.storage.store import Store
    from oci.verification.verify import verify

__version__ = "0.1.0"

_HOMES = {
    "Archive": "layout.archive",
    "ChainBlobs": "layout.blobs",
    "Container": "container.container",
    "Descriptor": "spec.descriptor",
    "Digest": "spec.digest",
    "Document": "spec.document",
    "Healthcheck": "spec.config",
    "History": "spec.config",
    "Image": "image.image",
    "ImageBuilder": "image.builder",
    "ImageConfig": "spec.config",
    "Index": "spec.index",
    "KEEP": "image.edit",
    "Layer": "image.layer",
    "Layout": "layout.layout",
    "Manifest": "spec.manifest",
    "MemoryBlobs": "layout.blobs",
    "MountSetting": "runtime.settings",
    "OciError": "errors",
    "Platform": "spec.platform",
    "RunConfig": "spec.config",
    "RunSettings": "runtime.settings",
    "Source": "image.create",
    "Store": "storage.store",
    "all_images": "image.select",
    "append": "image.create",
    "compare": "changeset.compare",
    "edit_config": "image.edit",
    "merge": "changeset.merge",
    "parse_reference": "spec.reference",
    "scan": "changeset.scan",
    "select": "image.select",
    "verify": "verification.verify",
}

__all__ = [
    "KEEP",
    "Archive",
    "ChainBlobs",
    "Container",
    "Descriptor",
    "Digest",
    "Document",
    "Healthcheck",
    "History",
    "Image",
    "ImageBuilder",
    "ImageConfig",
    "Index",
    "Layer",
    "Layout",
    "Manifest",
    "MemoryBlobs",
    "MountSetting",
    "OciError",
    "Platform",
    "RunConfig",
    "RunSettings",
    "Source",
    "Store",
    "all_images",
    "append",
    "compare",
    "edit_config",
    "merge",
    "parse_reference",
    "scan",
    "select",
    "verify",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'oci' has no attribute {name!r}")
    from importlib import import_module

    found = getattr(import_module(f"oci.{home}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
