"""`docker://HOST/REPO:TAG` as a destination: blobs side by side, documents behind their children, the tag at the end.

What the registry has is not sent (one HEAD for each blob, or one mount where the source is on the same registry), and
is asked for once in the life of a destination. Children of an index go by digest, the topmost document by the tag: that
one request is what moves it, and on any failure before it nothing that had a name has changed. What a push that was
killed leaves behind are whole blobs, which the next one finds, and sessions, which run out.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Self, TypeVar

from oci.errors import DestinationError, DigestMismatch, RegistryRefused
from oci.layout.blobs import BlobWriter, Content
from oci.layout.walk import is_document
from oci.registry.connect import Connected, Shared, connect_push
from oci.registry.mounts import mount
from oci.registry.put_manifest import put_manifest
from oci.registry.repository import Repository
from oci.registry.sessions import Upload, cancel
from oci.registry.settings import Settings
from oci.registry.upload import Uploader
from oci.spec.descriptor import Descriptor
from oci.spec.digest import Digest
from oci.spec.document import parse_document
from oci.spec.reference import RegistryRef
from oci.transports.base import ImageSource
from oci.transports.from_registry import RegistrySource
from oci.transports.spool import Spool

__all__ = ["RegistryDestination"]

T = TypeVar("T")

PARALLEL = 6  # uploads at once: what skopeo takes, and hashing, sending and waiting for answers overlap


class RegistryDestination:
    """One reference in a registry, opened for writing. `repositories` (one) are closed with it."""

    parallel = PARALLEL
    stores_index = True

    def __init__(self, reference: RegistryRef, repositories: Connected, *, scratch: str | None = None) -> None:
        self._reference, self._connected = reference, repositories
        self.repository: Repository = repositories[0]
        self.repository.expect_push()
        self._uploader = Uploader(self.repository)
        self._there: set[Digest] = set()
        self._started: dict[Digest, Upload] = {}  # by mounts that were answered with an upload
        self._no_mounts: set[str] = set()  # repositories from which the registry did not mount
        self._mutex, self._first = threading.Lock(), threading.Lock()
        self._answered = False
        self._spool = Spool(self._put_missing, parallel=PARALLEL, folder=scratch)

    @classmethod
    def open(
        cls, reference: RegistryRef, settings: Settings, shared: Shared | None = None, *, scratch: str | None = None
    ) -> Self:
        """Open a reference, through `shared` connections if they are given; nothing is sent yet.

        `scratch` is the folder for temporary files, if not the system's.
        """
        return cls(reference, connect_push(reference, settings, shared), scratch=scratch)

    @property
    def reference(self) -> str:
        return str(self._reference)

    def __repr__(self) -> str:
        return f"RegistryDestination({self._reference})"

    # Blobs

    def has(self, descriptor: Descriptor) -> bool:
        if descriptor.digest in self._there:
            return True
        if is_document(descriptor):
            there = self._alone_first(lambda: self.repository.head_manifest(descriptor.digest)) is not None
        else:
            there = self._alone_first(lambda: self.repository.blob_size(descriptor.digest)) == descriptor.size
        if there:
            self._is_there(descriptor.digest)
        return there

    def _alone_first(self, ask: Callable[[], T]) -> T:
        """Ask; the very first question goes alone, so that one answer 401 and one token do for all."""
        if not self._answered:
            with self._first:
                if not self._answered:
                    answer = ask()
                    self._answered = True
                    return answer
        return ask()

    def _is_there(self, digest: Digest) -> None:
        with self._mutex:
            self._there.add(digest)
            started = self._started.pop(digest, None)
        if started is not None:
            cancel(self.repository, started)

    def adopt(self, descriptor: Descriptor, source: ImageSource) -> bool:
        """Mount the blob, where the source is another repository of this registry that names it."""
        digest = descriptor.digest
        if digest in self._there:
            return True
        if not isinstance(source, RegistrySource) or source.repository.host != self.repository.host:
            return False
        origin = source.repository.name
        if origin == self.repository.name or origin in self._no_mounts or not source.knows(digest):
            return False
        started = self._alone_first(lambda: mount(self.repository, digest, origin))
        if started is None:
            self._is_there(digest)
            return True
        with self._mutex:
            # One refusal is enough: another would cost a session for each blob of an image.
            self._no_mounts.add(origin)
            self._started[digest] = started
        return False

    def put_blob(self, descriptor: Descriptor, content: Content) -> None:
        with self._mutex:
            started = self._started.pop(descriptor.digest, None)
        self._uploader.put(descriptor, content, started=started)
        self._is_there(descriptor.digest)

    def writer(self) -> BlobWriter:
        return self._spool.writer()

    def _put_missing(self, descriptor: Descriptor, content: Content) -> None:
        if not self.has(descriptor):
            self.put_blob(descriptor, content)

    # Documents

    def put_document(self, raw: bytes, descriptor: Descriptor) -> None:
        """Push a document by its digest, unless it is there.

        One with a subject is always pushed: a push that was killed may have left it out of the referrers tag.
        """
        if parse_document(raw, descriptor.media_type).model.subject is None and self.has(descriptor):
            return
        self._spool.settle()
        put_manifest(self.repository, raw, descriptor.media_type, descriptor.digest)
        self._is_there(descriptor.digest)

    def put_referrer(self, raw: bytes, descriptor: Descriptor) -> None:
        """Push a document that has a subject: the registry lists it, or the referrers tag does (put_manifest.py)."""
        self.put_document(raw, descriptor)

    def commit(self, raw: bytes, descriptor: Descriptor) -> None:
        if self._reference.digest not in (None, descriptor.digest):
            raise DigestMismatch(expected=str(self._reference.digest), actual=str(descriptor.digest))
        if not is_document(descriptor):
            raise DestinationError(
                self.reference, f"a registry takes manifests and indexes, not {descriptor.media_type}"
            )
        self._spool.settle()
        if self._reference.tag is None:
            put_manifest(self.repository, raw, descriptor.media_type, descriptor.digest)
            return
        if Digest.of(raw, descriptor.digest.algorithm) != descriptor.digest:
            raise DigestMismatch(
                expected=str(descriptor.digest), actual=str(Digest.of(raw, descriptor.digest.algorithm))
            )
        if descriptor.digest.algorithm != "sha256":
            self._name(raw, descriptor)
        put_manifest(self.repository, raw, descriptor.media_type, self._reference.tag)

    def _name(self, raw: bytes, descriptor: Descriptor) -> None:
        """Push the image under the digest that it has here: by its tag alone, a registry computes sha256."""
        try:
            self.put_document(raw, descriptor)
        except RegistryRefused as error:
            if error.status != 400:
                raise
            warn = self.repository.client.settings.warn
            if warn is not None:
                warn(f"{self.reference}: the registry knows it as {Digest.of(raw)}, not as {descriptor.digest}")

    def abort(self) -> None:
        self._connected.http.close()

    def close(self) -> None:
        """Give up what was begun and not used, and let go of the connections."""
        try:
            self._spool.close()
            with self._mutex:
                started, self._started = list(self._started.values()), {}
            for upload in started:
                cancel(self.repository, upload)
        finally:
            self._connected.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if len(exception) > 1 and not isinstance(exception[1], Exception | None):
            self.abort()  # an interrupt doesn't wait for a registry's answers
        self.close()
