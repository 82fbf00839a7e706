"""From a reference to the repositories that may serve it: mirrors first, then the registry itself.

Which they are, registries.conf says (containers-registries.conf(5)); without a word there it is the registry that the
reference names. All share one pool of connections. Docker Hub is the one registry whose API has another host than its
name. Credentials that a person gave for the registry by hand never go to a mirror.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from typing import Self

from oci.registry.client import Client
from oci.registry.http import Http
from oci.registry.repository import Repository
from oci.registry.settings import Endpoint, Settings
from oci.spec.reference import DEFAULT_REGISTRY, RegistryRef

__all__ = ["Connected", "connect", "connect_push", "connect_registry"]

DOCKER_HUB = "registry-1.docker.io"


class Connected(list[Repository]):
    """Repositories in the order to ask them, and the connections behind them: a context manager, or `close`."""

    def __init__(self, repositories: Iterable[Repository], http: Http, held: ExitStack) -> None:
        super().__init__(repositories)
        self.http, self._held = http, held

    def close(self) -> None:
        self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def connect(reference: RegistryRef, settings: Settings) -> Connected:
    """Give the repositories to pull a reference from, in the order to ask them. Nothing is sent yet."""
    return _connected(_endpoints(reference, settings, pull=True), settings)


def connect_push(reference: RegistryRef, settings: Settings) -> Connected:
    """Give the one repository to push to: mirrors are for pulling."""
    return _connected(_endpoints(reference, settings, pull=False)[-1:], settings)


def connect_registry(host: str, settings: Settings) -> Client:
    """A client for a whole registry: for `_catalog`, and to check a login. Use it as a context manager."""
    endpoint = _endpoints(RegistryRef(host, "x"), settings, pull=False)[-1]
    return Client(_api_host(endpoint.location), settings, insecure=endpoint.insecure)


def _endpoints(reference: RegistryRef, settings: Settings, *, pull: bool) -> tuple[Endpoint, ...]:
    if settings.registries is None:
        return (Endpoint(location=reference.registry, repository=reference.repository),)
    return settings.registries.endpoints(
        reference.registry, reference.repository, tag=reference.tag, digest=reference.digest, pull=pull
    )


def _connected(endpoints: tuple[Endpoint, ...], settings: Settings) -> Connected:
    with ExitStack() as stack:
        http = stack.enter_context(Http(settings))
        clients: dict[tuple[str, bool, bool], Client] = {}
        found = []
        for endpoint in endpoints:
            key = (_api_host(endpoint.location), endpoint.insecure, endpoint.is_mirror)
            if key not in clients:
                clients[key] = stack.enter_context(Client(key[0], settings, insecure=endpoint.insecure, http=http))
            found.append(Repository(clients[key], endpoint.repository))
        return Connected(found, http, stack.pop_all())


def _api_host(location: str) -> str:
    return DOCKER_HUB if location in (DEFAULT_REGISTRY, "index.docker.io") else location
