"""A hostile registry against the command itself, run as a program: exit status 1, one line, no secret, nothing left."""

from __future__ import annotations

import base64
import dataclasses
import gzip
import itertools
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.commands import files_of
from tests.support.hostile import BASIC, LOGIN, PASSWORD, wants_basic
from tests.support.images import OCI_MANIFEST, LayoutMaker, tar_layer
from tests.support.places import clean_environment
from tests.support.scripted import Answer, ScriptedServer
from tests.support.shelf import JSON, Shelf, refused

SIGNATURE = "very-secret-signature"
Bend = Callable[[ScriptedServer, Shelf], None]


@pytest.fixture
def env(server: ScriptedServer, tmp_path: Path) -> dict[str, str]:
    """A login for the server, and for whoever else asks in its name."""
    home = tmp_path / "home"
    home.mkdir()
    auth = base64.b64encode(":".join(LOGIN).encode()).decode()
    (home / "auth.json").write_text(json.dumps({"auths": {server.host: {"auth": auth}}}))
    (home / "auth.json").chmod(0o600)
    (home / "registries.conf").write_text("")
    return clean_environment(home) | {
        "REGISTRY_AUTH_FILE": str(home / "auth.json"),
        "CONTAINERS_REGISTRIES_CONF": str(home / "registries.conf"),
    }


def largest(shelf: Shelf) -> str:
    return max(shelf.blobs, key=lambda one: len(shelf.blobs[one]))


def _wrong_blob(server: ScriptedServer, shelf: Shelf) -> None:
    shelf.blobs[largest(shelf)] = shelf.blobs[largest(shelf)][:-1] + b"?"


def _short_blob(server: ScriptedServer, shelf: Shelf) -> None:
    shelf.blobs[largest(shelf)] = shelf.blobs[largest(shelf)][:-1]


def _long_blob(server: ScriptedServer, shelf: Shelf) -> None:
    shelf.blobs[largest(shelf)] += b"?"


def _bomb(server: ScriptedServer, shelf: Shelf) -> None:
    bomb = gzip.compress(bytes(64 << 20), 9)
    headers = {"Content-Type": OCI_MANIFEST, "Content-Encoding": "gzip"}
    server.on("GET", r"/v2/app/manifests/.*", headers=headers, body=bomb)


def _endless_manifest(server: ScriptedServer, shelf: Shelf) -> None:
    body = itertools.repeat(b"A" * 65536)
    server.on("GET", r"/v2/app/manifests/.*", Answer(200, {"Content-Type": OCI_MANIFEST}, body, chunked=True))


def _html(server: ScriptedServer, shelf: Shelf) -> None:
    server.on("GET", r"/v2/app/manifests/.*", headers={"Content-Type": "text/html"}, body=b"<html>\x1b[31mred</html>")


def _escape_codes(server: ScriptedServer, shelf: Shelf) -> None:
    words = "\x1b[2J\x1b]0;owned\x07\r\nerror: all is well\n" * 5000
    server.on("GET", r"/v2/app/manifests/.*", refused(400, "\x1b[31mDENIED", words))


def _circle(server: ScriptedServer, shelf: Shelf) -> None:
    server.on("GET", r"/v2/app/manifests/.*", status=307, headers={"Location": f"/a?sig={SIGNATURE}"})
    server.on("GET", r"/a", status=307, headers={"Location": f"/b?sig={SIGNATURE}"})
    server.on("GET", r"/b", status=307, headers={"Location": f"/a?sig={SIGNATURE}"})


def _to_a_file(server: ScriptedServer, shelf: Shelf) -> None:
    server.on("GET", r"/v2/app/manifests/.*", status=307, headers={"Location": "file:///etc/passwd"})


