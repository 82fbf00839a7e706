"""Where a repository is: what registries.conf makes of a name, and what a connection is made for."""

from __future__ import annotations

from oci.spec.record import Record

__all__ = ["Endpoint"]


class Endpoint(Record):
    """One place to find a repository: HOST[:PORT] and the repository's name there.

    `insecure`: certificates are not checked, and plain http is taken where https isn't spoken.
    """

    location: str
    repository: str
    insecure: bool = False
    is_mirror: bool = False
