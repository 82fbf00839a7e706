"""Programs run as programs: the tools that people have, and ours beside them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


def need(*programs: str) -> None:
    """Skip the test, naming what is missing."""
    missing = [name for name in programs if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


def need_mountable_root(what: str) -> None:
    """Skip the test where the root directory is no mount point, as in a plain chroot: nothing can remount it there."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    if "/" not in mounts:
        pytest.skip(f"{what} can't work in a chroot whose root directory is not a mount point")


def need_runc() -> None:
    """Skip the test where plain runc is missing, or can't run: it remounts the root directory first."""
    need("runc")
    need_mountable_root("runc by itself")


def need_buildah() -> None:
    """Skip the test where buildah is missing, or can't unpack layers."""
    need("buildah")
    need_mountable_root("buildah")


def need_podman() -> None:
    """Skip the test where podman is missing, or an ordinary user's can't start: it makes a user namespace first."""
    need("podman")
    if os.geteuid() != 0 and subprocess.run(["unshare", "--user", "true"], capture_output=True).returncode != 0:
        pytest.skip("podman needs user namespaces, which this user can't make here")


@contextmanager
def vfs_store() -> Iterator[list[str]]:
    """A store of podman's or buildah's that no other test has: the options that say where it is.

    They take no run directory with a longer name than 50 characters, so that of the temporary files may be too long.
    """
    place = "/tmp" if len(tempfile.gettempdir()) > 30 else None
    with tempfile.TemporaryDirectory(prefix="pm-", dir=place, ignore_cleanup_errors=True) as folder:
        yield ["--root", f"{folder}/root", "--runroot", f"{folder}/run", "--storage-driver", "vfs"]


def peer(*command: object, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """Run a program that has to succeed; what it prints on stdout."""
    words = [str(word) for word in command]
    environ = {**os.environ, **(env or {})}
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=cwd, env=environ)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
    return done.stdout


def ocikit(*arguments: object, env: dict[str, str] | None = None) -> str:
    """Run our command as a program of its own, which has to succeed; what it prints on stdout."""
    environ = {"PYTHONPATH": str(ROOT), **(env or {})}
    return peer(sys.executable, "-m", "oci", *arguments, env=environ)
