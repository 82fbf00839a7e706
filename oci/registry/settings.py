"""What a caller decides about registries: pure values, read from files and environment by the command line alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from oci.http.settings import Proxies, TlsSettings
from oci.spec.record import Record

if TYPE_CHECKING:
    from oci.auth.credential import CredentialSource
    from oci.http.warnings import Heard
    from oci.registry.registries_conf import RegistriesConf

__all__ = ["Settings"]


class Settings(Record):
    """Everything a client of registries is told; the defaults are safe and ask nobody.

    `plain_http`: True tries http where https is not spoken, False never does, None does for loopback hosts only.
    Times are seconds; `stall_timeout` is how long a transfer may stand still. `attempts` counts the first try.
    `foreign_urls` allows fetching layers from the `urls` of their descriptors. `heard` is what registries warned of
    already: settings that share one tell each warning once.
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
    heard: Heard | None = None
