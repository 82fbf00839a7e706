"""`docker://HOST/REPO[:TAG][@DIGEST]` as a source: an image read straight from a registry, nothing kept on disk.

Manifests and indexes are fetched once and kept in memory, so that a copy, an unpack or a verify asks for each of them
once. What they name as their content is presumed to be there: a registry checks that when a manifest is pushed, and
asking again would cost a question for each blob. Only what may well be absent is asked for: layers with `urls`, types
that are not to be distributed, and digests that no document has named. A blob that turns out to be missing all the same
is BlobNotFound when it is opened.

With mirrors, the first one that has the top document serves the rest; what it lacks comes from those behind it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Self

from oci.errors import (
    BlobNotFound,
    InvalidDocument,
    LimitExceeded,
    NotFound,
    RefNotFound,
    RegistryError,
    VerificationError,
)
from oci.layout.blobs import VerifyingReader
from oci.layout.refs import narrow
from oci.layout.walk import is_document
from oci.registry.ahead import Ahead
from oci.registry.connect import Connected, Shared, connect
from oci.registry.download import Download, Place
from oci.registry.foreign import foreign_places
from oci.registry.manifests import Fetched, as_document
from oci.registry.repository import Repository
from oci.registry.settings import Settings
from oci.spec.descriptor import Descriptor
from oci.spec.digest import Digest
from oci.spec.platform import Platform
from oci.spec.reference import RegistryRef
from oci.transports.registry_memory import Memory

__all__ = ["RegistrySource"]

PARALLEL = 6  # blobs at once, as skopeo takes: CDNs give one connection a part of the line; images have some six layers
_ELSEWHERE = "it is kept elsewhere (its descriptor has urls); --foreign-layers fetches it"


class RegistrySource(VerifyingReader):
    """One reference in a registry, opened for reading. `repositories` are closed with it."""

    parallel = PARALLEL

    def __init__(self, reference: RegistryRef, repositories: Connected, settings: Settings) -> None:
        self._reference, self._connected, self._settings = reference, repositories, settings
        self._places: Sequence[Repository] = tuple(repositories)
        self._known = Memory()
        self._top: Descriptor | None = None
        self._ahead = Ahead(self._begin)

    @classmethod
    def connect(cls, reference: RegistryRef, settings: Settings, shared: Shared | None = None) -> Self:
        """Open a reference, through `shared` connections if there are some; nothing is sent before it has to be."""
        return cls(reference, connect(reference, settings, shared), settings)

    @property
    def reference(self) -> str:
        return str(self._reference)

    @property
    def repository(self) -> Repository:
        """The repository that serves it: the registry's own, or the mirror that was found to have it."""
        return self._places[0]

    def __repr__(self) -> str:
        return f"RegistrySource({self._reference})"

    def __str__(self) -> str:
        return str(self._places[0])

    # The image

    def resolve(self, platform: Platform | None = None) -> Descriptor:
        if self._top is None:
            self._top = self._find()
        return self._top if platform is None else narrow(self._top, self, platform, where=self.reference)

    def _find(self) -> Descriptor:
        wanted = self._reference.digest or self._reference.tag or ""
        found, self._places = self._first(wanted)
        found = as_document(found, what=self.reference)
        self._known.keep(found)
        return Descriptor(media_type=found.media_type, digest=found.digest, size=len(found.raw))

    def _first(self, wanted: str | Digest) -> tuple[Fetched, Sequence[Repository]]:
        """Get a manifest from the first place that has it; give also the places from that one on."""
        for number, place in enumerate(self._places):
            try:
                return place.manifest(wanted), self._places[number:]
            except (NotFound, RegistryError, VerificationError, InvalidDocument, LimitExceeded) as error:
                if number == len(self._places) - 1:
                    raise
                if self._settings.warn is not None and not isinstance(error, NotFound):
                    self._settings.warn(f"{error}; going on to {self._places[number + 1]}")
        raise RefNotFound(str(wanted), self.reference, None)

    def referrers(self, subject: Descriptor, *, artifact_type: str | None = None) -> Iterator[Descriptor]:
        """As in ImageSource. The registry itself is asked: nobody would miss a signature that a mirror hides."""
        for found in self._connected[-1].referrers(subject.digest, artifact_type=artifact_type):
            self._known.expect(found)
            yield found

    # Its blobs and documents

    @contextmanager
    def open_raw(self, descriptor: Descriptor) -> Iterator[Iterator[bytes]]:
        digest = descriptor.digest
        raw = self._document(digest) if is_document(descriptor) else self._known.raw(digest)
        if raw is not None:
            yield iter((raw,))
            return
        download = self._ahead.take(digest)
        if download is None:
            try:
                download = self._begin(descriptor)
            except BlobNotFound as error:
                if descriptor.urls and not self._settings.foreign_urls:
                    raise BlobNotFound(error.digest, error.where, hint=_ELSEWHERE) from None
                if not self._known.may_be_document(digest):
                    raise
                yield iter((self._document(digest),))
                return
        self._ahead.opened(download)
        try:
            yield download
        finally:
            download.close()

    def expect(self, descriptor: Descriptor) -> None:
        """Hear that a blob will be opened, after those that were told before: it is asked for a little earlier."""
        if self._known.raw(descriptor.digest) is None:
            self._ahead.expect(descriptor)

    def _begin(self, descriptor: Descriptor) -> Download:
        return Download(self._holders(descriptor), descriptor)

    def _holders(self, descriptor: Descriptor) -> list[Place]:
        """Who may have a blob, in the order to ask."""
        places: list[Place] = list(self._places)
        if descriptor.urls and self._settings.foreign_urls:
            places += foreign_places(descriptor.urls, self._places[0].host, self._settings, self._connected.http)
        return places

    def knows(self, digest: Digest) -> bool:
        """Say whether its documents name this blob, or it was found there; nothing is asked."""
        return self._known.size(digest) is not None

    def size(self, digest: Digest) -> int | None:
        """Give the length that is known or presumed; the registry is asked where neither is."""
        known = self._known.size(digest)
        if known is not None:
            return known
        if self._known.is_document(digest):
            try:
                return len(self._document(digest))
            except NotFound:
                return None
        elsewhere = self._known.size_elsewhere(digest)
        size = self._ask(digest, blob=elsewhere is not None)
        if size is None and self._settings.foreign_urls:
            size = elsewhere
        if size is not None:
            self._known.note(digest, size)
        return size

    def _ask(self, digest: Digest, *, blob: bool) -> int | None:
        for place in self._places:
            size = place.blob_size(digest)
            if size is None and not blob:
                found = place.head_manifest(digest)
                size = None if found is None else found.size
            if size is not None:
                return size
        return None

    def _document(self, digest: Digest) -> bytes:
        """The bytes of a document, fetched unless they are kept. BlobNotFound."""
        raw = self._known.raw(digest)
        if raw is None:
            try:
                found, _ = self._first(digest)
            except RefNotFound:
                raise BlobNotFound(str(digest), str(self)) from None
            self._known.keep(found)
            raw = found.raw
        return raw

    # The end

    def abort(self) -> None:
        """Make every read that waits for the network fail at once, whichever thread it is in; none can follow."""
        self._connected.http.close()

    def close(self) -> None:
        self._connected.close()
        self._ahead.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
