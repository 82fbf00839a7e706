"""Upload sessions: begun by POST, known by their Location, asked how far they are, and given up.

distribution-spec v1.1.1 spec.md#pushing-a-blob-monolithically, #pushing-a-blob-in-chunks, #cancel-a-blob-upload. A
Location is the registry's own word: relative or absolute, with a query that is kept as it is, and new with every
answer. Whether it may be asked, and who gets our credentials, is for the client to decide (client.py). One repair is
made here: a registry behind a proxy that ends TLS may write its own address with `http:`; on the same host it is read
as the origin we came by, never the other way round.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote

from oci.auth.scope import Scope, to_push
from oci.errors import OciError, ProtocolViolation, RegistryError, RegistryRefused
from oci.http.urls import parse_url, resolve
from oci.registry.manifests import stated_digest
from oci.spec.digest import Digest
from oci.spec.record import Record

if TYPE_CHECKING:
    from oci.http.exchange import Response
    from oci.registry.repository import Repository

__all__ = [
    "GONE",
    "Upload",
    "begin",
    "begun",
    "cancel",
    "check_created",
    "next_location",
    "progress_of",
    "push_scopes",
    "reached",
    "uploads_path",
    "with_digest",
]

MAX_SIZE = 1 << 62  # bytes that a header may speak of; more is no size of a blob

_NUMBER = re.compile(r"[0-9]{1,19}")
_RANGE = re.compile(r"(?:bytes=)?([0-9]{1,19})-([0-9]{1,19})")


GONE = (404, 410)  # statuses of a session that ran out, was cancelled, or never was


class Upload(Record, kw_only=False):
    """A session: where the next bytes go, and the least length of a chunk that isn't the last (0: any)."""

    location: str
    chunk_min: int = 0


def push_scopes(repository: Repository) -> tuple[Scope, ...]:
    """What a request of a push asks a token for."""
    return (to_push(repository.name),)


def uploads_path(repository: Repository) -> str:
    return f"/v2/{repository.name}/blobs/uploads/"


def begin(repository: Repository, digest: Digest) -> Upload:
    """Begin a session for a blob. A POST that is repeated leaves nothing behind but a session that runs out."""
    other = f"?digest-algorithm={digest.algorithm}" if digest.algorithm != "sha256" else ""  # end-4c
    with repository.client.request(
        "POST",
        uploads_path(repository) + other,
        scopes=push_scopes(repository),
        headers={"Content-Length": "0"},
        expect=(202,),
        retry=True,
        what=f"upload of {digest} to {repository}",
    ) as response:
        return begun(response)


def begun(response: Response) -> Upload:
    """The session of a 202."""
    response.discard()
    minimum = (response.headers.get("OCI-Chunk-Min-Length") or "").strip()
    return Upload(next_location(response), min(int(minimum), MAX_SIZE) if _NUMBER.fullmatch(minimum) else 0)


def next_location(response: Response, *, default: str | None = None) -> str:
    """Where an answer sends us, as an absolute URL; `default` is for answers that need not say."""
    said = (response.headers.get("Location") or "").strip()
    if not said:
        if default is None:
            raise ProtocolViolation(response.url, "the registry accepts an upload, but doesn't say where (no Location)")
        return default
    try:
        here = parse_url(response.url)
        there = resolve(here, said)
    except ProtocolViolation as error:
        raise ProtocolViolation(response.url, f"the Location of the upload is {error.reason}") from None
    if (here.scheme, there.scheme, there.host) == ("https", "http", here.host) and there.port in (80, here.port):
        there = there.replace(scheme="https", port=here.port)
    return str(there)


def with_digest(location: str, digest: Digest) -> str:
    """The URL that closes a session: the Location, its query kept to the byte, and the digest."""
    address, _, query = location.partition("?")
    kept = [part for part in query.split("&") if part and part.partition("=")[0] != "digest"]
    return f"{address}?{'&'.join([*kept, 'digest=' + quote(str(digest), safe='')])}"


def reached(response: Response) -> int | None:
    """How many bytes the registry says that it has; None where it says nothing.

    `0-0` may be one byte or, in distribution, none: whoever has to know begins anew.
    """
    said = _RANGE.fullmatch((response.headers.get("Range") or "").strip())
    if said is None:
        return None
    first, last = int(said[1]), int(said[2])
    if first or last > MAX_SIZE:
        raise ProtocolViolation(response.url, f"the Range of an upload is {said[0]!r}, expected 0-END")
    return last + 1 if last else 0


def progress_of(repository: Repository, upload: Upload, what: str) -> tuple[Upload, int] | None:
    """Ask a session how far it is: 0 where it has nothing or can't say, None where it is gone.

    Why it can't is of no interest, the next step is the same. (distribution answers 400, 404 or 416 when bytes came in
    after it gave out this Location, which holds the offset.)
    """
    try:
        with repository.client.request(
            "GET", upload.location, scopes=push_scopes(repository), expect=(200, 202, 204), retry=False, what=what
        ) as response:
            response.discard()
            return upload.replace(location=next_location(response, default=upload.location)), reached(response) or 0
    except RegistryError as error:
        return None if isinstance(error, RegistryRefused) and error.status in GONE else (upload, 0)


def check_created(response: Response, digest: Digest, what: str) -> None:
    """Hold the answer's `Docker-Content-Digest`, if it has one, against what was sent.

    One of another algorithm says nothing: registries may keep sha256 names beside the one that was asked for.
    """
    said = stated_digest(response, what)
    if said is not None and said.algorithm == digest.algorithm and said != digest:
        raise ProtocolViolation(response.url, f"{what}: sent as {digest}, the registry says that it has {said}")


def cancel(repository: Repository, upload: Upload) -> None:
    """Give a session up; that this fails is no matter (spec.md#cancel-a-blob-upload), it runs out by itself."""
    try:
        with repository.client.request(
            "DELETE",
            upload.location,
            scopes=push_scopes(repository),
            headers={"Content-Length": "0"},
            # distribution wants the right to delete for this, which one who pushes seldom has.
            expect=(*range(200, 300), *range(400, 500)),
            retry=False,
            what="upload",
        ) as response:
            response.discard()
    except OciError:
        pass
