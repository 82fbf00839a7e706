"""What state a container is really in: its row, held against the processes that live.

A row may be behind: a supervisor was killed, the machine was rebooted. It is put right when somebody looks (ps,
inspect, start, rm), never by a daemon.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oci.container.container import Container

if TYPE_CHECKING:
    from oci.storage.store import Store

__all__ = ["reconcile", "status"]


def status(store: Store) -> tuple[Container, ...]:
    """All containers, oldest first, with their rows put right."""
    raise NotImplementedError


def reconcile(container: Container) -> Container:
    """Put the row of one container right; gives `container`, refreshed."""
    raise NotImplementedError
