"""URLs that we send requests to: absolute, http or https, and read in one way only (RFC 3986, RFC 9110 section 4.2).

Registries hand us URLs: `Location` of redirects and uploads, `Link` of lists, `realm` of token services. Two readers
that take one URL for two hosts are how a credential goes astray, so everything unusual is refused here: user names, odd
hosts and ports, backslashes, blanks and control characters. What is read here is what `exchange` connects to; no other
parser sees the host.
"""

from __future__ import annotations

import re

from oci.errors import ProtocolViolation
from oci.spec.record import Record

__all__ = ["MAX_URL", "Url", "is_loopback_name", "parse_url", "resolve"]

MAX_URL = 16384  # characters: signed URLs of storage services have some 2,000, upload states of registries more

_PORTS = {"http": 80, "https": 443}
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?\.?"
_URL = re.compile(rf"([A-Za-z][A-Za-z0-9+.-]*)://({_NAME}|\[[0-9A-Fa-f:.]+\])(?::([0-9]{{0,5}}))?([/?].*)?", re.DOTALL)
# What RFC 3986 allows in a path and a query, and what servers put there though they should not ('|', '"', '{', …).
_TARGET = re.compile(r"[!-~]*")


class Url(Record):
    """One URL in parts; `port` is always there, `target` is the path with its query, as it was given."""

    scheme: str
    host: str  # lower case; an IPv6 address without its brackets
    port: int
    target: str

    @property
    def location(self) -> str:
        """HOST[:PORT] as references and certs.d folders say it: without the port where it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """SCHEME://HOST[:PORT]: whoever shares it may see the same secrets (RFC 9110 section 4.3.1)."""
        return f"{self.scheme}://{self.location}"

    @property
    def public(self) -> str:
        """The URL without its query, which may be a secret (signed URLs, upload states)."""
        return self.origin + self.target.partition("?")[0]

    def __str__(self) -> str:
        return self.origin + self.target


def parse_url(text: str, *, asked: str | None = None) -> Url:
    """Read an absolute URL; ProtocolViolation for what is none that we take. `asked` is the URL that gave it."""
    where = asked if asked is not None else "URL"
    if len(text) > MAX_URL:
        raise ProtocolViolation(where, f"a URL of {len(text)} characters; at most {MAX_URL} are taken")
    text = text.partition("#")[0]
    found = _URL.fullmatch(text)
    if found is None or ".." in found[2]:
        raise ProtocolViolation(where, f"a URL that is not followed: {_shown(text)!r}")
    scheme, host, port, target = found[1].lower(), found[2].lower(), found[3], found[4] or "/"
    if scheme not in _PORTS:
        raise ProtocolViolation(where, f"a URL of the scheme {scheme!r}; only http and https are followed")
    if not target.startswith("/"):
        target = f"/{target}"
    if not _TARGET.fullmatch(target):
        raise ProtocolViolation(where, f"a URL with blanks or control characters in it: {_shown(text)!r}")
    number = int(port) if port else _PORTS[scheme]
    if not 0 < number < 65536:
        raise ProtocolViolation(where, f"a URL with the port {number}")
    if host.startswith("["):
        host = host[1:-1]
        if not _is_ipv6(host):
            raise ProtocolViolation(where, f"a URL with a bad IPv6 address: {_shown(text)!r}")
    return Url(scheme=scheme, host=host, port=number, target=target)


def resolve(base: Url, text: str) -> Url:
    """Read a URL or a reference that `base` gave: absolute, //host, /path, ?query or a path beside (RFC 3986 5.2)."""
    asked = base.public
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", text) and not text.startswith("/"):
        return parse_url(text, asked=asked)
    if text.startswith("//"):
        return parse_url(f"{base.scheme}:{text}", asked=asked)
    path, _, _ = base.target.partition("?")
    if text.startswith("/"):
        joined = text
    elif text.startswith("?"):
        joined = path + text
    else:
        joined = path.rpartition("/")[0] + "/" + text
    before, mark, query = joined.partition("?")
    return parse_url(base.origin + _without_dots(before) + mark + query, asked=asked)


def is_loopback_name(host: str) -> bool:
    """Say whether a host is this machine by its name or address alone: localhost, 127.0.0.0/8, ::1."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    if re.fullmatch(r"127(\.[0-9]{1,3}){3}", name):
        return True
    return ":" in name and _is_ipv6(name.strip("[]")) and _reach(name.strip("[]")).is_loopback


def _reach(address: str):  # type: ignore[no-untyped-def]
    import ipaddress

    return ipaddress.ip_address(address)


def _is_ipv6(host: str) -> bool:
    import ipaddress

    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True


def _without_dots(path: str) -> str:
    """Take away "." and ".." as RFC 3986 section 5.2.4 does."""
    if "/." not in path:
        return path
    kept: list[str] = []
    parts = path.split("/")[1:]
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        if part == "..":
            if kept:
                kept.pop()
        elif part != ".":
            kept.append(part)
            continue
        if last:
            kept.append("")
    return "/" + "/".join(kept)


def _shown(text: str) -> str:
    """A URL for a message: without query, and without what stands before an @."""
    text = text.partition("?")[0]
    return re.sub(r"//[^/]*@", "//…@", text)
