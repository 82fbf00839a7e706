"""Copying an image, or a whole index, from a source to a destination.

Rules: blobs before the documents that name them, children before parents, the topmost document last, and only then its
name. What is there already is not written again, and what the destination can have from where a source keeps it is not
carried through here. Every byte is verified while it is written. Documents are copied as they are stored, byte for
byte, unless layers are compressed anew (see `recompress`). Referrers, if they are wanted (see `attached`), come behind
what they refer to, and before the name.

A blob that the source lacks is left out where the spec allows it: a layer with `urls` (to be fetched from elsewhere),
and an image of an index that is not stored (a sparse index), which is said through `warn`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from oci.errors import BlobNotFound, DestinationError, InvalidInput
from oci.layout.blobs import is_at_hand, name_of, open_content
from oci.layout.documents import read_bytes
from oci.layout.walk import is_document, walk
from oci.spec import media_types
from oci.spec.descriptor import Descriptor
from oci.spec.platform import Platform
from oci.streams.progress import Meter, Share
from oci.streams.together import Stop, together
from oci.transports.base import ImageDestination, ImageSource, Progress, Warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.transports.attached import Attached

__all__ = ["copy"]


def copy(
    source: ImageSource,
    destination: ImageDestination,
    *,
    platform: Platform | None = None,
    compression: tuple[str, int | None] | None = None,
    with_referrers: bool = False,
    kin: Sequence[ImageSource] = (),
    progress: Progress | None = None,
    warn: Warn | None = None,
) -> Descriptor:
    """Copy what the source names; give the descriptor of what the destination's name now stands for.

    An index is narrowed to the image for `platform`; without one it is copied whole. `compression` is ("none" or "gzip"
    or "zstd", level); with level None, layers that are compressed so are kept. `kin` are other sources that may keep
    some of the blobs, for a destination that can adopt them from there. `with_referrers` copies also what refers to the
    image, to each image of an index, and to those referrers in turn; compressing layers anew would leave it referring
    to an image that is not there (InvalidInput).
    """
    if with_referrers and compression is not None:
        raise InvalidInput("referrers are of the image as it is: copy them without compressing its layers anew")
    top = source.resolve(platform)
    if media_types.is_index(top.media_type) and not destination.stores_index:
        raise DestinationError(destination.reference, "takes single images only; choose one with --platform")
    if with_referrers and not destination.stores_index:
        raise DestinationError(destination.reference, "takes single images only, not what refers to them")
    blobs, documents = _plan(source, top, warn)
    attached: Sequence[Attached] = ()
    if with_referrers:
        from oci.transports.attached import gather

        attached = gather(source, documents, lambda referrer: _plan(source, referrer, warn), warn=warn)
        blobs = list({blob.digest: blob for blob in (*blobs, *(b for one in attached for b in one.blobs))}.values())
    meter = Meter(progress, sum(blob.size for blob in blobs))
    if compression is not None:
        from oci.transports.recompress import Recompression

        job = Recompression(source, destination, *compression, meter=meter)
        blobs = job.begin(blobs, documents)
        _copy_blobs(source, destination, blobs, meter, kin)
        return job.finish(documents)
    _copy_blobs(source, destination, blobs, meter, kin)
    _copy_documents(source, destination, documents, attached)
    return top


def _plan(source: ImageSource, top: Descriptor, warn: Warn | None) -> tuple[list[Descriptor], list[Descriptor]]:
    """Give the blobs and the documents to copy, both in the order to write them; the last document is the topmost."""
    blobs: list[Descriptor] = []
    documents: list[Descriptor] = []
    for descriptor in walk(source, top):
        stored = is_at_hand(source, descriptor)
        if is_document(descriptor) or descriptor is top:
            if stored or descriptor is top:
                documents.append(descriptor)
            elif warn is not None:
                warn(f"{source.reference}: {descriptor.digest} ({descriptor.platform}) is not stored there; left out")
        elif stored or not (descriptor.urls or media_types.is_nondistributable(descriptor.media_type)):
            blobs.append(descriptor)
    return blobs, documents


class _BlobCopier:
    def __init__(
        self, source: ImageSource, destination: ImageDestination, meter: Meter, kin: Sequence[ImageSource]
    ) -> None:
        self._source, self._destination, self._meter = source, destination, meter
        self._keepers = (source, *kin)
        self._stop = Stop()

    def one(self, blob: Descriptor) -> None:
        # Adopting comes first: it is one question to a registry, and its answer tells as much as `has` would.
        adopted = any(self._destination.adopt(blob, keeper) for keeper in self._keepers)
        with self._meter.share(name_of(blob), blob.size) as share:
            if not adopted and not self._destination.has(blob):
                self._destination.put_blob(blob, lambda: self._content(blob, share))
            share.complete(blob.size)

    @contextmanager
    def _content(self, blob: Descriptor, share: Share) -> Iterator[Iterator[bytes]]:
        # Not verified here: the destination does it while it writes, and hashing twice would halve the speed.
        with open_content(self._source, blob) as chunks, self._stop.watching(chunks) as watched:
            yield share.counted(watched)

    def all(self, blobs: Sequence[Descriptor]) -> None:
        here, there = self._source.parallel, self._destination.parallel
        workers = 1 if there == 1 else max(here, there)
        together(self.one, blobs, workers=workers, stop=self._stop, abort=self._abort)

    def _abort(self) -> None:
        for keeper in self._keepers:
            keeper.abort()
        self._destination.abort()


def _copy_documents(
    source: ImageSource, destination: ImageDestination, documents: Sequence[Descriptor], attached: Sequence[Attached]
) -> None:
    """Copy what names the blobs, children first, the topmost last."""

    def put(document: Descriptor) -> None:
        destination.put_document(read_bytes(source, document), document)

    *children, top = documents
    for child in children:
        put(child)
    if attached:
        put(top)  # its name waits until all of it is there
    for one in attached:
        for document in one.documents:
            put(document)
        destination.put_referrer(read_bytes(source, one.referrer), one.referrer)
    destination.commit(read_bytes(source, top), top)


def _copy_blobs(
    source: ImageSource,
    destination: ImageDestination,
    blobs: Sequence[Descriptor],
    meter: Meter,
    kin: Sequence[ImageSource],
) -> None:
    for blob in blobs:  # found out before the first gigabyte, not after it
        if not is_at_hand(source, blob) and not destination.has(blob):
            raise BlobNotFound(str(blob.digest), source.reference)
    _BlobCopier(source, destination, meter, kin).all(blobs)
