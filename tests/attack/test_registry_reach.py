"""Where a registry, a token service or an image can make us knock: this machine, its link, hosts that others name.

A name is worth as little as an address: who owns it says where it leads, and may say something else a moment later.
Names are answered for in the test, so that none needs a name server.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from oci.errors import BlobNotFound, OciError, ProtocolViolation
from oci.http import dial, redirects
from oci.http.failures import NotTrusted
from oci.http.settings import Proxies, TlsSettings
from oci.registry.connect import Shared, connect
from oci.registry.endpoint import Endpoint
from oci.spec.descriptor import Descriptor
from oci.transports.from_registry import RegistrySource
from tests.support.hostile import BASIC, LOGIN, in_time, one_clear_line
from tests.support.images import OCI_MANIFEST, config, descriptor, digest, encode, manifest, tar_layer
from tests.support.library import pull, registry_ref, settings
from tests.support.scripted import Answer, Request, ScriptedServer
from tests.support.shelf import JSON, Shelf, refused
from tests.support.tls import Authority

Leads = Callable[..., None]


@pytest.fixture
def leads(monkeypatch: pytest.MonkeyPatch) -> Leads:
    """Say which names lead to 127.0.0.1; all others fail at once."""
    real, known = socket.getaddrinfo, {"127.0.0.1", "localhost"}

    def answered(host: str, *rest: Any) -> Any:
        if host in known:
            return real("127.0.0.1", *rest)
        raise socket.gaierror(socket.EAI_NONAME, "not known in this test")

    monkeypatch.setattr(dial.socket, "getaddrinfo", answered)
    return lambda *names: known.update(names)


# Layers that are elsewhere


def foreign(url: str) -> tuple[Shelf, Descriptor]:
    """An image whose layer is at a URL alone."""
    layer = tar_layer({"data": b"data"})
    made = encode(config([layer.diff_id]))
    described = layer.descriptor(urls=[url])
    raw = encode(manifest(descriptor(made, "application/vnd.oci.image.config.v1+json"), [described]))
    shelf = Shelf()
    shelf.blobs = {digest(made): made}
    shelf.manifests["v1"] = shelf.manifests[digest(raw)] = (OCI_MANIFEST, raw)
    return shelf, Descriptor.from_json(described)


def proxied(shelf: Shelf) -> Callable[[Request], Answer]:
    """A registry behind a proxy for http, which is asked for whole URLs."""

    def answer(request: Request) -> Answer:
        path = request.path.removeprefix("http://registry.example")
        return shelf.answer(Request(request.method, path, request.headers, request.body, request.connection))

    return answer


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "2130706433", "[::ffff:127.0.0.1]", "cdn.example"])
def test_an_image_of_a_stranger_does_not_have_us_ask_this_machine(
    server: ScriptedServer, leads: Leads, tmp_path: Path, host: str
) -> None:
    """SSRF by `urls` (CWE-918): what listens on loopback takes whoever comes from there for a friend."""
    leads(host.strip("[]"))
    authority = Authority(tmp_path / "ca")
    with ScriptedServer(tls=authority.server()) as victim:
        shelf, layer = foreign(f"https://{host}:{victim.port}/admin?do=it")
        server.on(".*", "http://registry.example/.*", proxied(shelf))
        how = settings(
            proxies=Proxies(http=server.url), plain_http=True, tls=TlsSettings(verify=False), foreign_urls=True
        )
        reference = registry_ref("docker://registry.example/app:v1")
        with RegistrySource(reference, connect(reference, how), how) as source, in_time():
            source.resolve()
            with pytest.raises(OciError) as caught, source.open(layer) as chunks:
                next(chunks)
        assert not isinstance(caught.value, BlobNotFound), "the registry's answer is not the reason"
        assert "do=it" not in one_clear_line(caught.value)
        assert victim.requests == []


def test_a_stranger_of_a_layer_gets_no_token_asked_for(server: ScriptedServer, tmp_path: Path) -> None:
    """Where a layer is, nobody is to name a token service: it would be one more place that we are sent to."""
    authority = Authority(tmp_path / "ca")
    with ScriptedServer(tls=authority.server()) as elsewhere:
        shelf, layer = foreign(f"{elsewhere.url}/layer")
        challenge = f'Bearer realm="{elsewhere.url}/token",service="s"'
        elsewhere.on("GET", "/layer", refused(401, "UNAUTHORIZED", WWW_Authenticate=challenge))
        elsewhere.on("GET", "/token", headers=JSON, body=b'{"token":"t"}')
        shelf.serve(server)
        how = settings(login=LOGIN, tls=TlsSettings(ca_file=str(authority.file)), foreign_urls=True)
        reference = registry_ref(f"docker://{server.host}/app:v1")
        with RegistrySource(reference, connect(reference, how), how) as source, in_time():
            source.resolve()
            with pytest.raises(OciError), source.open(layer) as chunks:
                next(chunks)
        assert "/layer" in elsewhere.paths()
        assert [path for path in elsewhere.paths() if path.startswith("/token")] == []


# Token services


def test_a_token_service_by_a_name_that_leads_to_this_machine(
    server: ScriptedServer, other: ScriptedServer, leads: Leads, tmp_path: Path
) -> None:
    """A realm is looked at as a redirect is: by where it leads, not by its name alone (DNS rebinding)."""
    leads("evil.example")
    challenge = f'Bearer realm="http://evil.example:{other.port}/admin",service="s"'
    server.on("GET", "http://registry.example/.*", refused(401, "UNAUTHORIZED", WWW_Authenticate=challenge))
    other.on(".*", ".*", headers=JSON, body=b'{"token":"t"}')
    how = settings(proxies=Proxies(http=server.url, no_proxy="evil.example"), plain_http=True)
    with in_time(), pytest.raises(ProtocolViolation) as caught:
        pull("docker://registry.example/app:v1", tmp_path / "victim", how)
    assert "evil.example" in one_clear_line(caught.value)
    assert other.requests == []


def test_a_token_service_beside_a_registry_that_is_on_this_machine(
    server: ScriptedServer, other: ScriptedServer, leads: Leads, tmp_path: Path
) -> None:
    """Both by names of /etc/hosts, as people have it for development: nobody is led anywhere."""
    leads("registry.test", "auth.test")
    challenge = f'Bearer realm="http://auth.test:{other.port}/token",service="s"'
    shelf, _ = foreign("https://elsewhere.example/layer")

    def answer(request: Request) -> Answer:
        if request.headers.get("authorization") == "Bearer t":
            return shelf.answer(request)
        return refused(401, "UNAUTHORIZED", WWW_Authenticate=challenge)

    server.on(".*", ".*", answer)
    other.on("GET", "/token", headers=JSON, body=b'{"token":"t"}')
    pull(f"docker://registry.test:{server.port}/app:v1", tmp_path / "back", settings(plain_http=True))
    assert len(other.requests) == 1


# Plain http


def test_a_name_below_localhost_that_leads_away_gets_nothing_over_plain_http(
    server: ScriptedServer, leads: Leads, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Few resolvers keep `.localhost` on the machine (RFC 6761 6.3): the rest ask the network, and who answers may lie.

    There is a second address of this machine in few sandboxes, so this one counts as another's.
    """
    leads("registry.localhost")
    monkeypatch.setattr(redirects, "is_loopback_name", lambda host: host != "127.0.0.1" and "localhost" in host)
    monkeypatch.setattr("oci.http.exchange.is_loopback_name", lambda host: host != "127.0.0.1" and "localhost" in host)
    server.on(".*", ".*", refused(401, "UNAUTHORIZED", WWW_Authenticate='Basic realm="x"'))
    with in_time(), pytest.raises(OciError) as caught:
        pull(f"docker://registry.localhost:{server.port}/app:v1", tmp_path / "victim", settings(login=LOGIN))
    assert "127.0.0.1" in one_clear_line(caught.value)
    assert BASIC not in [request.headers.get("authorization") for request in server.requests]
    assert server.requests == []
    with pytest.raises(OciError):  # who says it, gets it
        pull(
            f"docker://registry.localhost:{server.port}/app:v1",
            tmp_path / "victim",
            settings(login=LOGIN, plain_http=True),
        )
    assert server.requests


@pytest.mark.parametrize("host", ["169.254.169.254.", "127.0.0.1.", "10.0.0.1.", "0x7f.1."])
def test_a_dot_behind_an_address_makes_no_name_of_it(host: str) -> None:
    assert redirects._address(host) is not None


# Certificates


def test_a_mirror_that_may_be_insecure_does_not_make_its_host_so_for_others(tmp_path: Path) -> None:
    """`insecure` stands in one table; the same host by its own name, over the same connections, is another matter."""
    authority = Authority(tmp_path / "ca")
    with ScriptedServer(tls=authority.server()) as one:
        one.on(".*", ".*", refused(404, "MANIFEST_UNKNOWN"))
        with Shared(settings(login=LOGIN)) as shared:
            lax = shared.repository(Endpoint(location=one.host, repository="cache/a", insecure=True, is_mirror=True))
            strict = shared.repository(Endpoint(location=one.host, repository="a"))
            assert lax.head_manifest("v1") is None
            asked = len(one.requests)
            with pytest.raises(NotTrusted):
                strict.head_manifest("v1")
            assert len(one.requests) == asked
            assert lax.head_manifest("v1") is None
