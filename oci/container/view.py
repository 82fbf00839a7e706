"""The merged tree of a container as a directory descriptor, and paths in it, which never lead out of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oci.container.container import Container

__all__ = ["tree"]


@contextmanager
def tree(container: Container, *, writable: bool = False) -> Iterator[int]:
    """A descriptor of the merged tree, without what is mounted in it (volumes, /proc): running or not, it is the same."""
    raise NotImplementedError
    yield -1
