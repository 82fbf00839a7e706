"""Where a registry may send us, and how its URLs are read."""

from __future__ import annotations

import pytest

from oci.errors import ProtocolViolation
from oci.http.redirects import MAX_REDIRECTS, follow, is_local_address
from oci.http.urls import is_loopback_name, parse_url, resolve

HOME = parse_url("https://registry.example/v2/a/blobs/sha256:1")


def lead(location: str | None, base: str = str(HOME)) -> str:
    url = parse_url(base)
    return str(follow(url, location, registry=url, seen=[str(url)]))


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("https://cdn.example/blob?sig=a%2fb&x=%20", "https://cdn.example/blob?sig=a%2fb&x=%20"),
        ("https://CDN.example:443/B", "https://cdn.example/B"),
        ("/v2/other", "https://registry.example/v2/other"),
        ("//cdn.example/blob", "https://cdn.example/blob"),
        ("?x=1", "https://registry.example/v2/a/blobs/sha256:1?x=1"),
        ("sibling", "https://registry.example/v2/a/blobs/sibling"),
        ("../uploads/1", "https://registry.example/v2/a/uploads/1"),
        ("../../../../../etc", "https://registry.example/etc"),
        ("/a/./b/../c/", "https://registry.example/a/c/"),
        ("https://cdn.example", "https://cdn.example/"),
        ("https://cdn.example?x", "https://cdn.example/?x"),
        ("https://cdn.example/#part", "https://cdn.example/"),
        ("https://[2606:4700::1111]:8443/x", "https://[2606:4700::1111]:8443/x"),
        ("https://10.1.2.3:9000/minio", "https://10.1.2.3:9000/minio"),  # a company's storage, by a name's registry
    ],
)
def test_a_redirect_is_resolved_as_rfc_3986_says(location: str, target: str) -> None:
    assert lead(location) == target


@pytest.mark.parametrize(
    "location",
    [
        None,
        "",
        "http://registry.example/v2/a",
        "http://cdn.example/blob",
        "file:///etc/passwd",
        "ftp://cdn.example/",
        "data:text/plain,hello",
        "javascript:alert(1)",
        "https:///x",
        "https:cdn.example",
        "https://user:password@cdn.example/",
        "https://registry.example@evil.example/",
        "https://registry.example\\@evil.example/",
        "https://evil.example\\.registry.example/",
        "https://registry.example:443:80/",
        "https://registry.example:0/",
        "https://registry.example:99999/",
        "https://registry.example/a b",
        "https://registry.example/a\r\nX: y",
        "https://registry.example/\x00",
        "https://registry.exämple/",
        "https://a..b/",
        "https://[::1/",
        "https://[::gg]/",
        "https://[fe80::1%25eth0]/",
        "https://127.0.0.1/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f.0.0.1/",
        "https://0/",
        "https://0.0.0.0/",
        "https://localhost/",
        "https://LOCALHOST./",
        "https://x.localhost:5000/",
        "https://[::1]/",
        "https://[::]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[fe80::1]/",
        "https://169.254.169.254/latest/meta-data/",
        "https://224.0.0.1/",
        "https://registry.example/" + "x" * 20_000,
    ],
)
def test_what_is_not_followed(location: str | None) -> None:
    with pytest.raises(ProtocolViolation) as caught:
        lead(location)
    text = str(caught.value)
    assert "password" not in text
    assert "\n" not in text
    assert len(text) < 400


def test_a_public_address_leads_to_no_private_network() -> None:
    with pytest.raises(ProtocolViolation, match="private network"):
        lead("https://192.168.1.1/", "https://93.184.216.34/v2/")
    assert lead("https://192.168.1.2/", "https://192.168.1.1/v2/")


def test_a_registry_on_this_machine_may_lead_anywhere_but_to_other_schemes() -> None:
    assert lead("http://127.0.0.1:9000/x", "http://localhost:5000/v2/") == "http://127.0.0.1:9000/x"
    with pytest.raises(ProtocolViolation, match="'file'"):
        lead("file://localhost/etc/passwd", "http://localhost:5000/v2/")
    with pytest.raises(ProtocolViolation, match="https to http"):
        lead("http://127.0.0.1:9000/x", "https://localhost:5000/v2/")


def test_once_in_https_always_in_https() -> None:
    # http → https → http: the registry's own scheme is not the only one that counts.
    with pytest.raises(ProtocolViolation, match="https to http"):
        follow(parse_url("https://b.example/"), "http://c.example/", registry=parse_url("http://a.example/"))


def test_circles_and_long_chains_end() -> None:
    url = parse_url("https://a.example/1")
    with pytest.raises(ProtocolViolation, match="circle"):
        follow(url, "/1", registry=url, seen=["https://a.example/1"])
    seen = [f"https://a.example/{n}" for n in range(MAX_REDIRECTS + 1)]
    with pytest.raises(ProtocolViolation, match="more than 5 redirects"):
        follow(url, "/next", registry=url, seen=seen)


def test_a_query_is_in_no_message() -> None:
    with pytest.raises(ProtocolViolation) as caught:
        lead("http://cdn.example/x?sig=secret")
    assert "secret" not in str(caught.value)
    with pytest.raises(ProtocolViolation) as caught:
        resolve(parse_url("https://a.example/x?sig=secret"), "https://a b/?sig=secret")
    assert "secret" not in str(caught.value)


def test_an_origin_has_no_port_of_its_scheme_and_is_in_lower_case() -> None:
    assert parse_url("HTTPS://Registry.Example:443/v2/").origin == "https://registry.example"
    assert parse_url("http://registry.example:443/").origin == "http://registry.example:443"
    assert parse_url("http://[::1]:80/").origin == "http://[::1]"
    assert parse_url("https://a.example/").origin != parse_url("https://a.example:8443/").origin


def test_names_and_addresses_of_this_machine_are_known() -> None:
    for host in ("localhost", "LOCALHOST.", "a.localhost", "127.0.0.1", "127.255.0.9", "::1", "[::1]"):
        assert is_loopback_name(host)
    for host in ("localhost.example", "127.0.0.1.example", "128.0.0.1", "::2", "registry.example", "local"):
        assert not is_loopback_name(host)
    assert is_local_address("::ffff:169.254.1.1")
    assert not is_local_address("registry.example")
    assert not is_local_address("8.8.8.8")
