"""What the exchange with a server is told from outside: trust, proxies, patience."""

from __future__ import annotations

from typing import Protocol

from oci.spec.record import Record

__all__ = ["HttpSettings", "Proxies", "TlsSettings"]


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


class HttpSettings(Protocol):
    """What `Http` reads of its settings. `plain_http` is what was asked for: True may mean http, False never.

    Times are seconds; `stall_timeout` is how long a transfer may stand still.
    """

    @property
    def tls(self) -> TlsSettings: ...

    @property
    def proxies(self) -> Proxies: ...

    @property
    def user_agent(self) -> str: ...

    @property
    def plain_http(self) -> bool | None: ...

    @property
    def connect_timeout(self) -> float: ...

    @property
    def stall_timeout(self) -> float: ...
