"""The README's tour and its library example are run as they stand there, and must work."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.namespaces import need_mounts, need_user_namespaces
from tests.support.peers import need

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


GUIDE = (ROOT / "docs/library.md").read_text()


def without_containers(page: str) -> tuple[str, str]:
    """A page in two parts: all but its section on containers, which not every machine can run; and that section."""
    before, heading, rest = page.partition("\n## Containers\n")
    section, following, after = rest.partition("\n## ")
    return before + following + after, heading + section


def blocks(kind: str, page: str = README) -> list[str]:
    return [body for found, body in BLOCK.findall(page) if found == kind]


def need_containers() -> None:
    """Skip the test, saying why, where no container can be run."""
    need("busybox", "runc")
    if os.geteuid() == 0:
        need_mounts()
    else:
        need_user_namespaces()


@pytest.fixture(scope="module")
def toured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A directory in which every command of the tour was run, in order, and the environment they ran in."""
    folder = tmp_path_factory.mktemp("tour")
    programs = tmp_path_factory.mktemp("bin")
    command = programs / "ocikit"
    command.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m oci "$@"\n')
    command.chmod(0o755)
    environ = {"PATH": f"{programs}:/usr/bin:/bin", "HOME": str(folder), "LC_ALL": "C.UTF-8"}
    environ["OCIKIT_ROOT"] = str(folder / "store")
    with socket.socket() as probe:  # the tour's port may be taken here, and tests run side by side
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    _sh("\n".join(blocks("sh", without_containers(README)[0])).replace(":5000", f":{port}"), folder, environ)
    return folder, environ


def _sh(script: str, folder: Path, environ: dict[str, str]) -> str:
    done = subprocess.run(
        ["sh", "-e", "-x", "-c", script], cwd=folder, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def contained(toured: tuple[Path, dict[str, str]]) -> tuple[Path, str]:
    """The same directory, in which the tour of containers was run too, and what that printed."""
    need_containers()
    folder, environ = toured
    try:
        return folder, _sh("\n".join(blocks("sh", without_containers(README)[1])), folder, environ)
    except BaseException:
        _sh("ocikit rm -f $(ocikit ps -aq)", folder, environ)  # nothing runs on behind a failed test
        raise


def test_the_tour_of_containers_runs_as_it_stands_there(contained: tuple[Path, str]) -> None:
    folder, out = contained
    assert "hello from process 1\n" in out
    assert out.count("one\ntwo\n") == 2  # the volume: through a running container, and after all are gone
    assert (folder / "own").read_text() == "two\n"
    assert os.listdir(folder / "store/containers") == []
    assert (folder / "box-bundle/config.json").exists()


def test_the_tour_runs_as_it_stands_there(toured: tuple[Path, dict[str, str]]) -> None:
    folder, _ = toured
    assert (folder / "rootfs/opt/data/answer").read_text() == "42\n"
    assert (folder / "rootfs/usr/local/bin/hello").stat().st_mode & 0o777 == 0o755
    assert (folder / "v2.tar").stat().st_size > 0


def test_the_tour_names_every_command_at_least_once() -> None:
    from oci.cli.app import COMMANDS

    text = "\n".join(blocks("sh"))
    missing = {name for name in COMMANDS if f"ocikit {name} " not in text}
    assert missing <= {"init"}  # append makes its layout itself


@pytest.mark.parametrize("page", [README, GUIDE], ids=["README.md", "docs/library.md"])
def test_the_library_examples_run_as_they_stand_there(toured: tuple[Path, dict[str, str]], page: str) -> None:
    folder, _ = toured
    code = "\n".join(blocks("python", without_containers(page)[0]))
    assert code
    _python(code, folder)


def test_the_library_example_of_containers_runs_as_it_stands_there(contained: tuple[Path, str]) -> None:
    folder, _ = contained
    (code,) = blocks("python", without_containers(GUIDE)[1])
    assert "hello from a container" in _python(code, folder)


def _python(code: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=folder, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_links_to_files_of_the_project_lead_somewhere() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}"
