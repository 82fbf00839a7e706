"""What a registry's answer says a manifest is: its media type and its digest (spec.md#pulling-manifests).

distribution-spec v1.1.1. The digest is computed from the bytes, whatever anybody says; what the reference and
`Docker-Content-Digest` say is then compared with it. The media type is the Content-Type without its parameters; where a
server has none or a generic one, the document's own `mediaType` stands in, and where that is missing, its shape.
"""

from __future__ import annotations

from oci.errors import DigestMismatch, InvalidDigest, InvalidDocument, ProtocolViolation
from oci.http.exchange import Response
from oci.spec import media_types
from oci.spec.digest import Digest
from oci.spec.record import Record
from oci.spec.wire import MAX_MANIFEST, loads

__all__ = [
    "ACCEPT",
    "Fetched",
    "as_document",
    "digest_of",
    "fetched",
    "media_type_of",
    "plain_type",
    "refuse_encoding",
    "stated_digest",
    "stated_type",
]

# What we read, the OCI types first. `*/*` at the end: some registries answer 404 or 406 for a type that is not listed,
# where its name in an error would help more (artifacts of other kinds, Docker's schema 1).
ACCEPT = ", ".join(
    (media_types.MANIFEST, media_types.INDEX, media_types.DOCKER_MANIFEST, media_types.DOCKER_LIST, "*/*")
)

# What servers say that don't know better: object stores, web servers, registries with a plain file behind them. HTML is
# the log-in page of a Wi-Fi or a proxy: reading it as a document tells that it is none.
_GENERIC = frozenset(
    ("", "application/json", "application/octet-stream", "binary/octet-stream", "text/plain", "text/json", "text/html")
)

_DOCUMENTS = {media_types.MANIFEST, media_types.INDEX, media_types.DOCKER_MANIFEST, media_types.DOCKER_LIST}
_KNOWN = _GENERIC | _DOCUMENTS
_KNOWN |= set(media_types.DOCKER_SCHEMA_1)

_SCHEMA_1 = (
    "is in Docker's schema 1 format, which names no content that can be verified; "
    "have the image pushed again by a current tool, or choose another tag"
)


class Fetched(Record, kw_only=False):
    """A manifest or index as it came: its bytes, media type, and digest (checked)."""

    raw: bytes
    media_type: str
    digest: Digest


def fetched(response: Response, raw: bytes, wanted: Digest | None, *, what: str) -> Fetched:
    """Take an answer for what it is; `wanted` is the digest that was asked for, None where it was a tag.

    Raises DigestMismatch, InvalidDocument (Docker's schema 1), ProtocolViolation.
    """
    refuse_encoding(response, what)
    return Fetched(raw, media_type_of(response, raw, what=what), digest_of(response, raw, wanted, what=what))


def as_document(found: Fetched, *, what: str) -> Fetched:
    """The same under a document's type, whatever the header said. InvalidDocument where the bytes are none.

    Under another type, an image would be a thing of its own: copied without its layers, under its own digest.
    """
    if found.media_type in _DOCUMENTS:
        return found
    return Fetched(found.raw, _own_type(found.raw, what), found.digest)


def refuse_encoding(response: Response, what: str) -> None:
    """Refuse an answer that was compressed on its way: we asked for none, and digests are of the bytes as they are."""
    coding = (response.headers.get("Content-Encoding") or "identity").strip().lower()
    if coding not in ("identity", ""):
        raise ProtocolViolation(
            response.place, f"{what} came with Content-Encoding {coding[:40]!r}, which nobody asked for"
        )


def digest_of(response: Response, raw: bytes, wanted: Digest | None, *, what: str) -> Digest:
    """The digest of the bytes, after it was held against what was asked for and what the registry says."""
    stated = stated_digest(response, what)
    if wanted is None and (stated is None or not stated.supported):
        return Digest.of(raw)
    for digest in (wanted, stated):
        if digest is not None and digest.supported:
            actual = Digest.of(raw, digest.algorithm)
            if actual != digest:
                error = DigestMismatch(expected=str(digest), actual=str(actual))
                error.said_of(what)
                raise error
    if wanted is not None:
        wanted.hasher()  # UnsupportedDigest: nothing says that these bytes are the right ones
        return wanted
    assert stated is not None
    return stated


def stated_digest(response: Response, what: str) -> Digest | None:
    """What `Docker-Content-Digest` says, None where the registry says nothing."""
    text = (response.headers.get("Docker-Content-Digest") or "").strip()
    if not text:
        return None
    try:
        return Digest.parse(text)
    except InvalidDigest:
        raise ProtocolViolation(response.place, f"{what}: its Docker-Content-Digest is no digest") from None


def media_type_of(response: Response, raw: bytes, *, what: str) -> str:
    """The media type by Content-Type, else by the document."""
    said = stated_type(response) or _own_type(raw, what)
    if said in media_types.DOCKER_SCHEMA_1:
        raise InvalidDocument(_SCHEMA_1, document=what)
    return said


def stated_type(response: Response) -> str | None:
    """What Content-Type says of the document; None where it says nothing, or what web servers say of anything."""
    said = plain_type(response)
    return said if said not in _GENERIC and media_types.is_media_type(said) else None


def plain_type(response: Response) -> str:
    """The Content-Type without parameters, "" where there is none; types known here are in lower case."""
    said = (response.headers.get("Content-Type") or "").partition(";")[0].strip()
    lower = said.lower()
    return lower if lower in _KNOWN else said


def _own_type(raw: bytes, what: str) -> str:
    value = loads(raw, document=what, limit=MAX_MANIFEST)
    if not isinstance(value, dict):
        raise InvalidDocument("is JSON, but no object", document=what)
    own = value.get("mediaType")
    if isinstance(own, str) and media_types.is_media_type(own):
        return own
    if value.get("schemaVersion") == 1 or "fsLayers" in value:
        return media_types.DOCKER_SCHEMA_1[0]
    return media_types.INDEX if "manifests" in value else media_types.MANIFEST
