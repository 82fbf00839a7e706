"""Removing what nothing needs any more: stopped containers, dangling images, layers without images, leftovers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from oci.spec.record import Record

if TYPE_CHECKING:
    from oci.storage.containers import ContainerRow
    from oci.storage.store import Store

__all__ = ["Pruned", "prune"]


class Pruned(Record):
    """What was removed (or would be): names and IDs of each kind, and the bytes that it freed."""

    containers: tuple[str, ...]
    images: tuple[str, ...]
    layers: tuple[str, ...]
    volumes: tuple[str, ...]
    leftovers: tuple[str, ...]
    freed: int


def prune(
    store: Store,
    *,
    everything: bool = False,
    volumes: bool = False,
    dry_run: bool = False,
    remove_container: Callable[[ContainerRow], object] | None = None,
) -> Pruned:
    """Remove stopped containers (by `remove_container`), dangling images, unused layers and leftovers.

    `everything`: all images that no container uses. `volumes`: unused anonymous volumes too. Never a named volume.
    """
    raise NotImplementedError
