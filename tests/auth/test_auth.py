"""Which header a registry gets, and when: Basic, and tokens that are kept, widened and renewed."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest

from oci.auth.credential import Credentials
from oci.auth.scope import CATALOG, Scope
from oci.auth.token import LONGEST, basic
from oci.errors import OciError, RegistryRefused
from oci.http.exchange import Headers, Http
from oci.registry.settings import Settings
from tests.support.authorizing import ALICE, BASIC, JSON, PULL, PUSH, REFRESH, At, bearer, gives, query
from tests.support.scripted import Answer, ScriptedServer


@pytest.fixture
def http() -> Iterator[Http]:
    with Http(Settings(connect_timeout=5.0, stall_timeout=2.0)) as made:
        yield made


# Anonymous, Basic


def test_nothing_is_sent_before_the_registry_asked(server: ScriptedServer, http: Http) -> None:
    at = At(server, http, ALICE)
    assert at.header() is None
    assert at.asked == []
    assert server.requests == []


def test_basic_is_shown_once_it_was_asked_for(server: ScriptedServer, http: Http) -> None:
    at = At(server, http, ALICE)
    asked = Headers([("WWW-Authenticate", 'Basic realm="x"')])
    assert at.learn(headers=asked)
    assert at.header() == at.header(PUSH) == BASIC
    assert not at.learn(headers=asked, refused=BASIC), "the same again would be refused again"


def test_without_credentials_basic_is_the_end(server: ScriptedServer, http: Http) -> None:
    at = At(server, http)
    assert not at.learn(headers=Headers([("WWW-Authenticate", "Basic")]))
    assert at.header() is None


@pytest.mark.parametrize(
    ("credentials", "pair"),
    [
        (Credentials(username="b\u00fcr", password="pa:ss"), "b\u00fcr:pa:ss".encode()),
        (Credentials(username="a", password="\udcff"), b"a:\xff"),
        (Credentials(username="robot$project+dev", password="pa$$"), b"robot$project+dev:pa$$"),
        (Credentials(username="_json_key", password='{\n "a": 1\n}'), b'_json_key:{\n "a": 1\n}'),
    ],
)
def test_basic_is_utf_8_or_the_bytes_of_the_file(credentials: Credentials, pair: bytes) -> None:
    """RFC 7617 section 2; Harbor's robots, https://github.com/goharbor/harbor/issues/13116; keys of service accounts,
    https://docs.cloud.google.com/artifact-registry/docs/docker/authentication."""
    header = basic(credentials)
    assert header is not None
    assert base64.b64decode(header.removeprefix("Basic ")) == pair


def test_a_refresh_token_is_never_shown_to_the_registry_itself() -> None:
    """docs/spec/auth/scope.md#refresh-tokens."""
    assert basic(REFRESH) is None
    assert basic(Credentials(username="0000", identity_token="x")) is None


@pytest.mark.parametrize("value", ["Negotiate", "Digest realm=x, nonce=y", "", "\x01", "Bearer", 'Bearer service="x"'])
def test_a_way_that_we_do_not_know_is_the_end(server: ScriptedServer, http: Http, value: str) -> None:
    at = At(server, http, ALICE)
    assert not at.learn(headers=Headers([("WWW-Authenticate", value)]))


def test_basic_beside_bearer_is_taken_where_no_token_can_be_had(server: ScriptedServer, http: Http) -> None:
    server.on("GET", "/token", status=401)
    at = At(server, http, ALICE)
    both = Headers([("WWW-Authenticate", f'Basic realm="x", Bearer realm="{server.url}/token"')])
    assert at.learn(headers=both)
    assert at.header() == BASIC


def test_bearer_is_preferred_to_basic(server: ScriptedServer, http: Http) -> None:
    gives(server)
    at = At(server, http, ALICE)
    both = Headers([("WWW-Authenticate", f'Basic realm="x", Bearer realm="{server.url}/token"')])
    assert at.learn(headers=both)
    assert at.header() == "Bearer t1"


