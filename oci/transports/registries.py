"""The way from `docker://` references to sources and destinations, for `others=` of names.py.

::

    registries = opener(settings)
    with open_source("docker://alpine", others=registries.source) as source: …
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oci.errors import InvalidReference
from oci.spec.record import Record
from oci.spec.reference import RegistryRef, StoreRef

if TYPE_CHECKING:
    from oci.registry.settings import Settings
    from oci.transports.base import ImageDestination, ImageSource

__all__ = ["Opener", "opener"]


class Opener(Record, kw_only=False):
    """Opens references to registries with these settings; the client is imported when it is first needed."""

    settings: Settings

    def source(self, reference: RegistryRef | StoreRef) -> ImageSource:
        """Open a reference for reading; nothing is sent yet."""
        from oci.transports.from_registry import RegistrySource

        return RegistrySource.connect(_registry(reference), self.settings)

    def destination(self, reference: RegistryRef | StoreRef) -> ImageDestination:
        """Open a reference for writing; nothing is sent yet."""
        from oci.transports.from_registry_push import RegistryDestination

        return RegistryDestination.open(_registry(reference), self.settings)


def opener(settings: Settings) -> Opener:
    """Make the functions that open registry references: `.source` and `.destination`."""
    return Opener(settings)


def _registry(reference: RegistryRef | StoreRef) -> RegistryRef:
    if isinstance(reference, RegistryRef):
        return reference
    raise InvalidReference(str(reference), "names an image of the local store; a registry's begins with docker://")
