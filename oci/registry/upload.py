"""Pushing a blob, whatever of the spec's ways the registry takes (distribution-spec v1.1.1 spec.md#pushing-blobs).

A small blob goes with the POST that would begin its upload; a registry that doesn't know this has begun one then. Any
other goes in one PUT. Where that is turned down for its length or its kind, it goes in chunks. A connection that is
cut, a 416 or a passing fault of the server is followed by the question how far the upload is, and by the rest of the
bytes in chunks; where the question has no answer, by a new upload. A blob fails after `settings.attempts` failures
without a byte of progress between them, and an upload that was begun and not finished is cancelled.

Nothing here asks whether the blob is there already, and nothing moves a tag. `OCI-Chunk-Min-Length` says how chunks
have to be, not that there have to be any.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from oci.errors import ConnectionFailed, ProtocolViolation, RegistryError, RegistryRefused
from oci.http.exchange import NotReached
from oci.http.retry import may_pass
from oci.layout.blobs import Content
from oci.registry.sending import Body
from oci.registry.sessions import (
    GONE,
    Upload,
    begin,
    begun,
    cancel,
    check_created,
    next_location,
    progress_of,
    push_scopes,
    reached,
    uploads_path,
    with_digest,
)
from oci.spec.descriptor import Descriptor

if TYPE_CHECKING:
    from oci.http.retry import Backoff
    from oci.registry.repository import Repository

__all__ = ["Uploader", "put_blob"]

MAX_WHOLE = 128 << 10  # bytes of a blob that is sent with the POST; Go's server reads on so far when it doesn't want it
MAX_FAILURES = (
    100  # of one blob in all: a registry that takes one byte and cuts the connection makes progress for years
)
MAX_MEAGRE = 100  # chunks of one blob of which less than half was taken; the same, without a cut

# What most registries take (ECR wants 5 MiB, Harbor on GCS multiples of 256 KiB) and what a cut may cost.
CHUNK_SIZE = 16 << 20
LEAST_CHUNK = 512 << 10  # nginx's default limit for a body is 1 MiB

_BYTES = {"Content-Type": "application/octet-stream"}
_NOT_WHOLE = (405, 411, 413, 501)
_SPOILT = frozenset(("BLOB_UPLOAD_INVALID", "DIGEST_INVALID", "RANGE_INVALID", "SIZE_INVALID"))


def put_blob(
    repository: Repository, descriptor: Descriptor, content: Content, *, started: Upload | None = None
) -> None:
    """Upload a blob, verified while it is sent; `started` is a session that was begun already (by `mount`).

    Raises SizeMismatch or DigestMismatch, with nothing in the registry, when the content is not what the descriptor
    says, and RegistryError.
    """
    Uploader(repository).put(descriptor, content, started=started)


class Uploader:
    """Uploads into one repository; what the registry turned down once is not tried with every blob. Thread-safe."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self.by_post = True  # small blobs
        self.whole = True
        self.chunk = CHUNK_SIZE

    def put(self, descriptor: Descriptor, content: Content, *, started: Upload | None = None) -> None:
        """As `put_blob`."""
        body = Body(descriptor, content)
        push = _Push(self, descriptor, body, started)
        try:
            push.run()
        except BaseException as error:
            # A dead connection would hold up the news, and an interrupt doesn't wait: the session runs out by itself.
            if push.session is not None and isinstance(error, Exception) and not isinstance(error, ConnectionFailed):
                cancel(self.repository, push.session)
            raise
        finally:
            body.close()


