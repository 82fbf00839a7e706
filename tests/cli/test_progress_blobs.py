"""A line for each blob on a terminal: what it says, that it is never wrapped, and that nothing of it stays."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable

import pytest

from oci.cli import bars
from oci.cli.progress import Progress
from tests.support.screen import Screen

MB = 1_000_000
LAYER = "layer sha256:0123456789ab" + "c" * 52
OTHER = "config sha512:ba9876543210" + "d" * 116


class Terminal(io.StringIO):
    """A terminal of a size that can change."""

    def __init__(self, columns: int = 80, rows: int = 24) -> None:
        super().__init__()
        self.screen = Screen(columns)
        self.rows = rows

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return 1_000_000  # see `sized`

    def write(self, text: str, /) -> int:
        self.screen.write(text)
        return super().write(text)


@pytest.fixture
def sized(monkeypatch: pytest.MonkeyPatch) -> Callable[[Terminal], Terminal]:
    """Have a terminal's size asked of it."""

    def size_of(terminal: Terminal) -> Terminal:
        def size(fd: int) -> os.terminal_size:
            assert fd == 1_000_000
            return os.terminal_size((terminal.screen.columns, terminal.rows))

        monkeypatch.setattr("oci.cli.progress.os.get_terminal_size", size)
        return terminal

    return size_of


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oci.cli.progress.PATIENCE", 0)
    monkeypatch.setattr("oci.cli.progress.EVERY", 0.001)


def on(terminal: Terminal, environ: dict[str, str] | None = None, *, quiet: bool = False) -> Progress:
    return Progress("copying", stream=terminal, quiet=quiet, environ=environ or {"TERM": "xterm"})


def until(shown: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not shown():
        assert time.monotonic() < end
        time.sleep(0.001)


# What it says


def test_each_blob_under_way_has_a_line_of_its_own_below_the_whole() -> None:
    progress = on(Terminal())
    progress(17 * MB, 80 * MB, LAYER)
    progress.blob(LAYER, 17 * MB, 40 * MB)
    progress.blob(OTHER, 0, 500)
    assert progress.lines(0.5) == (
        "copying  [####................]   21%  17.0 MB of 80.0 MB  0 s",
        "sha256:0123456789ab  [####......]   42%  17.0 MB of 40.0 MB",
        "sha512:ba9876543210  [..........]    0%  0 B of 500 B",
    )
    progress.blob(LAYER, None, 40 * MB)
    assert len(progress.lines(0.5)) == 2


def test_where_nobody_knows_the_size_the_bytes_are_told() -> None:
    assert bars.each([("app", 17 * MB, None), ("tools", 0, None)], 80) == ["app    17.0 MB", "tools"]


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        (80, "sha256:0123456789ab  [####......]   42%  17.0 MB of 40.0 MB"),
        (40, "sha256:0123456789ab  [####......]   42%"),
        (30, "sha256:0123456789ab   42%"),
        (20, "0123456789ab   42%"),
    ],
)
def test_what_does_not_fit_is_left_out(columns: int, line: str) -> None:
    (shown,) = bars.each([(LAYER, 17 * MB, 40 * MB)], columns)
    assert shown == line


@pytest.mark.parametrize("columns", range(1, 100))
def test_no_line_is_ever_as_wide_as_the_terminal(columns: int) -> None:
    names = [LAYER, OTHER, "some/very/long/path/" * 10 + "file.txt", "文件/" * 30, "a\x1b[31m\nb", ""]
    blobs = [(name, 123 * MB, 987 * MB) for name in names]
    for line in (*bars.each(blobs, columns), bars.whole("copying 文件" * 9, 5, 9, 100.0, columns)):
        assert bars.width(line) < max(columns, 1)
        assert line.isprintable()


def test_of_a_long_path_the_end_is_shown() -> None:
    (line,) = bars.each([("/some/very/long/path/to/where/the/data/is/model.bin", 1, 2)], 80)
    assert line.startswith("../where/the/data/is/model.bin  [#####.....]   50%")


@pytest.mark.parametrize(("rows", "shown"), [(24, 8), (6, 4), (3, 1), (2, 0), (1, 0)])
def test_there_are_no_more_lines_than_the_terminal_has_room_for(rows: int, shown: int) -> None:
    progress = on(Terminal())
    for number in range(20):
        progress.blob(f"file {number}", 1, 2)
    assert len(progress.lines(1.0, 80, rows)) == 1 + shown
    assert len(progress.lines(1.0, 12, rows)) == 1


# How it is drawn


@pytest.mark.parametrize("columns", [80, 40, 20])
def test_blobs_come_and_go_in_place_and_leave_nothing(
    impatient: None, sized: Callable[[Terminal], Terminal], columns: int
) -> None:
    terminal = sized(Terminal(columns))
    with on(terminal) as progress:
        for number in range(5):
            progress.blob(f"layer sha256:{number:064x}", number, 10)
        until(lambda: len(terminal.screen.text.splitlines()) == 6)
        progress.blob(f"layer sha256:{0:064x}", None, 10)
        until(lambda: len(terminal.screen.text.splitlines()) == 5)
        progress.print("warning: be careful")
        until(lambda: len(terminal.screen.text.splitlines()) == 6)
        assert terminal.screen.text.startswith("warning: be careful\ncopying")
    assert terminal.screen.text == "warning: be careful"
    assert not terminal.screen.wrapped


def test_a_terminal_that_changes_its_size_in_the_middle_keeps_no_rest_of_it(
    impatient: None, monkeypatch: pytest.MonkeyPatch, sized: Callable[[Terminal], Terminal]
) -> None:
    monkeypatch.setattr("oci.cli.progress.EVERY", 1000)  # drawn here, so that nothing is in between
    terminal = sized(Terminal(80))
    terminal.write("$ ocikit copy\n")
    progress = on(terminal)
    progress(17 * MB, 80 * MB, LAYER)
    progress.blob(LAYER, 17 * MB, 40 * MB)
    progress.blob(OTHER, 17 * MB, 40 * MB)
    for columns in (80, 40, 20, 30, 80, 20, 80):
        terminal.screen.resize(columns)
        progress._redraw()
        command, whole, layer, other = terminal.screen.text.splitlines()[-4:]
        assert len(terminal.screen.text.splitlines()) == 4
        assert command == "$ ocikit copy"
        assert whole.startswith("copying")
        assert "0123456789ab" in layer
        assert "ba9876543210" in other
    terminal.screen.resize(20)
    progress.print("warning: x")
    assert terminal.screen.text == "$ ocikit copy\nwarning: x"
    assert not terminal.screen.wrapped


def test_nothing_is_drawn_of_blobs_in_the_first_second_or_with_quiet() -> None:
    for quiet in (False, True):
        terminal = Terminal()
        with on(terminal, quiet=quiet) as progress:
            progress.blob(LAYER, 1, 2)
        assert terminal.getvalue() == ""


def test_without_a_terminal_blobs_add_nothing_to_the_line_of_each(impatient: None) -> None:
    for stream, environ in ((io.StringIO(), {}), (Terminal(), {"TERM": "dumb"})):
        with Progress("copying", stream=stream, quiet=False, environ=environ) as progress:
            progress(0, 2, "a layer")
            progress.blob("a layer", 0, 2)
            progress(2, 2, "a layer")
            progress.blob("a layer", None, 2)
        assert stream.getvalue() == "copying a layer\n"
