"""Mounting: a blob of another repository of the same registry, without its bytes moving.

distribution-spec v1.1.1 spec.md#mounting-a-blob-from-another-repository. One POST asks for it; 201 is done, 202 says no
and begins an upload instead, which is used. The token has to be for both repositories. A registry that answers with an
error (no right to read there, no mounts at all: go-containerregistry issues 1404 and 1679) is asked for an upload in
the ordinary way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from oci.auth.scope import Scope
from oci.errors import AuthenticationFailed, InvalidReference, RegistryRefused
from oci.registry.sessions import Upload, begin, begun, check_created, push_scopes, uploads_path
from oci.spec.digest import Digest
from oci.spec.reference import is_repository

if TYPE_CHECKING:
    from oci.registry.repository import Repository

__all__ = ["mount"]


def mount(repository: Repository, digest: Digest, source: str) -> Upload | None:
    """Have a blob of the repository `source` in this one; None: it is here now. Else an upload was begun."""
    if not is_repository(source):
        raise InvalidReference(source, "not a repository's name")
    try:
        with repository.client.request(
            "POST",
            f"{uploads_path(repository)}?mount={quote(str(digest), safe='')}&from={quote(source, safe='')}",
            scopes=(*push_scopes(repository), Scope(source, ("pull",))),
            headers={"Content-Length": "0"},
            expect=(201, 202),
            retry=True,
            what=f"mount of {digest} from {source} in {repository}",
        ) as response:
            if response.status == 201:
                response.discard()
                check_created(response, digest, f"blob {digest}")
                return None
            return begun(response)
    except (RegistryRefused, AuthenticationFailed):
        return begin(repository, digest)
