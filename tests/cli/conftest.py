"""Runs `ocikit` as a user would: in this process where that will do, as a program where it must be one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from oci.cli.entry import main
from tests.support.commands import PROGRAM, ROOT, Result, Run
from tests.support.images import OCI_INDEX, LayoutMaker, index, tar_layer


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing of the caller's settings, and a local store that no other test has."""
    for name in (
        "SOURCE_DATE_EPOCH",
        "OCIKIT_DEBUG",
        "OCIKIT_ROOT",
        "OCIKIT_DRIVER",
        "OCIKIT_RUNTIME",
        "NO_COLOR",
        "FORCE_COLOR",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OCIKIT_ROOT", str(tmp_path_factory.getbasetemp() / "no-store"))


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a command line in this process, whatever its status is."""

    def _run(*arguments: object) -> Result:
        capfd.readouterr()
        status = main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return Result(status, out, err)

    return _run


@pytest.fixture
def ocikit(run: Run) -> Run:
    """Run a command line that has to succeed."""

    def _run(*arguments: object) -> Result:
        result = run(*arguments)
        assert result.status == 0, result.err
        return result

    return _run


@pytest.fixture
def program() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command line as a program of its own."""

    def _run(*arguments: object, env: dict[str, str] | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
        environ = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
        return subprocess.run(
            [*PROGRAM, *map(str, arguments)],
            env=environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            **options,
        )

    return _run


@pytest.fixture
def apart(program: Callable[..., subprocess.CompletedProcess[str]]) -> Run:
    """Run a command line as a program: one that enters a user namespace must not take the tests along."""

    def _run(*arguments: object, **options: Any) -> Result:
        done = program(*arguments, **options)
        return Result(done.returncode, done.stdout, done.stderr)

    return _run


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def app_tree(here: Path) -> Path:
    """A little directory to make images from."""
    tree = here / "app"
    (tree / "usr" / "bin").mkdir(parents=True)
    (tree / "usr" / "bin" / "hello").write_text("#!/bin/sh\necho hello\n")
    (tree / "usr" / "bin" / "hello").chmod(0o755)
    (tree / "etc").mkdir()
    (tree / "etc" / "motd").write_text("welcome\n")
    (tree / "usr" / "bin" / "hi").symlink_to("hello")
    return tree


@pytest.fixture
def images(here: Path) -> Path:
    """A layout `images` with a small image `v1`, and an index `multi` of amd64 and arm64 images."""
    maker = LayoutMaker(here / "images")
    base = tar_layer({"etc/": None, "etc/hostname": b"box\n", "bin": ("symlink", "usr/bin")})
    top = tar_layer({"etc/": None, "etc/.wh.hostname": b"", "etc/motd": b"welcome\n"})
    maker.tag("v1", maker.image([base, top]))
    children = []
    for architecture in ("amd64", "arm64"):
        child = maker.image([base], architecture=architecture)
        children.append(child | {"platform": {"os": "linux", "architecture": architecture}})
    maker.tag("multi", maker.document(index(children), OCI_INDEX))
    return maker.finish()
