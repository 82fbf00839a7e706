"""A container's merged tree mounted where its owner can look at it: `containers/<id>/merged`, counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oci.container.container import Container
    from oci.storage.store import Store

__all__ = ["mount", "mounted", "release", "unmount"]


def mount(container: Container) -> str:
    """Mount the tree (or count one more user of it); the path."""
    raise NotImplementedError


def unmount(container: Container, *, force: bool = False) -> bool:
    """One user less; the last one's leaving unmounts it (`force`: at once). Whether it is unmounted now."""
    raise NotImplementedError


def mounted(store: Store) -> tuple[tuple[str, str], ...]:
    """(container id, path) of all that are mounted in this mount namespace."""
    raise NotImplementedError


def release(container: Container) -> None:
    """Unmount it whoever uses it: for `rm -f`. Nothing where it isn't mounted."""
    raise NotImplementedError
