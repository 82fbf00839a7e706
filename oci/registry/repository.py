"""One repository of a registry: the verbs of pulling and of taking away (distribution-spec v1.1.1 spec.md#pull).

Everything that stands in a URL was checked before: names and tags by the spec's grammar, digests are Digests. How a
request gets there (https, tokens, redirects, repetition) is the client's business, see client.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from oci.auth.scope import Scope, to_push
from oci.errors import (
    BlobNotFound,
    InvalidReference,
    NotFound,
    ProtocolViolation,
    RefNotFound,
    RegistryRefused,
    UnsupportedDigest,
)
from oci.http.exchange import Response
from oci.http.responses import error_of
from oci.registry import listing, referrers
from oci.registry.client import Client
from oci.registry.download import Download
from oci.registry.manifests import ACCEPT, Fetched, fetched, refuse_encoding, stated_digest, stated_type
from oci.spec.annotations import is_tag
from oci.spec.descriptor import Descriptor
from oci.spec.digest import Digest
from oci.spec.reference import is_repository
from oci.spec.wire import MAX_MANIFEST

__all__ = ["Repository"]


class Repository:
    """A repository by name behind a client; `str()` is "host/name". Thread-safe as its client is."""

    def __init__(self, client: Client, name: str) -> None:
        if not is_repository(name):
            raise InvalidReference(name, "not a repository's name (distribution-spec: lower case, single separators)")
        self.client, self.name = client, name
        self.scopes: tuple[Scope, ...] = (Scope(name, ("pull",)),)  # what a question asks a token for

    def expect_push(self) -> None:
        """Ask for the right to push with every question from now on: so one token is enough for what follows them."""
        self.scopes = (to_push(self.name),)

    @property
    def host(self) -> str:
        return self.client.host

    def __str__(self) -> str:
        return f"{self.host}/{self.name}"

    def __repr__(self) -> str:
        return f"Repository({self})"

    # Manifests

    def manifest(self, reference: str | Digest, *, limit: int = MAX_MANIFEST) -> Fetched:
        """Get a manifest or index by tag or digest; its digest is computed and checked.

        Raises RefNotFound, DigestMismatch, LimitExceeded, InvalidDocument (Docker's schema 1), RegistryError.
        """
        what = self.called(reference)
        with self._manifest("GET", reference) as response:
            if response.status == 404:
                response.discard()
                raise self._no_manifest(reference)
            refuse_encoding(response, what)
            raw = response.read(limit, what)
        return fetched(response, raw, reference if isinstance(reference, Digest) else None, what=what)

    def head_manifest(self, reference: str | Digest) -> Descriptor | None:
        """Ask what a tag or digest stands for, without its bytes; None where there is nothing.

        Nothing of the answer is verified: it has no bytes. A registry that leaves out what is needed is asked by GET.
        """
        with self._manifest("HEAD", reference) as response:
            if response.status == 404:
                return None
            what = self.called(reference)
            digest = stated_digest(response, what)
            length = response.content_length
            media_type = stated_type(response)
            if digest is not None and length is not None and length <= MAX_MANIFEST and media_type is not None:
                if isinstance(reference, Digest) and digest != reference:
                    if digest.algorithm == reference.algorithm:
                        raise ProtocolViolation(response.place, f"asked for {reference}, it says that it has {digest}")
                    digest = reference
                return Descriptor(media_type=media_type, digest=digest, size=length)
        try:
            got = self.manifest(reference)
        except RefNotFound:
            return None
        return Descriptor(media_type=got.media_type, digest=got.digest, size=len(got.raw))

    def _manifest(self, method: str, reference: str | Digest) -> Response:
        return self.client.request(
            method,
            self.manifest_path(reference),
            scopes=self.scopes,
            headers={"Accept": ACCEPT},
            expect=(200, 404),
            what=self.called(reference),
        )

    def manifest_path(self, reference: str | Digest) -> str:
        """The path of a manifest; InvalidReference for what is no tag, UnsupportedDigest for what can't be checked."""
        if not isinstance(reference, Digest) and not is_tag(reference):
            raise InvalidReference(
                reference, "a tag is 1 to 128 letters, digits, '_', '.' and '-', not beginning with '.' or '-'"
            )
        if isinstance(reference, Digest) and not reference.supported:
            raise UnsupportedDigest(str(reference), reference.algorithm)  # what can't be checked is not asked for
        return f"/v2/{self.name}/manifests/{reference}"

    def called(self, reference: str | Digest) -> str:
        """A manifest in messages: "manifest host/name:tag"."""
        return f"manifest {self}{'@' if isinstance(reference, Digest) else ':'}{reference}"

    def _no_manifest(self, reference: str | Digest) -> RefNotFound:
        hint = "" if isinstance(reference, Digest) else f"`ocikit tags {self}` lists its tags"
        return RefNotFound(str(reference), str(self), None, hint=hint)

    # Blobs

    def blob_path(self, digest: Digest) -> str:
        return f"/v2/{self.name}/blobs/{digest}"

    def blob_url(self, digest: Digest) -> str:
        return f"{self.host}{self.blob_path(digest)}"

    def get_blob(self, digest: Digest, headers: Mapping[str, str]) -> Response:
        """One GET of a blob, with the headers of a range; 200, 206, 404 and 416 come back."""
        return self.client.request(
            "GET",
            self.blob_path(digest),
            scopes=self.scopes,
            headers=headers,
            expect=(200, 206, 404, 416) if "Range" in headers else (200, 404),
            what=f"blob {digest}",
        )

    def blob_size(self, digest: Digest) -> int | None:
        """Ask for a blob's length in bytes; None where there is no such blob."""
        with self.client.request(
            "HEAD", self.blob_path(digest), scopes=self.scopes, expect=(200, 404), what=f"blob {digest}"
        ) as response:
            if response.status == 404:
                return None
            length = response.content_length
        if length is None:  # not every proxy lets it through for HEAD
            with self.get_blob(digest, {}) as response:
                if response.status == 404:
                    return None
                length = response.content_length
        if length is None:
            raise ProtocolViolation(self.blob_url(digest), "the registry doesn't say how long the blob is")
        return length

    @contextmanager
    def open_blob(self, descriptor: Descriptor) -> Iterator[Iterator[bytes]]:
        """Give a blob's bytes, not verified, cut connections taken up again (see download.py). BlobNotFound at once.

        Leaving before the end closes the connection without reading on.
        """
        download = Download((self,), descriptor)
        try:
            yield download
        finally:
            download.close()

    # Lists

    def tags(self) -> Iterator[str]:
        """Give the tags, page after page. RefNotFound where there is no such repository."""
        return listing.tags(self.client, self.name)

    def referrers(self, digest: Digest, *, artifact_type: str | None = None) -> Iterator[Descriptor]:
        """Give the manifests whose subject is `digest`, by the API or else by the referrers tag."""
        return referrers.referrers(self, digest, artifact_type=artifact_type)

    # Taking away

    def delete_manifest(self, reference: str | Digest) -> None:
        """Delete a manifest by digest (with all its tags), or a tag alone (spec.md#deleting-manifests, #deleting-tags).

        Raises RefNotFound, RegistryRefused where the registry doesn't do that.
        """
        tag = not isinstance(reference, Digest)
        advice = (
            "deleting a tag is not possible in this registry; delete the image by its digest, with all its tags"
            if tag
            else "deleting is not possible in this registry; its operator may allow it"
        )
        self._delete(self.manifest_path(reference), self.called(reference), self._no_manifest(reference), advice)

    def delete_blob(self, digest: Digest) -> None:
        """Delete a blob (spec.md#deleting-blobs). Raises BlobNotFound, RegistryRefused where the registry doesn't."""
        advice = "deleting blobs is not possible in this registry; it may collect them by itself"
        self._delete(self.blob_path(digest), f"blob {digest}", BlobNotFound(str(digest), str(self)), advice)

    def _delete(self, path: str, what: str, missing: NotFound, advice: str) -> None:
        with self.client.request(
            "DELETE",
            path,
            scopes=(Scope(self.name, ("delete", "pull")),),
            expect=(200, 202, 204, 400, 404, 405),
            what=what,
        ) as response:
            if response.status == 404:
                response.discard()
                raise missing
            if response.status < 300:
                response.discard()
                return
            # Disabled is 405, or 400 with UNSUPPORTED; distribution 2.8 takes a tag for a wrong digest (400 with
            # DIGEST_INVALID); other words of a 400 are about the request.
            error = error_of(response, what=what, host=self.host)
            if isinstance(error, RegistryRefused) and (
                error.status == 405 or not {"UNSUPPORTED", "DIGEST_INVALID"}.isdisjoint(error.codes)
            ):
                raise RegistryRefused(error.url, f"{what}: {advice}", status=error.status, codes=error.codes)
            raise error