# A token by GET


def test_an_anonymous_token_by_get(server: ScriptedServer, http: Http) -> None:
    """docs/spec/auth/token.md#requesting-a-token."""
    gives(server)
    at = At(server, http)
    assert at.learn()
    assert at.header() == "Bearer t1"
    (asked,) = at.tokens
    assert (asked.method, query(asked)) == (
        "GET",
        {"service": ["registry.example"], "scope": ["repository:team/app:pull"]},
    )
    assert "authorization" not in asked.headers


def test_a_token_for_a_user_by_get(server: ScriptedServer, http: Http) -> None:
    gives(server)
    at = At(server, http, ALICE)
    assert at.learn()
    (asked,) = at.tokens
    assert asked.headers["authorization"] == BASIC
    assert query(asked)["account"] == ["alice"]
    assert "s3cret" not in asked.path


def test_several_scopes_are_several_words_of_the_query(server: ScriptedServer, http: Http) -> None:
    gives(server)
    at = At(server, http)
    at.learn((*PUSH, Scope("other/base", ("pull",))))
    assert query(at.tokens[0])["scope"] == ["repository:team/app:pull,push", "repository:other/base:pull"]


def test_a_realm_keeps_its_own_query_and_values_are_quoted(server: ScriptedServer, http: Http) -> None:
    """Artifactory and others have one: realm="https://host/api/docker/token?x=y"."""
    gives(server)
    at = At(server, http, Credentials(username="a&b=c d#", password="x"))
    at.learn(headers=bearer(f"{server.url}/token?x=y", service="reg istry&scope=evil\u00e9"))
    assert parse_qsl(urlsplit(at.tokens[0].path).query) == [
        ("x", "y"),
        ("account", "a&b=c d#"),
        ("service", "reg istry&scope=evil\u00e9"),
        ("scope", "repository:team/app:pull"),
    ]


def test_the_registry_may_want_more_actions_but_not_other_repositories(server: ScriptedServer, http: Http) -> None:
    gives(server)
    at = At(server, http)
    asks = "repository:team/app:pull,push,delete repository:secret/of-others:pull registry:catalog:*"
    at.learn(headers=bearer(f"{server.url}/token", scope=asks))
    assert query(at.tokens[0])["scope"] == ["repository:team/app:delete,pull,push"]


def test_a_login_asks_for_no_scope(server: ScriptedServer, http: Http) -> None:
    gives(server)
    at = At(server, http, ALICE)
    assert at.learn(())
    assert "scope" not in query(at.tokens[0])
    assert set(at.asked) == {None}


# A token by POST


def test_an_identity_token_goes_by_post(server: ScriptedServer, http: Http) -> None:
    """docs/spec/auth/oauth.md#getting-a-token; what `docker login` to ACR leaves: user 00000000-…, no password,
    https://azure.github.io/acr/AAD-OAuth.html."""
    server.on("POST", "/token", headers=JSON, body=b'{"access_token":"t","expires_in":900,"scope":""}')
    user = "00000000-0000-0000-0000-000000000000"
    at = At(server, http, Credentials(username=user, identity_token="refresh-me-quietly"))
    assert at.learn((*PUSH, Scope("other/base", ("pull",))))
    assert at.header(PUSH) == "Bearer t"
    (asked,) = at.tokens
    assert asked.path == "/token"
    assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
    assert "authorization" not in asked.headers
    assert parse_qs(asked.body.decode()) == {
        "grant_type": ["refresh_token"],
        "refresh_token": ["refresh-me-quietly"],
        "service": ["registry.example"],
        "client_id": ["ocikit"],
        "scope": ["repository:team/app:pull,push repository:other/base:pull"],
    }


