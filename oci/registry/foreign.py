"""Layers that are kept elsewhere: the `urls` of a descriptor, followed only for who asked for it.

image-spec v1.1.1 descriptor.md#properties (`urls`), layer.md#non-distributable-layers. The addresses are the image's
word, so they are worth nothing by themselves: https only, no credentials and no token, and the bytes are verified like
any others. They lead no further than a redirect of the image's registry could: not to this machine, nor its link.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from oci.errors import ProtocolViolation
from oci.http.urls import Url, parse_url

if TYPE_CHECKING:
    from oci.http.exchange import Http, Response
    from oci.registry.client import Client
    from oci.registry.settings import Settings
    from oci.spec.digest import Digest

__all__ = ["foreign_places"]

MAX_URLS = 8  # addresses tried for one layer; manifests have one or two


class _ForeignPlace:
    """One address of a layer, asked anonymously, as if its registry had sent us there."""

    def __init__(self, url: Url, registry: str, settings: Settings, http: Http) -> None:
        from oci.registry.client import Client

        self._url = url
        self.client: Client = Client(registry, settings.replace(credentials=None), http=http)

    def __str__(self) -> str:
        return self._url.public

    def blob_url(self, digest: Digest) -> str:
        return self._url.public

    def get_blob(self, digest: Digest, headers: Mapping[str, str]) -> Response:
        return self.client.request(
            "GET",
            str(self._url),
            scopes=(),
            headers=headers,
            expect=(200, 206, 404, 416) if "Range" in headers else (200, 404),
            what=f"blob {digest}",
        )


def foreign_places(urls: Sequence[str], registry: str, settings: Settings, http: Http) -> Iterator[_ForeignPlace]:
    """Give the places that a descriptor of an image at `registry` names as `urls`; what is not https is left out."""
    for text in urls[:MAX_URLS]:
        try:
            url = parse_url(text)
        except ProtocolViolation:
            continue
        if url.scheme == "https":
            yield _ForeignPlace(url, registry, settings, http)
