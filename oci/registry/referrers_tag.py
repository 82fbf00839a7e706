"""The list of referrers that clients keep themselves, under a tag, for registries without the referrers API.

distribution-spec v1.1.1 spec.md#referrers-tag-schema, #pushing-manifests-with-subject, #deleting-manifests: read the
index under `sha256-HEX`, change it, write it back. Between reading and writing another client can write, and is lost
then; the spec leaves that open, and only within this process it can't happen here.

A subject is a stranger's word: of the digest `release:10` the tag is `release-10`, which may be an index of ours. So
only subjects of registered algorithms are listed, whose tags nobody gives to anything else.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from oci.errors import InvalidDocument, ProtocolViolation, RefNotFound, UnsupportedDigest, read_from
from oci.registry.referrers import referrers_tag
from oci.registry.send_manifest import send_manifest
from oci.spec import media_types
from oci.spec.descriptor import Descriptor
from oci.spec.digest import ENCODED_LENGTH, Digest
from oci.spec.document import Document, parse_index
from oci.spec.index import Index

if TYPE_CHECKING:
    from oci.registry.repository import Repository

__all__ = ["add", "remove"]

_one_at_a_time = threading.Lock()


def add(repository: Repository, subject: Digest, entry: Descriptor) -> None:
    """List a manifest as a referrer of `subject`, unless it is.

    Raises ProtocolViolation where the tag holds another thing, UnsupportedDigest for a subject of an unknown algorithm.
    """
    if subject.algorithm not in ENCODED_LENGTH:
        raise UnsupportedDigest(str(subject), subject.algorithm)

    def added(index: Index) -> Index:
        if any(known.digest == entry.digest for known in index.manifests):
            return index
        return index.replace(manifests=(*index.manifests, entry))

    _change(repository, subject, added)


def remove(repository: Repository, subject: Digest, digest: Digest) -> None:
    """Take a manifest that is deleted from the list, if there is one; the tag stays, with an empty list if need be."""
    if subject.algorithm not in ENCODED_LENGTH:
        return  # nothing of ours is there

    def without(index: Index) -> Index:
        return index.replace(manifests=tuple(entry for entry in index.manifests if entry.digest != digest))

    _change(repository, subject, without)


def _change(repository: Repository, subject: Digest, change: Callable[[Index], Index]) -> None:
    tag = referrers_tag(subject)
    with _one_at_a_time:
        old = _read(repository, tag)
        new = change(old)
        if new != old:
            send_manifest(repository, Document.of(new).raw, media_types.INDEX, tag)


def _read(repository: Repository, tag: str) -> Index:
    where = f"{repository}:{tag}"
    try:
        found = repository.manifest(tag)
    except RefNotFound:
        return Index(manifests=())
    if found.media_type == media_types.INDEX:
        try:
            with read_from(where):
                return parse_index(found.raw, media_type=found.media_type).model
        except InvalidDocument as error:
            reason = str(error)
    else:
        reason = f"it has the media type {found.media_type}"
    raise ProtocolViolation(
        where, f"the tag should hold the list of referrers, but is no image index ({reason}); the manifest isn't listed"
    )
