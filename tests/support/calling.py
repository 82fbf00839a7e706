"""A client of a registry that knows no more than http.client: what is asked and answered stands in the test.

::

    with Server(tmp_path / "layout") as server, Caller(server.host) as caller:
        blob = caller.push_blob("app", b"content")
        assert caller("GET", f"/v2/app/blobs/{blob}").body == b"content"
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import quote, urlsplit

from tests.support.images import OCI_CONFIG, OCI_MANIFEST, Json, descriptor, digest, encode, manifest

OCTETS = {"Content-Type": "application/octet-stream"}


@dataclass(frozen=True)
class Reply:
    """One answer, read to its end."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The spec's code of an error answer."""
        assert self.headers["Content-Type"] == "application/json"
        (error,) = self.json["errors"]
        assert set(error) <= {"code", "message", "detail"}
        assert isinstance(error["message"], str)
        code: str = error["code"]
        return code

    @property
    def location(self) -> str:
        """The Location header as a path with its query, whether it was relative or absolute."""
        parts = urlsplit(self.headers["Location"])
        return parts.path + (f"?{parts.query}" if parts.query else "")


class Caller:
    """One connection that is kept alive, and made anew when the server ends it."""

    def __init__(
        self, host: str, *, tls: ssl.SSLContext | None = None, headers: Mapping[str, str] = {}, timeout: float = 20
    ) -> None:
        self._connection: http.client.HTTPConnection = (
            http.client.HTTPConnection(host, timeout=timeout)
            if tls is None
            else http.client.HTTPSConnection(host, timeout=timeout, context=tls)
        )
        self._headers = dict(headers)

    def __call__(
        self,
        method: str,
        target: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] = {},
        **queries: str,
    ) -> Reply:
        if queries:
            words = "&".join(f"{name.replace('_', '-')}={quote(value, safe='')}" for name, value in queries.items())
            target += ("&" if "?" in target else "?") + words
        chunked = body is not None and not isinstance(body, bytes)
        self._connection.request(method, target, body, {**self._headers, **headers}, encode_chunked=chunked)
        with self._connection.getresponse() as answer:
            return Reply(answer.status, answer.headers, answer.read())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._connection.close()

    # What nearly every test needs

    def push_blob(self, repository: str, data: bytes) -> str:
        """POST then PUT; gives the digest."""
        name = digest(data)
        begun = self("POST", f"/v2/{repository}/blobs/uploads/")
        assert begun.status == 202
        done = self("PUT", begun.location, data, OCTETS, digest=name)
        assert done.status == 201, done.body
        return name

    def push_manifest(
        self, repository: str, value: Json | bytes, reference: str | None = None, media_type: str = OCI_MANIFEST
    ) -> str:
        """Push a manifest, by its digest where no tag is said; gives the digest."""
        raw = value if isinstance(value, bytes) else encode(value)
        name = digest(raw)
        done = self("PUT", f"/v2/{repository}/manifests/{reference or name}", raw, {"Content-Type": media_type})
        assert done.status == 201, done.body
        assert done.headers["Docker-Content-Digest"] == name
        return name

    def push_image(self, repository: str, tag: str | None = None, *, layer: bytes = b"layer", **more: Any) -> str:
        """Push an image of one layer that nobody will unpack; gives the manifest's digest."""
        return self.push_manifest(repository, self.image(repository, layer=layer, **more), tag)

    def image(self, repository: str, *, layer: bytes = b"layer", config: bytes = b'{"a":1}', **more: Any) -> Json:
        """Push the blobs of an image and give its manifest, to be bent."""
        self.push_blob(repository, config)
        self.push_blob(repository, layer)
        layers = [descriptor(layer, "application/vnd.oci.image.layer.v1.tar")]
        return manifest(descriptor(config, OCI_CONFIG), layers, **more)


# What http.client would never send


@contextmanager
def raw(host: str, data: bytes) -> Iterator[socket.socket]:
    """Send these bytes, and go on by hand."""
    address, _, port = host.rpartition(":")
    with socket.create_connection((address, int(port)), timeout=10) as connection:
        connection.sendall(data)
        yield connection


def answer(host: str, data: bytes) -> bytes:
    """Give everything that comes back, until the server ends the connection."""
    with raw(host, data) as connection:
        connection.shutdown(socket.SHUT_WR)
        found = b""
        while part := connection.recv(65536):
            found += part
        return found
