"""Whole pulls and pushes through the library, without the command line: settings of a test's own, and no real waiting.

::

    naps = Naps()
    pull(f"docker://{server.host}/app:v1", tmp_path / "back", settings(sleep=naps))
    assert naps.longest < 60
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from oci.auth.credential import Credentials
from oci.http.settings import Proxies, TlsSettings
from oci.registry.settings import Settings
from oci.spec.descriptor import Descriptor
from oci.spec.platform import Platform
from oci.spec.reference import RegistryRef, parse_reference
from oci.transports.copy import copy
from oci.transports.names import open_destination, open_source
from oci.transports.registries import opener


class Naps(list[float]):
    """Stands for `time.sleep`: what would have been slept, in seconds."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


class _Known:
    """Knows one login, whoever asks: what must not be sent must not be left out for want of it."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    def find(self, host: str, repository: str | None) -> Credentials:
        return self._credentials


def settings(*, login: tuple[str, str] | None = None, refresh: str | None = None, **more: Any) -> Settings:
    """Settings for a server on loopback; time-outs are short and waiting takes no time."""
    credentials = None
    if login is not None or refresh is not None:
        user, password = login or ("", "")
        credentials = _Known(Credentials(username=user, password=password, identity_token=refresh))
    given: dict[str, Any] = {
        "tls": TlsSettings(),
        "proxies": Proxies(http=None, https=None),
        "credentials": credentials,
        "registries": None,
        "user_agent": "ocikit/tests",
        "connect_timeout": 5.0,
        "stall_timeout": 1.0,
        "sleep": Naps(),
    }
    return Settings(**given | more)


def pull(
    reference: str, target: Path, how: Settings | None = None, *, tag: str = "v1", platform: str | None = None
) -> Descriptor:
    """Copy an image, or a whole index, from a registry into a layout."""
    how = how or settings()
    with (
        open_source(reference, others=opener(how).source) as source,
        open_destination(f"oci:{target}:{tag}") as destination,
    ):
        wanted = None if platform is None else Platform.parse(platform)
        return copy(source, destination, platform=wanted, warn=how.warn)


def push(layout: Path, reference: str, how: Settings | None = None, *, tag: str = "v1") -> Descriptor:
    """Copy an image, or a whole index, from a layout into a registry."""
    how = how or settings()
    with (
        open_source(f"oci:{layout}:{tag}") as source,
        open_destination(reference, others=opener(how).destination) as destination,
    ):
        return copy(source, destination, warn=how.warn)


def registry_ref(text: str) -> RegistryRef:
    """`docker://…` parsed."""
    reference = parse_reference(text)
    assert isinstance(reference, RegistryRef)
    return reference
