"""A registry that leads astray: redirects, realms, links and lists that go elsewhere, in circles, or on for ever.

Nothing that is ours (a password, a token, a cookie) goes where it does not belong, and everything comes to an end.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from oci.errors import (
    InvalidDocument,
    InvalidReference,
    LimitExceeded,
    OciError,
    ProtocolViolation,
    RegistryError,
)
from oci.http.settings import Proxies, TlsSettings
from oci.registry.connect import connect
from oci.registry.repository import Repository
from tests.support.hostile import (
    BASIC,
    LOGIN,
    PASSWORD,
    attacked,
    endless,
    guarded,
    in_time,
    name,
    one_clear_line,
    wants_basic,
    wants_token,
)
from tests.support.library import Naps, pull, registry_ref, settings
from tests.support.scripted import Answer, Request, ScriptedServer
from tests.support.shelf import JSON, Shelf, refused
from tests.support.tls import Authority

# Led astray


def test_redirects_in_a_circle(server: ScriptedServer, shelf: Shelf, victim: Path) -> None:
    server.on("GET", r"/a", status=302, headers={"Location": "/b"})
    server.on("GET", r"/b", status=302, headers={"Location": "/a"})
    server.on("GET", r"/v2/app/blobs/.*", status=302, headers={"Location": "/a"})
    shelf.serve(server)
    attacked(server, victim, kind=ProtocolViolation)
    assert len(server.requests) < 60


def test_redirects_without_an_end(server: ScriptedServer, shelf: Shelf, victim: Path) -> None:
    numbers = itertools.count()
    server.on("GET", r"/n/.*", lambda request: Answer(307, {"Location": f"/n/{next(numbers)}"}))
    server.on("GET", r"/v2/app/manifests/.*", status=307, headers={"Location": "/n/x"})
    shelf.serve(server)
    attacked(server, victim, kind=ProtocolViolation)
    assert len(server.requests) < 20


@pytest.mark.parametrize(
    "place",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "gopher://127.0.0.1:70/_x",
        "javascript:alert(1)",
        "data:application/json,{}",
        "unix:///run/docker.sock",
        "http://",
        "http://[",
        "http://:80/",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1:abc/",
        "http://user:pass@127.0.0.1:1/x",
        "//",
        "",
        "http://127.0.0.1\\@evil.example/",
        "http://evil.example\t/",
        "http://xn--/",
        "x" * 70_000,
    ],
    ids=lambda place: repr(place[:30]),
)
@pytest.mark.parametrize("what", ["manifests", "blobs"])
def test_a_redirect_to_where_nobody_goes(
    server: ScriptedServer, shelf: Shelf, victim: Path, place: str, what: str
) -> None:
    server.on("GET", f"/v2/app/{what}/.*", status=307, headers={"Location": place})
    shelf.serve(server)
    error = attacked(server, victim)
    assert "root:" not in str(error)


def test_a_redirect_from_https_to_http(tmp_path: Path, other: ScriptedServer, shelf: Shelf, victim: Path) -> None:
    """What was encrypted stays so; CVE-2019-18466-like downgrades give the bytes, and the signed URL, to everybody."""
    authority = Authority(tmp_path / "ca")
    trusting = settings(login=LOGIN, tls=TlsSettings(ca_file=str(authority.file)))
    with ScriptedServer(tls=authority.server()) as server:
        server.on("GET", r"/v2/app/blobs/.*", status=307, headers={"Location": f"{other.url}/x?sig=verysecret"})
        shelf.serve(server)
        error = attacked(server, victim, trusting, ProtocolViolation)
    assert other.requests == []
    assert "verysecret" not in str(error)


def test_a_name_of_the_world_does_not_lead_to_this_machine(
    server: ScriptedServer, other: ScriptedServer, victim: Path, shelf: Shelf
) -> None:
    """SSRF: a registry out there that redirects to services on loopback or in the private network (CWE-918).

    The registry's name is answered for by a proxy, so that it needs no name server.
    """
    proxied = settings(proxies=Proxies(http=server.url, no_proxy="127.0.0.1,localhost"), plain_http=True)
    for place in (
        f"{other.url}/x",
        f"http://localhost:{other.port}/x",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]/x",
        "http://0.0.0.0/x",
        "http://2130706433/x",
    ):
        server.forget()
        server.on("CONNECT", ".*", status=502)
        server.on("GET", r"http://registry.example/v2/app/manifests/.*", status=307, headers={"Location": place})
        server.on("GET", r"http://registry.example/v2/", headers=JSON, body=b"{}")
        with in_time(), pytest.raises(OciError) as caught:
            pull("docker://registry.example/app:v1", victim, proxied)
        one_clear_line(caught.value)
        asked = [path for path in server.paths("GET") if not path.startswith("http://registry.example/")]
        assert asked == [], place
    assert other.requests == []


def test_a_header_of_ours_does_not_go_to_another_host(
    server: ScriptedServer, other: ScriptedServer, shelf: Shelf, victim: Path
) -> None:
    wants_basic(server, shelf, moved=("/v2/app/", other.url))
    shelf.serve(other)
    pull(name(server), victim, settings(login=LOGIN))
    assert other.requests
    for request in other.requests:
        assert "authorization" not in request.headers
        assert "cookie" not in request.headers


# Credentials for others


def test_who_we_are_sent_to_gets_no_credentials_by_a_challenge_of_its_own(
    server: ScriptedServer, other: ScriptedServer, shelf: Shelf, victim: Path
) -> None:
    """A CDN that answers 401 and names its own realm: CVE-2020-15157 of containerd."""
    wants_basic(server, shelf, moved=("/blobs/", other.url))
    challenge = f'Bearer realm="{other.url}/token",service="s",scope="repository:app:pull"'
    other.on("GET", "/token", headers=JSON, body=b'{"token":"t"}')
    other.on("GET", "/v2/app/blobs/.*", refused(401, "UNAUTHORIZED", WWW_Authenticate=challenge))
    attacked(server, victim)
    assert all("authorization" not in request.headers for request in other.requests)
    assert [path for path in other.paths() if path.startswith("/token")] == []


def test_a_realm_on_plain_http_of_a_registry_on_https(
    tmp_path: Path, other: ScriptedServer, shelf: Shelf, victim: Path
) -> None:
    other.on("GET", "/token", headers=JSON, body=b'{"token":"t"}')
    authority = Authority(tmp_path / "ca")
    trusting = settings(login=LOGIN, tls=TlsSettings(ca_file=str(authority.file)))
    with ScriptedServer(tls=authority.server()) as server:
        challenge = f'Bearer realm="{other.url}/token",service="s"'
        server.on(".*", r"/v2/.*", refused(401, "UNAUTHORIZED", WWW_Authenticate=challenge))
        attacked(server, victim, trusting, RegistryError)
        assert server.requests
    assert all("authorization" not in request.headers for request in other.requests)


def test_a_token_service_that_redirects_does_not_pass_on_the_password(
    server: ScriptedServer, other: ScriptedServer, shelf: Shelf, victim: Path
) -> None:
    wants_token(server)
    server.on("GET|POST", "/token", status=307, headers={"Location": f"{other.url}/token"})
    other.on("GET|POST", "/token", headers=JSON, body=b'{"token":"t"}')
    shelf.serve(server)
    attacked(server, victim)
    for request in other.requests:
        assert "authorization" not in request.headers
        assert PASSWORD.encode() not in request.body


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"token":null}',
        b'{"token":17}',
        b'{"token":""}',
        b'{"token":"a b"}',
        b'{"token":"a\\r\\nX-Evil: 1"}',
        b'{"token":"\\u0000"}',
        b'{"token":"\xc3\xa9"}',
        b'{"token":"%b"}' % (b"t" * 2_000_000),
        b'{"errors":[{"code":"DENIED","message":"\\u001b[31m"}]}',
    ],
    ids=lambda body: repr(body[:30]),
)
def test_a_token_that_is_none(server: ScriptedServer, shelf: Shelf, victim: Path, body: bytes) -> None:
    wants_token(server)
    server.on("GET", "/token", headers=JSON, body=body)
    shelf.serve(server)
    attacked(server, victim)
    assert all("x-evil" not in request.headers for request in server.requests)


@pytest.mark.parametrize("said", ["-5", "1e400", '"soon"', "null", "1" * 5000, "NaN", "0"])
def test_a_token_that_lives_oddly_long(server: ScriptedServer, shelf: Shelf, victim: Path, said: str) -> None:
    guarded(server, shelf)
    server.on("GET", "/token", headers=JSON, body=b'{"token":"t","expires_in":%b}' % said.encode())
    try:
        with in_time():
            pull(name(server), victim, settings(login=LOGIN))
    except OciError as error:
        one_clear_line(error)
    assert len(server.requests) < 40


def test_a_token_without_an_end(server: ScriptedServer, shelf: Shelf, victim: Path) -> None:
    wants_token(server)
    server.on("GET", "/token", Answer(headers=JSON, body=endless(), chunked=True))
    attacked(server, victim)


@pytest.mark.parametrize(
    "challenge",
    [
        'Basic realm="x"',
        'Bearer realm="{url}/token"',
        "Bearer",
        "",
        "Negotiate",
        'Digest realm="x", nonce="y"',
        'Bearer realm="{url}/token' + "x" * 60_000,
        ", " * 20_000,
        'Bearer realm="{url}/token",scope="' + "a " * 20_000 + '"',
        "\x01\x02",
    ],
    ids=lambda challenge: repr(challenge[:30]),
)
def test_a_storm_of_401(server: ScriptedServer, victim: Path, challenge: str) -> None:
    server.on("GET", "/token", headers=JSON, body=b'{"token":"t"}')
    said = challenge.replace("{url}", server.url)
    server.on(".*", r"/v2/.*", refused(401, "UNAUTHORIZED", "authentication required", WWW_Authenticate=said))
    attacked(server, victim)
    assert len(server.requests) < 20


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("again", ["999999", "Fri, 31 Dec 9999 23:59:59 GMT", "-1", "soon", "1" * 400, "0"])
def test_a_storm_of_come_again(server: ScriptedServer, victim: Path, status: int, again: str) -> None:
    server.on(".*", r"/v2/.*", refused(status, "TOOMANYREQUESTS", "later", Retry_After=again))
    naps = Naps()
    attacked(server, victim, settings(login=LOGIN, sleep=naps))
    assert len(server.requests) <= 20
    assert sum(naps) < 15 * 60, "a person waits minutes at most"


# Lists


def test_pages_of_tags_in_a_circle(server: ScriptedServer) -> None:
    for page in ("a", "b"):
        follows = "b" if page == "a" else "a"
        headers = {**JSON, "Link": f'</v2/app/tags/list?last={follows}>; rel="next"'}
        server.on("GET", rf"/v2/app/tags/list\?.*last={page}.*", headers=headers, body=_tags(page))
    server.on(
        "GET", "/v2/app/tags/list", headers={**JSON, "Link": '</v2/app/tags/list?last=a>; rel="next"'}, body=_tags("z")
    )
    _list_fails_or_ends(server)
    assert len(server.requests) < 10


def test_pages_of_tags_without_an_end(server: ScriptedServer) -> None:
    """Each page names a new one, and brings nothing, or the same."""
    numbers = itertools.count()

    def page(request: Request) -> Answer:
        return Answer(200, {**JSON, "Link": f'</v2/app/tags/list?p={next(numbers)}>; rel="next"'}, _tags())

    server.on("GET", "/v2/app/tags/list", page)
    with in_time(60):
        _list_fails_or_ends(server)
    assert len(server.requests) < 20_000


@pytest.mark.parametrize(
    "link",
    [
        "{other}/v2/app/tags/list?last=a",
        "file:///etc/passwd",
        "//evil.example/v2/",
        "////evil.example/v2/",
        "////[",
        "http:////[x]",
        "\x01",
        "x" * 60_000,
    ],
)
def test_a_link_to_elsewhere(server: ScriptedServer, other: ScriptedServer, shelf: Shelf, link: str) -> None:
    headers = {**JSON, "Link": f'<{link.replace("{other}", other.url)}>; rel="next"'}

    def page(request: Request) -> Answer:
        if request.headers.get("authorization") != BASIC:
            return refused(401, "UNAUTHORIZED", WWW_Authenticate='Basic realm="x"')
        return Answer(200, headers, _tags("a"))

    server.on("GET", "/v2/app/tags/list", page)
    other.on("GET", ".*", headers=JSON, body=_tags("b"))
    _list_fails_or_ends(server)
    assert all("authorization" not in request.headers for request in other.requests)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"tags":"all"}',
        b'{"tags":[1,2]}',
        b'{"tags":["\\u001b[31m"]}',
        b'{"tags":["../../etc"]}',
        b'{"tags":["%b"]}' % (b"a" * 5000),
        b'{"tags":["a"],"tags":["b"]}',
        b"<html>",
    ],
    ids=lambda body: repr(body[:30]),
)
def test_a_list_of_tags_that_is_none(server: ScriptedServer, body: bytes) -> None:
    server.on("GET", "/v2/app/tags/list", headers=JSON, body=body)
    for tag in _list_fails_or_ends(server):
        assert tag.isprintable()
        assert len(tag) <= 200


def test_a_list_of_tags_without_an_end(server: ScriptedServer) -> None:
    server.on("GET", "/v2/app/tags/list", Answer(headers=JSON, body=endless(), chunked=True))
    with in_time(), pytest.raises((LimitExceeded, RegistryError, InvalidDocument)):
        _list(server)


# What we are told to ask for


@pytest.mark.parametrize(
    "tag",
    ["v1\r\nX-Evil: 1", "v1 HTTP/1.1\r\n\r\n", "../../../etc", "a/b", "v1?x=1", "v1#x", "%0d%0a", "", "é", "a" * 129],
)
def test_a_tag_that_is_none_is_not_sent(server: ScriptedServer, tag: str) -> None:
    with connect(registry_ref(name(server)), settings()) as found:
        for ask in (found[0].manifest, found[0].head_manifest, found[0].delete_manifest):
            with pytest.raises(InvalidReference) as caught:
                ask(tag)
            one_clear_line(caught.value)
    assert server.requests == []


@pytest.mark.parametrize(
    "repository", ["../x", "a//b", "a/../b", "A", "a b", "a\r\nb", "a?b", "%2e%2e", "", "/a", "a/"]
)
def test_a_repository_that_is_none_is_not_sent(server: ScriptedServer, repository: str) -> None:
    with connect(registry_ref(name(server)), settings()) as found, pytest.raises(InvalidReference):
        Repository(found[0].client, repository)
    assert server.requests == []


def _tags(*names: str) -> bytes:
    return json.dumps({"name": "app", "tags": list(names)}).encode()


def _list(server: ScriptedServer) -> list[str]:
    with connect(registry_ref(name(server)), settings(login=LOGIN)) as found:
        return list(itertools.islice(found[0].tags(), 2_000_000))


def _list_fails_or_ends(server: ScriptedServer) -> list[str]:
    try:
        with in_time(60):
            return _list(server)
    except OciError as error:
        one_clear_line(error)
        return []
