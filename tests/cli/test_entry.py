"""What holds for every command: exit statuses, one line of error, start-up, signals, pipes."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from oci import __version__
from oci.cli import entry, failures
from oci.cli.failures import UsageError, describe
from oci.cli.session import Session
from oci.errors import LayoutError
from tests.support.commands import PROGRAM, ROOT, Run

Program = Callable[..., subprocess.CompletedProcess[str]]


def test_version_is_one_line(run: Run) -> None:
    assert run("--version").out == f"ocikit {__version__}\n"
    assert run("-q", "--version").out == f"ocikit {__version__}\n"


def test_version_is_answered_without_importing_typer(program: Program) -> None:
    code = "import sys; from oci.cli.entry import main; main(['--version']); print('typer' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"ocikit {__version__}", "False"]


def test_a_command_imports_neither_rich_nor_pydantic_nor_other_commands(here: Path) -> None:
    code = (
        "import sys; from oci.cli.entry import main; status = main(sys.argv[1:]);"
        "print(status, *[n for n in ('rich', 'pydantic', 'jsonschema', 'subprocess', 'oci.cli.show', 'oci.cli.append',"
        " 'oci.cli.unpacking', 'oci.unpack', 'urllib.request', 'cryptography') if n in sys.modules])"
    )
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code, "init", "images", "-q"],
        env=environ, cwd=here, capture_output=True, text=True, check=True,
    )  # fmt: skip
    imported = done.stdout.split()
    assert imported[0] == "0"
    assert set(imported[1:]) <= {"subprocess"}  # typer itself imports that one


def test_no_arguments_show_the_help(run: Run) -> None:
    assert run().out == run("--help").out
    assert "unpack" in run().out


def test_an_unknown_command_is_wrong_usage_and_names_the_nearest(run: Run) -> None:
    result = run("inspet")
    assert result.status == 2
    assert result.error == "error: no such command 'inspet'; did you mean inspect?"


def test_a_command_of_a_later_version_says_so(run: Run) -> None:
    result = run("sign", "docker://example.org/x")
    assert result.status == 2
    assert result.error == "error: the command 'sign' is not available in this version of ocikit"


@pytest.mark.parametrize(
    "arguments",
    [
        ["ls", "--bad"],
        ["tag"],
        ["tag", "./x"],
        ["init", "a", "b"],
        ["--bad"],
        ["ls", "a", "b"],
        ["gc", "--dry-run=7", "x"],
    ],
)
def test_wrong_usage_is_status_2_and_one_line(run: Run, arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.status == 2
    assert result.error
    assert result.out == ""


def test_a_name_without_a_path_is_of_the_local_store(run: Run) -> None:
    said = run("inspect", "alpine:3").error
    assert "`ocikit pull alpine:3`" in said
    assert "docker://alpine:3" in said


def test_a_missing_layout_is_status_1(run: Run, here: Path) -> None:
    result = run("inspect", "./nowhere")
    assert result.status == 1
    assert result.error == "error: ./nowhere: no such directory"


def test_debug_shows_a_traceback_and_then_the_line(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run("inspect", "./nowhere", "--debug")
    assert result.status == 1
    assert result.err.startswith("Traceback")
    assert result.err.endswith("error: ./nowhere: no such directory\n")
    monkeypatch.setenv("OCIKIT_DEBUG", "1")
    assert run("inspect", "./nowhere").err.startswith("Traceback")
    monkeypatch.setenv("OCIKIT_DEBUG", "0")
    assert not run("inspect", "./nowhere").err.startswith("Traceback")


def test_an_os_error_says_where_and_why_in_one_line() -> None:
    assert describe(OSError(errno.ENOSPC, "No space left on device", "/x/y")) == (
        1,
        "/x/y: no space left on the device",
    )
    assert describe(OSError(errno.EACCES, "Permission denied", b"/x\n")) == (1, "/x\\n: permission denied")
    assert describe(OSError(errno.EXDEV, "Invalid cross-device link", "a", None, "b")) == (
        1,
        "a → b: Invalid cross-device link",
    )
    assert describe(OSError(errno.ENOSPC, "No space left on device")) == (1, "no space left on the device")


def test_every_kind_of_failure_has_its_status() -> None:
    assert describe(UsageError("no\nsense"))[0] == 2
    assert describe(LayoutError("x", "broken")) == (1, "x: broken")
    status, text = describe(ValueError("oops\x1b[31m"))
    assert status == 1
    assert text.startswith("internal error: ValueError: oops\\x1b[31m")
    assert describe(MemoryError()) == (1, "out of memory")


def test_a_bug_is_reported_without_a_traceback(run: Run, monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    def broken(*arguments: object, **options: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("oci.layout.layout.Layout.create", broken)
    result = run("init", "x")
    assert result.status == 1
    assert "internal error: RuntimeError: a bug" in result.error


def test_an_interrupt_is_status_130(run: Run, monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("oci.layout.layout.Layout.create", interrupted)
    result = run("init", "x")
    assert result.status == 130
    assert result.error == "error: interrupted"


def test_sigterm_unwinds_like_an_interrupt_and_is_status_143(here: Path) -> None:
    code = (
        "import sys, time; from oci.layout.layout import Layout; from oci.cli.entry import main\n"
        "def slow(path):\n"
        "    try: print('running', flush=True); time.sleep(30)\n"
        "    finally: print('unwound', flush=True)\n"
        "Layout.create = slow\n"
        "sys.exit(main(['init', 'x']))"
    )
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", code], env=environ, cwd=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (143, "unwound\n", "error: terminated\n")


def test_the_signal_handler_is_put_back(run: Run) -> None:
    before = signal.getsignal(signal.SIGTERM)
    run("--help")
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["inspect", "./images:v1", "--raw"], ["files", "./images:v1"], ["ls", "images"]],
)
def test_a_reader_that_goes_away_ends_it_quietly_as_sigpipe_would(images: Path, arguments: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as pipe:
        done = subprocess.run(
            [*PROGRAM, *arguments],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=pipe,
            stderr=subprocess.PIPE,
            cwd=images.parent,
            text=True,
            check=False,
        )
    assert done.stderr == ""
    assert done.returncode == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["inspect", "./images:v1"], ["ls", "images"]])
def test_a_full_disk_is_one_line_and_status_1(images: Path, arguments: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*PROGRAM, *arguments],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=full,
            stderr=subprocess.PIPE,
            cwd=images.parent,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, "error: no space left on the device\n")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_as_good_as_null(images: Path, closed: str) -> None:
    for words, status in (("inspect ./images:v1", 0), ("--help", 0), ("inspect ./images:nope", 1)):
        done = subprocess.run(
            ["sh", "-c", f'"$@" {closed}', "-", *PROGRAM, *words.split()],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            cwd=images.parent,
            text=True,
            check=False,
        )
        assert done.returncode == status
        assert "Traceback" not in done.stderr


def test_quiet_is_taken_before_and_after_the_command(run: Run, here: Path) -> None:
    assert run("init", "one").err == "made the empty layout one\n"
    assert run("-q", "init", "two").err == ""
    assert run("init", "-q", "three").err == ""
    assert run("init", "four", "--quiet").err == ""


@pytest.mark.parametrize("text", ["yesterday", "-1", "1.5", "٣", "99999999999999"])
def test_a_source_date_epoch_that_is_no_number_of_seconds_is_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError, match="SOURCE_DATE_EPOCH"):
        Session({"SOURCE_DATE_EPOCH": text}).source_date_epoch()


def test_the_time_written_is_the_option_then_source_date_epoch_then_none() -> None:
    assert Session({}).created(None) is None
    assert Session({"SOURCE_DATE_EPOCH": "0"}).created(None) == "1970-01-01T00:00:00Z"
    assert Session({"SOURCE_DATE_EPOCH": "0"}).created("2024-05-01T12:00:00Z") == "2024-05-01T12:00:00Z"
    with pytest.raises(UsageError, match="--created"):
        Session({}).created("tomorrow")


def test_colours_need_a_terminal_and_nobody_saying_no(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    assert failures.colourful(Terminal())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not failures.colourful(Terminal())
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert not failures.colourful(Terminal())
    assert not failures.colourful(object())


def test_main_takes_its_arguments_from_the_process(monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    monkeypatch.setattr(sys, "argv", ["ocikit", "--version"])
    assert entry.main() == 0
