"""Verified streams: size first, then digest (image-spec v1.1.1 descriptor.md#verification)."""

from __future__ import annotations

from oci.errors import DigestMismatch, SizeMismatch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Protocol

    from oci.spec.digest import Digest

    class Hasher(Protocol):
        """The part of a hashlib object that is used here."""

        def update(self, data: bytes, /) -> None: ...
        def hexdigest(self) -> str: ...


__all__ = ["verified"]


def verified(chunks: Iterable[bytes], digest: Digest, size: int) -> Iterator[bytes]:
    """Give `chunks` on, checking that they are `size` bytes with this digest.

    Raises SizeMismatch as soon as there is one byte too many, so an endless stream ends; the digest is checked before
    the last chunk is handed out, so a consumer that has all bytes has verified bytes. UnsupportedDigest is raised
    before anything is read.
    """
    hasher = digest.hasher(size)
    return _checked(iter(chunks), hasher, digest, size)


def _checked(source: Iterator[bytes], hasher: Hasher, digest: Digest, size: int) -> Iterator[bytes]:
    total = 0
    last = b""
    for chunk in source:
        total += len(chunk)
        if total > size:
            raise SizeMismatch(digest=str(digest), expected=size, actual=total)
        hasher.update(chunk)
        if total == size:
            last = chunk
            break
        yield chunk
    # The last chunk waits here until the source says that it ends, so that nothing unchecked is ever complete.
    for extra in source:
        if extra:
            raise SizeMismatch(digest=str(digest), expected=size, actual=total + len(extra))
    if total < size:
        raise SizeMismatch(digest=str(digest), expected=size, actual=total)
    if hasher.hexdigest() != digest.encoded:
        raise DigestMismatch(expected=str(digest), actual=f"{digest.algorithm}:{hasher.hexdigest()}")
    if last:
        yield last
