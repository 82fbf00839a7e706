"""Lists of names: a repository's tags, and a registry's repositories (distribution-spec v1.1.1 spec.md#listing-tags).

A list comes in pages, by the Link header where there is one, else by `last`. Each name is checked against its grammar
and given once. `_catalog` is no part of the spec; most registries of one's own have it, public ones don't.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from oci.auth.scope import CATALOG, Scope
from oci.errors import LimitExceeded, ProtocolViolation, RefNotFound, RegistryRefused
from oci.registry.manifests import refuse_encoding
from oci.registry.pages import Pages
from oci.spec.annotations import is_tag
from oci.spec.digest import is_digest
from oci.spec.reference import is_repository
from oci.spec.wire import Fields, loads

if TYPE_CHECKING:
    from oci.registry.client import Client

__all__ = ["catalog", "tags"]

PAGE = 1000  # names asked for at once: what docker-registry and ECR give at most
MAX_LIST = 32 << 20  # bytes of one page: some registries give all in one, GCR with some words on every manifest
MAX_OBJECTS = 400_000  # lists and objects in one page: GCR has two for each manifest; empty ones are 64 bytes of memory
MAX_NAMES = 1_000_000  # names in one list; each takes some 150 bytes of memory


def tags(client: Client, repository: str) -> Iterator[str]:
    """Give a repository's tags. Raises RefNotFound, ProtocolViolation, LimitExceeded, RegistryError."""
    return _names(
        client,
        f"/v2/{repository}/tags/list",
        "tags",
        is_tag,
        scopes=(Scope(repository, ("pull",)),),
        what=f"list of tags of {client.host}/{repository}",
        missing=RefNotFound(repository, client.host, None),
    )


def catalog(client: Client) -> Iterator[str]:
    """Give the repositories of a registry, where it tells. RegistryRefused where it doesn't."""
    return _names(
        client,
        "/v2/_catalog",
        "repositories",
        is_repository,
        scopes=(CATALOG,),
        what=f"list of repositories of {client.host}",
        missing=RegistryRefused(
            f"{client.host}/v2/_catalog", "this registry doesn't list its repositories", status=404
        ),
    )


def _names(
    client: Client,
    path: str,
    key: str,
    is_name: Callable[[str], bool],
    *,
    scopes: Sequence[Scope],
    what: str,
    missing: Exception,
) -> Iterator[str]:
    first = f"{path}?n={PAGE}"
    pages = Pages(first, host=client.host, what=what)
    seen: set[str] = set()
    for page in pages:
        with client.request(
            "GET", page, scopes=scopes, headers={"Accept": "application/json"}, expect=(200, 400, 404, 405), what=what
        ) as response:
            if response.status == 400 and page == first:
                response.discard()
                pages.restart(path)  # docker-registry, where its operator allows fewer at once than PAGE
                continue
            if response.status != 200:
                response.discard()
                if response.status == 400:
                    raise RegistryRefused(response.place, f"{what}: the registry refuses to go on", status=400)
                raise missing
            refuse_encoding(response, what)
            raw = response.read(MAX_LIST, what)
        listed = _read(raw, key, is_name, response.place, what)
        new = [name for name in dict.fromkeys(listed) if name not in seen]
        seen.update(new)
        if len(seen) > MAX_NAMES:
            raise LimitExceeded(f"names in the {what}", MAX_NAMES)
        # Without a Link, a full page may not be the last: the way of older registries is to name its last entry. One
        # that doesn't know that way either gives the same page again, which has nothing new and so ends the list.
        more = f"{first}&last={listed[-1]}" if len(listed) == PAGE else None
        pages.turn(response, len(new), otherwise=more)
        yield from new


def _read(raw: bytes, key: str, is_name: Callable[[str], bool], url: str, what: str) -> list[str]:
    objects = raw.count(b"[") + raw.count(b"{")
    if objects > MAX_OBJECTS:  # before they are made: 3 bytes of text become 64 in memory, or 240
        raise LimitExceeded(f"lists and objects in the {what}", MAX_OBJECTS, objects)
    fields = Fields(loads(raw, document=what, limit=MAX_LIST), document=what, null_is_absent=True)
    names: list[str] = []
    for value in fields.optional_array(key) or ():  # null for an empty list: Go's way of writing one
        # Seen in the wild among tags: null (Nexus 3.58, containers/skopeo#2409), digests (Artifactory, #2346).
        if value is None or value == "" or (isinstance(value, str) and is_digest(value)):
            continue
        if not isinstance(value, str) or not is_name(value):
            raise ProtocolViolation(url, f"the {what} holds what is no name by the spec's grammar")
        names.append(value)
    return names
