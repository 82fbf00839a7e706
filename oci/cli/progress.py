"""Progress: on a terminal one line that is rewritten, once something takes longer than a second; otherwise nothing.

The library knows a progress object only as something to call: `progress(done, total)`. Calls only note the numbers; a
thread of its own draws them, so that a job that never calls still shows that it lives.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TextIO

from oci.cli.output import printable, size

PATIENCE = 1.0  # seconds before anything is shown
EVERY = 0.2  # seconds between two redrawings
WIDTH = 20  # of the bar

Unit = Callable[[int], str]


class Progress:
    """One job's progress; a `with` block that leaves no trace on the terminal."""

    def __init__(
        self, label: str, *, stream: TextIO, quiet: bool, environ: Mapping[str, str], unit: Unit = size
    ) -> None:
        self._label, self._stream, self._unit = printable(label), stream, unit
        self._wanted = not quiet and stream.isatty() and environ.get("TERM", "dumb") != "dumb"
        self._start = 0.0
        self._done, self._total = 0, 0
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Progress:
        self._start = time.monotonic()
        if self._wanted:
            self._thread = threading.Thread(target=self._draw, name="progress", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        if self._thread is not None:
            self._thread.join()

    def __call__(self, done: int, total: int | None = None) -> None:
        """Say how far it is; cheap enough to be called for each chunk."""
        self._done = done
        if total is not None:
            self._total = total

    def _draw(self) -> None:
        if self._end.wait(PATIENCE):
            return
        while True:
            self._stream.write(f"\r\x1b[K{self.line(time.monotonic() - self._start)}")
            self._stream.flush()
            if self._end.wait(EVERY):
                break
        self._stream.write("\r\x1b[K")
        self._stream.flush()

    def line(self, seconds: float) -> str:
        """What is drawn after so many seconds."""
        done, total, clock = self._done, self._total, f"{seconds:.0f} s"
        if total:
            share = min(done / total, 1.0)
            filled = int(share * WIDTH)
            bar = f"[{'#' * filled}{'.' * (WIDTH - filled)}] {share:4.0%}"
            return f"{self._label}  {bar}  {self._unit(done)} of {self._unit(total)}  {clock}"
        return f"{self._label}  {self._unit(done) + '  ' if done else ''}{clock}"
