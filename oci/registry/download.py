"""The bytes of a blob, over as many connections as it takes (distribution-spec v1.1.1 spec.md#pulling-blobs).

A connection that is cut or stalls is no end: the rest is asked for by `Range`, with `If-Range` where there is a strong
ETag (RFC 9110 sections 13.1.5, 14). Every request goes to the registry's own URL, so a signed address of a CDN that has
run out in the meantime is simply given anew. What holds:

- a cut is taken up again as long as there is progress; `Settings.attempts` times in a row without any is the end;
- an answer that ignores the range (200) is read over as far as the bytes are known; a `Content-Range` must say what was
  asked for;
- a `Content-Length` that contradicts the descriptor is refused before anything is read, compressed transfer always;
- never more than one byte beyond the descriptor's size is given on, so that whoever verifies sees that it is too much.

The bytes are not verified here. Their consumer does that, in the pass in which it uses them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from oci.errors import (
    BlobNotFound,
    ConnectionFailed,
    NotFound,
    OciError,
    ProtocolViolation,
    RegistryError,
    RegistryRefused,
    SizeMismatch,
)
from oci.registry.manifests import refuse_encoding
from oci.spec.descriptor import Descriptor

if TYPE_CHECKING:
    from oci.http.exchange import Response
    from oci.http.retry import Backoff
    from oci.registry.client import Client
    from oci.spec.digest import Digest

__all__ = ["Download", "Place"]

MIN_PROGRESS = 1 << 20  # bytes by which a connection must get on to count as one that works; the rest of a small blob

_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)", re.ASCII)


class Place(Protocol):
    """Somewhere a blob can be asked for: a repository, or an address that a descriptor gives."""

    @property
    def client(self) -> Client: ...

    def blob_url(self, digest: Digest) -> str:
        """What is asked, for messages."""
        ...

    def get_blob(self, digest: Digest, headers: Mapping[str, str]) -> Response:
        """Send one GET; 200, 404, and with a Range header 206 and 416 come back."""
        ...


class Download(Iterator[bytes]):
    """One blob on its way in, from the first of `places` that has it, from the others when that one fails.

    Making one sends the first request: BlobNotFound is raised at once. `close` drops the connection without reading on;
    `abort` does so from another thread, while this one waits for bytes.
    """

    def __init__(self, places: Sequence[Place], descriptor: Descriptor) -> None:
        self._places = list(places)
        self._descriptor, self._size = descriptor, descriptor.size
        self._had = 0  # bytes given on
        self._skip = 0  # bytes to read over before the next one that is wanted
        self._etag: str | None = None
        self._ranges = True
        self._backoff = self._patience()  # for what fails in a row, without progress
        self._mark = 0  # where the connection in use began
        self._aborted = False
        self._mark_left = 0  # how much is left when `_when_left` is to be called
        self._when_left: Callable[[], object] | None = None
        self._closed = False
        self._response: Response | None = None
        self._chunks: Iterator[bytes] = iter(())
        self._connect(None)

    # What the consumer sees

    def __next__(self) -> bytes:
        while True:
            try:
                chunk = next(self._chunks, b"")
                cut = (
                    ConnectionFailed(self._url, f"ended after {self._had} of {self._size} bytes") if not chunk else None
                )
            except ConnectionFailed as error:
                chunk, cut = b"", error
            if cut is not None:
                if self._closed or self._had >= self._size:
                    self.close()
                    raise StopIteration
                self._drop()
                self._connect(cut)
                continue
            if self._skip:
                chunk = self._skipped(chunk)
                if not chunk:
                    continue
            self._had += len(chunk)
            if self._when_left is not None and self.left <= self._mark_left:
                self._tell()
            if self._had > self._size:
                self.close()
                return chunk[: len(chunk) - (self._had - self._size - 1)]
            return chunk

    def close(self) -> None:
        """Drop the connection, unless the blob was read to its end."""
        self._closed = True
        response, self._response = self._response, None
        self._chunks = iter(())
        if response is not None:
            if self._had == self._size and not self._skip:
                response.discard()
            else:
                response.close()

    def abort(self) -> None:
        """Make a read that waits for bytes in another thread fail at once."""
        self._aborted = True
        response = self._response
        if response is not None:
            response.abort()

    @property
    def left(self) -> int:
        """How many bytes have not come yet."""
        return max(0, self._size - self._had)

    def when_left(self, count: int, then: Callable[[], object]) -> None:
        """Have `then` called by who reads, once, when no more than `count` bytes are left."""
        self._mark_left, self._when_left = count, then

    def _tell(self) -> None:
        then, self._when_left = self._when_left, None
        if then is not None:
            then()

    # Connecting

    @property
    def _url(self) -> str:
        return self._places[0].blob_url(self._descriptor.digest)

    def _drop(self) -> None:
        response, self._response = self._response, None
        self._chunks = iter(())
        if response is not None:
            response.close()

    def _patience(self) -> Backoff:
        return self._places[0].client.backoff()

    def _connect(self, cut: ConnectionFailed | None) -> None:
        """Have the next bytes come; `cut` is what ended the connection before, None at the beginning."""
        error: OciError | None = cut
        again = cut is not None and cut.again
        while True:
            if error is not None:
                self._give_up_or_wait(error, again)
            try:
                self._open(self._places[0])
            except (NotFound, RegistryError, SizeMismatch) as failed:
                self._drop()
                # No connection at all: the client has tried that often enough.
                error, again = failed, _is_stale(failed)
            else:
                return

    def _give_up_or_wait(self, error: OciError, again: bool) -> None:
        """Raise the error where trying again makes no sense; otherwise say where to go on, after a pause."""
        if self._aborted:
            raise error
        progress = self._had - self._mark
        if progress and progress >= min(MIN_PROGRESS, self._size):
            self._backoff = self._patience()
        pause = self._backoff.pause() if again else None
        if pause is not None:
            # The first time at once: one connection was cut, and the server is there.
            self._backoff.wait(pause if self._backoff.tried > 1 else 0.0)
        elif len(self._places) > 1:
            del self._places[0]  # a mirror that doesn't have it, or can't give it
            self._backoff, self._etag, self._ranges = self._patience(), None, True
        else:
            raise error

    def _open(self, place: Place) -> None:
        self._mark = self._had
        asked: dict[str, str] = {}
        if self._had and self._ranges:
            asked["Range"] = f"bytes={self._had}-"
            if self._etag is not None:
                asked["If-Range"] = self._etag
        response = place.get_blob(self._descriptor.digest, asked)
        self._response = response
        if response.status == 404:
            raise BlobNotFound(str(self._descriptor.digest), str(place))
        if response.status == 416:
            self._out_of_range(response)
            return
        refuse_encoding(response, f"blob {self._descriptor.digest}")
        self._skip = self._had
        if response.status == 206:
            self._partial(response, asked)
        else:
            self._check_length(response, self._size)
            etag = response.headers.get("ETag") or ""
            self._etag = etag if etag.startswith('"') and etag.endswith('"') and _is_plain(etag) else None
        self._chunks = response.chunks()

    def _partial(self, response: Response, asked: Mapping[str, str]) -> None:
        """Check what a 206 answer holds (RFC 9110 section 15.3.7); the server may give less than was asked for."""
        found = _CONTENT_RANGE.fullmatch((response.headers.get("Content-Range") or "").strip())
        if found is None or "Range" not in asked:
            raise ProtocolViolation(self._url, "answered 206 without the Content-Range that was asked for")
        first, last = int(found[1]), int(found[2])
        if found[3] != "*" and int(found[3]) != self._size:
            raise SizeMismatch(digest=str(self._descriptor.digest), expected=self._size, actual=int(found[3]))
        if first != self._had or not first <= last < self._size:
            raise ProtocolViolation(self._url, f"asked for bytes {self._had}-, it answered with bytes {first}-{last}")
        self._check_length(response, last - first + 1)
        self._skip = 0

    def _check_length(self, response: Response, expected: int) -> None:
        stated = response.content_length
        if stated is None or stated == expected:
            return
        if response.status == 206:
            raise ProtocolViolation(self._url, "its Content-Length and its Content-Range contradict each other")
        raise SizeMismatch(digest=str(self._descriptor.digest), expected=expected, actual=stated)

    def _out_of_range(self, response: Response) -> None:
        """416: the blob is shorter than we have it already, or the server has a mind of its own about ranges."""
        self._drop()
        if not self._ranges:
            raise ProtocolViolation(self._url, "answered 416 to a request without a range")
        self._ranges = False
        self._open(self._places[0])

    def _skipped(self, chunk: bytes) -> bytes:
        """Read over what is there already, of an answer that began at the beginning."""
        take = min(self._skip, len(chunk))
        self._skip -= take
        return chunk[take:]


def _is_stale(error: OciError) -> bool:
    """Whether this may be about an address that the registry sent us to, and that has run out: it will give a new one.

    What the registry itself says to a request without rights is AuthenticationFailed, so such an answer is of the other
    host; storages also say 400 and 410, in words of their own.
    """
    if not isinstance(error, RegistryRefused):
        return False
    return error.status in (401, 403) or (error.status in (400, 410) and not error.codes)


def _is_plain(text: str) -> bool:
    return len(text) <= 1024 and text.isascii() and text.isprintable() and " " not in text