class _Push:
    """One blob's way up: the session, and how many of its bytes the registry has for certain."""

    def __init__(self, manners: Uploader, descriptor: Descriptor, body: Body, session: Upload | None) -> None:
        self._manners, self._repository, self._client = manners, manners.repository, manners.repository.client
        self._digest, self._size, self._body = descriptor.digest, descriptor.size, body
        self._what = f"blob {descriptor.digest}"
        self.session, self._offset = session, 0
        self._meagre = 0
        self._in_chunks = not manners.whole

    def run(self) -> None:
        if self._size <= MAX_WHOLE:
            raw = self._body.whole()
            if self.session is None and self._manners.by_post and self._post(raw):
                return
        best = 0
        backoff = self._client.backoff()
        for _ in range(MAX_FAILURES):
            if self.session is None:
                self.session, self._offset = begin(self._repository, self._digest), 0  # repeated by the client
            try:
                self._send(self.session)
                return
            except RegistryError as error:
                if self._body.fault is not None:
                    raise self._body.fault from None
                if self._offset > best:
                    best, backoff = self._offset, self._client.backoff()
                if not self._goes_on(error, backoff):
                    raise
        raise ProtocolViolation(self._what, f"{self._repository} broke off the upload {MAX_FAILURES} times")

    def _post(self, raw: bytes) -> bool:
        """Send a small blob with the first request; False: it has to be sent to the session, or a new one."""
        try:
            with self._client.request(
                "POST",
                with_digest(uploads_path(self._repository), self._digest),
                scopes=push_scopes(self._repository),
                headers=_BYTES,
                body=raw,
                length=len(raw),
                expect=(201, 202),
                retry=False,
                what=self._what,
            ) as response:
                if response.status == 201:
                    response.discard()
                    check_created(response, self._digest, self._what)
                    return True
                self._manners.by_post = False
                self.session = begun(response)
        except RegistryRefused as error:
            if not may_pass(error.status):
                self._manners.by_post = False
        except ConnectionFailed as error:
            if not error.again:
                raise
            self._manners.by_post = False
        return False

    def _send(self, session: Upload) -> None:
        if not self._in_chunks and not self._offset:
            self._put(session, self._size)
            return
        while self._offset < self._size:
            session = self._patch(session)
        self._put(session, 0)

    def _put(self, session: Upload, length: int) -> None:
        """Close the session, with all bytes or with none."""
        with self._client.request(
            "PUT",
            with_digest(session.location, self._digest),
            scopes=push_scopes(self._repository),
            headers=_BYTES,
            body=self._bytes(length),
            length=length,
            expect=(201,),
            retry=False,
            what=self._what,
        ) as response:
            response.discard()
            self.session = None  # nothing is left to be cancelled
            check_created(response, self._digest, self._what)

    def _bytes(self, length: int) -> bytes | Callable[[], Iterator[bytes]]:
        """The first bytes of the blob for a request; a small blob is sent in one piece with its head."""
        if not length:
            return b""
        return self._body.whole() if length == self._size <= MAX_WHOLE else lambda: self._body.window(0, length)

    def _patch(self, session: Upload) -> Upload:
        """Send the next chunk; give the session as it is then."""
        start = self._offset
        length = min(max(self._manners.chunk, session.chunk_min), self._size - start)
        with self._client.request(
            "PATCH",
            session.location,
            scopes=push_scopes(self._repository),
            headers={**_BYTES, "Content-Range": f"{start}-{start + length - 1}"},
            body=lambda: self._body.window(start, length),
            length=length,
            expect=(201, 202, 204),
            retry=False,
            what=self._what,
        ) as response:
            response.discard()
            self.session = session = session.replace(location=next_location(response, default=session.location))
            taken = reached(response)
            # Fewer bytes than were sent are no fault, as long as they are some. 0 stands for one byte too.
            if taken is None or start + length == 1:
                taken = start + length
            if not start < taken <= start + length:
                raise ConnectionFailed(response.url, f"{self._what}: the registry lost count, it has {taken} bytes now")
            self._meagre += taken - start < length / 2
            if self._meagre > MAX_MEAGRE:
                reason = f"{self._what}: the registry takes a few bytes of each chunk only, it has {taken} bytes now"
                raise ProtocolViolation(response.url, reason)
            self._offset = taken
        return session

    def _goes_on(self, error: RegistryError, backoff: Backoff) -> bool:
        """Prepare the next attempt after a failure; False: there is none."""
        if isinstance(error, ConnectionFailed):
            done = isinstance(error, NotReached) or not error.again  # not reached: the client did its best
            if done or not backoff.go_on():
                return False
            # The second cut of one long request: shorter ones may come through, and an answer that got lost when the
            # server closed the connection may have been a 413.
            self._in_chunks = self._in_chunks or backoff.tried > 2
            self._take_up()
            return True
        if not isinstance(error, RegistryRefused):
            return False
        if error.status in _NOT_WHOLE or "UNSUPPORTED" in error.codes:
            return self._shorter(error)
        if error.status in GONE or "BLOB_UPLOAD_UNKNOWN" in error.codes:
            self.session, self._offset = None, 0
            return backoff.go_on()
        # 429 was waited for by the client.
        if error.status == 416 or (may_pass(error.status) and error.status != 429):
            if not backoff.go_on():
                return False
            start = self._offset
            self._take_up()
            if error.status == 416 and self._in_chunks and self._offset == start:  # GHCR says so of chunks over 4 MiB
                self._manners.chunk = max(self._manners.chunk // 2, LEAST_CHUNK)
            return True
        if self._offset and not _SPOILT.isdisjoint(error.codes):  # what it kept from before a cut was not what we sent
            self._anew()
            return backoff.go_on()
        return False

    def _shorter(self, error: RegistryRefused) -> bool:
        if not self._in_chunks and not self._offset:
            self._in_chunks = True
            self._manners.whole = error.status == 413 and self._manners.whole
            self._anew()
            return True
        shorter = self._manners.chunk // 2
        if error.status != 413 or shorter < LEAST_CHUNK:
            return False
        self._manners.chunk = shorter
        self._take_up()
        return True

    def _take_up(self) -> None:
        """Go on where the registry is; begin anew where it can't say."""
        found = progress_of(self._repository, self.session, self._what) if self.session is not None else None
        if found is None:
            self.session, self._offset = None, 0
        elif 0 < found[1] <= self._size:
            self.session, self._offset = found
        else:
            self._anew()

    def _anew(self) -> None:
        if self.session is not None:
            cancel(self._repository, self.session)
        self.session, self._offset = None, 0
