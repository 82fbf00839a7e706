"""The two ends of a copy.

A source finds one image and reads blobs; a destination takes blobs and documents, children before parents, and makes
the image visible in one last step. Both are context managers: leaving a destination's block without `commit` leaves
what was visible before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from oci.layout.blobs import BlobReader, BlobWriter, Content
from oci.spec.descriptor import Descriptor
from oci.spec.platform import Platform
from oci.streams.progress import Progress
from oci.typed import Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

__all__ = ["ImageDestination", "ImageSource", "Progress", "Warn"]

Warn = Callable[[str], object]  # one line for people


class ImageSource(BlobReader, Protocol):
    """One reference opened for reading; `parallel` is how many blobs are worth reading at once."""

    parallel: int

    @property
    def reference(self) -> str:
        """The reference as people write it, for messages."""
        ...

    def resolve(self, platform: Platform | None = None) -> Descriptor:
        """Find what the reference names; with `platform`, an index is narrowed to one image."""
        ...

    def referrers(self, subject: Descriptor, *, artifact_type: str | None = None) -> Iterator[Descriptor]:
        """Give the manifests whose `subject` is this one; with `artifact_type` those of that type, or that say none."""
        ...

    def abort(self) -> None:
        """Make whatever waits here for a network, in whichever thread, fail at once; nothing more is wanted."""
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...


class ImageDestination(Protocol):
    """One reference opened for writing.

    `parallel` is how many blobs are worth writing at once; 1 says that they have to come one by one, whatever the
    source would gain. `stores_index` is False where only single images fit.
    """

    parallel: int
    stores_index: bool

    @property
    def reference(self) -> str:
        """The reference as people write it, for messages."""
        ...

    def has(self, descriptor: Descriptor) -> bool:
        """Say whether this blob or document is there; if so it stays there at least until `commit`."""
        ...

    def adopt(self, descriptor: Descriptor, source: ImageSource) -> bool:
        """Have the blob from where the source keeps it, without its bytes passing through here; False: not possible."""
        ...

    def put_blob(self, descriptor: Descriptor, content: Content) -> None:
        """Store a blob; it is verified while it is written, so what `content` opens need not be."""
        ...

    def writer(self) -> AbstractContextManager[BlobWriter]:
        """Open a writer for a blob whose digest is known only at its end."""
        ...

    def put_document(self, raw: bytes, descriptor: Descriptor) -> None:
        """Store a manifest or index whose children were stored before, unless it is there."""
        ...

    def put_referrer(self, raw: bytes, descriptor: Descriptor) -> None:
        """Store a manifest or index that has a `subject`, so that its subject's referrers list it after `commit`."""
        ...

    def commit(self, raw: bytes, descriptor: Descriptor) -> None:
        """Store the topmost document and make it what the reference names, as the last effect."""
        ...

    def abort(self) -> None:
        """Make whatever waits here for a network, in whichever thread, fail at once; nothing more is wanted."""
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...
