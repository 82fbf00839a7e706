"""Which proxy a host is reached through: HTTP_PROXY, HTTPS_PROXY and NO_PROXY, read as curl and Go read them.

No standard says what NO_PROXY means. What people write is taken: `*`, names (with or without a dot before them: the
name itself and all below it), `*.name`, `host:port`, addresses and networks (10.0.0.0/8). localhost and loopback
addresses are never reached through a proxy. No message holds the user name and password of a proxy's URL.
"""

from __future__ import annotations

import re
from binascii import b2a_base64
from typing import TYPE_CHECKING

from oci.errors import ConfigurationError
from oci.http.urls import Url, is_loopback_name
from oci.spec.record import Record

if TYPE_CHECKING:
    from oci.http.settings import Proxies

__all__ = ["Proxy", "proxy_for"]


class Proxy(Record):
    """A proxy: its URL without credentials, and the headers that carry them."""

    url: str
    host: str
    port: int
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def location(self) -> str:
        """HOST:PORT, for messages."""
        return f"{self.host}:{self.port}"

    def __repr__(self) -> str:
        return f"Proxy({self.url})"


def proxy_for(url: Url, proxies: Proxies) -> Proxy | None:
    """Give the proxy for a URL, None where it is asked directly; ConfigurationError for a proxy's URL that is none."""
    words = proxies.https if url.scheme == "https" else proxies.http
    if not words or is_loopback_name(url.host) or _is_exempt(url, proxies.no_proxy):
        return None
    return _parse(words, f"{url.scheme.upper()}_PROXY")


_PROXY = re.compile(
    r"(?:([A-Za-z][A-Za-z0-9+.-]*)://)?(?:([^/]*)@)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]+))?/?"
)


def _parse(words: str, variable: str) -> Proxy:
    found = _PROXY.fullmatch(words.strip())
    if found is None:
        raise ConfigurationError(variable, "not the URL of a proxy: http://[USER:PASSWORD@]HOST[:PORT]")
    scheme, user, host = (found[1] or "http").lower(), found[2], found[3]
    if scheme not in ("http", "https"):
        raise ConfigurationError(variable, f"a proxy of the scheme {scheme!r}; http and https are supported")
    port = int(found[4]) if found[4] else (443 if scheme == "https" else 80)
    if not 0 < port < 65536:
        raise ConfigurationError(variable, f"a proxy on the port {port}")
    headers: tuple[tuple[str, str], ...] = ()
    if user is not None:
        from urllib.parse import unquote_to_bytes

        name, _, password = user.partition(":")
        pair = unquote_to_bytes(name) + b":" + unquote_to_bytes(password)
        headers = (("Proxy-Authorization", f"Basic {b2a_base64(pair, newline=False).decode()}"),)
    return Proxy(url=f"{scheme}://{host}:{port}", host=host.strip("[]"), port=port, headers=headers)


def _is_exempt(url: Url, no_proxy: str) -> bool:
    host = url.host.rstrip(".")
    return any(_matches(host, url.port, word.lower()) for word in no_proxy.replace(",", " ").split())


def _matches(host: str, port: int, word: str) -> bool:
    if word == "*":
        return True
    if "/" in word:
        return _is_within(host, word)
    bare, wanted = _split_port(word)
    if wanted is not None and wanted != port:
        return False
    bare = bare.strip("[]").rstrip(".")
    if not bare or bare == "*":
        return bare == "*"
    name = bare.removeprefix("*").removeprefix(".")
    if _address(name) is not None:
        return _address(host) == _address(name)
    return _address(host) is None and (host == name or host.endswith(f".{name}"))


def _split_port(word: str) -> tuple[str, int | None]:
    found = re.fullmatch(r"(\[.*\]|[^:]*):([0-9]{1,5})", word)
    return (found[1], int(found[2])) if found else (word, None)


def _address(text: str) -> object:
    if not re.fullmatch(r"[0-9.]+|[0-9a-f.]*:[0-9a-f:.]*", text):
        return None
    import ipaddress

    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _is_within(host: str, network: str) -> bool:
    import ipaddress

    address = _address(host)
    try:
        return address is not None and address in ipaddress.ip_network(network, strict=False)
    except (ValueError, TypeError):
        return False
