"""What tests of the client work on: a repository of the scripted server, and an image for it to serve."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from oci.registry.repository import Repository
from tests.support.images import LayoutMaker, tar_layer
from tests.support.pulling import repository_of
from tests.support.scripted import ScriptedServer
from tests.support.shelf import Shelf


@pytest.fixture
def app(server: ScriptedServer) -> Iterator[Repository]:
    with repository_of(server.host) as repository:
        yield repository


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    maker = LayoutMaker(tmp_path_factory.mktemp("image") / "layout")
    layers = [tar_layer({"etc/": None, "etc/motd": b"hello\n"}), tar_layer({"data": os.urandom(200_000)})]
    maker.tag("v1", maker.image(layers))
    return maker.finish()


@pytest.fixture
def shelf(image: Path) -> Shelf:
    return Shelf.of(image)


@pytest.fixture
def back(tmp_path: Path) -> Path:
    """Where an image is pulled to."""
    return tmp_path / "back"
