"""One registry: scheme, credentials, redirects, retries and errors in one call."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from oci.errors import (
    AuthenticationFailed,
    ConnectionFailed,
    InvalidReference,
    ProtocolViolation,
    RegistryError,
    RegistryRefused,
)
from oci.http.exchange import Headers, Http, NotReached, NotTrusted
from oci.http.settings import TlsSettings
from oci.registry.client import Client
from oci.registry.settings import Settings
from tests.support.scripted import Answer, Request, ScriptedServer
from tests.support.tls import Authority

SLEPT: list[float] = []
QUICK = Settings(connect_timeout=5, stall_timeout=0.5, attempts=4, sleep=SLEPT.append)


@pytest.fixture(autouse=True)
def _awake() -> None:
    SLEPT.clear()


@pytest.fixture
def client(server: ScriptedServer) -> Iterator[Client]:
    with Client(server.host, QUICK) as made:
        yield made


def get(client: Client, path: str = "/v2/", method: str = "GET", **words: Any) -> bytes:
    with client.request(method, path, what="it", **words) as response:
        return response.read(1000, "it")


def fails(client: Client, path: str = "/v2/", method: str = "GET", **words: Any) -> RegistryError:
    with pytest.raises(RegistryError) as caught:
        get(client, path, method, **words)
    return caught.value


class Tokens:
    """Stands for the Authorizer: gives one token after the other, for each 401."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self.tokens, self.current, self.refused = list(tokens), None, []  # type: ignore[var-annotated]

    def header(self, _scopes: object) -> str | None:
        return self.current

    def learn(self, headers: Headers, _scopes: object, *, refused: str | None) -> bool:
        assert headers.get("WWW-Authenticate")
        self.refused.append(refused)
        self.current = f"Bearer {self.tokens.pop(0)}" if self.tokens else None
        return self.current is not None


def with_tokens(client: Client, *tokens: str) -> Tokens:
    made = Tokens(tokens)
    client._authorizer = made  # type: ignore[assignment]
    return made


def guarded(request: Request) -> Answer:
    if request.headers.get("authorization") == "Bearer good":
        return Answer(body=b"in")
    body = b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}'
    return Answer(401, {"WWW-Authenticate": "Bearer realm=x"}, body)


# Scheme


def test_a_registry_on_this_machine_is_reached_by_plain_http_after_https(
    client: Client, server: ScriptedServer
) -> None:
    server.on("GET", "/v2/.*", body=b"hello")
    for _ in range(3):
        assert get(client) == b"hello"
    assert server.connections == 2  # one that tried TLS, one that was kept
    assert client.base.scheme == "http"


def test_plain_http_can_be_ruled_out_on_this_machine_too(server: ScriptedServer) -> None:
    server.on("GET", "/v2/.*", body=b"hello")
    with Client(server.host, QUICK.replace(plain_http=False)) as client:
        assert isinstance(fails(client), NotReached)
    assert server.requests == []


