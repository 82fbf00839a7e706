"""What a registry warns of is told to the user: short, printable, once, and never acted upon."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from oci.errors import RegistryRefused
from oci.http.warnings import MAX_TOLD, MAX_WARNING, Heard, parse_warnings
from oci.registry.client import Client
from oci.registry.settings import Settings
from tests.support.images import LayoutMaker
from tests.support.places import clean_environment
from tests.support.scripted import Answer, Request, ScriptedServer
from tests.support.shelf import Shelf

OLD = '299 - "This image is deprecated and will be removed soon."'
SOON = '299 - "Your auth token will expire in 30 seconds."'


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([OLD], ["This image is deprecated and will be removed soon."]),
        ([OLD, SOON], ["This image is deprecated and will be removed soon.", SOON[7:-1]]),
        ([f"{OLD}, {SOON}"], ["This image is deprecated and will be removed soon.", SOON[7:-1]]),
        (['299 - "a \\"quoted\\" \\\\ word, 299 - not a second one"'], ['a "quoted" \\ word, 299 - not a second one']),
        (['299 - "dated" "Tue, 15 Nov 1994 08:12:31 GMT", 299 - "and more"'], ["dated", "and more"]),
        (['110 proxy "Response is Stale"', '214 - "changed"', '299 proxy "who?"'], []),  # not the registry's own
        (['299 -  "two blanks"', '299 -"none"', "299 - bare", '299 - "no end', "", "299", '1299 - "x"'], []),
        (['299 - ""', '299 - "  "'], []),
        (['110 p "first", 299 - "second"'], ["second"]),
        (
            ['299 - "M\u00c3\u00bcll"', '299 - "M\u00fcll"'],
            ["Müll", "Müll"],
        ),  # UTF-8 and Latin-1, as http.client reads them
    ],
)
def test_warnings_are_read_by_the_rfc(values: list[str], texts: list[str]) -> None:
    assert list(parse_warnings(values)) == texts


def test_no_more_is_read_than_a_registry_may_send() -> None:
    assert list(parse_warnings([f'299 - "{"x" * MAX_WARNING}"', OLD])) == []
    many = list(parse_warnings([OLD] * 10_000))
    assert 0 < len(many) <= MAX_WARNING // len(OLD)


def ask(server: ScriptedServer, *paths: str, heard: Heard | None = None) -> list[str]:
    """What is told about requests for these paths."""
    told: list[str] = []
    settings = Settings(plain_http=True, sleep=lambda _: None, warn=told.append, heard=heard)
    with Client(server.host, settings) as client:
        for path in paths:
            client.request("GET", path, what="it").close()
    return told


def test_a_warning_is_told_once_and_changes_nothing(server: ScriptedServer) -> None:
    server.on("GET", "/b", headers=[("Warning", OLD), ("Warning", SOON)])
    server.on("GET", "/.*", headers={"Warning": OLD})
    told = ask(server, "/a", "/a", "/b")
    assert told == [
        f"{server.host} warns: This image is deprecated and will be removed soon.",
        f"{server.host} warns: Your auth token will expire in 30 seconds.",
    ]
    assert server.paths() == ["/a", "/a", "/b"]


def test_a_warning_with_an_error_is_told_beside_it(server: ScriptedServer) -> None:
    told: list[str] = []
    server.on("GET", "/.*", status=418, headers={"Warning": OLD})
    with (
        Client(server.host, Settings(plain_http=True, warn=told.append)) as client,
        pytest.raises(RegistryRefused, match="418") as caught,
    ):
        client.request("GET", "/x", what="it")
    assert "deprecated" not in str(caught.value)
    assert told == [f"{server.host} warns: This image is deprecated and will be removed soon."]


def test_what_is_told_is_short_and_printable(server: ScriptedServer) -> None:
    long = "x" * 3000
    server.on("GET", "/.*", headers=[("Warning", f'299 - "{long}"'), ("Warning", '299 - "a\x1b[31m\x85b"')])
    first, second = ask(server, "/")
    assert len(first) < 300
    assert first.startswith(f"{server.host} warns: xxx")
    assert second.isprintable()
    assert "[31m" in second


def test_a_registry_that_warns_of_something_new_each_time_is_not_listened_to_for_ever(server: ScriptedServer) -> None:
    def new(request: Request) -> Answer:
        return Answer(headers={"Warning": f'299 - "{request.path}"'})

    server.on("GET", "/.*", new)
    assert len(ask(server, *(f"/{number}" for number in range(MAX_TOLD + 5)))) == MAX_TOLD


def test_what_another_host_says_after_a_redirect_is_not_the_registrys(server: ScriptedServer) -> None:
    with ScriptedServer() as storage:
        storage.on("GET", "/.*", headers={"Warning": OLD})
        server.on("GET", "/there", status=307, headers={"Location": f"{storage.url}/x", "Warning": SOON})
        server.on("GET", "/here", status=307, headers={"Location": "/end"})
        server.on("GET", "/end", headers={"Warning": '299 - "mine"'})
        assert ask(server, "/there", "/here") == [
            f"{server.host} warns: Your auth token will expire in 30 seconds.",
            f"{server.host} warns: mine",
        ]


def test_words_that_repeat_the_credentials_are_not_told(server: ScriptedServer) -> None:
    from oci.auth.credential import Credentials
    from oci.auth.credentials import Fixed

    def answer(request: Request) -> Answer:
        said = request.headers.get("authorization", "")
        if not said:
            return Answer(401, {"WWW-Authenticate": "Basic"})
        return Answer(headers=[("Warning", f'299 - "you sent {said}"'), ("Warning", '299 - "you sent wonderland-7"')])

    server.on("GET", "/.*", answer)
    told: list[str] = []
    fixed = Fixed(server.host, Credentials(username="alice", password="wonderland-7"))
    with Client(server.host, Settings(plain_http=True, credentials=fixed, warn=told.append)) as client:
        client.request("GET", "/", what="it").close()
    assert told == []


def test_clients_that_share_what_was_heard_tell_it_once(server: ScriptedServer) -> None:
    server.on("GET", "/.*", headers={"Warning": OLD})
    heard = Heard()
    assert len(ask(server, "/", heard=heard)) == 1
    assert ask(server, "/", heard=heard) == []


def test_a_command_tells_it_in_one_line_however_many_answers_have_it(server: ScriptedServer, tmp_path: Path) -> None:
    maker = LayoutMaker(tmp_path / "from")
    maker.tag("v1", maker.image([]))
    shelf = Shelf.of(maker.finish())

    def warned(request: Request) -> Answer:
        answer = shelf.answer(request)
        return Answer(answer.status, [*dict(answer.headers).items(), ("Warning", OLD)], answer.body)

    server.on(".*", "/v2/.*", warned)
    done = subprocess.run(
        [sys.executable, "-m", "oci", "copy", f"docker://{server.host}/app:v1", f"docker://{server.host}/app:v2", "-q"],
        env=clean_environment(tmp_path),
        capture_output=True,
        timeout=30,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    expected = f"warning: {server.host} warns: This image is deprecated and will be removed soon."
    assert done.stderr.splitlines() == [expected]
