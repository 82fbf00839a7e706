"""`oci:DIRECTORY[:TAG]`: an image layout as source and as destination."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Self

from oci.errors import OciError
from oci.layout import refs
from oci.layout.blobs import BlobReader, BlobWriter
from oci.layout.documents import read_document
from oci.layout.layout import Layout
from oci.layout.walk import is_document
from oci.spec.descriptor import Descriptor
from oci.spec.digest import Digest
from oci.spec.index import Index
from oci.spec.platform import Platform
from oci.transports.base import Warn

__all__ = ["IndexSource", "LayoutDestination", "LayoutSource", "referrers_in"]


class IndexSource:
    """What layouts and archives share: a store of blobs with an index.json beside it, and a name or digest in it."""

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
        self._blobs, self._index, self._reference, self._where = blobs, index, reference, where
        self._tag, self._digest, self._warn = tag, digest, warn

    @property
    def reference(self) -> str:
        return self._reference

    @property
    def blobs(self) -> BlobReader:
        """The store that the blobs come from."""
        return self._blobs

    def resolve(self, platform: Platform | None = None) -> Descriptor:
        warn, self._warn = self._warn, None  # said once, however often it is asked for
        return refs.resolve(
            self._index,
            self._blobs,
            where=self._where,
            name=self._tag,
            digest=self._digest,
            platform=platform,
            warn=warn,
        )

    def open(self, descriptor: Descriptor) -> AbstractContextManager[Iterator[bytes]]:
        return self._blobs.open(descriptor)

    def open_raw(self, descriptor: Descriptor) -> AbstractContextManager[Iterator[bytes]]:
        return self._blobs.open_raw(descriptor)

    def has(self, digest: Digest) -> bool:
        return self._blobs.has(digest)

    def size(self, digest: Digest) -> int | None:
        return self._blobs.size(digest)

    def referrers(self, subject: Descriptor) -> Iterator[Descriptor]:
        return referrers_in(self._index, self._blobs, subject.digest)

    def close(self) -> None:
        """Nothing is held open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def referrers_in(index: Index, blobs: BlobReader, subject: Digest) -> Iterator[Descriptor]:
    """Give the entries of an index whose document says that its `subject` is this one; unreadable ones are left out."""
    seen = set()
    for entry in index.manifests:
        if entry.digest in seen or not is_document(entry) or not blobs.has(entry.digest):
            continue
        seen.add(entry.digest)
        try:
            found = read_document(blobs, entry).model.subject
        except OciError:
            continue
        if found is not None and found.digest == subject:
            yield refs.untagged(entry)


class LayoutSource(IndexSource):
    """An image in a layout directory."""

    def __init__(
        self, layout: Layout, *, tag: str | None = None, digest: Digest | None = None, warn: Warn | None = None
    ) -> None:
        named = f"@{digest}" if digest is not None else f":{tag}" if tag is not None else ""
        super().__init__(
            layout.blobs,
            layout.index().model,
            reference=f"oci:{layout}{named}",
            where=str(layout),
            tag=tag,
            digest=digest,
            warn=warn,
        )
        self.layout = layout


class LayoutDestination:
    """A tag in a layout directory, which must exist: `Layout.create(path, exist_ok=True)` makes it.

    From here until `close` no `gc` of another process removes anything, so what `has` says stays true.
    """

    # Measured: between fast local disks two at once gain and cost nothing; they pay where a read or an fsync waits.
    parallel = 2
    stores_index = True

    def __init__(self, layout: Layout, *, tag: str | None = None) -> None:
        if tag is not None:
            refs.check_name(tag)
        self.layout, self._tag = layout, tag
        self._held = ExitStack()
        self._held.enter_context(layout.blobs.hold())

    @property
    def reference(self) -> str:
        return f"oci:{self.layout}" + (f":{self._tag}" if self._tag is not None else "")

    def has(self, descriptor: Descriptor) -> bool:
        return self.layout.blobs.keep(descriptor.digest, descriptor.size)

    def put_blob(self, descriptor: Descriptor, chunks: Iterable[bytes]) -> None:
        self.layout.blobs.put(chunks, expected=descriptor)

    def writer(self) -> BlobWriter:
        return self.layout.blobs.writer()

    def put_document(self, raw: bytes, descriptor: Descriptor) -> None:
        self.layout.blobs.put((raw,), expected=descriptor)

    def commit(self, raw: bytes, descriptor: Descriptor) -> None:
        self.put_document(raw, descriptor)
        if self._tag is None:
            self.layout.add(descriptor)
        else:
            self.layout.tag(self._tag, descriptor)

    def close(self) -> None:
        self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
