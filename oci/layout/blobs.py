"""Where blobs are: the protocols every store keeps, and the stores that need no disk.

A blob is bytes named by their digest (image-spec v1.1.1 image-layout.md#blobs). Readers hand out verified streams:
`open` raises on or before the last chunk when the bytes are not what the descriptor says, so effects (a rename, a
commit) come after the stream's end. `open_raw` is for consumers that verify in their own single pass, and for nobody
else. Nothing enters a store under a digest that was not computed while it was written.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from oci.errors import BlobNotFound, DigestMismatch, SizeMismatch
from oci.spec import media_types
from oci.spec.descriptor import Descriptor
from oci.spec.digest import Digest
from oci.streams.progress import Meter, Progress, Share
from oci.streams.verify import verified
from oci.typed import Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

__all__ = [
    "BlobReader",
    "BlobStore",
    "BlobWriter",
    "ChainBlobs",
    "Content",
    "Counted",
    "MemoryBlobs",
    "VerifyingReader",
    "WatchedBlobs",
    "expect",
    "is_at_hand",
    "name_of",
    "open_content",
]


# A blob's bytes for somebody who may need them more than once (an upload that is cut off): each call opens them anew,
# from their beginning. Whether they are verified is for who hands it out to say.
Content = Callable[[], AbstractContextManager[Iterator[bytes]]]


class BlobReader(Protocol):
    """Somewhere blobs can be read from."""

    def open(self, descriptor: Descriptor) -> AbstractContextManager[Iterator[bytes]]:
        """Give the blob's bytes, verified: BlobNotFound at once, SizeMismatch or DigestMismatch by the last chunk."""
        ...

    def open_raw(self, descriptor: Descriptor) -> AbstractContextManager[Iterator[bytes]]:
        """Give the blob's bytes unverified, for a consumer that checks size and digest itself in the same pass."""
        ...

    def has(self, digest: Digest) -> bool:
        """Say whether a blob of that name is there (its content is only checked when read)."""
        ...

    def size(self, digest: Digest) -> int | None:
        """Give the stored length in bytes, None where there is no such blob."""
        ...


class VerifyingReader(ABC):
    """What the readers share that open a blob unverified and know its size."""

    @abstractmethod
    def open_raw(self, descriptor: Descriptor) -> AbstractContextManager[Iterator[bytes]]: ...

    @abstractmethod
    def size(self, digest: Digest) -> int | None: ...

    @contextmanager
    def open(self, descriptor: Descriptor) -> Iterator[Iterator[bytes]]:
        with self.open_raw(descriptor) as chunks:
            yield verified(chunks, descriptor.digest, descriptor.size)

    def has(self, digest: Digest) -> bool:
        return self.size(digest) is not None


def is_at_hand(blobs: BlobReader, descriptor: Descriptor) -> bool:
    """Say whether a blob can be read: it is in the store, or embedded in its descriptor."""
    return descriptor.data is not None or blobs.has(descriptor.digest)


def expect(blobs: BlobReader, descriptor: Descriptor) -> None:
    """Tell a reader that a blob will be opened, after those told before; one that has to fetch it can begin early."""
    told = getattr(blobs, "expect", None)
    if told is not None and descriptor.data is None:
        told(descriptor)


def open_content(blobs: BlobReader, descriptor: Descriptor) -> AbstractContextManager[Iterator[bytes]]:
    """Open a blob, unverified: from the store, else embedded in its descriptor (descriptor.md#properties, `data`)."""
    if descriptor.data is not None and not blobs.has(descriptor.digest):
        return nullcontext(iter((descriptor.data,)))
    return blobs.open_raw(descriptor)


class BlobWriter(Protocol):
    """One blob on its way in: discarded on leaving the `with` block unless committed."""

    def write(self, data: bytes | bytearray | memoryview) -> object:
        """Take more bytes."""
        ...

    def commit(self, digest: Digest | None = None) -> tuple[Digest, int]:
        """Make the blob part of the store; DigestMismatch (and nothing stored) when it is not `digest`."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...


class BlobStore(BlobReader, Protocol):
    """Somewhere blobs can be read from and written to."""

    def put(self, chunks: Iterable[bytes], *, expected: Descriptor | None = None) -> tuple[Digest, int]:
        """Store the bytes and give their digest and size; with `expected`, only if they are what it says.

        A blob that is already there with the expected size is kept, and `chunks` is then not read.
        """
        ...

    def writer(self, *, expected: Descriptor | None = None) -> BlobWriter:
        """Open a writer; `expected` sets the digest's algorithm (sha256 otherwise) and bounds the size."""
        ...

    def delete(self, digest: Digest) -> None:
        """Remove a blob; one that is not there is no error."""
        ...

    def digests(self) -> Iterator[Digest]:
        """Give the digest of every blob, in no promised order."""
        ...