def _refused_by_a_cdn(server: ScriptedServer, shelf: Shelf) -> None:
    server.on("GET", r"/v2/app/manifests/.*", status=307, headers={"Location": f"/cdn?X-Amz-Signature={SIGNATURE}"})
    server.on("GET", "/cdn", status=403, headers={"Content-Type": "text/xml"}, body=f"<E>{SIGNATURE}</E>".encode())


def _401_storm(server: ScriptedServer, shelf: Shelf) -> None:
    challenge = f'Bearer realm="{server.url}/token",service="s"'
    server.on("GET|POST", "/token", headers=JSON, body=b'{"token":"a-token-that-is-secret"}')
    server.on(".*", "/v2/.*", refused(401, "UNAUTHORIZED", "authentication required", WWW_Authenticate=challenge))


def _token_that_is_none(server: ScriptedServer, shelf: Shelf) -> None:
    challenge = f'Bearer realm="{server.url}/token",service="s"'
    server.on("GET|POST", "/token", headers=JSON, body=b'{"token":"a-token-that-is-secret\\r\\nX-Evil: 1"}')
    server.on(".*", "/v2/.*", refused(401, "UNAUTHORIZED", "authentication required", WWW_Authenticate=challenge))


def _wrong_password(server: ScriptedServer, shelf: Shelf) -> None:
    challenge = f'Bearer realm="{server.url}/token",service="s"'
    server.on("GET|POST", "/token", refused(401, "UNAUTHORIZED", f"wrong: {PASSWORD}"))
    server.on(".*", "/v2/.*", refused(401, "UNAUTHORIZED", "authentication required", WWW_Authenticate=challenge))


def _429_storm(server: ScriptedServer, shelf: Shelf) -> None:
    server.on(".*", "/v2/app/.*", refused(429, "TOOMANYREQUESTS", "later", Retry_After="999999"))


def _garbage(server: ScriptedServer, shelf: Shelf) -> None:
    server.on("GET", r"/v2/app/manifests/.*", Answer(raw=b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10_000 + b"\r\n"))


def _schema_1(server: ScriptedServer, shelf: Shelf) -> None:
    kind = "application/vnd.docker.distribution.manifest.v1+prettyjws"
    body = b'{"schemaVersion":1,"fsLayers":[],"history":[]}'
    server.on("GET", r"/v2/app/manifests/.*", headers={"Content-Type": kind}, body=body)


ATTACKS: dict[str, Bend] = {
    bend.__name__.strip("_").replace("_", " "): bend
    for bend in (
        _wrong_blob,
        _short_blob,
        _long_blob,
        _bomb,
        _endless_manifest,
        _html,
        _escape_codes,
        _circle,
        _to_a_file,
        _refused_by_a_cdn,
        _401_storm,
        _token_that_is_none,
        _wrong_password,
        _429_storm,
        _garbage,
        _schema_1,
    )
}
COMMANDS: dict[str, list[str]] = {
    "copy": ["copy", "REF", "oci:new:v1"],
    "unpack": ["unpack", "--rootless", "REF", "new"],
    "append": ["append", "REF", "source:/opt", "-t", "oci:new:v1"],
}


def ocikit(env: dict[str, str], cwd: Path, *words: str) -> tuple[int, str]:
    """Run the command with --debug; its status, and all that it said."""
    done = subprocess.run(
        [sys.executable, "-m", "oci", *words, "--debug"],
        env=env,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def check(status: int, said: str) -> None:
    assert status == 1, said
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, said
    assert said.splitlines()[-1] == errors[0]
    assert errors[0].isprintable()
    assert len(errors[0]) < 1000
    for secret in (PASSWORD, BASIC.removeprefix("Basic "), SIGNATURE, "a-token-that-is-secret"):
        assert secret not in said


@pytest.mark.parametrize("attack", list(ATTACKS))
def test_copy_fails_in_one_line_and_leaves_nothing(
    attack: str, server: ScriptedServer, shelf: Shelf, env: dict[str, str], tmp_path: Path
) -> None:
    ATTACKS[attack](server, shelf)
    shelf.serve(server)
    begun = time.monotonic()
    check(*ocikit(env, tmp_path, "copy", f"docker://{server.host}/app:v1", "oci:new:v1"))
    assert time.monotonic() - begun < 20
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home"]


@pytest.mark.parametrize("command", list(COMMANDS))
@pytest.mark.parametrize("attack", ["wrong blob", "long blob", "refused by a cdn"])
def test_other_commands_do_too(
    attack: str, command: str, server: ScriptedServer, shelf: Shelf, env: dict[str, str], tmp_path: Path
) -> None:
    ATTACKS[attack](server, shelf)
    shelf.serve(server)
    (tmp_path / "source").mkdir()
    reference = f"docker://{server.host}/app:v1"
    check(*ocikit(env, tmp_path, *(reference if word == "REF" else word for word in COMMANDS[command])))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "source"]


