"""Lists, page by page (distribution-spec v1.1.1 spec.md#listing-tags, #listing-referrers; Docker's `_catalog`).

A page is named by the last item of the one before (`last`), never by a number: what is added or deleted meanwhile moves
nothing. `Link` names the next page in the words of this request.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote, urlencode

from oci.serving.exchange import Answer, Refusal, Request, json_body
from oci.serving.store import Store
from oci.spec import media_types
from oci.spec.digest import Digest

__all__ = ["MAX_PAGE", "catalog", "referrers", "tags"]

MAX_PAGE = 3 << 20  # bytes of one page of referrers: clients read a manifest's 4 MiB and no more


def tags(store: Store, request: Request, repository: str) -> Answer:
    """end-8: the tags of a repository."""
    view = store.view(repository)
    if not view.exists:
        raise Refusal(404, "NAME_UNKNOWN", f"no repository {repository}")
    page, link = _page(request, sorted(view.tags), f"/v2/{repository}/tags/list")
    return Answer(200, [_JSON, *link], json_body({"name": repository, "tags": page}))


def catalog(store: Store, request: Request) -> Answer:
    """Docker's list of repositories (registry API v2, no part of the spec but reserved by its extensions)."""
    page, link = _page(request, store.repositories(), "/v2/_catalog")
    return Answer(200, [_JSON, *link], json_body({"repositories": page}))


_JSON = ("Content-Type", "application/json")


def _page(request: Request, names: Sequence[str], path: str) -> tuple[Sequence[str], list[tuple[str, str]]]:
    """Cut one page by `n` and `last` out of sorted names; `last` needn't be one of them any more."""
    last = request.query("last")
    if last is not None:
        names = [name for name in names if name > last]
    count = _count(request)
    if count is None or count >= len(names):
        return names, []
    page = names[:count]
    return page, [_next(path, {"n": str(count), "last": page[-1]})] if page else []


def _count(request: Request) -> int | None:
    text = request.query("n")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Refusal(400, "UNSUPPORTED", f"n={text} is not a number of results")
    return int(text)


def _next(path: str, query: dict[str, str]) -> tuple[str, str]:
    return "Link", f'<{quote(path)}?{urlencode(query)}>; rel="next"'


def referrers(store: Store, request: Request, repository: str, subject: Digest) -> Answer:
    """end-12: the manifests whose subject this is. Never 404: that would mean that there is no such API."""
    wanted, last, count = request.query("artifactType") or None, request.query("last"), _count(request)
    view = store.view(repository)
    found: list[dict[str, object]] = []
    size, more = 0, False
    for digest in sorted(view.documents):
        document = view.documents[digest]
        contents = store.library.find(document)
        if contents is None or contents.subject is None or contents.subject.digest != subject:
            continue
        if (wanted is not None and contents.artifact_type != wanted) or (last is not None and str(digest) <= last):
            continue
        entry = {"mediaType": document.media_type, "digest": str(digest), "size": document.size}
        if contents.artifact_type is not None:
            entry["artifactType"] = contents.artifact_type
        if contents.annotations:
            entry["annotations"] = dict(contents.annotations)
        size += len(json_body(entry))
        if found and (size > MAX_PAGE or (count and len(found) >= count)):
            more = True
            break
        found.append(entry)
    headers = [("Content-Type", media_types.INDEX)]
    if wanted is not None:
        headers.append(("OCI-Filters-Applied", "artifactType"))
    if more:
        again = {"n": str(count) if count else None, "last": str(found[-1]["digest"]), "artifactType": wanted}
        given = {name: value for name, value in again.items() if value is not None}
        headers.append(_next(f"/v2/{repository}/referrers/{subject}", given))
    body = {"schemaVersion": 2, "mediaType": media_types.INDEX, "manifests": found}
    return Answer(200, headers, json_body(body))
