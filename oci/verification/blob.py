"""One blob checked in one pass: size, digest and, for a layer, compression, diff_id and every tar entry.

The bytes are read once and never kept: a thread reads, hashes, inflates and hashes again (with the GIL released), the
caller's thread walks the tar's headers. Whatever goes wrong, the blob is read to its end, so that its digest is known:
a damaged layer gets both faults, the broken stream and the wrong digest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from oci.errors import (
    BlobNotFound,
    CorruptStream,
    DigestMismatch,
    LimitExceeded,
    OciError,
    RegistryError,
    SizeMismatch,
    TarError,
)
from oci.layout.finding import Finding
from oci.streams.background import background
from oci.streams.compression import Compression, decompress, sniff

if TYPE_CHECKING:
    import hashlib
    from collections.abc import Callable

    from oci.layout.blobs import BlobReader
    from oci.spec.descriptor import Descriptor

__all__ = ["BlobFacts", "Cancelled", "check_blob"]

# A registry tells some things only when a blob is asked for; a store on disk is asked before.
_TOLD = ((SizeMismatch, "size-mismatch"), (DigestMismatch, "digest-mismatch"), (BlobNotFound, "missing-blob"))

_UNPADDED = "the archive ends without padding and end blocks, as `umoci insert` writes; GNU tar and bsdtar complain"


class Cancelled(Exception):  # noqa: N818 - not an error: somebody asked to stop
    """The check was stopped from outside before it came to its end."""


@dataclass(slots=True)
class BlobFacts:
    """What a blob turned out to be; `diff_ids` maps algorithm to hex, empty where the tar could not be read whole."""

    size: int = 0
    encoded: str = ""  # of the blob's bytes, by the algorithm of its own digest
    compression: Compression | None = None
    diff_ids: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


class _Tap(Iterator[bytes]):
    """Passes chunks on, counting and hashing them; `drain` reads what the consumer left."""

    def __init__(self, chunks: Iterable[bytes], hasher: hashlib._Hash, cancelled: Callable[[], bool]) -> None:
        self._chunks = iter(chunks)
        self._update = hasher.update
        self._cancelled = cancelled
        self.size = 0

    def __next__(self) -> bytes:
        if self._cancelled():
            raise Cancelled
        chunk = next(self._chunks)
        self.size += len(chunk)
        self._update(chunk)
        return chunk

    def drain(self) -> None:
        for _ in self:
            pass


def check_blob(
    blobs: BlobReader,
    descriptor: Descriptor,
    *,
    layer: bool,
    algorithms: Iterable[str] = (),
    cancelled: Callable[[], bool] = lambda: False,
) -> BlobFacts:
    """Read a blob to its end and tell what it is; `layer` asks for a walk through the tar inside as well.

    `algorithms` are those of the diff_ids to compute. Raises what the store raises when it can't be read.
    """
    facts = BlobFacts()
    hasher = descriptor.digest.hasher()
    with blobs.open_raw(descriptor) as chunks:
        tap = _Tap(chunks, hasher, cancelled)
        facts.compression, blob = sniff(tap)
        if layer:
            _walk(blob, facts, str(descriptor.digest), algorithms)
        tap.drain()
    facts.size, facts.encoded = tap.size, hasher.hexdigest()
    return facts


def _walk(blob: Iterator[bytes], facts: BlobFacts, digest: str, algorithms: Iterable[str]) -> None:
    """Inflate the blob, hash the tar and check its entries, as far as all that goes."""
    from oci.spec.digest import Digest
    from oci.tar import TarReader
    from oci.verification.entries import EntryCheck

    where = f"layer {digest}"
    hashers = {algorithm: Digest.of(b"", algorithm).hasher() for algorithm in algorithms}
    updates = [hasher.update for hasher in hashers.values()]
    entries = EntryCheck(digest)
    faults: list[Finding] = []
    assert facts.compression is not None

    def hashed(tar: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in tar:
            for update in updates:
                update(chunk)
            yield chunk

    # The thread does all that releases the GIL; the walk through the headers, which doesn't, has one for itself.
    with background(hashed(decompress(blob, facts.compression)), depth=4) as tar:
        try:
            try:
                check, reader = entries.check, TarReader(tar)
                for entry in reader:
                    check(entry)
                if reader.unpadded:
                    faults.append(Finding.warning("corrupt-layer", where, _UNPADDED))
            except (TarError, LimitExceeded) as error:
                faults.append(Finding.error("corrupt-layer", where, f"{error}; build or fetch this layer again"))
                for _ in tar:  # the tar is damaged, but its digest can still be told
                    pass
            facts.diff_ids = {algorithm: hasher.hexdigest() for algorithm, hasher in hashers.items()}
        except (CorruptStream, LimitExceeded) as error:
            faults.append(Finding.error("corrupt-layer", where, f"{error}; build or fetch this layer again"))
    facts.findings = [*faults, *entries.findings()]


def unreadable(where: str, digest: object, error: OSError | OciError) -> Finding:
    """The finding for a blob that the file system, the store or a registry refused to give."""
    for kind, code in _TOLD:
        if isinstance(error, kind):
            return Finding.error(code, where, f"{error}; copy or fetch the image again")
    if isinstance(error, RegistryError):
        return Finding.error("unreadable", where, f"blob {digest} can't be fetched: {error}")
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return Finding.error(
        "unreadable", where, f"blob {digest} can't be read: {reason}; see to its permissions or storage"
    )
