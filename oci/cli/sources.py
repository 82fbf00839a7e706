"""From what a person wrote to what the library takes: references, layouts, archives; and which of them can be written.

A reference that can't be right is wrong usage (exit status 2); one that names nothing is a failure (1).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from oci.cli.failures import UsageError
from oci.errors import InvalidReference, show
from oci.spec.platform import Platform
from oci.spec.reference import (
    ArchiveRef,
    DockerArchiveRef,
    LayoutRef,
    RegistryRef,
    StoreRef,
    parse_reference,
)

if TYPE_CHECKING:
    from oci.layout.layout import Layout

LocalRef = LayoutRef | ArchiveRef | DockerArchiveRef


def parse(text: str) -> LocalRef:
    """Read a reference to an image on disk; registries and the local store come with later versions."""
    try:
        reference = parse_reference(text)
    except InvalidReference as error:
        raise UsageError(f"{error}{_did_you_mean(text)}") from None
    if isinstance(reference, RegistryRef):
        raise UsageError(
            f"{show(text)}: registries are not available in this version of ocikit; "
            f"bring the image to disk first: skopeo copy {show(text)} oci:PATH:TAG"
        )
    if isinstance(reference, StoreRef):
        raise UsageError(
            f"{show(text)}: the local store is not available in this version of ocikit; "
            f"a layout is named by its path: ./{show(text)} or oci:{show(text)}"
        )
    return reference


def _did_you_mean(text: str) -> str:
    path = text.split(":", 1)[0]
    return f"; a layout is named by its path: ./{show(text)}" if path and os.path.lexists(path) else ""


def parse_layout(text: str, *, what: str) -> LayoutRef:
    """Read a reference that has to be of a layout directory, because `what` writes there."""
    reference = parse(text)
    if not isinstance(reference, LayoutRef):
        raise UsageError(f"{show(text)}: {what} works on a layout directory; copy the archive to one first")
    return reference


def parse_place(text: str) -> LocalRef:
    """Read what names a whole layout or archive: a reference, or just the path of a directory or file."""
    if not text.startswith(("oci:", "oci-archive:", "docker-archive:", "docker:")) and os.path.lexists(text):
        if os.path.isdir(text):
            return LayoutRef(text)
        return _archive_kind(text)
    if text and "/" not in text and ":" not in text:
        return LayoutRef(text)  # a directory that isn't there: let the layout say so
    return parse(text)


def _archive_kind(path: str) -> LocalRef:
    """An archive by its path alone: which of the two kinds, by what is in it."""
    from oci.layout.archive import Archive

    with Archive.open(path) as archive:
        return ArchiveRef(path) if archive.has_layout else DockerArchiveRef(path)


def layout_path(text: str) -> str:
    """The directory that `init` and `gc` work on: PATH, oci:PATH; a tag makes no sense there."""
    reference = LayoutRef(text) if os.path.isdir(text) else None
    if reference is None:
        parsed = parse(text) if ":" in text or "/" in text else LayoutRef(text)
        if not isinstance(parsed, LayoutRef):
            raise UsageError(f"{show(text)}: this works on a layout directory")
        reference = parsed
    if reference.tag is not None or reference.digest is not None:
        raise UsageError(f"{show(text)}: name the layout alone, without a tag: {show(reference.path)}")
    return reference.path


def open_layout(path: str) -> Layout:
    """Open an existing layout directory."""
    from oci.layout.layout import Layout

    return Layout.open(path)


def host_platform() -> Platform:
    """This machine's platform, as images name it."""
    system = os.uname()
    return Platform(system.sysname.lower(), system.machine).normalized()


def wanted_platform(text: str | None) -> Platform:
    """`--platform`, else this machine's."""
    from oci.cli.options import parse_platform

    return parse_platform(text) or host_platform()