@pytest.mark.parametrize("status", [404, 405])
def test_a_password_goes_by_post_where_there_is_no_get(server: ScriptedServer, http: Http, status: int) -> None:
    """docs/spec/auth/oauth.md: grant_type=password."""
    server.on("GET", "/token", status=status)
    server.on("POST", "/token", headers=JSON, body=b'{"access_token":"t"}')
    at = At(server, http, ALICE)
    assert at.learn()
    assert [request.method for request in at.tokens] == ["GET", "POST"]
    form = parse_qs(at.tokens[1].body.decode())
    assert form["grant_type"] == ["password"]
    assert (form["username"], form["password"]) == (["alice"], ["s3cret-of-alice"])
    assert "s3cret" not in "".join(request.path for request in server.requests)


def test_a_service_that_is_not_there_is_one_error(server: ScriptedServer, http: Http) -> None:
    at = At(server, http, ALICE)
    with pytest.raises(RegistryRefused, match="answers 404"):
        at.learn()
    assert len(at.tokens) == 2


# Keeping tokens


def test_a_token_is_used_until_shortly_before_its_end(server: ScriptedServer, http: Http) -> None:
    gives(server, expires_in=300)
    at = At(server, http)
    at.learn()
    at.clock.now += 265
    assert at.header() == "Bearer t1"
    at.clock.now += 10
    assert at.header() == at.header() == "Bearer t2"
    assert len(at.tokens) == 2


@pytest.mark.parametrize(
    ("said", "lasts"),
    [
        ({}, 60), ({"expires_in": None}, 60), ({"expires_in": 5}, 60), ({"expires_in": -1}, 60),
        ({"expires_in": 0}, 60), ({"expires_in": "soon"}, 60), ({"expires_in": [1]}, 60), ({"expires_in": "300"}, 300),
        ({"expires_in": 300.5}, 300), ({"expires_in": 10**18}, LONGEST), ({"expires_in": True}, 60),
    ],
)  # fmt: skip
def test_a_token_lasts_sixty_seconds_at_least(
    server: ScriptedServer, http: Http, said: dict[str, object], lasts: int
) -> None:
    """docs/spec/auth/token.md, `expires_in`: 60 by default, and never less."""
    gives(server, **said)
    at = At(server, http)
    at.learn()
    margin = min(30, lasts / 5)
    at.clock.now += lasts - margin - 1
    assert at.header() == "Bearer t1"
    at.clock.now += 2
    assert at.header() == "Bearer t2"


def test_a_token_serves_all_that_it_covers_and_is_widened_for_more(server: ScriptedServer, http: Http) -> None:
    gives(server)
    at = At(server, http)
    at.learn()
    assert at.header(PULL) == "Bearer t1"
    assert at.header(PUSH) == "Bearer t2"
    assert at.header(PULL) == at.header(PUSH) == at.header(()) == "Bearer t2"
    assert at.header((Scope("team/app", ("delete", "pull")),)) == "Bearer t3"
    assert query(at.tokens[2])["scope"] == ["repository:team/app:delete,pull,push"]
    assert at.header(PUSH) == "Bearer t3"


def test_a_token_for_two_repositories_serves_each(server: ScriptedServer, http: Http) -> None:
    gives(server)
    at = At(server, http)
    base = Scope("other/base", ("pull",))
    at.learn((*PUSH, base))
    assert at.header((base,)) == at.header(PULL) == at.header((base, *PUSH)) == "Bearer t1"


def test_another_repository_gets_its_token_without_a_401(server: ScriptedServer, http: Http) -> None:
    gives(server)
    at = At(server, http)
    at.learn()
    assert at.header((Scope("other", ("pull",)),)) == "Bearer t2"
    assert at.header((CATALOG,)) == "Bearer t3"
    assert query(at.tokens[2])["scope"] == ["registry:catalog:*"]


