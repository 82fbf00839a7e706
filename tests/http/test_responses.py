"""A registry's error answers as our errors: what was asked, what it says, what to do."""

from __future__ import annotations

import pytest

from oci.errors import AuthenticationFailed, RegistryError, RegistryRefused
from oci.http.exchange import Http
from oci.http.responses import MAX_ERROR, MAX_ERRORS, Fault, error_of, parse_errors
from oci.registry.settings import Settings
from tests.support.scripted import Answer, ScriptedServer


def error(server: ScriptedServer, answer: Answer, *, foreign: str | None = None, known: bool = False) -> RegistryError:
    server.on("GET", "/.*", answer)
    with Http(Settings(stall_timeout=0.4)) as http:
        response = http.send("GET", f"{server.url}/v2/a/b/manifests/v1?token=secret")
        made = error_of(response, what="manifest a/b:v1", host="h.example", foreign=foreign, known=known)
    assert "\n" not in str(made)
    assert "secret" not in str(made)
    return made


def spec(code: str, message: str = "words") -> bytes:
    return b'{"errors":[{"code":"%s","message":"%s","detail":{"x":1}}]}' % (code.encode(), message.encode())


def test_codes_and_messages_of_the_spec_are_told(server: ScriptedServer) -> None:
    made = error(server, Answer(400, body=spec("MANIFEST_INVALID", "manifest invalid")))
    assert type(made) is RegistryRefused
    assert made.status == 400
    assert made.codes == ("MANIFEST_INVALID",)
    assert str(made) == (
        f"{server.url}/v2/a/b/manifests/v1: manifest a/b:v1: "
        "the registry answers 400 (MANIFEST_INVALID: manifest invalid)"
    )


def test_401_says_to_log_in(server: ScriptedServer) -> None:
    made = error(server, Answer(401, body=spec("UNAUTHORIZED")))
    assert isinstance(made, AuthenticationFailed)
    assert made.status == 401
    assert "`ocikit login h.example`" in str(made)
    assert "no such repository" in str(made)  # Docker Hub answers so for one that isn't there


def test_401_with_credentials_says_that_they_are_not_right(server: ScriptedServer) -> None:
    assert "credentials are not right" in str(error(server, Answer(401), known=True))


@pytest.mark.parametrize("path", ["/v2/", "/v2/_catalog?n=1000"])
def test_401_to_a_question_about_the_whole_registry_is_about_no_repository(server: ScriptedServer, path: str) -> None:
    server.on("GET", "/.*", status=401)
    with Http(Settings(stall_timeout=0.4)) as http:
        for known, advice in ((True, "the credentials are not right"), (False, "it wants credentials")):
            response = http.send("GET", f"{server.url}{path}")
            made = error_of(response, what="it", host="h.example", known=known)
            assert str(made).endswith(f"the registry answers 401; {advice}: `ocikit login h.example`")


def test_docker_hub_is_logged_in_to_by_the_name_that_references_have(server: ScriptedServer) -> None:
    server.on("GET", "/.*", status=401)
    with Http(Settings(stall_timeout=0.4)) as http:
        response = http.send("GET", f"{server.url}/v2/")
        made = error_of(response, what="manifest library/x:v1", host="registry-1.docker.io")
    assert "`ocikit login docker.io`" in str(made)


def test_403_is_a_matter_of_rights(server: ScriptedServer) -> None:
    made = error(server, Answer(403, body=spec("DENIED", "requested access to the resource is denied")), known=True)
    assert isinstance(made, AuthenticationFailed)
    assert made.status == 403
    assert "DENIED: requested access" in str(made)
    assert "login" not in str(made)


def test_name_unknown_is_said_in_words(server: ScriptedServer) -> None:
    made = error(server, Answer(404, body=spec("NAME_UNKNOWN")))
    assert isinstance(made, RegistryRefused)
    assert made.codes == ("NAME_UNKNOWN",)
    assert "there is no such repository" in str(made)


