"""One PUT of a manifest's bytes, and what its answer says (distribution-spec v1.1.1 spec.md#pushing-manifests).

What the registry says that it stored is held against what was sent; a refusal is told with what it means.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oci.errors import ProtocolViolation, RegistryRefused
from oci.registry.manifests import stated_digest
from oci.registry.sessions import push_scopes
from oci.spec.digest import Digest

if TYPE_CHECKING:
    from oci.registry.repository import Repository

__all__ = ["send_manifest"]


def send_manifest(repository: Repository, raw: bytes, media_type: str, reference: str | Digest) -> list[str]:
    """Send a manifest as it is; give what OCI-Subject acknowledges. A subject is the caller's matter."""
    what = repository.called(reference)
    try:
        with repository.client.request(
            "PUT",
            repository.manifest_path(reference),
            scopes=push_scopes(repository),
            headers={"Content-Type": media_type},
            body=raw,
            length=len(raw),
            expect=(201, 200, 202),  # 200 and 202: older registries
            retry=True,  # the same bytes under the same name
            what=what,
        ) as response:
            response.discard()
    except RegistryRefused as error:
        raise _worded(error, raw, media_type) from None
    said = stated_digest(response, what)
    if said is not None and said.supported and said != Digest.of(raw, said.algorithm):
        raise ProtocolViolation(response.url, f"{what}: the registry stored something else; it says that it is {said}")
    return [value.strip() for value in response.headers.all("OCI-Subject")]


def _worded(error: RegistryRefused, raw: bytes, media_type: str) -> RegistryRefused:
    """The refusal, with what it means for a manifest."""
    if error.status == 413:
        hint = f"it is too large for this registry ({len(raw)} bytes)"
    elif "MANIFEST_BLOB_UNKNOWN" in error.codes:
        hint = "something that it names is not in the repository"
    elif error.status in (400, 415) and not {"TAG_INVALID", "NAME_INVALID"}.intersection(error.codes):
        hint = f"this registry may not take the media type {media_type}"
    else:
        return error
    return RegistryRefused(error.url, f"{error.reason}; {hint}", status=error.status, codes=error.codes)
