"""What the sources on disk share: they read from a store of blobs, and most find their image in an index."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager

from oci.errors import OciError
from oci.layout import refs
from oci.layout.blobs import BlobReader, is_at_hand
from oci.layout.documents import read_document
from oci.layout.reader import LayoutReader
from oci.layout.walk import is_document
from oci.spec.descriptor import Descriptor
from oci.spec.digest import Digest
from oci.spec.index import Index
from oci.spec.platform import Platform
from oci.transports.base import Warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

__all__ = ["BlobsSource", "IndexSource", "ReaderSource", "subjects_in"]


class BlobsSource:
    """The part of an ImageSource that hands out the blobs of a store."""

    parallel = 1  # reading a file is not waiting; where the other end waits, that end says so

    def __init__(self, blobs: BlobReader) -> None:
        self.blobs = blobs

    def open(self, descriptor: Descriptor) -> AbstractContextManager[Iterator[bytes]]:
        return self.blobs.open(descriptor)

    def open_raw(self, descriptor: Descriptor) -> AbstractContextManager[Iterator[bytes]]:
        return self.blobs.open_raw(descriptor)

    def has(self, digest: Digest) -> bool:
        return self.blobs.has(digest)

    def size(self, digest: Digest) -> int | None:
        return self.blobs.size(digest)

    def abort(self) -> None:
        """Nothing here waits for long."""

    def close(self) -> None:
        """Nothing is held open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class IndexSource(BlobsSource):
    """A store of blobs with an index beside it, and a name or digest to be found in it."""

    def __init__(
        self,
        blobs: BlobReader,
        index: Index,
        *,
        reference: str,
        where: str,
        tag: str | None = None,
        digest: Digest | None = None,
        warn: Warn | None = None,
    ) -> None:
        super().__init__(blobs)
        self._index, self._reference, self._where = index, reference, where
        self._tag, self._digest, self._warn = tag, digest, warn
        self._by_subject: Mapping[Digest, Sequence[Descriptor]] | None = None

    @property
    def reference(self) -> str:
        return self._reference

    def resolve(self, platform: Platform | None = None) -> Descriptor:
        warn, self._warn = self._warn, None  # said once, however often it is asked for
        return refs.resolve(
            self._index,
            self.blobs,
            where=self._where,
            name=self._tag,
            digest=self._digest,
            platform=platform,
            warn=warn,
        )

    def referrers(self, subject: Descriptor, *, artifact_type: str | None = None) -> Iterator[Descriptor]:
        if self._by_subject is None:  # who asks once asks of what was found too, and an index may have thousands
            self._by_subject = subjects_in(self._index, self.blobs)
        for entry in self._by_subject.get(subject.digest, ()):
            if artifact_type is None or entry.artifact_type in (None, artifact_type):
                yield entry


class ReaderSource(IndexSource):
    """An image in a layout directory or an archive of one; `transport` is the prefix of its reference."""

    transport: str

    def __init__(
        self, opened: LayoutReader, *, tag: str | None = None, digest: Digest | None = None, warn: Warn | None = None
    ) -> None:
        named = f"@{digest}" if digest is not None else f":{tag}" if tag is not None else ""
        super().__init__(
            opened.blobs,
            opened.index().model,
            reference=f"{self.transport}:{opened}{named}",
            where=str(opened),
            tag=tag,
            digest=digest,
            warn=warn,
        )
        self._opened = opened

    def close(self) -> None:
        self._opened.close()


def subjects_in(index: Index, blobs: BlobReader) -> Mapping[Digest, Sequence[Descriptor]]:
    """Give the entries of an index that have a `subject`, by what it is; documents that can't be read are left out."""
    entries: dict[Digest, list[Descriptor]] = {}
    seen = set()
    for entry in index.manifests:
        if entry.digest in seen or not is_document(entry) or not is_at_hand(blobs, entry):
            continue
        seen.add(entry.digest)
        try:
            found = read_document(blobs, entry).model.subject
        except OciError:
            continue
        if found is not None:
            entries.setdefault(found.digest, []).append(refs.untagged(entry))
    return entries
