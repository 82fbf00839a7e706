"""How a list of copies reaches its references: layouts and archives directly, registries through shared connections."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from oci.errors import LayoutError
from oci.layout import refs
from oci.layout.blobs import is_at_hand
from oci.layout.walk import walk
from oci.spec import media_types
from oci.spec.digest import Digest
from oci.spec.reference import ArchiveRef, LayoutRef, Reference, RegistryRef
from oci.transports.base import ImageDestination, ImageSource, Warn
from oci.transports.names import open_destination, open_source

if TYPE_CHECKING:
    from oci.layout.layout import Layout
    from oci.transports.registries import Opener

__all__ = ["OpenPlaces"]


class OpenPlaces:
    """References of all kinds. `sources` and `destinations` open registries (their credentials may differ).

    `writing` opens a destination where a caller has more to do about it than to open it.
    """

    def __init__(
        self,
        *,
        sources: Opener | None = None,
        destinations: Opener | None = None,
        writing: Callable[[Reference], AbstractContextManager[ImageDestination]] | None = None,
        warn: Warn | None = None,
    ) -> None:
        self._sources, self._destinations, self._writing, self._warn = sources, destinations, writing, warn

    def source(self, reference: Reference) -> ImageSource:
        others = None if self._sources is None else self._sources.source
        return open_source(reference, warn=self._warn, others=others)

    def destination(self, reference: Reference) -> AbstractContextManager[ImageDestination]:
        if self._writing is not None:
            return self._writing(reference)
        return open_destination(
            reference, others=None if self._destinations is None else self._destinations.destination
        )

    def tags(self, reference: Reference) -> Iterable[str]:
        if isinstance(reference, RegistryRef) and self._sources is not None:
            return self._sources.tags(reference)
        if isinstance(reference, LayoutRef):
            from oci.layout.layout import Layout

            return tuple(refs.tagged(Layout.open(reference.path).index().model))
        if isinstance(reference, ArchiveRef):
            from oci.layout.archive import Archive

            with Archive.open(reference.path) as archive:
                return tuple(refs.tagged(archive.index().model))
        raise LayoutError(str(reference), "its tags can't be listed")

    def source_digest(self, reference: Reference) -> Digest | None:
        if isinstance(reference, RegistryRef) and self._sources is not None:
            return reference.digest or self._sources.digest(reference)
        return None  # opening a file is as cheap

    def destination_digest(self, reference: Reference) -> Digest | None:
        if isinstance(reference, RegistryRef) and self._destinations is not None:
            return self._destinations.digest(reference, push=True)
        if isinstance(reference, LayoutRef) and reference.tag is not None:
            from oci.layout.layout import Layout

            try:
                return _whole(Layout.open(reference.path), reference.tag)
            except LayoutError:
                return None  # not there yet; or opening it for writing says what is wrong
        return None


def _whole(layout: Layout, tag: str) -> Digest | None:
    """What a tag stands for, if all of it is stored."""
    entry = refs.tagged(layout.index().model).get(tag)
    if entry is None:
        return None
    for descriptor in walk(layout.blobs, entry):
        optional = descriptor.urls or media_types.is_nondistributable(descriptor.media_type)
        if not is_at_hand(layout.blobs, descriptor) and not optional:
            return None
    return entry.digest
