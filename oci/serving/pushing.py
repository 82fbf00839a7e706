"""Uploads, mounts and manifests coming in, and deletes (distribution-spec v1.1.1 spec.md#push, #content-management)."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import nullcontext

from oci.errors import DigestMismatch, InvalidDigest, InvalidDocument, UnsupportedDigest
from oci.layout.documents import MAX_DOCUMENT
from oci.serving.contents import Contents
from oci.serving.exchange import Answer, Refusal, Request
from oci.serving.ranges import content_range
from oci.serving.store import Store
from oci.serving.uploads import Upload, Uploads, check_algorithm
from oci.spec.annotations import is_tag
from oci.spec.descriptor import Descriptor
from oci.spec.digest import Digest
from oci.spec.document import parse_document
from oci.spec.reference import is_repository
from oci.streams.chunks import CHUNK

__all__ = ["Pushing"]

MAX_DIGEST = 250  # characters: it becomes the name of a file; sha512 has 135
MAX_TAGS = 100  # tags in one push of a manifest by digest; the draft of spec 1.2 asks for ten at least
LARGE = 256 << 10  # bytes of a manifest; larger ones are taken one by one: each needs twenty times that memory


class Pushing:
    """The endpoints that change something."""

    def __init__(self, store: Store, uploads: Uploads) -> None:
        self._store, self._uploads = store, uploads
        self._large = threading.Lock()

    # Blobs

    def start(self, request: Request, repository: str) -> Answer:
        """end-4, end-11: begin an upload; or take the blob from this request, or from another repository."""
        mount = request.query("mount")
        if mount is not None and self._mount(repository, parse_digest(mount), request.query("from")):
            return self._created(repository, parse_digest(mount))
        whole = request.query("digest")
        digest = None if whole is None else parse_digest(whole)
        algorithm = digest.algorithm if digest is not None else request.query("digest-algorithm") or "sha256"
        check_algorithm(algorithm)
        upload = self._uploads.start(repository)
        upload.use(algorithm)
        if digest is None:
            return self._state(202, upload)
        try:
            self._take(request, upload, None)
        except BaseException:
            self._uploads.cancel(upload)  # nobody knows its name
            raise
        return self._finish(upload, digest)

    def _mount(self, repository: str, digest: Digest, source: str | None) -> bool:
        """Say whether the blob is now this repository's; without `from` only if it was before (spec.md lets us)."""
        if source is None or not is_repository(source):
            return self._store.blob_size(repository, digest) is not None
        size = self._store.blob_size(source, digest)
        # `keep` makes sure that it is on disk: another tool may have put it there a moment ago.
        if size is None or not self._store.layout.blobs.keep(digest, size):
            return False
        self._store.link_blob(repository, digest)
        return True

    def chunk(self, request: Request, repository: str, name: str) -> Answer:
        """end-5: more bytes of an upload."""
        upload = self._uploads.get(repository, name)
        self._take(request, upload, request.headers.get("content-range"))
        return self._state(202, upload)

    def close(self, request: Request, repository: str, name: str) -> Answer:
        """end-6: the end of an upload, with its last bytes or without."""
        upload = self._uploads.get(repository, name)
        text = request.query("digest")
        if text is None:
            raise Refusal(400, "DIGEST_INVALID", "the closing PUT must say the digest")
        digest = parse_digest(text)
        check_algorithm(digest.algorithm)
        self._take(request, upload, request.headers.get("content-range"))
        return self._finish(upload, digest)

    def state(self, request: Request, repository: str, name: str) -> Answer:
        """end-13: how far an upload has come."""
        return self._state(204, self._uploads.get(repository, name))

    def cancel(self, request: Request, repository: str, name: str) -> Answer:
        """end-14: forget an upload."""
        self._uploads.cancel(self._uploads.get(repository, name))
        return Answer(204)

    def _take(self, request: Request, upload: Upload, given: str | None) -> None:
        body, at, due = request.body, None, None
        if given is not None:
            span = content_range(given)
            if span is None:
                raise Refusal(400, "BLOB_UPLOAD_INVALID", "Content-Range must be FIRST-LAST", close=True)
            at, due = span if body.length != 0 else (span[0], None)  # without a body it says where it stands
            if due is not None and body.length not in (None, due):
                raise _other_length(due, f"Content-Length says {body.length}")
        try:
            with upload.open(at) as writer:
                taken = 0
                while data := body.read(CHUNK):
                    taken += len(data)
                    if due is not None and taken > due:
                        raise _other_length(due, "more came")
                    writer.write(data)
            if due is not None and taken < due:
                raise _other_length(due, f"{taken} came")
        except Refusal as refusal:
            if refusal.status == 416:
                refusal.headers = _where(upload)
            raise

    def _finish(self, upload: Upload, digest: Digest) -> Answer:
        try:
            self._uploads.finish(upload, digest)
        except DigestMismatch as error:
            raise Refusal(400, "DIGEST_INVALID", str(error)) from None
        self._store.link_blob(upload.repository, digest)
        return self._created(upload.repository, digest)

    def _created(self, repository: str, digest: Digest) -> Answer:
        location = f"/v2/{repository}/blobs/{digest}"
        return Answer(201, [("Location", location), ("Docker-Content-Digest", str(digest))])

    def _state(self, status: int, upload: Upload) -> Answer:
        return Answer(status, [*_where(upload), ("Docker-Upload-UUID", upload.name)])

    def delete_blob(self, request: Request, repository: str, digest: Digest) -> Answer:
        """end-10: take a blob from a repository."""
        self._store.delete_blob(repository, digest)
        return Answer(202)

    # Manifests

    def put_manifest(self, request: Request, repository: str, reference: str | Digest) -> Answer:
        """end-7: a manifest, by tag or digest; by digest with tags beside it (`?tag=`)."""
        raw = _read_manifest(request)
        digest = _digest_of(raw, reference)
        tags = [reference] if isinstance(reference, str) else request.queries().get("tag", [])
        if len(tags) > MAX_TAGS:
            raise Refusal(414, "UNSUPPORTED", f"more than {MAX_TAGS} tags")
        for tag in tags:
            if not is_tag(tag):
                raise Refusal(400, "MANIFEST_INVALID", f"{tag} is not a tag")
        media_type = request.headers.get("content-type", "").partition(";")[0].strip() or None
        with self._large if len(raw) > LARGE else nullcontext():
            subject = self._keep(raw, media_type, digest, repository, list(dict.fromkeys(tags)))
        headers = [("Location", f"/v2/{repository}/manifests/{digest}"), ("Docker-Content-Digest", str(digest))]
        if subject is not None:
            headers.append(("OCI-Subject", str(subject.digest)))
        if tags and isinstance(reference, Digest):
            headers.append(("OCI-Tag", ", ".join(tags)))
        return Answer(201, headers)

    def _keep(
        self, raw: bytes, media_type: str | None, digest: Digest, repository: str, tags: Sequence[str]
    ) -> Descriptor | None:
        """Make a manifest one of a repository's; gives its subject."""
        try:
            document = parse_document(raw, media_type)
        except InvalidDocument as error:
            raise Refusal(400, "MANIFEST_INVALID", str(error)) from None
        contents = Contents.of(document)
        descriptor = Descriptor(
            media_type=document.media_type,
            digest=digest,
            size=len(raw),
            artifact_type=document.model.artifact_type,
        )
        with self._store.layout.blobs.hold():
            self._store.layout.blobs.put([raw], expected=descriptor)
            self._store.library.keep(descriptor, contents)
            self._store.put_manifest(repository, descriptor, tags)
        return contents.subject

    def delete_manifest(self, request: Request, repository: str, reference: str | Digest) -> Answer:
        """end-9: a tag, or a manifest with all its tags."""
        if not self._store.view(repository).exists:
            raise Refusal(404, "NAME_UNKNOWN", f"no repository {repository}")
        if isinstance(reference, Digest):
            self._store.delete_manifest(repository, reference)
        else:
            self._store.delete_tag(repository, reference)
        return Answer(202)