class Counted:
    """Counts and hashes bytes on their way into a store, and checks them against what was expected."""

    def __init__(self, expected: Descriptor | None) -> None:
        self._expected = expected
        self._algorithm = expected.digest.algorithm if expected is not None else "sha256"
        self._hasher = expected.digest.hasher() if expected is not None else Digest.of(b"").hasher()
        self.size = 0

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Take more bytes; SizeMismatch as soon as there are more than expected."""
        self.size += len(data)
        if self._expected is not None and self.size > self._expected.size:
            raise SizeMismatch(digest=str(self._expected.digest), expected=self._expected.size, actual=self.size)
        self._hasher.update(data)

    def finish(self, digest: Digest | None) -> Digest:
        """Give the digest; SizeMismatch or DigestMismatch when it is not the expected one, or not `digest`."""
        expected = self._expected
        if expected is not None and self.size != expected.size:
            raise SizeMismatch(digest=str(expected.digest), expected=expected.size, actual=self.size)
        actual = Digest(self._algorithm, self._hasher.hexdigest())
        for wanted in (digest, expected.digest if expected is not None else None):
            if wanted is not None and wanted != actual:
                raise DigestMismatch(expected=str(wanted), actual=str(actual))
        return actual


class _MemoryWriter:
    def __init__(self, keep: Callable[[Digest, bytes], object], expected: Descriptor | None) -> None:
        self._keep, self._counted, self._data = keep, Counted(expected), bytearray()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._counted.update(data)
        self._data += data

    def commit(self, digest: Digest | None = None) -> tuple[Digest, int]:
        actual = self._counted.finish(digest)
        self._keep(actual, bytes(self._data))
        return actual, self._counted.size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._data.clear()


class MemoryBlobs(VerifyingReader):
    """A BlobStore in memory: for edited documents and for tests, not for layers."""

    def __init__(self, blobs: Iterable[bytes] = ()) -> None:
        self._blobs: dict[Digest, bytes] = {Digest.of(data): bytes(data) for data in blobs}

    def __repr__(self) -> str:
        return f"MemoryBlobs({len(self._blobs)} blobs)"

    def _get(self, digest: Digest) -> bytes:
        try:
            return self._blobs[digest]
        except KeyError:
            raise BlobNotFound(str(digest), "memory") from None

    def open_raw(self, descriptor: Descriptor) -> AbstractContextManager[Iterator[bytes]]:
        return nullcontext(iter((self._get(descriptor.digest),)))

    def size(self, digest: Digest) -> int | None:
        return len(self._blobs[digest]) if digest in self._blobs else None

    def put(self, chunks: Iterable[bytes], *, expected: Descriptor | None = None) -> tuple[Digest, int]:
        if expected is not None and self.size(expected.digest) == expected.size:
            return expected.digest, expected.size
        with self.writer(expected=expected) as writer:
            for chunk in chunks:
                writer.write(chunk)
            return writer.commit()

    def writer(self, *, expected: Descriptor | None = None) -> BlobWriter:
        return _MemoryWriter(self._blobs.__setitem__, expected)

    def delete(self, digest: Digest) -> None:
        self._blobs.pop(digest, None)

    def digests(self) -> Iterator[Digest]:
        return iter(tuple(self._blobs))


class ChainBlobs:
    """Several readers as one: a blob comes from the first that has it (new documents over an old image)."""

    def __init__(self, *stores: BlobReader) -> None:
        self._stores = stores

    def _holder(self, digest: Digest) -> BlobReader:
        for store in self._stores:
            if store.has(digest):
                return store
        raise BlobNotFound(str(digest), " or ".join(map(str, self._stores)) or "an empty chain")

    def __repr__(self) -> str:
        return f"ChainBlobs({', '.join(map(repr, self._stores))})"

    @contextmanager
    def open(self, descriptor: Descriptor) -> Iterator[Iterator[bytes]]:
        with self._holder(descriptor.digest).open(descriptor) as chunks:
            yield chunks

    @contextmanager
    def open_raw(self, descriptor: Descriptor) -> Iterator[Iterator[bytes]]:
        with self._holder(descriptor.digest).open_raw(descriptor) as chunks:
            yield chunks

    def has(self, digest: Digest) -> bool:
        return any(store.has(digest) for store in self._stores)

    def size(self, digest: Digest) -> int | None:
        sizes = (store.size(digest) for store in self._stores)
        return next((size for size in sizes if size is not None), None)


def name_of(descriptor: Descriptor) -> str:
    """What a blob is called to people: `layer sha256:…`, `config sha256:…`, `blob sha256:…`."""
    kind = "layer" if media_types.is_layer(descriptor.media_type) else "blob"
    return f"{'config' if media_types.is_config(descriptor.media_type) else kind} {descriptor.digest}"


class WatchedBlobs:
    """A reader that tells how far its blobs have been read; `total` is how many bytes will be, where that is known."""

    def __init__(self, blobs: BlobReader, progress: Progress, total: int | None = None) -> None:
        self._blobs, self._meter = blobs, Meter(progress, total)

    def __repr__(self) -> str:
        return repr(self._blobs)

    @contextmanager
    def open(self, descriptor: Descriptor) -> Iterator[Iterator[bytes]]:
        with self._blobs.open(descriptor) as chunks, self._share(descriptor) as share:
            yield share.counted(chunks)

    @contextmanager
    def open_raw(self, descriptor: Descriptor) -> Iterator[Iterator[bytes]]:
        with self._blobs.open_raw(descriptor) as chunks, self._share(descriptor) as share:
            yield share.counted(chunks)

    def _share(self, descriptor: Descriptor) -> Share:
        return self._meter.share(name_of(descriptor), descriptor.size)

    def expect(self, descriptor: Descriptor) -> None:
        expect(self._blobs, descriptor)

    def has(self, digest: Digest) -> bool:
        return self._blobs.has(digest)

    def size(self, digest: Digest) -> int | None:
        return self._blobs.size(digest)
