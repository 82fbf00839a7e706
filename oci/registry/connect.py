"""From a reference to the repositories that may serve it: mirrors first, then the registry itself.

Which they are, registries.conf says (containers-registries.conf(5)); without a word there it is the registry that the
reference names. All share one pool of connections. Docker Hub is the one registry whose API has another host than its
name. Credentials that a person gave for the registry by hand never go to a mirror.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from typing import Self

from oci.http.exchange import Http
from oci.registry.client import Client
from oci.registry.endpoint import Endpoint
from oci.registry.repository import Repository
from oci.registry.settings import Settings
from oci.spec.reference import HUB_HOSTS, RegistryRef

__all__ = ["Connected", "Shared", "api_host", "connect", "connect_primary", "connect_push", "connect_registry"]


class Shared:
    """Connections, and what registries were told once (tokens), for several references: a context manager, or `close`.

    Whoever opens references with it closes it, behind all of them.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings, self._held = settings, ExitStack()
        self.http = self._held.enter_context(Http(settings))
        self._clients: dict[tuple[str, bool, bool], Client] = {}

    def repository(self, endpoint: Endpoint) -> Repository:
        """Give the repository behind an endpoint; endpoints of one registry share a client."""
        key = (api_host(endpoint.location), endpoint.insecure, endpoint.is_mirror)
        if key not in self._clients:
            client = Client(key[0], self._settings, insecure=endpoint.insecure, http=self.http)
            self._clients[key] = self._held.enter_context(client)
        return Repository(self._clients[key], endpoint.repository)

    def close(self) -> None:
        self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class Connected(list[Repository]):
    """Repositories in the order to ask them, and the connections behind them: a context manager, or `close`."""

    def __init__(self, repositories: Iterable[Repository], http: Http, own: Shared | None) -> None:
        super().__init__(repositories)
        self.http, self._own = http, own

    def close(self) -> None:
        if self._own is not None:
            self._own.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def connect(reference: RegistryRef, settings: Settings, shared: Shared | None = None) -> Connected:
    """Give the repositories to pull a reference from, in the order to ask them. Nothing is sent yet."""
    return _connected(_endpoints(reference, settings, pull=True), settings, shared)


def connect_primary(reference: RegistryRef, settings: Settings, shared: Shared | None = None) -> Connected:
    """Give the registry's own repository, wherever registries.conf has it: a mirror may list some of its tags only."""
    return _connected(_endpoints(reference, settings, pull=True)[-1:], settings, shared)


def connect_push(reference: RegistryRef, settings: Settings, shared: Shared | None = None) -> Connected:
    """Give the one repository to push to: mirrors are for pulling."""
    return _connected(_endpoints(reference, settings, pull=False)[-1:], settings, shared)


def connect_registry(host: str, settings: Settings) -> Client:
    """A client for a whole registry: for `_catalog`, and to check a login. Use it as a context manager."""
    endpoint = _endpoints(RegistryRef(host, "x"), settings, pull=False)[-1]
    return Client(api_host(endpoint.location), settings, insecure=endpoint.insecure)


def _endpoints(reference: RegistryRef, settings: Settings, *, pull: bool) -> tuple[Endpoint, ...]:
    if settings.registries is None:
        return (Endpoint(location=reference.registry, repository=reference.repository),)
    return settings.registries.endpoints(
        reference.registry, reference.repository, tag=reference.tag, digest=reference.digest, pull=pull
    )


def _connected(endpoints: tuple[Endpoint, ...], settings: Settings, shared: Shared | None) -> Connected:
    if shared is not None:
        return Connected([shared.repository(endpoint) for endpoint in endpoints], shared.http, None)
    own = Shared(settings)
    try:
        return Connected([own.repository(endpoint) for endpoint in endpoints], own.http, own)
    except BaseException:
        own.close()
        raise


def api_host(location: str) -> str:
    """Where a registry answers: Docker Hub's API has another host than its name."""
    return HUB_HOSTS[-1] if location in HUB_HOSTS else location
