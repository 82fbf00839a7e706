"""What a token is asked for: actions on one repository, in the words of distribution's token specification.

Grammar: https://distribution.github.io/distribution/spec/auth/scope/
"""

from __future__ import annotations

from oci.spec.record import Record

__all__ = ["CATALOG", "Scope"]


class Scope(Record, kw_only=False):
    """`repository:NAME:pull,push`; `kind` is "registry" for what belongs to no repository."""

    repository: str
    actions: tuple[str, ...]
    kind: str = "repository"

    def __str__(self) -> str:
        return f"{self.kind}:{self.repository}:{','.join(self.actions)}"


CATALOG = Scope("catalog", ("*",), "registry")
