"""The Link header of a page: where the next one is (RFC 8288; distribution-spec v1.1.1 spec.md#listing-tags).

A link may be relative or absolute, but it never leads to another host: a list of tags that sends us elsewhere is
refused. What is followed is its path and query, on the connection that the page came by.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from oci.errors import ProtocolViolation
from oci.http.urls import parse_url, resolve

__all__ = ["next_page", "parse_links"]

MAX_LINK = 16 << 10  # characters of all Link headers of one answer: a path, a query, and what proxies add

_SPACE = " \t"
_TOKEN_END = frozenset(" \t,;=")


def parse_links(values: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Give (target, parameters) of each link, parameters by lower-case name, the first of a name winning.

    What can't be read ends the reading: a broken header gives the links before the break.
    """
    text = ",".join(values)
    at = 0
    while True:
        at = _skip(text, at, _SPACE + ",")
        if at >= len(text) or text[at] != "<":
            return
        end = text.find(">", at)
        if end < 0:
            return
        target = text[at + 1 : end].strip()
        parameters: dict[str, str] = {}
        at = _skip(text, end + 1, _SPACE)
        while at < len(text) and text[at] == ";":
            at = _skip(text, at + 1, _SPACE)
            name, at = _token(text, at)
            at = _skip(text, at, _SPACE)
            value = ""
            if at < len(text) and text[at] == "=":
                value, at = _value(text, _skip(text, at + 1, _SPACE))
                at = _skip(text, at, _SPACE)
            if name:
                parameters.setdefault(name.lower(), value)
        yield target, parameters


def _skip(text: str, at: int, characters: str) -> int:
    while at < len(text) and text[at] in characters:
        at += 1
    return at


def _token(text: str, at: int) -> tuple[str, int]:
    start = at
    while at < len(text) and text[at] not in _TOKEN_END:
        at += 1
    return text[start:at], at


def _value(text: str, at: int) -> tuple[str, int]:
    if at >= len(text) or text[at] != '"':
        return _token(text, at)
    found: list[str] = []
    at += 1
    while at < len(text) and text[at] != '"':
        if text[at] == "\\" and at + 1 < len(text):
            at += 1
        found.append(text[at])
        at += 1
    return "".join(found), at + 1


def next_page(values: Sequence[str], *, page: str, host: str) -> str | None:
    """Give path and query of the page behind `page` (a path with query on `host`), None where this is the last one.

    Raises ProtocolViolation for a link to another host.
    """
    if sum(map(len, values)) > MAX_LINK:
        raise ProtocolViolation(f"{host}{page}", f"its Link header is longer than {MAX_LINK} characters")
    for target, parameters in parse_links(values):
        if "next" not in parameters.get("rel", "next").lower().split():
            continue
        if not target:
            return None
        base = parse_url(f"https://{host}{page}")
        try:
            there = resolve(base, target)
        except ProtocolViolation as error:
            raise ProtocolViolation(f"{host}{page}", f"its link to the next page is {error.reason}") from None
        # The scheme is ours: a registry behind a proxy that ends TLS writes http:// for what is asked by https.
        same_port = there.port == base.port or {there.port, base.port} == {80, 443}
        if there.host != base.host or not same_port:
            raise ProtocolViolation(f"{host}{page}", "its link to the next page leads to another host; not followed")
        return f"/{there.target.lstrip('/')}"  # two slashes at its beginning would be a host
    return None
