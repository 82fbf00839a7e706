"""Some of an index's images as a source of their own: what a mirror for two platforms needs of an image for twelve.

One platform is that image alone. Of several a new index is made that lists only them (and the attestations that
BuildKit put beside them): a registry takes no index whose images it lacks. It is the same for the same index, whoever
makes it, so it can be compared by digest; where all images are wanted, it is the index itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from oci.errors import NoMatchingPlatform
from oci.layout.blobs import ChainBlobs, MemoryBlobs
from oci.layout.documents import read_index
from oci.layout.refs import beside_images, narrow
from oci.spec import media_types
from oci.spec.descriptor import Descriptor
from oci.spec.document import Document
from oci.spec.index import Index
from oci.spec.platform import Platform
from oci.transports.base import ImageSource
from oci.transports.source import IndexSource

__all__ = ["subset"]

_ATTESTED = "vnd.docker.reference.digest"


def subset(source: ImageSource, platforms: Sequence[Platform]) -> ImageSource:
    """Give a source of the images for these platforms; those that the index lacks are left out.

    An image that is no index is given as it is. NoMatchingPlatform where there is none of them.
    """
    top = source.resolve(None)
    if not platforms or not media_types.is_index(top.media_type):
        return source
    found: list[Descriptor] = []
    last: NoMatchingPlatform | None = None
    for platform in platforms:
        try:
            image = narrow(top, source, platform, where=source.reference)
        except NoMatchingPlatform as error:
            last = error
            continue
        if image not in found:
            found.append(image)
    if not found:
        assert last is not None
        raise last
    if len(platforms) == 1:
        return _Subset(source, found[0], MemoryBlobs())
    index = read_index(source, top).model
    digests = {image.digest for image in found}
    attested = {str(digest) for digest in digests}
    kept = [
        entry
        for entry in index.manifests
        if entry.digest in digests or (beside_images(entry) and entry.annotations.get(_ATTESTED) in attested)
    ]
    kept += [image for image in found if all(image.digest != entry.digest for entry in kept)]  # of an inner index
    if tuple(kept) == index.manifests:
        return source
    made = Document.of(index.replace(manifests=tuple(kept)), media_type=top.media_type)
    return _Subset(source, made.descriptor, MemoryBlobs([made.raw]))


class _Subset(IndexSource):
    """A source that shows one document of another one, or a new one above it."""

    def __init__(self, source: ImageSource, top: Descriptor, new: MemoryBlobs) -> None:
        super().__init__(
            ChainBlobs(new, source),
            Index(manifests=(top,)),
            reference=source.reference,
            where=source.reference,
        )
        self.parallel = source.parallel
        self._whole = source

    def abort(self) -> None:
        self._whole.abort()

    def referrers(self, subject: Descriptor, *, artifact_type: str | None = None) -> Iterator[Descriptor]:
        return self._whole.referrers(subject, artifact_type=artifact_type)
