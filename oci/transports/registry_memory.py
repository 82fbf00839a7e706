"""What a registry's source has seen so far: documents, and what they say of digests that were not fetched yet.

Everything here is bounded; what is forgotten is asked for again. Thread-safe.
"""

from __future__ import annotations

import threading

from oci.errors import OciError
from oci.layout.walk import children, is_document
from oci.registry.manifests import Fetched
from oci.spec import media_types
from oci.spec.descriptor import Descriptor
from oci.spec.digest import Digest
from oci.spec.document import parse_document
from oci.spec.index import Index

__all__ = ["Memory"]

MAX_KEPT = 32 << 20  # bytes of documents in memory: eight of the largest
MAX_KNOWN = 1_000_000  # digests of each kind: as many as one walk gives


class Memory:
    """Documents by digest, and the sizes of blobs that need not be asked for."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._raw: dict[Digest, bytes] = {}  # the one used last stands last
        self._bytes = 0
        self._sizes: dict[Digest, int] = {}  # known, or presumed by the word of a manifest
        self._documents: set[Digest] = set()  # named as manifests or indexes
        self._listed: set[Digest] = set()  # named by an index, of a type that we don't know
        self._elsewhere: dict[Digest, int] = {}  # layers with `urls`: the size they have wherever they are

    def keep(self, found: Fetched) -> None:
        """Keep a document, and learn from it."""
        with self._mutex:
            if found.digest in self._raw:
                return
            self._raw[found.digest] = found.raw
            self._bytes += len(found.raw)
            while self._bytes > MAX_KEPT and len(self._raw) > 1:
                oldest = next(iter(self._raw))
                self._bytes -= len(self._raw.pop(oldest))
            self._note(found.digest, len(found.raw))
        try:
            model = parse_document(found.raw, found.media_type).model
        except OciError:  # whoever reads it will say so
            return
        listed = isinstance(model, Index)
        with self._mutex:
            for child in (*children(model), *((model.subject,) if model.subject is not None else ())):
                self._learn(child, listed)

    def _learn(self, child: Descriptor, listed: bool) -> None:
        if len(self._documents) + len(self._listed) + len(self._elsewhere) > MAX_KNOWN:
            return
        if is_document(child):
            self._documents.add(child.digest)
        elif child.urls or media_types.is_nondistributable(child.media_type):
            self._elsewhere.setdefault(child.digest, child.size if child.urls else -1)
        elif listed:
            self._listed.add(child.digest)
        else:
            self._note(child.digest, child.size)

    def _note(self, digest: Digest, size: int) -> None:
        if len(self._sizes) < MAX_KNOWN:
            self._sizes.setdefault(digest, size)

    def note(self, digest: Digest, size: int) -> None:
        """Remember that this is there, and how long."""
        with self._mutex:
            self._note(digest, size)

    def expect(self, descriptor: Descriptor) -> None:
        """Remember what a list of referrers said."""
        with self._mutex:
            self._learn(descriptor, listed=True)

    def raw(self, digest: Digest) -> bytes | None:
        """The bytes of a document that is kept."""
        with self._mutex:
            raw = self._raw.pop(digest, None)
            if raw is not None:
                self._raw[digest] = raw
            return raw

    def size(self, digest: Digest) -> int | None:
        """The length of what is known or presumed to be there."""
        return self._sizes.get(digest)

    def is_document(self, digest: Digest) -> bool:
        """Whether something named this digest as a manifest's or an index's."""
        return digest in self._documents

    def may_be_document(self, digest: Digest) -> bool:
        """Whether an index named this digest with a type that says nothing."""
        return digest in self._listed

    def size_elsewhere(self, digest: Digest) -> int | None:
        """The length of a layer that can be had from its `urls`."""
        size = self._elsewhere.get(digest, -1)
        return None if size < 0 else size