@pytest.mark.parametrize("attack", ["wrong blob", "short blob"])
def test_verify_lists_what_is_wrong_without_keeping_it(
    attack: str, server: ScriptedServer, shelf: Shelf, env: dict[str, str], tmp_path: Path
) -> None:
    ATTACKS[attack](server, shelf)
    wrong = largest(shelf)
    shelf.serve(server)
    done = subprocess.run(
        [sys.executable, "-m", "oci", "verify", f"docker://{server.host}/app:v1", "--json"],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    assert not report["ok"]
    assert any(wrong in problem["where"] + problem["message"] for problem in report["problems"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home"]


def test_a_layout_that_was_there_is_the_same_afterwards(
    server: ScriptedServer, shelf: Shelf, env: dict[str, str], tmp_path: Path
) -> None:
    maker = LayoutMaker(tmp_path / "there")
    maker.tag("mine", maker.image([tar_layer({"mine": b"mine\n"})]))
    before = files_of(maker.finish())
    _wrong_blob(server, shelf)
    shelf.serve(server)
    check(*ocikit(env, tmp_path, "copy", f"docker://{server.host}/app:v1", "oci:there:v1"))
    after = files_of(tmp_path / "there")
    assert {path: after[path] for path in before} == before
    # What came and was right may stay, as after an interrupted copy: `gc` takes it.
    assert all(path.startswith("blobs/sha256/") for path in after.keys() - before.keys())
    assert f"blobs/sha256/{largest(shelf)[7:]}" not in after


def test_an_authorization_is_for_the_registry_alone_from_the_command_too(
    server: ScriptedServer, shelf: Shelf, env: dict[str, str], tmp_path: Path
) -> None:
    with ScriptedServer() as other:
        wants_basic(server, shelf, moved=("/blobs/", other.url))
        shelf.serve(other)
        status, said = ocikit(env, tmp_path, "copy", f"docker://{server.host}/app:v1", "oci:new:v1")
        assert status == 0, said
        assert other.requests
        assert all("authorization" not in request.headers for request in other.requests)
        assert all("cookie" not in request.headers for request in [*server.requests, *other.requests])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("place", ["manifests", "blobs"])
def test_an_interrupt_ends_a_pull_that_hangs_at_once(
    place: str, number: signal.Signals, server: ScriptedServer, shelf: Shelf, env: dict[str, str], tmp_path: Path
) -> None:
    server.on("GET", f"/v2/app/{place}/.*", lambda request: dataclasses.replace(shelf.answer(request), stall_after=10))
    shelf.serve(server)
    words = [sys.executable, "-m", "oci", "copy", f"docker://{server.host}/app:v1", "oci:new:v1"]
    process = subprocess.Popen(words, env=env, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 20
        while not any(f"/{place}/" in path for path in server.paths("GET")):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(0.1)
        sent = time.monotonic()
        process.send_signal(number)
        _, err = process.communicate(timeout=20)
        assert time.monotonic() - sent < 2  # one second, and what a busy machine adds
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == (130 if number == signal.SIGINT else 143), err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home"]
