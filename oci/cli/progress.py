"""Progress, for whatever takes longer than a second: a bar on a terminal, otherwise a line for each blob.

The library knows a progress object only as something to call (oci/streams/progress.py). On a terminal calls only note
the numbers, and a thread draws them, so that a job that never calls still shows that it lives; the bar is gone in the
end. Otherwise the lines of the first second are held back, so that a quick command stays silent in scripts and logs.
Nothing is coloured, and nothing goes to stdout.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TextIO

from oci.cli.output import printable, size

PATIENCE = 1.0  # seconds before anything is shown
EVERY = 0.1  # seconds between two redrawings
WIDTH = 20  # of the bar
_ERASE = "\r\x1b[K"


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
        self._mutex = threading.Lock()  # of the terminal
        self._drawn = False
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

    def print(self, text: str) -> None:
        """Write a line that stays; the bar moves out of its way."""
        with self._mutex:
            if self._drawn:
                self._stream.write(_ERASE)
                self._drawn = False
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

    # The bar

    def _draw(self) -> None:
        if self._end.wait(PATIENCE):
            return
        while True:
            line = self.line(time.monotonic() - self._start, self._columns())
            with self._mutex:
                self._stream.write(f"{_ERASE}{line}")
                self._stream.flush()
                self._drawn = True
            if self._end.wait(EVERY):
                break
        with self._mutex:
            self._stream.write(_ERASE)
            self._stream.flush()

    def _columns(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or 80
        except (OSError, ValueError):
            return 80

    def line(self, seconds: float, columns: int = 80) -> str:
        """What is drawn after so many seconds: as many of its parts as the terminal is wide, never a second line."""
        done, total = self._done, self._total
        parts = [self._label]
        if total:
            share = min(done / total, 1.0)
            parts.append(f"{share:4.0%}")
            amount = f"{size(min(done, total))} of {size(total)}"
        else:
            amount = size(done) if done else ""
        if amount:
            parts.append(amount)
            if seconds >= 1:
                parts.append(f"{size(int(done / seconds))}/s")
        parts.append(f"{seconds:.0f} s")
        width = columns - 1  # a full line would make some terminals begin a new one
        while len(parts) > 1 and len("  ".join(parts)) > width:
            parts.pop()
        if total and len(parts) > 1 and len("  ".join(parts)) + WIDTH + 4 <= width:
            filled = int(share * WIDTH)
            parts.insert(1, f"[{'#' * filled}{'.' * (WIDTH - filled)}]")
        return "  ".join(parts)[:width]
