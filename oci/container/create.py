"""Making a container: its thin writable layer, its volumes, its row. Nothing is mounted and no process is started."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oci.container.container import Container

if TYPE_CHECKING:
    from oci.runtime.settings import RunSettings
    from oci.storage.images import StoredImage
    from oci.storage.store import Store

__all__ = ["create"]


def create(store: Store, image: StoredImage, settings: RunSettings, *, name: str | None = None) -> Container:
    """Make a container of `image`; without `name` one is made up. What was made goes again when anything fails.

    Raises NameTaken, DriverError, ConfigurationError (a setting that this image or machine can't have), and what
    unpacking a layer may raise.
    """
    raise NotImplementedError
