"""Blobs and manifests going out (distribution-spec v1.1.1 spec.md#pull).

A blob goes out as it lies on disk, whole or in part: clients check it against its digest. A manifest is checked here,
before it goes out; it is small. Both are named by their content, so their ETag is their digest.
"""

from __future__ import annotations

import os

from oci.layout.documents import read_bytes
from oci.serving.exchange import Answer, FilePart, Refusal, Request
from oci.serving.ranges import byte_range
from oci.serving.store import Store
from oci.spec.descriptor import Descriptor
from oci.spec.digest import Digest

__all__ = ["blob", "find_manifest", "manifest"]


def blob(store: Store, request: Request, repository: str, digest: Digest) -> Answer:
    """end-2: a blob or a range of it."""
    if store.blob_size(repository, digest) is None:
        raise Refusal(404, "BLOB_UNKNOWN", f"no blob {digest} in {repository}")
    etag = f'"{digest}"'
    named = [("Docker-Content-Digest", str(digest)), ("ETag", etag), ("Cache-Control", "max-age=31536000, immutable")]
    if _is_known(request, etag):
        return Answer(304, named)
    descriptor = store.layout.blobs.open_file(digest)
    try:
        size = os.fstat(descriptor).st_size
        headers = [("Content-Type", "application/octet-stream"), ("Accept-Ranges", "bytes"), *named]
        part = byte_range(request.headers.get("range"), size) if _may_be_part(request, etag) else None
        if part is None:
            return Answer(200, headers, FilePart(descriptor, 0, size))
        offset, length = part
        if length == 0:
            raise Refusal(
                416,
                "SIZE_INVALID",
                f"{digest} has {size} bytes, none of them there",
                [("Content-Range", f"bytes */{size}")],
            )
        headers.append(("Content-Range", f"bytes {offset}-{offset + length - 1}/{size}"))
        return Answer(206, headers, FilePart(descriptor, offset, length))
    except BaseException:
        os.close(descriptor)
        raise


def _is_known(request: Request, etag: str) -> bool:
    """Whether the client has it already (RFC 9110 section 13.1.2)."""
    given = request.headers.get("if-none-match")
    if given is None:
        return False
    return given.strip() == "*" or etag in [one.strip().removeprefix("W/") for one in given.split(",")]


def _may_be_part(request: Request, etag: str) -> bool:
    """Whether Range counts: GET only, and not when If-Range names another content (RFC 9110 section 13.1.5)."""
    return request.method == "GET" and request.headers.get("if-range", etag).strip() == etag


def find_manifest(store: Store, repository: str, reference: str | Digest) -> Descriptor:
    """Find a manifest by tag or digest; 404."""
    view = store.view(repository)
    if not view.exists:
        raise Refusal(404, "NAME_UNKNOWN", f"no repository {repository}")
    found = view.documents.get(reference) if isinstance(reference, Digest) else view.tags.get(reference)
    if found is None:
        kind = "manifest" if isinstance(reference, Digest) else "tag"
        raise Refusal(404, "MANIFEST_UNKNOWN", f"no {kind} {reference} in {repository}")
    return found


def manifest(store: Store, request: Request, repository: str, reference: str | Digest) -> Answer:
    """end-3: a manifest, byte for byte as it was pushed."""
    found = find_manifest(store, repository, reference)
    etag = f'"{found.digest}"'
    named = [("Docker-Content-Digest", str(found.digest)), ("ETag", etag)]
    if _is_known(request, etag):
        return Answer(304, named)
    return Answer(200, [("Content-Type", found.media_type), *named], read_bytes(store.layout.blobs, found))
