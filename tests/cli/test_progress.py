"""Progress: on a terminal (a real one, by pty), in a log, and not at all."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from oci.cli.progress import Progress
from oci.cli.session import Session
from tests.support.commands import ROOT, Run
from tests.support.screen import Screen

ERASE = "\r\x1b[K"
LAYERS = {"copy": "layer", "unpack": "layer", "verify": "layer", "append": "app"}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def whole(progress: Progress, seconds: float, columns: int = 80) -> str:
    """The first line that is drawn, and the only one as long as no blob is told of."""
    (line,) = progress.lines(seconds, columns)
    return line


def started(label: str, environ: Mapping[str, str] | None = None) -> Progress:
    return Progress(label, stream=Terminal(), quiet=False, environ=environ or {"TERM": "xterm"})


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oci.cli.progress.PATIENCE", 0)
    monkeypatch.setattr("oci.cli.progress.EVERY", 0.001)


def commands(target: Path) -> dict[str, list[str]]:
    """Each command that shows progress, on the layout `images` and the directory `app`."""
    return {
        "copy": ["copy", "./images:v1", f"oci:{target}/copied:v1"],
        "unpack": ["unpack", "./images:v1", f"{target}/rootfs"],
        "verify": ["verify", "./images"],
        "append": ["append", "scratch", "app", "-t", f"oci:{target}/made:v1"],
    }


# In a log


@pytest.mark.parametrize("command", LAYERS)
def test_without_a_terminal_there_is_a_line_for_each_layer_on_stderr(
    run: Run, images: Path, app_tree: Path, impatient: None, command: str
) -> None:
    result = run(*commands(app_tree.parent)[command])
    assert result.status == 0
    verb = {"copy": "copying", "unpack": "unpacking", "verify": "verifying", "append": "appending"}[command]
    lines = [line for line in result.err.splitlines() if line.startswith(f"{verb} {LAYERS[command]}")]
    assert lines
    assert len(lines) == len(set(lines))
    assert verb not in result.out
    assert "\x1b" not in result.err
    assert "\r" not in result.err


@pytest.mark.parametrize("command", LAYERS)
def test_quiet_says_nothing_of_it(run: Run, images: Path, app_tree: Path, impatient: None, command: str) -> None:
    assert run("-q", *commands(app_tree.parent)[command]).err == ""


@pytest.mark.parametrize("command", LAYERS)
def test_a_quick_command_says_nothing_of_it(run: Run, images: Path, app_tree: Path, command: str) -> None:
    assert "layer sha256" not in run(*commands(app_tree.parent)[command]).err


def test_lines_of_the_first_second_are_told_when_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    with Progress("copying", stream=stream, quiet=False, environ={}) as progress:
        progress(0, 10, "layer a")
        progress(1, 10, "layer b")
        assert stream.getvalue() == ""
        monkeypatch.setattr("oci.cli.progress.PATIENCE", 0)
        progress(2, 10, "layer b")
        assert stream.getvalue() == "copying layer a\ncopying layer b\n"
        progress(3, 10, "layer a")
        progress(3, 10, "a name\nof \x1b[31m two lines")
    assert stream.getvalue() == "copying layer a\ncopying layer b\ncopying a name\\nof \\x1b[31m two lines\n"


# On a terminal


def test_the_bar_shows_how_far_it_is_and_is_gone_in_the_end(impatient: None) -> None:
    stream = Terminal()
    with Progress("copying", stream=stream, quiet=False, environ={"TERM": "xterm"}) as progress:
        progress(50, 100, "x")
        while "50%" not in stream.getvalue():
            pass
    assert "copying  [##########..........]   50%  50 B of 100 B  0 s" in stream.getvalue()
    assert stream.getvalue().endswith(ERASE)


def test_nothing_is_drawn_in_the_first_second() -> None:
    stream = Terminal()
    with Progress("copying", stream=stream, quiet=False, environ={"TERM": "xterm"}) as progress:
        progress(1, 2, "x")
    assert stream.getvalue() == ""


@pytest.mark.parametrize(("quiet", "term"), [(True, "xterm"), (True, "dumb")])
def test_a_quiet_terminal_stays_quiet(impatient: None, quiet: bool, term: str) -> None:
    stream = Terminal()
    with Progress("x", stream=stream, quiet=quiet, environ={"TERM": term}) as progress:
        progress(1, 2, "x")
    assert stream.getvalue() == ""


def test_a_dumb_terminal_gets_lines(impatient: None) -> None:
    stream = Terminal()
    with Progress("copying", stream=stream, quiet=False, environ={"TERM": "dumb"}) as progress:
        progress(1, 2, "a layer")
    assert stream.getvalue() == "copying a layer\n"


def test_the_line_says_bytes_and_after_a_second_the_rate() -> None:
    progress = started("copying")
    assert whole(progress, 0.5) == "copying  0 s"
    progress(5_000_000, None, "x")
    assert whole(progress, 0.5) == "copying  5.0 MB  0 s"
    assert whole(progress, 2.0) == "copying  5.0 MB  2.5 MB/s  2 s"
    progress(10_000_000, 40_000_000, "x")
    assert whole(progress, 2.0) == "copying  [#####...............]   25%  10.0 MB of 40.0 MB  5.0 MB/s  2 s"


def test_more_bytes_than_were_promised_are_no_more_than_all() -> None:
    progress = started("unpacking")
    progress(30, 20, "x")
    assert whole(progress, 0) == "unpacking  [####################]  100%  20 B of 20 B  0 s"


@pytest.mark.parametrize("columns", range(1, 100))
def test_the_line_fits_into_any_terminal(columns: int) -> None:
    progress = started("unpacking")
    progress(123_456_789, 987_654_321, "x")
    line = whole(progress, 1234.0, columns)
    assert len(line) < max(columns, 1)
    assert line.startswith("unpacking"[: columns - 1])


def test_a_warning_stands_above_the_bar(impatient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    session = Session({"TERM": "xterm"})
    with session.progress("copying"):
        while "copying" not in stream.getvalue():
            pass
        session.warn("be careful")
    session.note("done")
    assert f"{ERASE}warning: be careful\n" in stream.getvalue()
    screen = Screen(80)
    screen.write(stream.getvalue())
    assert screen.text == "warning: be careful\ndone"


SLOW = """
import sys, time
from oci.streams import progress
counted = progress.Share.counted
def slowly(self, chunks):
    for chunk in counted(self, chunks):
        time.sleep(1.5)
        yield chunk
