"""Pushing a manifest or index, by tag or by digest (distribution-spec v1.1.1 spec.md#pushing-manifests).

The bytes go as they are, under their own media type (send_manifest.py). A registry that doesn't acknowledge a `subject`
by OCI-Subject has no referrers API: then the manifest is listed under the referrers tag as well (referrers_tag.py).
What the manifest names has to be there before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oci.errors import DigestMismatch, InvalidDocument, LimitExceeded, show
from oci.registry import referrers_tag
from oci.registry.send_manifest import send_manifest
from oci.spec.descriptor import Descriptor
from oci.spec.digest import Digest
from oci.spec.document import parse_document
from oci.spec.index import Index
from oci.spec.manifest import Manifest
from oci.spec.media_types import is_media_type
from oci.spec.wire import MAX_MANIFEST, loads

if TYPE_CHECKING:
    from oci.registry.repository import Repository

__all__ = ["put_manifest", "understood"]


def put_manifest(repository: Repository, raw: bytes, media_type: str, reference: str | Digest) -> Digest:
    """Push a manifest or index; give its digest. Once it is there, the referrers tag of its subject is kept up to date.

    Raises DigestMismatch for bytes that aren't `reference`'s, InvalidDocument for bytes that say they are of another
    type, InvalidReference, RegistryError.
    """
    digest = Digest.of(raw, reference.algorithm if isinstance(reference, Digest) else "sha256")
    if isinstance(reference, Digest) and digest != reference:
        raise DigestMismatch(expected=str(reference), actual=str(digest))
    _check_type(raw, media_type, repository.called(reference))
    acknowledged = send_manifest(repository, raw, media_type, reference)
    model = understood(raw, media_type)
    if model is not None and model.subject is not None and str(model.subject.digest) not in acknowledged:
        referrers_tag.add(repository, model.subject.digest, _entry(model, media_type, digest, len(raw)))
    return digest


def _check_type(raw: bytes, media_type: str, what: str) -> None:
    """Refuse to send a document under another type than its own (spec.md#pushing-manifests), of whatever kind it is."""
    try:
        value = loads(raw, document=what, limit=MAX_MANIFEST)
    except (InvalidDocument, LimitExceeded):
        return  # no JSON that we read: it says nothing
    own = value.get("mediaType") if isinstance(value, dict) else None
    if isinstance(own, str) and own != media_type and is_media_type(media_type):
        raise InvalidDocument(f"its mediaType is {show(own)}, but it is named {media_type}", document=what)


def understood(raw: bytes, media_type: str) -> Manifest | Index | None:
    """What a document says, as far as we know its kind: media types of others are the registry's business alone."""
    try:
        return parse_document(raw, media_type).model
    except InvalidDocument:
        return None


def _entry(model: Manifest | Index, media_type: str, digest: Digest, size: int) -> Descriptor:
    """How the manifest stands in a list of referrers (spec.md#pushing-manifests-with-subject)."""
    return Descriptor(
        media_type=media_type,
        digest=digest,
        size=size,
        artifact_type=model.listed_type,
        annotations=dict(model.annotations),
    )
