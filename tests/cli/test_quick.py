"""The quick reading of command lines says what typer says, or leaves it to typer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from oci.cli import quick
from oci.cli.app import command_tree
from oci.cli.quick_table import COMMANDS
from oci.cli.session import Session
from tests.support.containers import busybox_store

ROOT = Path(__file__).resolve().parent.parent.parent

LINES = [
    "inspect ./images:v2",
    "inspect --json ./images:v2",
    "inspect ./images:v2 --json --platform linux/arm64",
    "inspect --platform=linux/arm64 -- ./images",
    "-q inspect --raw --manifest x",
    "inspect -q x --debug",
    "--root /tmp/store ls --json",
    "ls",
    "files -l x",
    "files -l --layer 2 x",
    "files --layer=2 x -l",
    "tag ./images:v1 v2",
    "append scratch a b:/c -t oci:x --exclude a --exclude=b",
    "append -tname scratch a",
    "append scratch -t x -- -a -b",
    "config x -t y --env A=1 -e B=2 --cmd -x",
    "copy a b --all",
    "copy --from-file list --keep-going",
    "verify x --format sarif",
    "artifact push oci:x:y a b:text/plain",
    "artifact pull oci:x:y -o folder --include *.txt",
]

# What typer has to read, because it complains or helps, or because the option is not the command's own.
LEFT = [
    "",
    "--help",
    "--version",
    "inspect",
    "inspect --help",
    "inspect x y",
    "inspect --jsn x",
    "inspect x --platform",
    "inspect --json=1 x",
    "append scratch a",
    "append scratch -t x",
    "files --layer two x",
    "files -lz x",
    "inspect --creds a:b docker://x",
    "artifact",
    "artifact psh x",
    "nothing x",
    "--root",
    "--root x",
    "-x inspect y",
]


def by_typer(words: list[str]) -> dict[str, Any]:
    """The parameters that typer gives the command's function."""
    group = command_tree()
    context = group.make_context("ocikit", list(words))
    rest = [*context._protected_args, *context.args]
    while True:
        name, command, rest = group.resolve_command(context, rest)
        context = command.make_context(name, rest, parent=context)
        if not hasattr(command, "commands"):
            return dict(context.params)
        group, rest = command, [*context._protected_args, *context.args]


@pytest.mark.parametrize("text", LINES)
def test_a_plain_line_is_read_as_typer_reads_it(text: str) -> None:
    line = quick.read(text.split())
    assert line is not None
    wanted = by_typer(text.split())
    given = {name: value for name, value in wanted.items() if value not in (None, False, [], ())}
    defaults = {"owner": "auto", "mtime": "whole", "directory": ".", "unpacking": "annotated"}
    given = {name: value for name, value in given.items() if defaults.get(name) != value}
    got = {name: value for name, value in line.given.items() if value is not False}
    assert {name: list(v) if isinstance(v, tuple | list) else v for name, v in given.items()} == got


@pytest.mark.parametrize("text", LEFT)
def test_anything_else_is_left_to_typer(text: str) -> None:
    assert quick.read(text.split()) is None


def test_options_of_every_command_reach_the_session_wherever_they_stand() -> None:
    for text in ("-q --root /s history x", "history -q --root=/s x", "history --quiet --root /s x"):
        line = quick.read(text.split())
        assert line is not None
        assert line.session.quiet
        assert line.session.root == "/s"
        assert Session.of(line) is line.session  # type: ignore[arg-type]


def test_the_table_is_current() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "docs/generate_quick.py", "--check"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_command_that_does_something_is_in_the_table() -> None:
    tree = command_tree()
    missing = []
    for name in tree.list_commands(None):
        command = tree.get_command(None, name)
        names = [f"{name} {inner}" for inner in command.commands] if hasattr(command, "commands") else [name]
        missing += [each for each in names if each not in COMMANDS]
    assert not missing, f"quick.py can't read {missing}: too much for its table?"


def test_a_plain_line_imports_no_typer(tmp_path: Path) -> None:
    script = (
        "import sys; from oci.cli.entry import main; "
        f"status = main(['init', {str(tmp_path / 'x')!r}]); "
        f"status = status or main(['ls', '--json', {'oci:' + str(tmp_path / 'x')!r}]); "
        "sys.exit(status or ('typer' in sys.modules and 9) or ('pydantic' in sys.modules and 8))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user's commands make a user namespace first")
def test_create_and_ps_import_nothing_that_takes_long(tmp_path: Path) -> None:
    busybox_store(tmp_path / "store", driver="copy").close()
    oci = [sys.executable, "-m", "oci", "--root", str(tmp_path / "store")]
    subprocess.run([*oci, "create", "--name", "first", "busybox"], cwd=ROOT, check=True, capture_output=True)
    slow = "argparse ast ctypes dataclasses datetime enum hashlib inspect json logging pathlib random re secrets shutil"
    slow += " signal socket subprocess tempfile threading typer typing"
    # Without site: what it imports is the affair of the machine.
    script = (
        "import sys; sys.path[:] = eval(sys.argv.pop(1)); slow = sys.argv.pop(1).split(); "
        "from oci.cli.entry import main; status = main(sys.argv[1:]); "
        "print(*[name for name in slow if name in sys.modules], file=sys.stderr); sys.exit(status)"
    )
    for words in ("create --name second -e A=b busybox true", "ps -a"):
        line = [sys.executable, "-S", "-c", script, repr(sys.path), slow, "--root", oci[-1], *words.split()]
        done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "\n"), words
