"""One set of credentials, and somewhere they can be looked up; nothing secret is shown when one is printed."""

from __future__ import annotations

from typing import Protocol

from oci.spec.record import Record

__all__ = ["CredentialSource", "Credentials"]


class Credentials(Record):
    """A user name with a password, or with `identity_token`, an OAuth2 refresh token."""

    username: str = ""
    password: str = ""
    identity_token: str | None = None

    def __repr__(self) -> str:
        return f"Credentials(username={self.username!r}, …)"


class CredentialSource(Protocol):
    """Somewhere credentials can be looked up."""

    def find(self, host: str, repository: str | None) -> Credentials | None:
        """Give the credentials for a repository of a host (HOST[:PORT]), or for the host itself."""
        ...
