"""Where a registry may send us, by `Location` of a redirect or of an upload (RFC 9110 section 15.4).

- http and https only, and https never falls to http: what a network in between may read, it may change.
- A registry that is not on this machine can't send us to this machine or its own link (127.0.0.0/8, ::1,
  169.254.0.0/16 with the metadata services of clouds, …): there, requests are trusted that a stranger must not cause.
  One with a public address can't send us to private networks.
- At most MAX_REDIRECTS, and never to a URL that was asked already.
"""

from __future__ import annotations

from collections.abc import Collection

from oci.errors import ProtocolViolation
from oci.http.urls import Url, is_loopback_name, resolve

__all__ = ["MAX_REDIRECTS", "REDIRECTS", "check_target", "follow", "is_local_address"]

MAX_REDIRECTS = 5  # registry → token or storage → its nearest server; real chains have one or two
REDIRECTS = frozenset((301, 302, 303, 307, 308))


def follow(base: Url, location: str | None, *, registry: Url, seen: Collection[str] = ()) -> Url:
    """Give where a redirect of `base` leads; ProtocolViolation for what is not followed.

    `seen` are the URLs asked already for this request, `base` among them.
    """
    if not location:
        raise ProtocolViolation(base.public, "a redirect without a Location")
    target = resolve(base, location)
    if len(seen) > MAX_REDIRECTS:
        raise ProtocolViolation(registry.origin, f"more than {MAX_REDIRECTS} redirects in a row")
    if str(target) in seen:
        raise ProtocolViolation(registry.origin, f"a redirect in a circle, by way of {target.origin}")
    check_target(base, target, registry=registry)
    return target


def check_target(base: Url, target: Url, *, registry: Url) -> None:
    """Refuse a URL that `base` gave and that `registry` has no business to send us to."""
    if "https" in (base.scheme, registry.scheme) and target.scheme != "https":
        raise ProtocolViolation(registry.origin, f"it leads from https to http, at {target.origin}; not followed")
    if target.origin == registry.origin or is_loopback_name(registry.host):
        return
    if is_loopback_name(target.host) or is_local_address(target.host):
        raise ProtocolViolation(
            registry.origin, f"it leads to {target.origin}, on this machine or its link; not followed"
        )
    if _is_public(registry.host) and _is_private(target.host):
        raise ProtocolViolation(registry.origin, f"it leads to {target.origin}, in a private network; not followed")


def is_local_address(host: str) -> bool:
    """Say whether an address (no name) is this machine's, its link's, or no single machine's."""
    address = _address(host)
    return address is not None and (
        address.is_loopback
        or address.is_link_local
        or address.is_unspecified
        or address.is_multicast
        or (address.version == 4 and address.packed[0] == 0)
    )


def _is_private(host: str) -> bool:
    address = _address(host)
    return address is not None and address.is_private


def _is_public(host: str) -> bool:
    """Say whether a host is given as a public address. What a name stands for, a proxy may know and we don't."""
    address = _address(host)
    return address is not None and address.is_global


def _address(host: str):  # type: ignore[no-untyped-def]
    import ipaddress

    text = host.strip("[]").rstrip(".")
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        number = _as_number(text)
        if number is None:
            return None
        address = ipaddress.IPv4Address(number)
    if address.version == 6:
        inner = address.ipv4_mapped or address.sixtofour
        return inner if inner is not None else address
    return address


def _as_number(text: str) -> int | None:
    """Read what inet_aton(3), and so the connection, takes for an IPv4 address: 127.1, 2130706433, 0x7f.0.0.1."""
    import re
    import socket

    if not re.fullmatch(r"[0-9a-fx.]+", text) or not text[0].isdigit():
        return None
    try:
        return int.from_bytes(socket.inet_aton(text), "big")
    except OSError:
        return None
