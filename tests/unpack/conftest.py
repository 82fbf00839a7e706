"""Every test with `ring` runs as root and as an ordinary user."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.arena import USERS, Arena, arena


@pytest.fixture(params=USERS)
def ring(request: pytest.FixtureRequest) -> Iterator[Arena]:
    with arena(request.param) as made:
        yield made
