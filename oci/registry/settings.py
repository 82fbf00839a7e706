"""What a caller decides about registries: pure values, read from files and environment by the command line alone.

Credentials show nothing secret when they are printed. TLS folders follow containers-certs.d(5).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from oci.registry.endpoint import Endpoint
from oci.spec.record import Record

if TYPE_CHECKING:
    from oci.registry.registries_conf import RegistriesConf

__all__ = ["CredentialSource", "Credentials", "Endpoint", "Proxies", "Settings", "TlsSettings"]


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


class TlsSettings(Record):
    """Which certificates are trusted, and which are shown.

    `cert_dirs` are folders of HOST[:PORT] folders; `cert_dir` is such a folder itself, for whatever host.
    """

    verify: bool = True
    ca_file: str | None = None
    ca_path: str | None = None
    cert_dirs: tuple[str, ...] = ()
    cert_dir: str | None = None


class Proxies(Record):
    """The words of HTTP_PROXY, HTTPS_PROXY and NO_PROXY."""

    http: str | None = None
    https: str | None = None
    no_proxy: str = ""

    def __repr__(self) -> str:  # a proxy's URL may hold a password
        return f"Proxies(http={self.http is not None}, https={self.https is not None}, no_proxy={self.no_proxy!r})"


class Settings(Record):
    """Everything a client of registries is told; the defaults are safe and ask nobody.

    `plain_http`: True tries http where https is not spoken, False never does, None does for loopback hosts only.
    Times are seconds; `stall_timeout` is how long a transfer may stand still. `attempts` counts the first try.
    `foreign_urls` allows fetching layers from the `urls` of their descriptors.
    """

    tls: TlsSettings = TlsSettings()
    proxies: Proxies = Proxies()
    credentials: CredentialSource | None = None
    registries: RegistriesConf | None = None
    plain_http: bool | None = None
    user_agent: str = "ocikit"
    connect_timeout: float = 30.0
    stall_timeout: float = 60.0
    attempts: int = 5
    sleep: Callable[[float], None] = time.sleep
    foreign_urls: bool = False
    warn: Callable[[str], object] | None = None
