"""Who refers to a manifest: the referrers API, and the tag that stands in for it (distribution-spec v1.1.1).

spec.md#listing-referrers: an index whose entries have the manifest as their `subject`, in pages, filtered by the
registry or else here. spec.md#unavailable-referrers-api: a registry without that API answers 404 (some 400, 405 or 406,
and some 200 with a page for people); then the index that clients keep under the tag `sha256-HEX` is read. No valid
index there means no referrers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote

from oci.errors import InvalidDocument, LimitExceeded, ProtocolViolation, RefNotFound
from oci.registry.manifests import media_type_of, plain_type, refuse_encoding
from oci.registry.pages import Pages
from oci.spec import media_types
from oci.spec.descriptor import Descriptor
from oci.spec.digest import Digest
from oci.spec.document import parse_index
from oci.spec.record import Record
from oci.spec.wire import MAX_MANIFEST

if TYPE_CHECKING:
    from oci.auth.scope import Scope
    from oci.http.exchange import Response
    from oci.registry.client import Client
    from oci.registry.manifests import Fetched

__all__ = ["has_api", "referrers", "referrers_tag"]

MAX_REFERRERS = 100_000  # of one manifest; signatures, attestations and the like come by the dozen
MAX_LISTED = 64 << 20  # bytes of all pages of one list: who wants it whole holds it in memory, annotations too

# What registries without the API have been seen to say: 404 (the spec's word), 405 (ECR), 400 (Nexus), 406.
_UNAVAILABLE = (400, 404, 405, 406)


class Manifests(Protocol):
    """The part of a repository that is used here."""

    @property
    def client(self) -> Client: ...

    @property
    def name(self) -> str: ...

    @property
    def scopes(self) -> tuple[Scope, ...]: ...

    def manifest(self, reference: str) -> Fetched: ...


def referrers(repository: Manifests, digest: Digest, *, artifact_type: str | None = None) -> Iterator[Descriptor]:
    """Give each manifest whose subject is `digest`, once; with `artifact_type` only those of that type.

    Whether their `subject` really says so, only reading them tells. Raises ProtocolViolation, LimitExceeded,
    RegistryError.
    """
    seen: set[Digest] = set()
    listed = 0
    what = f"referrers of {repository}@{digest}"
    path = f"/v2/{repository.name}/referrers/{digest}"
    if artifact_type is not None:
        path += f"?artifactType={quote(artifact_type, safe='')}"
    pages = Pages(path, host=repository.client.host, what=what)
    for page in pages:
        answer = _ask(repository, page, what)
        listed += answer.length
        if listed > MAX_LISTED:
            raise LimitExceeded(f"bytes of the list of {what}", MAX_LISTED)
        if answer.entries is None and page != path:  # it has the API, so the tag is no answer
            raise ProtocolViolation(
                answer.response.place, f"{what}: the registry has lost a page of the list on the way"
            )
        found = answer.entries if answer.entries is not None else _by_tag(repository, digest)
        new = list({entry.digest: entry for entry in found if entry.digest not in seen}.values())
        seen.update(entry.digest for entry in new)
        if len(seen) > MAX_REFERRERS:
            raise LimitExceeded(what, MAX_REFERRERS)
        if answer.entries is not None:
            pages.turn(answer.response, len(new))
        for entry in new:
            if artifact_type in (None, entry.artifact_type) or (answer.filtered and entry.artifact_type is None):
                yield entry


def has_api(repository: Manifests, digest: Digest) -> bool:
    """Ask whether the registry has the referrers API: it answers 200 for any digest then."""
    what = f"referrers of {repository}@{digest}"
    return _ask(repository, f"/v2/{repository.name}/referrers/{digest}", what).entries is not None


class _Page(Record, kw_only=False):
    """One page of the API: the answer that it came by, its entries (None without such an API), its length in bytes."""

    response: Response
    entries: tuple[Descriptor, ...] | None = None
    length: int = 0
    filtered: bool = False  # by the registry


def _ask(repository: Manifests, page: str, what: str) -> _Page:
    with repository.client.request(
        "GET",
        page,
        scopes=repository.scopes,
        headers={"Accept": media_types.INDEX},
        expect=(200, *_UNAVAILABLE),
        what=what,
    ) as response:
        if response.status != 200 or plain_type(response) in ("text/html", "text/plain"):
            response.discard()
            return _Page(response)
        refuse_encoding(response, what)
        raw = response.read(MAX_MANIFEST, what)
    if media_type_of(response, raw, what=what) != media_types.INDEX:
        return _Page(response)
    applied = ",".join(response.headers.all("OCI-Filters-Applied")).lower()
    filtered = "artifacttype" in (word.strip() for word in applied.split(","))
    return _Page(response, parse_index(raw, media_type=media_types.INDEX).model.manifests, len(raw), filtered)


def _by_tag(repository: Manifests, digest: Digest) -> tuple[Descriptor, ...]:
    """The entries of the index under the referrers tag."""
    try:
        found = repository.manifest(referrers_tag(digest))
        if found.media_type != media_types.INDEX:
            return ()
        return parse_index(found.raw, media_type=found.media_type).model.manifests
    except (RefNotFound, InvalidDocument):
        return ()


def referrers_tag(digest: Digest) -> str:
    """The tag that stands for a digest's referrers (spec.md#referrers-tag-schema)."""
    return re.sub("[^A-Za-z0-9._-]", "-", f"{digest.algorithm[:32]}-{digest.encoded[:64]}")