def _where(upload: Upload) -> list[tuple[str, str]]:
    """Where an upload goes on. `0-0` may mean none or one byte: Docker's registry and its clients have it so."""
    location = f"/v2/{upload.repository}/blobs/uploads/{upload.name}"
    return [("Location", location), ("Range", f"0-{max(upload.size - 1, 0)}")]


def _other_length(due: int, found: str) -> Refusal:
    return Refusal(400, "SIZE_INVALID", f"Content-Range is of {due} bytes, {found}", close=True)


def parse_digest(text: str) -> Digest:
    """Read a digest that a client sent; 400."""
    if len(text) > MAX_DIGEST:
        raise Refusal(400, "DIGEST_INVALID", f"a digest of more than {MAX_DIGEST} characters")
    try:
        return Digest.parse(text)
    except InvalidDigest as error:
        raise Refusal(400, "DIGEST_INVALID", str(error)) from None


def _read_manifest(request: Request) -> bytes:
    too_large = Refusal(413, "SIZE_INVALID", f"a manifest may have {MAX_DOCUMENT} bytes", close=True)
    if request.body.length is not None and request.body.length > MAX_DOCUMENT:
        raise too_large
    raw = bytearray()
    while data := request.body.read(CHUNK):
        raw += data
        if len(raw) > MAX_DOCUMENT:
            raise too_large
    return bytes(raw)


def _digest_of(raw: bytes, reference: str | Digest) -> Digest:
    try:
        digest = Digest.of(raw, reference.algorithm if isinstance(reference, Digest) else "sha256")
    except UnsupportedDigest as error:
        raise Refusal(400, "DIGEST_INVALID", str(error)) from None
    if isinstance(reference, Digest) and digest != reference:
        raise Refusal(400, "DIGEST_INVALID", f"the manifest has the digest {digest}, not {reference}")
    return digest
