"""A registry of ours and a connection to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from oci.serving import Server
from tests.support.calling import Caller


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path / "layout") as running:
        yield running


@pytest.fixture
def caller(server: Server) -> Iterator[Caller]:
    with Caller(server.host) as connected:
        yield connected
