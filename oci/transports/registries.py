"""The way from `docker://` references to sources and destinations, for `others=` of names.py.

::

    registries = opener(settings)
    with open_source("docker://alpine", others=registries.source) as source: …
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from oci.errors import InvalidReference
from oci.spec.record import Record
from oci.spec.reference import RegistryRef, StoreRef

if TYPE_CHECKING:
    from oci.registry.connect import Shared
    from oci.registry.settings import Settings
    from oci.spec.digest import Digest
    from oci.transports.base import ImageDestination, ImageSource

__all__ = ["Opener", "opener"]


class Opener(Record, kw_only=False):
    """Opens references to registries with these settings; the client is imported when it is first needed."""

    settings: Settings
    shared: Shared | None = None

    @contextmanager
    def sharing(self) -> Iterator[Opener]:
        """Give the same opener with connections that all references share until the block ends."""
        from oci.registry.connect import Shared

        with Shared(self.settings) as shared:
            yield Opener(self.settings, shared)

    def source(self, reference: RegistryRef | StoreRef) -> ImageSource:
        """Open a reference for reading; nothing is sent yet."""
        from oci.transports.from_registry import RegistrySource

        return RegistrySource.connect(_registry(reference), self.settings, self.shared)

    def destination(self, reference: RegistryRef | StoreRef) -> ImageDestination:
        """Open a reference for writing; nothing is sent yet."""
        from oci.transports.from_registry_push import RegistryDestination

        return RegistryDestination.open(_registry(reference), self.settings, self.shared)

    def tags(self, reference: RegistryRef) -> tuple[str, ...]:
        """List the tags of a repository, at the registry itself: a mirror may know only some of them."""
        from oci.registry.connect import connect

        with connect(reference, self.settings, self.shared) as places:
            return tuple(places[-1].tags())

    def digest(self, reference: RegistryRef, *, push: bool = False) -> Digest | None:
        """Ask what a tag stands for, by HEAD: at the place to pull from first, or where a push goes."""
        from oci.registry.connect import connect, connect_push

        with (connect_push if push else connect)(reference, self.settings, self.shared) as places:
            found = places[0].head_manifest(reference.digest or reference.tag or "")
        return None if found is None else found.digest


def opener(settings: Settings) -> Opener:
    """Make the functions that open registry references: `.source` and `.destination`."""
    return Opener(settings)


def _registry(reference: RegistryRef | StoreRef) -> RegistryRef:
    if isinstance(reference, RegistryRef):
        return reference
    raise InvalidReference(str(reference), "names an image of the local store; a registry's begins with docker://")