progress.Share.counted = slowly
from oci.cli.entry import main
sys.exit(main(sys.argv[1:]))
"""


def on_a_terminal(here: Path, arguments: list[str], columns: int, **environ: str) -> tuple[int, str, str]:
    """Run a slow ocikit with stderr on a pseudo terminal: exit status, stdout, and what the terminal got."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", **environ}
    with subprocess.Popen(
        [sys.executable, "-c", SLOW, *arguments], cwd=here, env=environment, stdout=subprocess.PIPE, stderr=slave
    ) as process:
        os.close(slave)
        shown = b"".join(_until_closed(master))
        os.close(master)
        assert process.stdout is not None
        out = process.stdout.read().decode()
    return process.returncode, out, shown.decode()


def _until_closed(master: int) -> Iterator[bytes]:
    try:
        while data := os.read(master, 4096):
            yield data
    except OSError:  # EIO: the other end is closed
        pass


@pytest.mark.parametrize("columns", [80, 24])
def test_a_real_terminal_gets_bars_and_stdout_only_the_result(images: Path, columns: int) -> None:
    start = time.monotonic()
    status, out, shown = on_a_terminal(images.parent, ["copy", "./images:v1", "oci:copied:v1"], columns)
    seconds = time.monotonic() - start
    assert status == 0
    assert out.startswith("oci:copied@sha256:")
    assert len(out.splitlines()) == 1
    screen = Screen(columns)
    frames = []
    for piece in re.split(r"(?<=\x1b\[J)", shown):
        screen.write(piece)
        frames.append(screen.text.splitlines())
    assert frames[-1] == []
    drawn = [frame for frame in frames if frame]
    assert drawn
    for first, *blobs in drawn:
        assert re.match(r"copying  (\[#*\.*\])? *\d+%", first)
        assert all(re.match(r"(sha256:)?[0-9a-f]{12}   *(\[#*\.*\])? *\d+%", blob) for blob in blobs), blobs
    assert any(blobs for _, *blobs in drawn)
    assert not screen.wrapped
    assert len(drawn) <= seconds * 10 + 1
    assert re.search(r"\x1b\[\d*m", shown) is None  # no colours, with NO_COLOR or without


def test_a_real_terminal_stays_empty_with_quiet(images: Path) -> None:
    assert on_a_terminal(images.parent, ["-q", "copy", "./images:v1", "oci:copied:v1"], 80)[2] == ""


def test_an_error_stands_alone_where_the_bar_was(images: Path) -> None:
    layer = next(path for path in (images / "blobs/sha256").iterdir() if path.read_bytes().startswith(b"\x1f\x8b"))
    layer.write_bytes(layer.read_bytes()[:-1] + b"?")
    status, out, shown = on_a_terminal(images.parent, ["copy", "./images:v1", "oci:copied:v1"], 80, NO_COLOR="1")
    assert (status, out) == (1, "")
    assert re.search(r"\x1b\[(K|1A)error: [^\r\n]*\r\n$", shown), shown
    screen = Screen(1000)
    screen.write(shown)
    assert re.fullmatch(r"error: [^\n]*", screen.text), screen.text