def test_429_tells_the_limit_as_docker_hub_sends_it(server: ScriptedServer) -> None:
    # docs.docker.com/docker-hub/download-rate-limit: ratelimit-limit: 100;w=21600
    headers = {"RateLimit-Limit": "100;w=21600", "RateLimit-Remaining": "0;w=21600", "Retry-After": "3600"}
    made = error(server, Answer(429, headers, spec("TOOMANYREQUESTS", "You have reached your pull rate limit.")))
    assert isinstance(made, RegistryRefused)
    text = str(made)
    assert "TOOMANYREQUESTS: You have reached your pull rate limit." in text
    assert "limit 100 in 6 hours, remaining 0, to be tried again in 60 minutes" in text
    assert "`ocikit login h.example`" in text


def test_what_a_storage_says_after_a_redirect_is_not_shown(server: ScriptedServer) -> None:
    xml = b"<Error><Code>AccessDenied</Code><StringToSign>secret</StringToSign></Error>"
    made = error(server, Answer(403, {"Content-Type": "application/xml"}, xml), foreign="storage.example")
    assert isinstance(made, RegistryRefused)
    assert "storage.example, where it redirects to, answers 403" in str(made)
    assert "login" not in str(made)


@pytest.mark.parametrize(
    ("kind", "body", "said"),
    [
        ("text/html", b"<html><head><title>502 Bad Gateway</title></head>", "(502 Bad Gateway)"),
        ("text/plain; charset=utf-8", b"Client sent an HTTP request to an HTTPS server.\nmore", "HTTPS server.)"),
        ("text/plain", b"\x1b[31mred\xff", "red"),
        ("application/xml", b"<Error>secret</Error>", "answers 502"),
        ("application/json", b"{", "answers 502"),
        ("", b"", "answers 502"),
    ],
)
def test_answers_of_proxies_are_told_as_far_as_they_say_something(
    server: ScriptedServer, kind: str, body: bytes, said: str
) -> None:
    assert said in str(error(server, Answer(502, {"Content-Type": kind}, body)))


def test_a_long_or_broken_error_answer_still_gives_its_status(server: ScriptedServer) -> None:
    endless = Answer(500, body=(b"x" * 100_000 for _ in range(10_000)), chunked=True)
    for answer in (endless, Answer(500, body=b"abc", length=10, cut_after=3), Answer(500, body=b"abc", stall_after=1)):
        server.forget()
        made = error(server, answer)
        assert isinstance(made, RegistryRefused)
        assert made.status == 500
        assert len(str(made)) < 300


def test_errors_are_read_with_lenience_and_bounded() -> None:
    assert parse_errors(spec("UNKNOWN", "m")) == (Fault(code="UNKNOWN", message="m"),)
    assert parse_errors(b'{"errors":[{"code":"denied"}]}') == (Fault(code="DENIED", message=""),)  # GHCR's lower case
    assert parse_errors(b'{"errors":[{"message":"m"},{},7,null]}') == (Fault(code="", message="m"),)
    assert parse_errors(b'{"error":"invalid_grant","error_description":"d"}') == (
        Fault(code="INVALID_GRANT", message="d"),
    )
    assert parse_errors(b'{"details":"incorrect username or password"}') == (
        Fault(code="", message="incorrect username or password"),
    )
    assert len(parse_errors(b'{"errors":[' + b",".join([b'{"code":"A"}'] * 1000) + b"]}")) == MAX_ERRORS
    long = parse_errors(spec("C" * 500, "m" * 5000))[0]
    assert len(str(long)) < 400
    forged = parse_errors(b'{"errors":[{"code":"A","message":"x\\r\\nerror: forged\\u001b[2J"}]}')[0]
    assert str(forged).isprintable()
    for raw in (b"", b"[]", b"7", b'{"errors":7}', b'{"errors":{}}', b"[" * 10_000, b"x" * (MAX_ERROR + 1), b"\xff"):
        assert parse_errors(raw) == ()