def test_each_repository_has_its_own_credentials_and_realm(server: ScriptedServer, http: Http) -> None:
    """Artifactory's realm names the repository, https://github.com/swarmpit/swarmpit/issues/266; auth.json has keys
    below a host."""
    gives(server)
    known = {"team/app": ALICE, "other": Credentials(username="bob", password="b")}
    at = At(server, http, find=known.get)
    other = (Scope("other", ("pull",)),)
    server.on("GET", "/api/.*/token", headers=JSON, body=b'{"token":"x"}')
    at.learn(PULL, headers=bearer(f"{server.url}/api/app/token"))
    at.learn(other, headers=bearer(f"{server.url}/api/other/token"))
    at.clock.now += 100
    at.header(PULL)
    at.header(other)
    seen = [(urlsplit(one.path).path, query(one)["account"][0]) for one in at.tokens]
    assert seen == [("/api/app/token", "alice"), ("/api/other/token", "bob")] * 2


def test_a_mount_shows_the_credentials_of_the_repository_that_is_pushed_to(server: ScriptedServer, http: Http) -> None:
    gives(server)
    at = At(server, http, ALICE)
    at.learn((Scope("z/target", ("pull", "push")), Scope("a/source", ("pull",))))
    assert set(at.asked) == {"z/target"}


def test_a_token_that_was_turned_down_is_renewed_once(server: ScriptedServer, http: Http) -> None:
    gives(server)
    at = At(server, http)
    at.learn()
    assert at.learn(refused="Bearer t1")
    assert at.header() == "Bearer t2"
    assert at.learn(refused="Bearer t1"), "another thread was turned down with the old one"
    assert at.header() == "Bearer t2"
    assert len(at.tokens) == 2


def test_credentials_are_looked_up_anew_when_a_token_is_renewed(server: ScriptedServer, http: Http) -> None:
    """The password that gcloud's helper gives is good for an hour."""
    gives(server)
    passwords = iter(["first", "second"])
    at = At(server, http, find=lambda repository: Credentials(username="oauth2accesstoken", password=next(passwords)))
    at.learn()
    at.clock.now += 60
    at.header()
    sent = [base64.b64decode(one.headers["authorization"].removeprefix("Basic ")).decode() for one in at.tokens]
    assert sent == ["oauth2accesstoken:first", "oauth2accesstoken:second"]


def test_tokens_are_kept_up_to_a_number(server: ScriptedServer, http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oci.auth.authorizer.MAX_TOKENS", 3)
    gives(server)
    at = At(server, http)
    at.learn()
    for number in range(6):
        at.header((Scope(f"r{number}", ("pull",)),))
    assert len(at.authorizer._kept) == 3
    assert at.header((Scope("r5", ("pull",)),)) == "Bearer t7"


def test_eight_requests_at_once_ask_for_one_token(server: ScriptedServer, http: Http) -> None:
    server.on("GET", "/token", Answer(200, JSON, b'{"token":"t"}', delay=0.1))
    at = At(server, http, ALICE)
    ready = threading.Barrier(8)
    got: list[str | None] = []

    def work() -> None:
        ready.wait()
        assert at.learn()
        got.append(at.header())

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == ["Bearer t"] * 8
    assert len(at.tokens) == 1


def test_a_registry_that_answers_401_without_a_challenge_is_asked_at_its_front_door(
    server: ScriptedServer, http: Http
) -> None:
    """gcr.io did: https://github.com/containers/image/pull/211."""
    gives(server)
    server.on("GET", "/v2/", status=401, headers={"WWW-Authenticate": f'Bearer realm="{server.url}/token"'})
    at = At(server, http)
    nothing = Headers([])
    assert at.learn(headers=nothing)
    assert at.header() == "Bearer t1"
    assert not at.learn(headers=nothing, refused="Bearer t1")
    assert server.paths().count("/v2/") == 1


def test_errors_of_helpers_and_files_pass_through(server: ScriptedServer, http: Http) -> None:
    def find(repository: str | None) -> Credentials:
        raise OciError("the helper failed")

    with pytest.raises(OciError, match="the helper failed"):
        At(server, http, find=find).learn()
