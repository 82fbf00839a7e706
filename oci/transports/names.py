"""From a reference's text to an endpoint: which class stands for which transport.

Only what is on disk is opened here; registries and the local store have openers of their own, which a caller hands in
through `others`: a function that is given the parsed reference of any other kind.
"""

from __future__ import annotations

from collections.abc import Callable

from oci.errors import InvalidReference
from oci.spec.reference import (
    ArchiveRef,
    DockerArchiveRef,
    LayoutRef,
    Reference,
    RegistryRef,
    StoreRef,
    parse_reference,
)
from oci.transports.base import ImageDestination, ImageSource, Warn

__all__ = ["open_destination", "open_source"]


def open_source(
    reference: str | Reference,
    *,
    warn: Warn | None = None,
    others: Callable[[RegistryRef | StoreRef], ImageSource] | None = None,
) -> ImageSource:
    """Open what a reference names for reading; use it as a context manager. InvalidReference, LayoutError."""
    ref = parse_reference(reference) if isinstance(reference, str) else reference
    match ref:
        case LayoutRef():
            from oci.layout.layout import Layout
            from oci.transports.from_layout import LayoutSource

            return LayoutSource(Layout.open(ref.path), tag=ref.tag, digest=ref.digest, warn=warn)
        case ArchiveRef():
            from oci.layout.archive import Archive
            from oci.transports.from_archive import ArchiveSource

            return ArchiveSource(Archive.open(ref.path), tag=ref.tag, digest=ref.digest, warn=warn)
        case DockerArchiveRef():
            from oci.transports.from_docker_archive import DockerArchiveSource

            return DockerArchiveSource(ref.path, name=ref.name)
    if others is None:
        raise InvalidReference(str(ref), "only oci:, oci-archive: and docker-archive: can be read here")
    return others(ref)


def open_destination(
    reference: str | Reference,
    *,
    others: Callable[[RegistryRef | StoreRef], ImageDestination] | None = None,
) -> ImageDestination:
    """Open what a reference names for writing; a layout that isn't there is made. Use it as a context manager."""
    ref = parse_reference(reference) if isinstance(reference, str) else reference
    if isinstance(ref, LayoutRef | ArchiveRef | RegistryRef) and ref.digest is not None and ref.tag is None:
        raise InvalidReference(str(ref), "a destination is named by a tag; its digest follows from the content")
    match ref:
        case LayoutRef():
            from oci.layout.layout import Layout
            from oci.transports.from_layout import LayoutDestination

            return LayoutDestination(Layout.create(ref.path, exist_ok=True), tag=ref.tag)
        case ArchiveRef():
            from oci.transports.from_archive import ArchiveDestination

            return ArchiveDestination(ref.path, tag=ref.tag)
        case DockerArchiveRef():
            from oci.transports.from_docker_archive import DockerArchiveDestination

            return DockerArchiveDestination(ref.path, name=ref.name)
    if others is None:
        raise InvalidReference(str(ref), "only oci:, oci-archive: and docker-archive: can be written here")
    return others(ref)
