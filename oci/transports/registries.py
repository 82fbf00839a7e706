"""The way from `docker://` references to sources and destinations, for `others=` of names.py.

::

    registries = opener(settings)
    with open_source("docker://alpine", others=registries.source) as source: …
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from oci.errors import InvalidReference, RegistryError
from oci.spec.record import Record
from oci.spec.reference import RegistryRef, StoreRef

if TYPE_CHECKING:
    from oci.registry.connect import Shared
    from oci.registry.settings import Settings
    from oci.spec.digest import Digest
    from oci.transports.base import ImageDestination, ImageSource
    from oci.transports.from_registry import RegistrySource

__all__ = ["Opener", "opener"]


class _SharedLater:
    """Connections that are made when the first reference needs them: a list may name files only."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._shared: Shared | None = None
        self._mutex = threading.Lock()

    def get(self) -> Shared:
        from oci.registry.connect import Shared

        with self._mutex:
            if self._shared is None:
                self._shared = Shared(self._settings)
            return self._shared

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._shared is not None:
            self._shared.close()


class Opener(Record, kw_only=False):
    """Opens references to registries with these settings; the client is imported when it is first needed."""

    settings: Settings
    later: _SharedLater | None = None

    @contextmanager
    def sharing(self) -> Iterator[Opener]:
        """Give the same opener with connections that all references share until the block ends."""
        with _SharedLater(self.settings) as later:
            yield Opener(self.settings, later)

    @property
    def shared(self) -> Shared | None:
        """The connections to share, if there are any."""
        return None if self.later is None else self.later.get()

    def source(self, reference: RegistryRef | StoreRef) -> ImageSource:
        """Open a reference for reading; nothing is sent yet."""
        from oci.transports.from_registry import RegistrySource

        return RegistrySource.connect(_registry(reference), self.settings, self.shared)

    def primary(self, reference: RegistryRef) -> RegistrySource:
        """Open a reference for reading at the registry itself, wherever it is: mirrors may have only some of it."""
        from oci.registry.connect import connect_primary
        from oci.transports.from_registry import RegistrySource

        return RegistrySource(reference, connect_primary(reference, self.settings, self.shared), self.settings)

    def written(self, reference: RegistryRef) -> RegistrySource:
        """Open a reference for reading where a push goes: no mirror says what a tag stands for there."""
        from oci.registry.connect import connect_push
        from oci.transports.from_registry import RegistrySource

        return RegistrySource(reference, connect_push(reference, self.settings, self.shared), self.settings)

    def destination(self, reference: RegistryRef | StoreRef) -> ImageDestination:
        """Open a reference for writing; nothing is sent yet."""
        from oci.transports.from_registry_push import RegistryDestination

        return RegistryDestination.open(_registry(reference), self.settings, self.shared)

    def tags(self, reference: RegistryRef) -> tuple[str, ...]:
        """List the tags of a repository in order, at the registry itself: a mirror may know only some of them."""
        from oci.registry.connect import connect_primary

        with connect_primary(reference, self.settings, self.shared) as places:
            return tuple(sorted(places[0].tags()))

    def digest(self, reference: RegistryRef, *, push: bool = False) -> Digest | None:
        """Ask what a tag stands for, by HEAD: at the place to pull from first, or where a push goes."""
        from oci.registry.connect import connect, connect_push

        wanted = reference.digest or reference.tag or ""
        with (connect_push if push else connect)(reference, self.settings, self.shared) as places:
            for place in places:
                try:
                    found = place.head_manifest(wanted)
                except RegistryError:
                    if place is places[-1]:
                        raise
                    continue  # a mirror that is down
                if found is not None:
                    return found.digest
        return None


def opener(settings: Settings) -> Opener:
    """Make the functions that open registry references: `.source` and `.destination`."""
    return Opener(settings)


def _registry(reference: RegistryRef | StoreRef) -> RegistryRef:
    if isinstance(reference, RegistryRef):
        return reference
    raise InvalidReference(str(reference), "names an image of the local store; a registry's begins with docker://")