def test_the_choice_is_made_once_for_all_threads(client: Client, server: ScriptedServer) -> None:
    server.on("GET", "/v2/.*", body=b"hello", delay=0.1)
    threads = [threading.Thread(target=get, args=(client,)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.requests) == 6
    assert server.connections <= 7


def test_a_certificate_that_is_not_trusted_never_leads_to_plain_http(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with ScriptedServer(tls=authority.server()) as secure, Client(secure.host, QUICK) as client:
        secure.on("GET", "/.*", body=b"hello")
        error = fails(client)
    assert isinstance(error, NotTrusted)
    assert "not trusted" in str(error)
    assert SLEPT == []


def test_https_on_this_machine_is_https(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    settings = QUICK.replace(tls=TlsSettings(ca_file=str(authority.file)))
    with ScriptedServer(tls=authority.server()) as secure:
        secure.on("GET", "/.*", body=b"hello")
        with Client(secure.host, settings) as client:
            assert get(client) == b"hello"
            assert client.base.scheme == "https"
        with Client(secure.host, QUICK, insecure=True) as client:  # no certificate is checked
            assert get(client) == b"hello"
            assert client.base.scheme == "https"


def test_a_port_where_nobody_listens_is_tried_twice_and_told_once() -> None:
    with ScriptedServer() as gone:
        pass
    with Client(gone.host, QUICK) as client:
        error = fails(client)
    assert isinstance(error, NotReached)
    assert str(error).count("connection refused") == 1
    assert len(SLEPT) == 1


def test_a_server_that_is_silent_in_place_of_tls_costs_a_few_seconds_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    import oci.http.exchange as door

    monkeypatch.setattr(door, "HURRY", 0.3)
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with Client(f"127.0.0.1:{silent.getsockname()[1]}", QUICK.replace(attempts=1)) as client:
            assert isinstance(fails(client), ConnectionFailed)
        assert time.monotonic() - began < 2


@pytest.mark.parametrize("host", ["", "a b", "h/x", "h/", "h?", "h:99999", "user:secret@h", "https://h", "ü.example"])
def test_a_registry_is_host_and_port(host: str) -> None:
    with pytest.raises(InvalidReference):
        Client(host, QUICK)


# Credentials


def test_anonymous_comes_first_and_a_401_is_answered_with_a_token(client: Client, server: ScriptedServer) -> None:
    server.on("GET", "/v2/.*", guarded)
    tokens = with_tokens(client, "good")
    assert get(client) == b"in"
    assert get(client) == b"in"
    assert tokens.refused == [None]
    assert [r.headers.get("authorization") for r in server.requests] == [None, "Bearer good", "Bearer good"]


def test_a_token_that_is_turned_down_is_replaced_once(client: Client, server: ScriptedServer) -> None:
    server.on("GET", "/v2/.*", guarded)
    tokens = with_tokens(client, "narrow", "good")
    assert get(client) == b"in"
    assert tokens.refused == [None, "Bearer narrow"]


def test_a_storm_of_401_ends(client: Client, server: ScriptedServer) -> None:
    server.on("GET", "/v2/.*", guarded)
    with_tokens(client, *(str(n) for n in range(100)))
    error = fails(client)
    assert isinstance(error, AuthenticationFailed)
    assert f"`ocikit login {client.host}`" in str(error)
    assert len(server.requests) == 3
    assert "Bearer" not in str(error)


def test_without_a_token_the_401s_own_words_are_told(client: Client, server: ScriptedServer) -> None:
    server.on("GET", "/v2/.*", guarded)
    with_tokens(client)
    error = fails(client)
    assert isinstance(error, AuthenticationFailed)
    assert "authentication required" in str(error)


def test_a_body_is_opened_anew_for_the_try_with_a_token(client: Client, server: ScriptedServer) -> None:
    opened = []

    def body() -> Iterator[bytes]:
        opened.append(True)
        yield b"abc"

    server.on("POST", "/v2/.*", lambda r: guarded(r) if "authorization" not in r.headers else Answer(201, body=r.body))
    with_tokens(client, "good")
    assert get(client, "/v2/x", "POST", body=body, length=3, expect=(201,)) == b"abc"
    assert len(opened) == 2


# Redirects


def test_a_secret_stays_with_the_registry(client: Client, server: ScriptedServer) -> None:
    with ScriptedServer() as storage:
        server.on("GET", "/v2/blob", status=307, headers={"Location": f"{storage.url}/blob?sig=s"})
        storage.on("GET", "/blob", status=302, headers={"Location": f"{server.url}/back"})
        server.on("GET", "/back", body=b"data")
        with_tokens(client, "good").current = "Bearer good"
        assert get(client, "/v2/blob", headers={"Range": "bytes=5-"}) == b"data"
        assert [r.headers.get("authorization") for r in server.requests] == ["Bearer good", None]
        assert "authorization" not in storage.requests[0].headers
        assert storage.requests[0].headers["range"] == "bytes=5-"


def test_a_redirect_within_the_registry_keeps_the_secret(client: Client, server: ScriptedServer) -> None:
    server.on("GET", "/v2/old", status=301, headers={"Location": "/v2/new"})
    server.on("GET", "/v2/new", guarded)
    with_tokens(client, "good").current = "Bearer good"
    assert get(client, "/v2/old") == b"in"


def test_another_port_is_another_origin(client: Client, server: ScriptedServer) -> None:
    with ScriptedServer() as other:
        other.on("GET", "/.*", body=b"x")
        server.on("GET", "/v2/", body=b"hello")
        with_tokens(client, "good").current = "Bearer good"
        get(client)
        assert get(client, f"{other.url}/upload?state=1") == b"x"
        assert "authorization" not in other.requests[0].headers
        assert get(client, f"{server.url}/v2/") == b"hello"
        assert server.requests[-1].headers["authorization"] == "Bearer good"


def test_a_401_of_another_host_asks_nobody_for_a_token(client: Client, server: ScriptedServer) -> None:
    with ScriptedServer() as storage:
        storage.on("GET", "/.*", status=401, headers={"WWW-Authenticate": 'Bearer realm="http://evil.example"'})
        server.on("GET", "/v2/blob", status=307, headers={"Location": f"{storage.url}/p/secret-path?sig=secret"})
        tokens = with_tokens(client, "good")
        error = fails(client, "/v2/blob")
    assert isinstance(error, RegistryRefused)
    assert tokens.refused == []
    assert error.url == f"{server.url}/v2/blob"
    assert "secret" not in str(error)
    assert storage.host in str(error)


def test_a_failure_of_another_host_names_the_url_that_was_asked(client: Client, server: ScriptedServer) -> None:
    with ScriptedServer() as storage:
        storage.on("GET", "/.*", body=b"x" * 100, cut_after=10)
        server.on("GET", "/v2/blob", status=307, headers={"Location": f"{storage.url}/p/secret?sig=secret"})
        cut = fails(client, "/v2/blob")
        assert "cut" in str(cut)
        storage.forget()
        storage.on("GET", "/.*", hang_up=True)
        hung = fails(client, "/v2/blob")
        assert storage.host in str(hung)
    for error in (cut, hung):
        assert error.url == f"{server.url}/v2/blob"
        assert "secret" not in str(error)


@pytest.mark.parametrize("location", ["file:///etc/passwd", "/v2/loop", "https://u:p@h.example/", "ftp://h.example/"])
def test_a_redirect_that_is_not_followed_is_one_error(client: Client, server: ScriptedServer, location: str) -> None:
    server.on("GET", "/v2/loop", status=307, headers={"Location": location})
    error = fails(client, "/v2/loop")
    assert isinstance(error, ProtocolViolation)
    assert str(error).startswith(f"{server.url}/v2/loop: it: ")
    assert SLEPT == []


def test_an_endless_chain_of_redirects_ends(client: Client, server: ScriptedServer) -> None:
    count = iter(range(1000))
    server.on("GET", "/v2/.*", lambda _: Answer(302, {"Location": f"/v2/{next(count)}"}))
    assert isinstance(fails(client, "/v2/x"), ProtocolViolation)
    assert len(server.requests) == 6


@pytest.mark.parametrize("status", [307, 308])
def test_an_upload_is_redirected_with_its_body(client: Client, server: ScriptedServer, status: int) -> None:
    server.on("PUT", "/v2/a", status=status, headers={"Location": "/v2/b"})
    server.on("PUT", "/v2/b", lambda r: Answer(201, body=r.body))
    assert get(client, "/v2/a", "PUT", body=b"abc", expect=(201,)) == b"abc"


@pytest.mark.parametrize("status", [301, 302, 303])
def test_a_redirect_that_would_make_a_put_a_get_is_refused(client: Client, server: ScriptedServer, status: int) -> None:
    server.on("PUT", "/v2/a", status=status, headers={"Location": "/v2/b"})
    assert "would make it a GET" in str(fails(client, "/v2/a", "PUT", body=b"abc"))
    assert len(server.requests) == 1


def test_a_redirect_that_is_expected_is_given(client: Client, server: ScriptedServer) -> None:
    server.on("GET", "/v2/a", status=307, headers={"Location": "/v2/b"})
    with client.request("GET", "/v2/a", expect=(307,), what="it") as response:
        assert response.headers.get("location") == "/v2/b"


def test_a_name_that_stands_for_this_machine_is_no_way_around(server: ScriptedServer) -> None:
    # A redirect's host may be any name whose address is 127.0.0.1: the address is looked at once it is known.
    from oci.http.urls import parse_url

    server.on("GET", "/.*", body=b"internal")
    with Http(QUICK) as http, pytest.raises(ProtocolViolation, match="address of this machine"):
        http.exchange("GET", parse_url(f"http://127.0.0.1:{server.port}/"), far=True)
    assert server.requests == []


# Retries


def test_what_may_pass_is_tried_again(client: Client, server: ScriptedServer) -> None:
    server.on("GET", "/v2/", status=503, times=1)
    server.on("GET", "/v2/", raw=b"HTTP/1.1 2", close=True, times=1)
    server.on("GET", "/v2/", status=429, headers={"Retry-After": "7"}, times=1)
    server.on("GET", "/v2/", body=b"hello")
    assert get(client) == b"hello"
    assert len(SLEPT) == 3
    assert SLEPT[2] == 7


def test_attempts_are_counted_and_the_last_failure_is_told(client: Client, server: ScriptedServer) -> None:
    server.on("GET", "/v2/", status=503, body=b'{"errors":[{"code":"UNAVAILABLE","message":"later"}]}')
    error = fails(client)
    assert isinstance(error, RegistryRefused)
    assert error.status == 503
    assert "later" in str(error)
    assert len(server.requests) == 4
    assert len(SLEPT) == 3


def test_a_quota_of_hours_is_told_and_not_waited_for(client: Client, server: ScriptedServer) -> None:
    server.on("GET", "/v2/", status=429, headers={"Retry-After": "21600"})
    error = fails(client)
    assert "6 hours" in str(error)
    assert SLEPT == []


@pytest.mark.parametrize("status", [400, 403, 404, 413, 501])
def test_what_will_not_pass_is_not_tried_again(client: Client, server: ScriptedServer, status: int) -> None:
    server.on("GET", "/v2/", status=status)
    error = fails(client)
    assert getattr(error, "status", None) == status
    assert len(server.requests) == 1


def test_a_post_is_not_done_twice_unless_it_certainly_was_not_done(client: Client, server: ScriptedServer) -> None:
    server.on("GET", "/v2/")
    get(client)
    server.on("POST", "/busy", status=429, times=1)
    server.on("POST", "/busy", status=202)
    server.on("POST", "/down", status=503)
    server.on("POST", "/cut", raw=b"HTTP/1.1 2", close=True)
    get(client, "/busy", "POST", expect=(202,))
    assert isinstance(fails(client, "/down", "POST"), RegistryRefused)
    assert isinstance(fails(client, "/cut", "POST"), ConnectionFailed)
    assert [r.path for r in server.requests[1:]] == ["/busy", "/busy", "/down", "/cut"]


def test_a_caller_may_say_that_a_post_can_happen_twice_and_that_a_put_can_not(
    client: Client, server: ScriptedServer
) -> None:
    server.on("POST|PUT", "/.*", status=503)
    fails(client, "/again", "POST", retry=True)
    fails(client, "/once", "PUT", retry=False)
    assert server.paths() == ["/again"] * 4 + ["/once"]


def test_a_long_wait_is_told(server: ScriptedServer) -> None:
    told: list[str] = []
    server.on("GET", "/v2/", status=429, headers={"Retry-After": "30"}, times=1)
    server.on("GET", "/v2/", status=503, times=1)
    server.on("GET", "/v2/", body=b"x")
    with Client(server.host, QUICK.replace(warn=told.append)) as client:
        get(client)
    assert told == ["it: the registry answers 429; trying again in 30 seconds"]


def test_a_registry_that_is_silent_for_long_is_told_of_before_it_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("oci.registry.client.SLOW", 0.2)
    told: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        settings = QUICK.replace(connect_timeout=0.3, stall_timeout=0.3, attempts=2, warn=told.append)
        with Client(f"127.0.0.1:{deaf.getsockname()[1]}", settings) as client:
            fails(client)
    assert len(told) == 1
    assert told[0].startswith("it: no ")
    assert "; trying again" in told[0]


def test_a_status_that_is_expected_is_an_answer(client: Client, server: ScriptedServer) -> None:
    server.on("GET", "/v2/a", status=404, body=b"gone")
    server.on("GET", "/v2/b", status=503, body=b"down")
    assert get(client, "/v2/a", expect=(200, 404)) == b"gone"
    assert get(client, "/v2/b", expect=(503,)) == b"down"


def test_closing_ends_a_wait_between_two_tries(server: ScriptedServer) -> None:
    # A worker that sleeps for a server must not keep a command that was interrupted.
    server.on("GET", "/v2/", status=429, headers={"Retry-After": "100"})
    failed: list[BaseException] = []
    client = Client(server.host, Settings(stall_timeout=2))

    def one() -> None:
        try:
            get(client)
        except RegistryError as error:
            failed.append(error)

    thread = threading.Thread(target=one)
    thread.start()
    time.sleep(0.3)
    began = time.monotonic()
    client.close()
    thread.join(5)
    assert time.monotonic() - began < 1
    assert isinstance(failed[0], ConnectionFailed)
    assert not failed[0].again


def test_a_shared_door_stays_open(server: ScriptedServer) -> None:
    server.on("GET", "/v2/", body=b"x")
    with Http(QUICK) as http:
        with Client(server.host, QUICK, http=http) as client:
            get(client)
        with http.send("GET", f"{server.url}/v2/") as response:
            assert response.status == 200


INTERRUPTED = """
import sys
from oci.registry.client import Client
from oci.registry.settings import Settings
with Client(sys.argv[1], Settings(stall_timeout=60, plain_http=True)) as client:
    print("ready", flush=True)
    body = (lambda: iter([b"x" * 100_000_000])) if sys.argv[2] == "POST" else None
    length = 100_000_000 if body else None
    with client.request(sys.argv[2], sys.argv[3], body=body, length=length, what="it") as response:
        response.read(10_000, "it")
"""


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/head"), ("GET", "/body"), ("GET", "/later"), ("POST", "/upload")]
)
def test_an_interrupt_ends_every_kind_of_wait_at_once(server: ScriptedServer, method: str, path: str) -> None:
    server.on("GET", "/head", delay=30.0)
    server.on("GET", "/body", body=b"x" * 1000, stall_after=10)
    server.on("GET", "/later", status=429, headers={"Retry-After": "60"})
    server.on("POST", "/upload", raw=b"", before_body=True, ignore_body=True)
    command = [sys.executable, "-c", INTERRUPTED, server.host, method, path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        until = time.monotonic() + 10
        while not server.requests and time.monotonic() < until:
            time.sleep(0.02)
        time.sleep(0.2)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=10)
        assert time.monotonic() - began < 1
    assert b"KeyboardInterrupt" in errors
