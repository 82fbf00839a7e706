"""What a token service may say, and where a password may go."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import pytest

from oci.auth.credential import Credentials
from oci.auth.token import Service, Token
from oci.errors import AuthenticationFailed, ConnectionFailed, LimitExceeded, ProtocolViolation, RegistryError
from oci.http.exchange import Http
from oci.registry.client import Client
from oci.registry.settings import Settings
from tests.support.authorizing import ALICE, BASIC, JSON, REFRESH, At, Fake, bearer, gives, learn_at, query
from tests.support.scripted import Answer, ScriptedServer


@pytest.fixture
def http() -> Iterator[Http]:
    with Http(Settings(connect_timeout=5.0, stall_timeout=2.0)) as made:
        yield made


# What a token service may say


@pytest.mark.parametrize(
    "body",
    [
        b"", b"<html>", b"[]", b"null", b'"t"', b"{}", b'{"token":null}', b'{"token":17}', b'{"token":""}',
        b'{"token":"a b"}', b'{"token":"a\\r\\nX-Evil: 1"}', b'{"token":"\\u0000"}', b'{"token":"a\\tb"}',
        '{"token":"\u00e9"}'.encode(), b'{"token":["t"]}', b'{"token":"%b"}' % (b"t" * 65537), b'{"token":"t"',
        b"[" * 100_000, b'{"token":"\\ud800"}', b"\xff\xfe",
    ],
    ids=lambda body: repr(body[:20]),
)  # fmt: skip
def test_an_answer_that_is_no_token_is_one_error(server: ScriptedServer, http: Http, body: bytes) -> None:
    server.on("GET", "/token", headers=JSON, body=body)
    at = At(server, http, ALICE)
    with pytest.raises(ProtocolViolation) as caught:
        at.learn()
    assert f"{server.url}/token: the token service" in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert "Evil" not in str(caught.value)


def test_an_answer_without_end_is_cut_off(server: ScriptedServer, http: Http) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b" " * 65536

    server.on("GET", "/token", Answer(200, JSON, endless(), chunked=True))
    with pytest.raises(LimitExceeded):
        At(server, http).learn()


@pytest.mark.parametrize("name", ["token", "access_token"])
def test_a_token_has_either_name(server: ScriptedServer, http: Http, name: str) -> None:
    """docs/spec/auth/token.md#token-response-fields."""
    server.on("GET", "/token", headers=JSON, body=json.dumps({name: "a.b-c_d~e+f/g=", "other": {}}).encode())
    at = At(server, http)
    at.learn()
    assert at.header() == "Bearer a.b-c_d~e+f/g="


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, b'{"details":"incorrect username or password"}'),  # Docker Hub
        (401, b'{"errors":[{"code":"UNAUTHORIZED","message":"incorrect username or password"}]}'),  # Harbor, GHCR
        (403, b'{"errors":[{"code":"DENIED","message":"incorrect username or password"}]}'),  # GitLab
        (400, b'{"error":"invalid_grant","error_description":"incorrect username or password"}'),  # RFC 6749 5.2, ACR
    ],
)
def test_wrong_credentials_are_told_in_the_service_own_words(
    server: ScriptedServer, http: Http, status: int, body: bytes
) -> None:
    server.on("GET", "/token", status=status, headers=JSON, body=body)
    with pytest.raises(AuthenticationFailed, match="incorrect username or password") as caught:
        At(server, http, ALICE).learn()
    assert f"ocikit login {server.host}" in str(caught.value)
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_busy_token_service_may_be_tried_again(server: ScriptedServer, http: Http, status: int) -> None:
    server.on("GET", "/token", status=status)
    with pytest.raises(ConnectionFailed) as caught:
        At(server, http).learn()
    assert caught.value.again


def test_a_request_survives_a_token_service_that_is_busy_for_a_while(server: ScriptedServer) -> None:
    """Also one that may not happen twice: it has not happened yet."""
    server.on("GET", "/token", status=503, times=3)
    server.on("GET", "/token", headers=JSON, body=b'{"token":"t"}')
    asked = {"WWW-Authenticate": f'Bearer realm="{server.url}/token"'}
    server.on("POST", "/v2/.*", lambda request: Answer(202 if "authorization" in request.headers else 401, asked))
    naps: list[float] = []
    with Client(server.host, Settings(sleep=naps.append)) as client:
        client.request("POST", "/v2/team/app/blobs/uploads/", expect=(202,), what="upload").discard()
    assert len(naps) == 3


