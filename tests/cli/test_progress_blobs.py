"""A line for each blob on a terminal: what it says, that it is never wrapped, and that nothing of it stays."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from oci.cli import bars
from oci.cli.progress import Progress
from tests.support.commands import Run
from tests.support.cutter import Cutter
from tests.support.images import LayoutMaker, tar_layer
from tests.support.peers import need
from tests.support.registries import docker_registry
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


@pytest.mark.parametrize("columns", [80, 40, 24])
def test_a_long_label_leaves_room_for_the_percentage(columns: int) -> None:
    line = bars.whole("copying docker://registry.example:5000/" + "team/" * 20 + "app:v1", 21, 100, 5.0, columns)
    assert line.startswith("copying docker:")
    assert line.endswith("  21%")
    assert len(line) < columns


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


# What the library tells


class Heard:
    """All that a command's progress was told."""

    def __init__(self) -> None:
        self.whole: list[tuple[int, int | None]] = []
        self.blobs: dict[str, list[int | None]] = {}
        self.sizes: dict[str, int | None] = {}

    def check(self) -> None:
        """Each blob begins with 0, never goes back, and ends."""
        for what, told in self.blobs.items():
            *counts, end = told
            done = [count for count in counts if count is not None]
            assert end is None, what
            assert done == sorted(done), what
            assert done[0] == 0, what
            assert len(done) == len(counts), what
            assert self.sizes[what] in (None, done[-1]), what


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Heard:
    heard = Heard()

    def whole(_: Progress, done: int, total: int | None, what: str) -> None:
        heard.whole.append((done, total))

    def blob(_: Progress, what: str, done: int | None, size: int | None) -> None:
        heard.blobs.setdefault(what, []).append(done)
        heard.sizes[what] = size

    monkeypatch.setattr(Progress, "__call__", whole)
    monkeypatch.setattr(Progress, "blob", blob)
    return heard


@pytest.mark.parametrize(
    "command",
    [
        ("copy", "./images:v1", "oci:copied:v1"),
        ("copy", "--all-platforms", "./images:multi", "oci-archive:copied.tar:v1"),
        ("copy", "--compression", "zstd", "./images:v1", "oci:copied:v1"),
        ("unpack", "./images:v1", "rootfs"),
        ("verify", "./images"),
        ("verify", "--fast", "./images:v1"),
        ("append", "scratch", "app", "-t", "oci:made:v1"),
        ("artifact", "push", "oci:made:v1", "app", "images/index.json"),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_every_command_tells_of_each_blob_from_its_beginning_to_its_end(
    ocikit: Run, images: Path, app_tree: Path, heard: Heard, command: tuple[str, ...]
) -> None:
    ocikit(*command)
    heard.check()
    assert heard.blobs
    done, total = heard.whole[-1]
    assert total in (None, done)


def test_pulling_an_artifact_tells_of_each_file(ocikit: Run, images: Path, app_tree: Path, heard: Heard) -> None:
    ocikit("artifact", "push", "oci:made:v1", "app", "images/index.json")
    heard.blobs.clear()
    ocikit("artifact", "pull", "oci:made:v1", "-o", "pulled")
    heard.check()
    assert heard.blobs.keys() == {"app", "images/index.json"}


def test_what_is_there_already_is_not_begun_again(ocikit: Run, images: Path, heard: Heard) -> None:
    ocikit("copy", "./images:v1", "oci:copied:v1")
    heard.blobs.clear()
    ocikit("copy", "./images:v1", "oci:copied:v2")
    assert heard.blobs == {}
    assert heard.whole[-1][0] == heard.whole[-1][1]


def test_a_copy_that_fails_has_nothing_under_way_in_the_end(run: Run, images: Path, heard: Heard) -> None:
    layer = next(path for path in (images / "blobs/sha256").iterdir() if path.read_bytes().startswith(b"\x1f\x8b"))
    layer.write_bytes(layer.read_bytes()[:-1] + b"?")
    assert run("copy", "./images:v1", "oci:copied:v1").status == 1
    assert heard.blobs
    assert all(told[-1] is None for told in heard.blobs.values())


def test_blobs_that_a_network_cuts_are_counted_once_both_ways(
    ocikit: Run, here: Path, tmp_path: Path, heard: Heard
) -> None:
    need("docker-registry")
    maker = LayoutMaker(here / "images")
    layers = [tar_layer({f"data{number}": os.urandom(3 * MB)}) for number in range(5)]
    maker.tag("v1", maker.image(layers))
    maker.finish()
    with docker_registry(tmp_path) as registry, Cutter(registry.port) as network:
        network.cut_up(after=MB, times=2)
        ocikit("copy", "./images:v1", f"docker://{network.host}/app:v1")
        pushed = len(heard.blobs)
        heard.check()
        heard.blobs.clear()
        network.cut_down(after=MB, times=3)
        ocikit("copy", f"docker://{network.host}/app:v1", "oci:back:v1")
        heard.check()
        assert network.cuts == 5
    assert pushed == len(heard.blobs) == 6
    assert heard.whole[-1][0] == heard.whole[-1][1]


def test_files_that_are_equal_are_one_blob_and_count_once(ocikit: Run, here: Path, heard: Heard) -> None:
    for name in ("a", "b"):
        (here / name).write_bytes(b"x" * 1000)
    ocikit("artifact", "push", "oci:made:v1", "a", "b")
    heard.check()
    assert heard.whole[-1] == (1002, 1002)  # and the empty config
