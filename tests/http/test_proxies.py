"""Which proxy a host is reached through, and that its password goes nowhere else."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from oci.errors import ConfigurationError, RegistryError
from oci.http.exchange import Http, NotReached
from oci.http.proxies import proxy_for
from oci.http.settings import Proxies, TlsSettings
from oci.http.urls import parse_url
from oci.registry.settings import Settings
from tests.support.scripted import ScriptedServer
from tests.support.tls import Authority


def chosen(url: str, no_proxy: str = "") -> str | None:
    proxies = Proxies(http="http://proxy.example:3128", https="https://secure.example", no_proxy=no_proxy)
    proxy = proxy_for(parse_url(url), proxies)
    return None if proxy is None else proxy.url


def test_each_scheme_has_its_proxy() -> None:
    assert chosen("http://h.example/") == "http://proxy.example:3128"
    assert chosen("https://h.example/") == "https://secure.example:443"
    assert proxy_for(parse_url("https://h.example/"), Proxies(http="http://p")) is None
    assert proxy_for(parse_url("https://h.example/"), Proxies(https="")) is None


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "[::1]", "a.localhost"])
def test_this_machine_is_never_reached_through_a_proxy(host: str) -> None:
    assert chosen(f"https://{host}:5000/") is None


@pytest.mark.parametrize(
    ("no_proxy", "url", "direct"),
    [
        ("*", "https://h.example/", True),
        ("", "https://h.example/", False),
        ("h.example", "https://h.example/", True),
        ("H.Example", "https://h.example/", True),
        ("h.example.", "https://h.example/", True),
        ("h.example", "https://a.h.example/", True),
        (".h.example", "https://a.h.example/", True),
        (".h.example", "https://h.example/", True),
        ("*.h.example", "https://a.h.example/", True),
        ("h.example", "https://bh.example/", False),
        ("example", "https://h.example/", True),
        ("other, h.example ,x", "https://h.example/", True),
        ("other h.example", "https://h.example/", True),
        ("h.example:443", "https://h.example/", True),
        ("h.example:8443", "https://h.example/", False),
        ("h.example:8443", "https://h.example:8443/", True),
        ("10.0.0.0/8", "https://10.1.2.3/", True),
        ("10.0.0.0/8", "https://11.1.2.3/", False),
        ("10.0.0.0/8", "https://h.example/", False),
        ("10.1.2.3", "https://10.1.2.3/", True),
        ("10.1.2.3:5000", "https://10.1.2.3:5000/", True),
        ("1.2.3", "https://10.1.2.3/", False),
        ("fd00::/8", "https://[fd00::1]/", True),
        ("[fd00::1]:443", "https://[fd00::1]/", True),
        ("fd00::1", "https://[fd00:0::1]/", True),
        ("10.0.0.0/99", "https://10.1.2.3/", False),
        (":443,,.", "https://h.example/", False),
    ],
)
def test_no_proxy_means_what_people_write(no_proxy: str, url: str, direct: bool) -> None:
    assert (chosen(url, no_proxy) is None) == direct


@pytest.mark.parametrize("words", ["socks5://u:secret@p:1", "http://u:secret@p:99999", "http://u:secret@p q/", "://"])
def test_a_proxy_that_is_none_is_an_error_without_its_password(words: str) -> None:
    with pytest.raises(ConfigurationError, match="HTTPS_PROXY") as caught:
        proxy_for(parse_url("https://h.example/"), Proxies(https=words))
    assert "secret" not in str(caught.value)


def test_a_proxy_shows_no_password() -> None:
    proxy = proxy_for(parse_url("https://h.example/"), Proxies(https="http://user:p%40ss@p.example:1"))
    assert proxy is not None
    assert proxy.headers == (("Proxy-Authorization", f"Basic {base64.b64encode(b'user:p@ss').decode()}"),)
    assert "p.example" in repr(proxy)
    assert "ss" not in repr(proxy)


def test_plain_http_goes_through_the_proxy_as_a_whole_url() -> None:
    with ScriptedServer() as proxy:
        proxy.on("GET", "http://h.example/.*", body=b"by proxy")
        settings = Settings(proxies=Proxies(http=f"http://u:pw@{proxy.host}"), stall_timeout=2)
        with Http(settings) as http:
            for _ in range(2):
                assert http.send("GET", "http://h.example/v2/?n=%2f").read(10, "it") == b"by proxy"
    seen = proxy.requests[0]
    assert seen.path.lower() == "http://h.example/v2/?n=%2f"
    assert seen.headers["host"] == "h.example"
    assert seen.headers["proxy-authorization"] == f"Basic {base64.b64encode(b'u:pw').decode()}"
    assert proxy.connections == 1


class Tunnels:
    """A proxy that takes CONNECT, and leads every name to one port."""

    def __init__(self, port: int, refuse: bytes = b"") -> None:
        self.port, self.refuse = port, refuse
        self.heads: list[bytes] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self) -> None:
        client, _ = self.listener.accept()
        with client:
            head = b""
            while not head.endswith(b"\r\n\r\n") and (data := client.recv(1)):
                head += data
            self.heads.append(head)
            if self.refuse or not head:
                client.sendall(self.refuse)
                return
            with socket.create_connection(("127.0.0.1", self.port)) as server:
                client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                back = threading.Thread(target=pump, args=(server, client), daemon=True)
                back.start()
                pump(client, server)
                back.join(5)


def pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def tunnels(port: int, refuse: bytes = b"") -> Iterator[Tunnels]:
    proxy = Tunnels(port, refuse)
    proxy.thread.start()
    yield proxy
    with contextlib.suppress(OSError), socket.create_connection(proxy.listener.getsockname(), timeout=1):
        pass
    proxy.thread.join(5)
    proxy.listener.close()


def test_https_goes_through_a_tunnel_and_the_password_stays_with_the_proxy(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with ScriptedServer(tls=authority.server(["h.example"])) as server, tunnels(server.port) as proxy:
        server.on("GET", "/v2/", body=b"hello")
        settings = Settings(
            proxies=Proxies(https=f"http://u:pw@{proxy.host}"),
            tls=TlsSettings(ca_file=str(authority.file)),
            stall_timeout=2,
        )
        with Http(settings) as http:
            for _ in range(2):
                assert http.send("GET", "https://h.example/v2/").read(10, "it") == b"hello"
    assert proxy.heads[0].startswith(b"CONNECT h.example:443 ")
    assert base64.b64encode(b"u:pw") in proxy.heads[0]
    assert "proxy-authorization" not in server.requests[0].headers


@pytest.mark.parametrize(
    ("refuse", "said"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "the proxy refuses: 407"),
        (b"HTTP/1.1 403 No\x1b[2J\r\n\r\n", "the proxy refuses: 403"),
        (b"nonsense\r\n\r\n", "through the proxy"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 500_000, "through the proxy"),
    ],
)
def test_a_proxy_that_refuses_is_named_without_its_password(refuse: bytes, said: str) -> None:
    with tunnels(0, refuse) as proxy:
        settings = Settings(proxies=Proxies(https=f"http://u:secret@{proxy.host}"), stall_timeout=1, connect_timeout=2)
        with Http(settings) as http, pytest.raises(RegistryError) as caught:
            http.send("GET", "https://h.example/v2/")
    assert "secret" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert said in str(caught.value)


def test_a_proxy_that_is_not_there_is_named() -> None:
    with ScriptedServer() as gone:
        pass
    with Http(Settings(proxies=Proxies(https=f"http://{gone.host}"))) as http, pytest.raises(NotReached) as caught:
        http.send("GET", "https://h.example/v2/")
    assert f"through the proxy {gone.host}" in str(caught.value)
