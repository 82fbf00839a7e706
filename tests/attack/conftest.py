"""What is attacked, and how: `ring` runs a test as root and as an ordinary user; hostile registries serve `shelf`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.arena import USERS, Arena, arena
from tests.support.hostile import victim_at
from tests.support.images import LayoutMaker, tar_layer
from tests.support.shelf import Shelf


@pytest.fixture(params=USERS)
def ring(request: pytest.FixtureRequest) -> Iterator[Arena]:
    with arena(request.param) as made:
        yield made


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small layer, and one that is not fetched or pushed in one piece."""
    maker = LayoutMaker(tmp_path_factory.mktemp("image") / "layout")
    maker.tag("v1", maker.image([tar_layer({"etc/": None}), tar_layer({"data": os.urandom(300_000)})]))
    return maker.finish()


@pytest.fixture
def shelf(image: Path) -> Shelf:
    return Shelf.of(image)


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A layout that must look the same after an attack."""
    return victim_at(tmp_path / "victim")
