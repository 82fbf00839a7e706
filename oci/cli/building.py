"""What `append` and `config` share: the image to begin with, somewhere to write, and the end of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from oci.cli import sources
from oci.errors import NoMatchingPlatform
from oci.spec.platform import matches
from oci.spec.reference import RegistryRef, StoreRef

if TYPE_CHECKING:
    from oci.cli.session import Session
    from oci.image.image import Image
    from oci.layout.blobs import BlobStore
    from oci.spec.descriptor import Descriptor
    from oci.transports.base import ImageDestination, ImageSource

SCRATCH = "scratch"


class Workplace:
    """An image's base (None: nothing) and a blob store for what is new, until `finish` puts all of it in its place."""

    def __init__(
        self,
        session: Session,
        base: Image | None,
        from_index: bool,
        source: ImageSource | None,
        blobs: BlobStore,
        target: ImageDestination,
    ) -> None:
        self.base, self.from_index, self.blobs = base, from_index, blobs
        self._session, self._source, self._target = session, source, target

    def finish(self, image: Image) -> Descriptor:
        """Bring the image to its destination: what is new, and what it shares with its base."""
        return write_image(self._session, image.replace(blobs=self.blobs), self._target, self._source)


def write_image(
    session: Session, image: Image, target: ImageDestination, base: ImageSource | None = None
) -> Descriptor:
    """Write an image that was made to its destination; blobs that aren't the image's own are `base`'s."""
    from oci.layout.blobs import ChainBlobs
    from oci.spec import media_types
    from oci.spec.index import Index
    from oci.transports.copy import copy
    from oci.transports.source import IndexSource

    kin = [base] if base is not None else []
    new = IndexSource(
        ChainBlobs(image.blobs, *kin),
        Index(manifests=(image.descriptor,), media_type=media_types.INDEX),
        reference="the new image",
        where="the new image",
    )
    if base is not None:
        new.parallel = base.parallel
    with session.progress("writing") as progress:
        return copy(new, target, kin=kin, progress=progress)


@contextmanager
def workplace(session: Session, base: str, target: sources.ImageRef, platform: str | None) -> Iterator[Workplace]:
    """Open a base (or `scratch`) and a destination. A destination that was made for it goes again on failure."""
    with ExitStack() as stack:
        source: ImageSource | None = None
        image, from_index = None, False
        if base != SCRATCH:
            named = sources.parse(base)
            sources.prepare(session, (named, ""), (target, ""))
            source = stack.enter_context(sources.open_source(session, named))
            image, from_index = _base_image(source, platform)
        destination = stack.enter_context(sources.open_for_writing(session, target))
        blobs = stack.enter_context(blobs_for(destination, target))
        yield Workplace(session, image, from_index, source, blobs, destination)


def _base_image(source: ImageSource, platform: str | None) -> tuple[Image, bool]:
    from oci.image.image import Image
    from oci.spec import media_types

    from_index = media_types.is_index(source.resolve(None).media_type)
    return Image.load(source, source.resolve(sources.wanted_platform(platform))), from_index


def must_be_for(image: Image, platform: str | None, reference: str) -> None:
    """Fail where a single image was asked for by a platform that it isn't for."""
    if platform is not None and not matches(sources.wanted_platform(platform), image.platform):
        raise NoMatchingPlatform(platform, reference, [str(image.platform)])


@contextmanager
def blobs_for(destination: ImageDestination, target: sources.ImageRef) -> Iterator[BlobStore]:
    """Where new blobs go until they are written: the layout itself; else a layout that is removed again.

    For an archive, which is written in one pass, it is beside it, for a registry in the system's folder for such.
    """
    from oci.transports.from_layout import LayoutDestination

    if isinstance(destination, LayoutDestination):
        yield destination.layout.blobs
        return
    import os
    import tempfile

    from oci.layout.layout import Layout

    folder = None if isinstance(target, RegistryRef | StoreRef) else os.path.dirname(os.path.abspath(target.path))
    with (
        tempfile.TemporaryDirectory(prefix=".ocikit-", dir=folder) as scratch,
        Layout.create(scratch) as layout,
    ):
        yield layout.blobs
