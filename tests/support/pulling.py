"""A repository of a scripted or real server, opened with settings that don't wait."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from oci.http.exchange import Http
from oci.registry.client import Client
from oci.registry.repository import Repository
from oci.registry.settings import Settings
from tests.support.peers import need, peer


def hasty(**changes: object) -> Settings:
    """Settings that never sleep; three attempts, and half a second of patience."""
    return Settings(**({"sleep": lambda seconds: None, "attempts": 3, "stall_timeout": 0.5} | changes))


@contextmanager
def repository_of(host: str, name: str = "app", **changes: object) -> Iterator[Repository]:
    settings = hasty(**changes)
    with Http(settings) as http, Client(host, settings, http=http) as client:
        yield Repository(client, name)


def fill(layout: Path, name: str, *, tag: str = "v1") -> None:
    """Have skopeo copy an image, with all its platforms, from a layout to HOST/REPO:TAG."""
    need("skopeo")
    words = ["skopeo", "copy", "-q", "--all", "--dest-tls-verify=false", f"oci:{layout}:{tag}", f"docker://{name}"]
    # Logins are looked for in a folder of the user's own, which may not be readable where nobody has logged in.
    peer(*words, env={"XDG_RUNTIME_DIR": str(layout.parent)})
