"""The merged tree of a container as one tar: what it sees of its image and its own writes, nothing that is mounted."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oci.container.container import Container

__all__ = ["export"]


def export(
    container: Container,
    write: Callable[[bytes | memoryview], object],
    *,
    warn: Callable[[str], None] | None = None,
) -> None:
    """Write the tar, in the order of a scan."""
    raise NotImplementedError
