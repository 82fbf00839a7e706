"""The words of an upload session: where it goes on, how far it is, and the URL that closes it."""

from __future__ import annotations

from typing import Any

import pytest

from oci.errors import ProtocolViolation
from oci.http.exchange import Headers
from oci.registry.sessions import next_location, reached, with_digest
from oci.spec.digest import Digest

DIGEST = Digest.parse("sha256:" + "a" * 64)
CLOSING = "digest=sha256%3A" + "a" * 64


class Said:
    """An answer, as far as it is looked at."""

    def __init__(self, url: str, **headers: str) -> None:
        self.url, self.headers = url, Headers((name, value) for name, value in headers.items())


def location(url: str, said: str) -> str:
    answer: Any = Said(url, Location=said)
    return next_location(answer)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("/v2/app/blobs/uploads/1?_state=a%2Fb==&x", "https://r.example/v2/app/blobs/uploads/1?_state=a%2Fb==&x"),
        ("https://r.example/u", "https://r.example/u"),
        ("https://storage.example/u?sig=%2B", "https://storage.example/u?sig=%2B"),
        ("//storage.example/u", "https://storage.example/u"),
        ("1?x", "https://r.example/v2/app/blobs/uploads/1?x"),
        ("/u//v/?x", "https://r.example/u//v/?x"),
        ("/u#part", "https://r.example/u"),
    ],
)
def test_a_location_is_relative_or_absolute_and_kept_to_the_byte(said: str, meant: str) -> None:
    assert location("https://r.example/v2/app/blobs/uploads/?mount=x", said) == meant


@pytest.mark.parametrize(
    ("asked", "said", "meant"),
    [
        ("https://r.example/v2/", "http://r.example/u?x", "https://r.example/u?x"),
        ("https://r.example/v2/", "http://R.Example:80/u", "https://r.example/u"),
        ("https://r.example:8443/v2/", "http://r.example:8443/u", "https://r.example:8443/u"),
        ("https://r.example:8443/v2/", "http://r.example/u", "https://r.example:8443/u"),
        # Neither our port nor http's own: another server, and the client refuses to fall to http for it.
        ("https://r.example/v2/", "http://r.example:5000/u", "http://r.example:5000/u"),
        ("https://r.example/v2/", "http://other.example/u", "http://other.example/u"),
        ("http://r.example/v2/", "https://r.example/u", "https://r.example/u"),
    ],
)
def test_a_registry_behind_a_tls_proxy_that_says_http_means_https(asked: str, said: str, meant: str) -> None:
    assert location(asked, said) == meant


def test_no_location_is_no_upload_unless_there_was_one() -> None:
    answer: Any = Said("https://r.example/v2/?_state=secret")
    with pytest.raises(ProtocolViolation, match="no Location") as raised:
        next_location(answer)
    assert "secret" not in str(raised.value)
    assert next_location(answer, default="https://r.example/u") == "https://r.example/u"


@pytest.mark.parametrize(
    ("place", "closing"),
    [
        ("https://r/u", f"https://r/u?{CLOSING}"),
        ("https://r/u/?", f"https://r/u/?{CLOSING}"),
        ("https://r/u?_state=a%2F==&b", f"https://r/u?_state=a%2F==&b&{CLOSING}"),
        ("https://r/u?digest=old&x=1", f"https://r/u?x=1&{CLOSING}"),
        ("https://r/u?x=1&", f"https://r/u?x=1&{CLOSING}"),
    ],
)
def test_the_closing_url_keeps_the_query_and_adds_the_digest(place: str, closing: str) -> None:
    assert with_digest(place, DIGEST) == closing


@pytest.mark.parametrize(
    ("said", "size"), [("0-99", 100), ("bytes=0-99", 100), ("0-0", 0), ("", None), ("many", None), ("0-", None)]
)
def test_a_range_says_how_many_bytes_are_there(said: str, size: int | None) -> None:
    answer: Any = Said("https://r/u", Range=said)
    assert reached(answer) == size


@pytest.mark.parametrize("said", ["1-99", "0-9999999999999999999"])
def test_a_range_that_can_not_be_is_refused(said: str) -> None:
    answer: Any = Said("https://r/u", Range=said)
    with pytest.raises(ProtocolViolation, match="Range"):
        reached(answer)
