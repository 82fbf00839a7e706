"""The table of commands, their helps, and the reference made from them."""

from __future__ import annotations

import importlib
import inspect
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from oci.cli.app import COMMANDS, LATER, TABLE, command_tree
from tests.support.commands import ROOT, Run

NAMES = [row.name for row in TABLE]


def made(name: str) -> Any:
    return command_tree().get_command(None, name)


@pytest.mark.parametrize("row", TABLE, ids=NAMES)
def test_the_table_says_what_the_command_itself_says(row: Any) -> None:
    function = getattr(importlib.import_module(f"oci.cli.{row.module}"), row.function)
    assert (inspect.getdoc(function) or "").splitlines()[0] == row.help
    assert function.__module__ == f"oci.cli.{row.module}"


def test_no_command_is_in_the_table_twice_or_said_to_come_later() -> None:
    assert len(NAMES) == len(set(NAMES))
    assert not set(NAMES) & LATER


def test_the_contract_of_this_version_is_offered() -> None:
    wanted = (
        "init ls inspect history files tag untag gc copy verify append config unpack bundle pull push rmi"
        " create run start exec stop kill wait restart ps logs rm rename port unshare"
        " diff commit export cp mount umount"
        " volume store login logout tags referrers delete serve artifact attach"
    )
    assert set(COMMANDS) == set(wanted.split())


def test_help_lists_every_command_with_its_line(run: Run) -> None:
    out = " ".join(run("--help").out.split())
    for row in TABLE:
        assert f"{row.name} {row.help}" in out


@pytest.mark.parametrize("name", NAMES)
def test_every_command_has_help_with_an_example(run: Run, name: str) -> None:
    result = run(name, "--help")
    assert result.status == 0
    assert result.err == ""
    usage, _, _ = result.out.partition("\n\n")
    assert not set(usage) & set("{}")
    assert "<str>" not in result.out
    text, _, example = result.out.partition("Example:\n")
    assert example.lstrip().startswith(f"ocikit {name} "), text
    assert "--debug" in result.out
    assert "--quiet" in result.out
    assert run(name, "-h").out == result.out


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_is_explained(name: str) -> None:
    command = made(name)
    for parameter in (*command.params, *getattr(command, "registry_params", ())):
        assert parameter.help, f"{name}: {parameter.name} has no help"
        if parameter.param_type_name == "option" and not parameter.is_flag:
            assert parameter.metavar, f"{name}: {parameter.name} doesn't say what its value is"


@pytest.mark.parametrize("maker", ["docs/generate.py", "docs/generate_api.py"])
def test_the_references_in_docs_are_current(maker: str) -> None:
    done = subprocess.run(
        [sys.executable, maker, "--check"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_completion_offers_the_commands(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_OCIKIT_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "ocikit un")
    monkeypatch.setenv("COMP_CWORD", "1")
    result = run()
    assert result.status == 0
    assert result.out.split() == ["untag", "unshare", "unpack"]


def test_completion_can_be_shown_and_installed(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SHELL", "/bin/bash")
    assert "_OCIKIT_COMPLETE=complete_bash" in run("--show-completion", "bash").out
    result = run("--install-completion", "bash")
    assert result.status == 0, result.err
    assert list(tmp_path.rglob("*ocikit*"))


BASH = """
{script}
COMP_WORDS=({words}) COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
$(complete -p ocikit | sed 's/.*-F \\([^ ]*\\) .*/\\1/') ocikit
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("ocikit un", ["untag", "unshare", "unpack"]),
        ("ocikit --ver", ["--version"]),
        ("ocikit unpack --ro", ["--rootless"]),
        ("ocikit verify --f", ["--fast", "--format", "--foreign-layers"]),
        ("ocikit artifact pu", ["push", "pull"]),
        ("ocikit artifact push --an", ["--annotation", "--annotation-file"]),
        ("ocikit copy --src-c", ["--src-creds", "--src-cert-dir"]),
    ],
)
def test_bash_completes_with_the_script_that_is_shown(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: str, offered: list[str]
) -> None:
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    program = tmp_path / "ocikit"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m oci "$@"\n')
    program.chmod(0o755)
    text = BASH.format(script=run("--show-completion", "bash").out, words=words)
    done = subprocess.run(
        ["bash", "--norc", "-c", text],
        env={**os.environ, "PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.split() == offered


@pytest.mark.parametrize("name", ["push", "pull", "inspect"])
def test_commands_of_artifact_have_help_with_an_example(run: Run, name: str) -> None:
    result = run("artifact", name, "--help")
    assert result.status == 0
    assert f"\n    ocikit artifact {name} " in result.out
    assert result.out.startswith(f"Usage: ocikit artifact {name} [OPTIONS] REF")
    assert "Options for registries:" in result.out
