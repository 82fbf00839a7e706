"""An Authorizer with a token service to ask: scripted, or a fake one where the names of hosts matter.

::

    gives(server, expires_in=300)              # its token service gives t1, t2, …
    at = At(server, http, ALICE)
    assert at.learn()                          # a 401 came
    assert at.header() == "Bearer t1"
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

from oci.auth.authorizer import Authorizer
from oci.auth.credential import Credentials
from oci.auth.scope import Scope
from oci.http.exchange import Headers, Http
from tests.support.scripted import Answer, Request, ScriptedServer

JSON = {"Content-Type": "application/json"}
PULL = (Scope("team/app", ("pull",)),)
PUSH = (Scope("team/app", ("pull", "push")),)
ALICE = Credentials(username="alice", password="s3cret-of-alice")
BASIC = "Basic " + base64.b64encode(b"alice:s3cret-of-alice").decode()
REFRESH = Credentials(identity_token="refresh-me-quietly")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def bearer(realm: str, **more: str) -> Headers:
    words = {"realm": realm, "service": "registry.example", **more}
    return Headers([("WWW-Authenticate", "Bearer " + ",".join(f'{name}="{value}"' for name, value in words.items()))])


class At:
    """An Authorizer for a registry that is the scripted server, and its token service."""

    def __init__(self, server: ScriptedServer, http: Http, credentials: Credentials | None = None, **more: Any) -> None:
        self.asked: list[str | None] = []
        self.clock = Clock()
        self.server = server
        self.challenge = bearer(f"{server.url}/token")
        self.authorizer = Authorizer(
            server.host,
            more.get("find", lambda repository: self._find(repository, credentials)),
            http.send,
            base_url=server.url,
            clock=self.clock,
        )

    def _find(self, repository: str | None, credentials: Credentials | None) -> Credentials | None:
        self.asked.append(repository)
        return credentials

    def learn(self, scopes: Sequence[Scope] = PULL, refused: str | None = None, headers: Headers | None = None) -> bool:
        return self.authorizer.learn(headers or self.challenge, scopes, refused=refused)

    def header(self, scopes: Sequence[Scope] = PULL) -> str | None:
        return self.authorizer.header(scopes)

    @property
    def tokens(self) -> list[Request]:
        return [request for request in self.server.requests if "/token" in request.path]


def gives(server: ScriptedServer, **more: Any) -> None:
    """Have its token service give t1, t2, …"""
    count = iter(range(1, 1000))

    def token(request: Request) -> Answer:
        return Answer(200, JSON, json.dumps({"token": f"t{next(count)}", **more}).encode())

    server.on("GET|POST", "/token", token)


def query(request: Request) -> dict[str, list[str]]:
    return parse_qs(urlsplit(request.path).query)


class Fake:
    """Stands for Http.send: notes what is sent where, and answers with a token."""

    def __init__(self, *answers: tuple[int, Mapping[str, str]]) -> None:
        self.sent: list[tuple[str, str, Mapping[str, str], bytes]] = []
        self._answers = list(answers)

    def __call__(self, method: str, url: str, *, headers: Any, body: Any, length: Any) -> Any:
        self.sent.append((method, url, headers, body or b""))
        status, words = self._answers.pop(0) if self._answers else (200, {})
        return _Answered(status, Headers(words.items()))


class _Answered:
    def __init__(self, status: int, headers: Headers) -> None:
        self.status, self.headers = status, headers

    def read(self, limit: int, what: str) -> bytes:
        return b'{"token":"t"}'

    def glance(self, limit: int) -> bytes:
        return b""

    def discard(self) -> None:
        pass

    def __enter__(self) -> _Answered:
        return self

    def __exit__(self, *exception: object) -> None:
        pass


def learn_at(base: str, realm: str, credentials: Credentials | None = ALICE, fake: Fake | None = None) -> Fake:
    fake = fake or Fake()
    authorizer = Authorizer("registry.example", lambda repository: credentials, fake, base_url=base)  # type: ignore[arg-type]
    assert authorizer.learn(bearer(realm), PULL, refused=None)
    assert authorizer.header(PULL) == "Bearer t"
    return fake
