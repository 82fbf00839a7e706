"""What is held against every attack by a registry: one clear line, in bounded time, and the victim as it was."""

from __future__ import annotations

import base64
import hashlib
import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from oci.errors import OciError
from oci.registry.settings import Settings
from tests.support.images import LayoutMaker, tar_layer
from tests.support.library import pull, settings
from tests.support.scripted import Answer, Request, ScriptedServer
from tests.support.shelf import Shelf, refused

PASSWORD = "a-very-secret-password"
LOGIN = ("alice", PASSWORD)
BASIC = "Basic " + base64.b64encode(":".join(LOGIN).encode()).decode()
IN_TIME = 20.0  # seconds: generous, this machine may be busy; endless is endless


def name(server: ScriptedServer) -> str:
    return f"docker://{server.host}/app:v1"


def victim_at(folder: Path) -> Path:
    """A layout with an image of its own, which has to stay as it is."""
    maker = LayoutMaker(folder)
    maker.tag("mine", maker.image([tar_layer({"mine": b"mine\n"})]))
    return maker.finish()


@contextmanager
def in_time(seconds: float = IN_TIME) -> Iterator[None]:
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < seconds


def one_clear_line(error: OciError) -> str:
    text = str(error)
    assert text.isprintable(), text
    assert len(text) < 2000, text
    assert PASSWORD not in text
    assert BASIC not in text
    return text


def attacked(
    server: ScriptedServer,
    victim: Path,
    how: Settings | None = None,
    kind: type[OciError] = OciError,
    *,
    platform: str | None = None,
) -> OciError:
    """Pull into the victim, which has to fail and to leave it as it was, but for sound blobs."""
    index_before = (victim / "index.json").read_bytes()
    with in_time(), pytest.raises(kind) as caught:
        pull(name(server), victim, how or settings(login=LOGIN), platform=platform)
    one_clear_line(caught.value)
    assert (victim / "index.json").read_bytes() == index_before
    for path in victim.rglob("*"):
        if path.is_file() and path.parent.name == "sha256":
            assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name, path
    assert {path.name for path in victim.iterdir()} <= {"blobs", "index.json", "oci-layout"}
    return caught.value


def endless(piece: bytes = b"A" * 65536) -> Iterator[bytes]:
    return itertools.repeat(piece)


def wants_token(server: ScriptedServer) -> None:
    """Every request needs a token, and none is right."""
    challenge = f'Bearer realm="{server.url}/token",service="s"'
    server.on(".*", r"/v2/.*", refused(401, "UNAUTHORIZED", "authentication required", WWW_Authenticate=challenge))


def guarded(server: ScriptedServer, shelf: Shelf) -> None:
    """The same, and "t" is the token that is right."""

    def answer(request: Request) -> Answer:
        if request.headers.get("authorization") == "Bearer t":
            return shelf.answer(request)
        challenge = f'Bearer realm="{server.url}/token",service="s"'
        return refused(401, "UNAUTHORIZED", "authentication required", WWW_Authenticate=challenge)

    server.on(".*", r"/v2/.*", answer)


def wants_basic(server: ScriptedServer, shelf: Shelf, moved: tuple[str, str] | None = None) -> None:
    """Every request needs our login; then what has `moved[0]` in its path is redirected below `moved[1]`."""

    def answer(request: Request) -> Answer:
        if request.headers.get("authorization") != BASIC:
            return refused(401, "UNAUTHORIZED", "authentication required", WWW_Authenticate='Basic realm="x"')
        if moved is not None and moved[0] in request.path:
            return Answer(307, {"Location": moved[1] + request.path, "Set-Cookie": "session=1; Path=/"})
        return shelf.answer(request)

    server.on(".*", ".*", answer)
