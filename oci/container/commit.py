"""An image out of a container: its image, and one more layer of what the container wrote."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oci.container.container import Container
    from oci.image.image import Image
    from oci.layout.blobs import BlobStore
    from oci.streams.compression_write import Written
    from oci.streams.progress import Progress

__all__ = ["commit"]


def commit(
    container: Container,
    base: Image,
    blobs: BlobStore,
    *,
    changes: Sequence[str] = (),
    author: str | None = None,
    message: str | None = None,
    created: int | str | None = None,
    clamp_mtime: int | None = None,
    compression: Written = "gzip",
    level: int | None = None,
    pause: bool = True,
    progress: Progress | None = None,
    warn: Callable[[str], None] | None = None,
) -> Image:
    """The new image over `base` (the container's), what is new in `blobs`; `changes` are Dockerfile instructions."""
    raise NotImplementedError