def test_nobody_may_be_told_so_by_406(server: ScriptedServer, http: Http) -> None:
    """Artifactory: https://github.com/swarmpit/swarmpit/issues/266."""
    server.on("GET", "/token", status=406)
    with pytest.raises(AuthenticationFailed, match="it may want credentials"):
        At(server, http).learn()


@pytest.mark.parametrize("said", ["{0}", "a {0} b", "x{1}", "{2}"])
@pytest.mark.parametrize("password", ["pw", "s3cret of\nmany lines", "x" * 2500])
def test_words_that_repeat_a_secret_are_not_shown(server: ScriptedServer, http: Http, said: str, password: str) -> None:
    credentials = Credentials(username="alice", password=password)
    header = base64.b64encode(f"alice:{password}".encode()).decode()
    message = said.format(password, header, password.upper())
    body = json.dumps({"errors": [{"code": "DENIED", "message": message}]}).encode()
    server.on("GET", "/token", status=401, headers=JSON, body=body)
    with pytest.raises(AuthenticationFailed) as caught:
        At(server, http, credentials).learn()
    assert password[:8].lower() not in str(caught.value).lower().replace(server.url, "").replace("password", "")
    assert header[:12] not in str(caught.value)


# Where passwords may go


@pytest.mark.parametrize(
    ("base", "realm"),
    [
        ("https://registry-1.docker.io", "https://auth.docker.io/token"),  # docs/spec/auth/token.md
        ("https://registry.gitlab.com", "https://gitlab.com/jwt/auth"),
        ("https://quay.io", "https://quay.io/v2/auth"),
        ("https://ghcr.io", "https://ghcr.io/token"),
        ("https://gcr.io", "https://gcr.io/v2/token"),
        ("https://x.azurecr.io", "https://x.azurecr.io/oauth2/token"),
        ("https://harbor.example", "https://harbor.example/service/token"),
        ("https://x.jfrog.io", "https://x.jfrog.io/api/docker/docker/v2/token"),
        ("https://public.ecr.aws", "https://public.ecr.aws/token/"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5001/auth"),
        ("http://127.0.0.1:5000", "https://auth.example/token"),
        ("http://registry.corp:5000", "http://registry.corp:5000/token"),  # insecure, and the same host anyway
    ],
)
def test_a_password_goes_to_the_service_that_the_registry_names(base: str, realm: str) -> None:
    """docs/spec/auth/token.md means it so. The sources of the vendors' realms are in test_vendors_pull.py; ECR Public's
    is https://github.com/SgtSilvio/gradle-oci/pull/141, Artifactory's https://github.com/swarmpit/swarmpit/issues/266."""
    ((_, url, headers, _),) = learn_at(base, realm).sent
    assert url.startswith(f"{realm}?")
    assert headers["Authorization"] == BASIC


@pytest.mark.parametrize(
    ("base", "realm"),
    [
        ("https://registry.example", "http://auth.example/token"),
        ("https://registry.example", "http://registry.example/token"),
        ("https://127.0.0.1:5000", "http://127.0.0.1:5001/token"),
        ("https://registry.example", "https://127.0.0.1/token"),
        ("https://registry.example", "https://localhost/token"),
        ("https://registry.example", "https://[::1]/token"),
        ("https://registry.example", "https://169.254.169.254/latest/meta-data"),
        ("https://registry.example", "https://2130706433/token"),
        ("https://93.184.216.34", "https://10.0.0.1/token"),
        ("http://registry.example", "http://auth.example/token"),
        ("http://127.0.0.1:5000", "http://auth.example/token"),
        ("https://registry.example", "file:///etc/passwd"),
        ("https://registry.example", "ftp://auth.example/token"),
        ("https://registry.example", "javascript:alert(1)"),
        ("https://registry.example", "/token"),
        ("https://registry.example", ""),
        ("https://registry.example", "https://user:pw@auth.example/token"),
        ("https://registry.example", "https://auth.example\\@evil.example/"),
        ("https://registry.example", "https://auth.example/a b"),
    ],
)
@pytest.mark.parametrize("credentials", [ALICE, REFRESH], ids=["password", "identity token"])
def test_a_password_does_not_go_everywhere(base: str, realm: str, credentials: Credentials) -> None:
    fake = Fake()
    with pytest.raises(ProtocolViolation) as caught:
        learn_at(base, realm, credentials, fake)
    assert fake.sent == []
    assert "s3cret" not in str(caught.value)


def test_without_a_password_plain_http_is_asked_by_a_registry_on_plain_http() -> None:
    assert len(learn_at("http://registry.example", "http://auth.example/token", None).sent) == 1


def test_a_name_of_a_service_has_a_length(server: ScriptedServer, http: Http) -> None:
    with pytest.raises(ProtocolViolation):
        At(server, http).learn(headers=bearer(f"{server.url}/token", service="x" * 1025))


def test_redirects_within_the_service_are_followed_with_the_password() -> None:
    fake = Fake((308, {"Location": "/token/"}))
    learn_at("https://registry.example", "https://auth.example/token", ALICE, fake)
    assert [(url.partition("?")[0], headers["Authorization"]) for _, url, headers, _ in fake.sent] == [
        ("https://auth.example/token", BASIC),
        ("https://auth.example/token/", BASIC),
    ]


@pytest.mark.parametrize(
    "location",
    [
        "https://evil.example/token",
        "http://auth.example/token",
        "//evil.example/",
        "https://auth.example:444/",
        "file:///x",
    ],
)
@pytest.mark.parametrize("credentials", [ALICE, REFRESH, None], ids=["password", "identity token", "nobody"])
def test_redirects_out_of_the_service_are_not_followed(location: str, credentials: Credentials | None) -> None:
    fake = Fake((307, {"Location": location}))
    with pytest.raises(ProtocolViolation):
        learn_at("https://registry.example", "https://auth.example/token", credentials, fake)
    assert len(fake.sent) == 1


def test_a_form_is_not_sent_again_by_a_redirect_that_would_make_it_a_get() -> None:
    fake = Fake((302, {"Location": "https://auth.example/other"}))
    with pytest.raises(RegistryError):
        learn_at("https://registry.example", "https://auth.example/token", REFRESH, fake)
    assert len(fake.sent) == 1


def test_redirects_of_a_service_end() -> None:
    fake = Fake(*[(307, {"Location": f"/token/{number}"}) for number in range(20)])
    with pytest.raises(ProtocolViolation, match="redirects"):
        learn_at("https://registry.example", "https://auth.example/token", ALICE, fake)
    assert len(fake.sent) <= 4


# Vendors' users, which all go by Basic to the token service


@pytest.mark.parametrize(
    ("user", "source"),
    [
        ("oauth2accesstoken", "https://docs.cloud.google.com/artifact-registry/docs/docker/authentication"),
        ("_token", "https://github.com/containerd/containerd/issues/4379"),
        ("_json_key_base64", "https://docs.cloud.google.com/artifact-registry/docs/docker/authentication"),
        ("00000000-0000-0000-0000-000000000000", "https://azure.github.io/acr/AAD-OAuth.html"),
        ("$token", "https://docs.quay.io/glossary/access-token.html"),
        ("mycompany+deploy", "https://docs.quay.io/glossary/robot-accounts.html"),
        ("gitlab-ci-token", "https://docs.gitlab.com/user/packages/container_registry/"
         "authenticate_with_container_registry/"),
        ("robot$project+ci", "https://github.com/goharbor/harbor/issues/13116"),
        ("warmfusion", "https://github.com/swarmpit/swarmpit/issues/266 (Artifactory)"),
        ("octocat", "https://github.com/docker/login-action (ghcr.io: the password is a token)"),
    ],
    ids=lambda value: value if "/" not in value else "",
)  # fmt: skip
def test_users_that_vendors_make_up(server: ScriptedServer, http: Http, user: str, source: str) -> None:
    gives(server)
    at = At(server, http, Credentials(username=user, password="ya29.A0=="))
    assert at.learn(), source
    (asked,) = at.tokens
    assert asked.headers["authorization"] == "Basic " + base64.b64encode(f"{user}:ya29.A0==".encode()).decode()
    assert query(asked)["account"] == [user]


# Secrets


def test_nothing_that_is_printed_has_a_secret_in_it(server: ScriptedServer, http: Http) -> None:
    gives(server)
    at = At(server, http, ALICE)
    at.learn()
    kept = list(at.authorizer._kept.values())
    for thing in (at.authorizer, ALICE, REFRESH, Token(value="hush", lasts=1.0), kept):
        for show in (repr, str):
            assert not any(secret in show(thing) for secret in ("s3cret", "refresh-me", "hush", "t1"))


def test_a_service_is_read_from_a_challenge() -> None:
    made = Service.of({"realm": "HTTPS://Auth.Example:443/token"}, asked_by="https://registry.example")
    assert (str(made.realm), made.service) == ("https://auth.example/token", "")
