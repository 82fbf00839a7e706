"""Which URL is which endpoint of distribution-spec v1.1.1 (spec.md#endpoints), and any failure as an answer.

`handle` never raises for what a client or the disk does: a Refusal is an answer, a full disk is 507, any other failure
500 and one line in the log. Names are checked here, before anything is looked for: a repository's name and a digest
that keep their grammars can't leave a folder, end a header or forge a line. A tag is looked for among those that are
there, and checked where it is new.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING

from oci.errors import LimitExceeded, NotFound, OciError, show
from oci.serving import listing, pulling
from oci.serving.exchange import Answer, Refusal, Request
from oci.serving.pushing import Pushing, parse_digest
from oci.serving.store import Store
from oci.serving.uploads import Uploads
from oci.spec.annotations import is_tag
from oci.spec.digest import Digest
from oci.spec.reference import is_repository

if TYPE_CHECKING:
    from oci.serving.passwords import Passwords

__all__ = ["App"]

Log = Callable[[str], object]
Handler = Callable[[Request], Answer]


class App:
    """A registry without its sockets; may be used by several threads at once. Without `uploads` it is read-only."""

    def __init__(self, store: Store, uploads: Uploads | None, *, passwords: Passwords | None, log: Log) -> None:
        self._store, self._passwords, self._log = store, passwords, log
        self._pushing = None if uploads is None else Pushing(store, uploads)

    def handle(self, request: Request) -> tuple[Answer, bool]:
        """Answer a request; the flag says that the connection must end, because the body was left unread."""
        close = False
        try:
            answer = self._answer(request)
        except Refusal as refusal:
            answer, close = refusal.answer(), refusal.close
        except NotFound:  # it went between two looks, or index.json names what isn't stored
            answer = Refusal(404, "BLOB_UNKNOWN", "not stored in this registry").answer()
        except ConnectionError:
            raise
        except (OciError, OSError) as error:
            self._log(f"error: {show(request.method)} {show(request.path)}: {error}")
            answer = Refusal(*_why(error)).answer()
        answer.headers.append(("Docker-Distribution-Api-Version", "registry/2.0"))
        return answer.without_body() if request.method == "HEAD" else answer, close

    def _answer(self, request: Request) -> Answer:
        if not request.path.startswith("/v2/") and request.path != "/v2":
            raise Refusal(404, "UNSUPPORTED", "this is a registry; its API is below /v2/")
        if self._passwords is not None:
            request.user = self._passwords.check(request.headers.get("authorization"))
        methods = self._routed(request)
        handler = methods.get("GET" if request.method == "HEAD" else request.method)
        if handler is None:
            allowed = [name for one in methods for name in ((one, "HEAD") if one == "GET" else (one,))]
            why = "this registry is read-only" if self._pushing is None else f"not for {request.method}"
            raise Refusal(405, "UNSUPPORTED", why, [("Allow", ", ".join(allowed or ["GET", "HEAD"]))])
        return handler(request)

    def _routed(self, request: Request) -> dict[str, Handler]:
        """Give what may be done with this URL, by method."""
        path = request.path
        if path in ("/v2/", "/v2"):
            return {"GET": lambda _: Answer(200, [("Content-Type", "application/json")], b"{}")}
        if path == "/v2/_catalog":
            return {"GET": lambda r: listing.catalog(self._store, r)}
        for pattern, routes in _ROUTES:
            match = pattern.fullmatch(path)
            if match is not None:
                repository = _repository(match[1])
                return routes(self, repository, match[2] if pattern.groups > 1 else "")
        raise Refusal(404, "UNSUPPORTED", "no such endpoint")

    def _tags(self, repository: str, _: str) -> dict[str, Handler]:
        return {"GET": lambda r: listing.tags(self._store, r, repository)}

    def _referrers(self, repository: str, name: str) -> dict[str, Handler]:
        digest = parse_digest(name)
        return {"GET": lambda r: listing.referrers(self._store, r, repository, digest)}

    def _uploads(self, repository: str, name: str) -> dict[str, Handler]:
        pushing = self._pushing
        if pushing is None:
            return {}
        if not name:
            return {"POST": lambda r: pushing.start(r, repository)}
        return {
            "GET": lambda r: pushing.state(r, repository, name),
            "PATCH": lambda r: pushing.chunk(r, repository, name),
            "PUT": lambda r: pushing.close(r, repository, name),
            "DELETE": lambda r: pushing.cancel(r, repository, name),
        }

    def _blobs(self, repository: str, name: str) -> dict[str, Handler]:
        digest, pushing = parse_digest(name), self._pushing
        methods: dict[str, Handler] = {"GET": lambda r: pulling.blob(self._store, r, repository, digest)}
        if pushing is not None:
            methods["DELETE"] = lambda r: pushing.delete_blob(r, repository, digest)
        return methods

    def _manifests(self, repository: str, name: str) -> dict[str, Handler]:
        reference, pushing = parse_digest(name) if ":" in name else name, self._pushing
        methods: dict[str, Handler] = {"GET": lambda r: pulling.manifest(self._store, r, repository, reference)}
        if pushing is not None:
            methods["PUT"] = lambda r: pushing.put_manifest(r, repository, _new_reference(reference))
            methods["DELETE"] = lambda r: pushing.delete_manifest(r, repository, reference)
        return methods


# The last of several matching words is the endpoint's: a repository may be called `a/blobs` or `tags`.
_ROUTES: tuple[tuple[re.Pattern[str], Callable[[App, str, str], dict[str, Handler]]], ...] = (
    (re.compile(r"/v2/(.+)/tags/list"), App._tags),
    (re.compile(r"/v2/(.+)/referrers/([^/]+)"), App._referrers),
    (re.compile(r"/v2/(.+)/manifests/([^/]+)"), App._manifests),
    (re.compile(r"/v2/(.+)/blobs/uploads/?"), App._uploads),
    (re.compile(r"/v2/(.+)/blobs/uploads/([^/]+)"), App._uploads),
    (re.compile(r"/v2/(.+)/blobs/([^/]+)"), App._blobs),
)


def _repository(name: str) -> str:
    if not is_repository(name):
        raise Refusal(400, "NAME_INVALID", f"{name} is not a repository's name")
    return name


def _new_reference(reference: str | Digest) -> str | Digest:
    """Refuse what is no tag; one that is only asked for isn't there, and nothing more is to be said."""
    if isinstance(reference, str) and not is_tag(reference):
        raise Refusal(400, "MANIFEST_INVALID", f"{reference} is neither a tag nor a digest")
    return reference


def _why(error: OciError | OSError) -> tuple[int, str, str]:
    """A status, a code and words for the client: what is full, and no paths of this machine."""
    if isinstance(error, OSError):
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return HTTPStatus.INSUFFICIENT_STORAGE, "UNKNOWN", "no space left on the registry's disk"
        return HTTPStatus.INTERNAL_SERVER_ERROR, "UNKNOWN", error.strerror or type(error).__name__
    if isinstance(error, LimitExceeded):
        return HTTPStatus.INSUFFICIENT_STORAGE, "UNKNOWN", "the registry's layout is full; delete manifests first"
    return HTTPStatus.INTERNAL_SERVER_ERROR, "UNKNOWN", "the registry can't do that; its log says why"
