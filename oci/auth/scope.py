"""What a token is for: a resource and the actions on it (distribution's token specification, docs/spec/auth/scope.md).

`repository:samalba/my-app:pull,push` in the words of the protocol. The grammar is checked where a server gave the text;
names of ours are checked where a reference is read.
"""

from __future__ import annotations

import re

from oci.spec.record import Record

__all__ = ["CATALOG", "Scope", "merge", "parse_scopes", "to_push"]

MAX_SCOPES = 32  # of one challenge: a mount has two

# resourcescope of docs/spec/auth/scope.md; the type may have a class, "repository(plugin)".
_SCOPE = re.compile(r"([a-z0-9]+(?:\([a-z0-9]+\))?):([A-Za-z0-9._:/\[\]-]{1,512}):([a-z*]+(?:,[a-z*]+)*)")


class Scope(Record, kw_only=False):
    """Actions (pull, push, delete, *) on a repository, or on what `kind` names otherwise."""

    repository: str
    actions: tuple[str, ...]
    kind: str = "repository"

    def __str__(self) -> str:
        return f"{self.kind}:{self.repository}:{','.join(self.actions)}"

    @property
    def resource(self) -> tuple[str, str]:
        """What it is about, without the actions."""
        return self.kind, self.repository


CATALOG = Scope("catalog", ("*",), "registry")  # the list of all repositories


def to_push(repository: str) -> Scope:
    """What a push needs of a token; distribution's token servers want `pull` beside `push`."""
    return Scope(repository, ("pull", "push"))


def merge(*several: tuple[Scope, ...]) -> tuple[Scope, ...]:
    """All these scopes, one for each resource, in the order in which the resources come first; actions are sorted."""
    actions: dict[tuple[str, str], set[str]] = {}
    for scope in (scope for scopes in several for scope in scopes):
        actions.setdefault(scope.resource, set()).update(scope.actions)
    return tuple(Scope(name, tuple(sorted(given)), kind) for (kind, name), given in actions.items())


def parse_scopes(text: str) -> tuple[Scope, ...]:
    """Read the scopes of a challenge, separated by blanks; words that are none (`aws`, of ECR Public) are left out."""
    found = []
    for word in text.split(" ", MAX_SCOPES)[:MAX_SCOPES]:
        match = _SCOPE.fullmatch(word)
        if match is not None:
            found.append(Scope(match[2], tuple(match[3].split(",")), match[1]))
    return tuple(found)
