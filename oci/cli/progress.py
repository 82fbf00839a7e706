"""Progress, for whatever takes longer than a second: bars on a terminal, otherwise a line for each blob.

The library knows a progress object only as something to call (oci/streams/progress.py). On a terminal calls only note
the numbers, and a thread draws them, so that a job that never calls still shows that it lives: a line for the whole,
and below it one for each blob that is under way (bars.py). They are drawn over one another, and gone in the end.
Otherwise the lines of the first second are held back, so that a quick command stays silent in scripts and logs.
Nothing is coloured, and nothing goes to stdout.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from types import TracebackType

from oci.cli import bars
from oci.cli.output import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

PATIENCE = 1.0  # seconds before anything is shown
EVERY = 0.1  # seconds between two redrawings
MOST_BLOBS = 8  # shown at once, where the terminal is high enough
NARROWEST = 16  # columns; with fewer, a blob's digest and how far it is have no room

_REST_OF_LINE, _REST_OF_SCREEN = "\x1b[K", "\x1b[J"


class Progress:
    """One job's progress; a `with` block that leaves no trace on the terminal."""

    def __init__(self, label: str, *, stream: TextIO, quiet: bool, environ: Mapping[str, str]) -> None:
        self._label, self._stream = printable(label), stream
        terminal = stream.isatty() and environ.get("TERM", "dumb") != "dumb"
        self._draws, self._tells = terminal and not quiet, not terminal and not quiet
        self._start = time.monotonic()
        self._done, self._total = 0, 0
        self._named: set[str] = set()
        self._held: list[str] | None = []  # lines of the first second; None when it is over
        self._end = threading.Event()
        self._under_way: dict[str, tuple[int, int | None]] = {}  # blobs, as they were begun
        self._mutex = threading.Lock()  # of the terminal
        self._drawn: tuple[str, ...] = ()  # the lines that stand there, the cursor behind the last
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Progress:
        self._start = time.monotonic()
        if self._draws:
            self._thread = threading.Thread(target=self._draw, name="progress", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        if self._thread is not None:
            self._thread.join()

    def __call__(self, done: int, total: int | None, what: str) -> None:
        """Say how far it is; cheap enough to be called for each chunk."""
        self._done = done
        if total is not None:
            self._total = total
        if self._tells:
            self._tell(what)

    def blob(self, what: str, done: int | None, size: int | None) -> None:
        """Say how far one blob is; None once it is under way no more."""
        if done is not None:
            self._under_way[what] = (done, size)
        else:
            self._under_way.pop(what, None)

    def print(self, text: str) -> None:
        """Write a line that stays; the bars move out of its way."""
        with self._mutex:
            self._stream.write(self._erased())
            print(text, file=self._stream, flush=True)

    # Lines

    def _tell(self, what: str) -> None:
        line = None
        if what not in self._named:
            self._named.add(what)
            line = f"{self._label} {printable(what)}"
        if self._held is None:
            if line is not None:
                self.print(line)
            return
        if line is not None:
            self._held.append(line)
        if time.monotonic() - self._start >= PATIENCE:
            for held in self._held:
                self.print(held)
            self._held = None

    # Bars

    def _draw(self) -> None:
        if self._end.wait(PATIENCE):
            return
        while True:
            self._redraw()
            if self._end.wait(EVERY):
                break
        with self._mutex:
            self._stream.write(self._erased())
            self._stream.flush()

    def _redraw(self) -> None:
        columns, rows = self._room()
        lines = self.lines(time.monotonic() - self._start, columns, rows)
        with self._mutex:
            # One write, and nothing is erased before it is written over: no flicker.
            text = "\n".join(f"{line}{_REST_OF_LINE}" for line in lines)
            self._stream.write(f"{_to_first(self._taken(columns))}{text}{_REST_OF_SCREEN}")
            self._stream.flush()
            self._drawn = lines

    def _erased(self) -> str:
        """What takes the lines off the terminal."""
        if not self._drawn:
            return ""
        taken = self._taken(self._room()[0])
        self._drawn = ()
        text = f"{_to_first(taken)}{_REST_OF_LINE}"
        # From the second row on: what erases a screen from its very first place makes tmux keep it in its history.
        return f"{text}\n{_REST_OF_SCREEN}\x1b[1A" if taken > 1 else text

    def _taken(self, columns: int) -> int:
        """How many rows the lines that were drawn take, up to the one with the cursor.

        Terminals that were made narrower since have wrapped what was too long, and the cursor went with it.
        """
        return sum(max(-(-bars.width(line) // columns), 1) for line in self._drawn)

    def _room(self) -> tuple[int, int]:
        try:
            columns, rows = os.get_terminal_size(self._stream.fileno())
        except (OSError, ValueError):
            columns, rows = 0, 0
        return columns or 80, rows or 24

    def lines(self, seconds: float, columns: int = 80, rows: int = 24) -> tuple[str, ...]:
        """What is drawn after so many seconds: the whole, then blobs, as many as the terminal has room for."""
        most = min(MOST_BLOBS, rows - 2) if columns >= NARROWEST else 0  # the command itself stays in sight
        # dict.copy is one step to other threads, unlike a loop.
        blobs = [(name, done, size) for name, (done, size) in self._under_way.copy().items()][: max(most, 0)]
        whole = bars.whole(self._label, self._done, self._total, seconds, columns)
        return (whole, *bars.each(blobs, columns))


def _to_first(taken: int) -> str:
    """What brings the cursor to the first place of so many rows, from behind the last."""
    return f"\r\x1b[{taken - 1}A" if taken > 1 else "\r"
