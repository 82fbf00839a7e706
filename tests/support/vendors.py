"""What the tests of vendors share: a login, a registry that wants it, a list of tags."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable

from oci.registry.connect import connect
from tests.support.library import registry_ref, settings
from tests.support.scripted import Answer, Request, ScriptedServer
from tests.support.shelf import Shelf, refused

LOGIN = ("alice", "s3cret-of-alice")
BASIC = "Basic " + base64.b64encode(":".join(LOGIN).encode()).decode()


def name(server: ScriptedServer, repository: str = "team/app") -> str:
    return f"docker://{server.host}/{repository}:v1"


def guarded(server: ScriptedServer, shelf: Shelf, challenge: str, guard: Callable[[Request], bool]) -> None:
    """Serve the shelf, but answer 401 with this challenge while `guard` of a request is true."""

    def answer(request: Request) -> Answer:
        if guard(request):
            return refused(401, "UNAUTHORIZED", "authentication required", WWW_Authenticate=challenge)
        return shelf.answer(request)

    server.on(".*", r"/v2/.*", answer)


def bearer(server: ScriptedServer, shelf: Shelf, realm: str, token: str = "tok", **more: str) -> None:
    """Serve the shelf to whoever has this token, which `realm` gives out."""
    words = {"realm": realm, "service": "registry", **more}
    challenge = "Bearer " + ",".join(f'{key}="{value}"' for key, value in words.items())
    guarded(server, shelf, challenge, lambda request: request.headers.get("authorization") != f"Bearer {token}")


def tags(*names: str) -> bytes:
    """The body of a tag list."""
    return json.dumps({"name": "team/app", "tags": list(names)}).encode()


def tags_of(server: ScriptedServer) -> list[str]:
    """The tags that the library lists."""
    with connect(registry_ref(name(server)), settings()) as found:
        return list(found[0].tags())
