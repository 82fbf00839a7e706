"""Makes `tests.support` importable, whatever directory pytest is started from; what all rooms share."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from tests.support.peers import vfs_store  # noqa: E402 - found by the path that was just set
from tests.support.scripted import ScriptedServer  # noqa: E402 - found by the path that was just set

# A shell gives what it starts in the background a SIGINT that is ignored, and programs hand that on.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A deadline for each example measures how busy the machine is, not our code.
settings.register_profile("ocikit", deadline=None)
settings.load_profile("ocikit")


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """A server that answers what a test tells it to."""
    with ScriptedServer() as made:
        yield made


@pytest.fixture
def other() -> Iterator[ScriptedServer]:
    """One more of them, elsewhere: a storage, a token service, an attacker."""
    with ScriptedServer() as made:
        yield made


@pytest.fixture
def vfs() -> Iterator[list[str]]:
    """Options of podman and buildah: a store that no other test has."""
    with vfs_store() as options:
        yield options


@pytest.fixture
def deep_trees(tmp_path: Path) -> Iterator[None]:
    """For tests that make trees of so many levels that Python, and so pytest, can't remove them."""
    yield
    subprocess.run(["rm", "-rf", tmp_path], check=True)
