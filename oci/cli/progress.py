"""Progress: on a terminal one line that is rewritten, once something takes longer than a second; otherwise nothing.

The library knows a progress object only as something to call: `progress(done, total)` with bytes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import TextIO

from oci.cli.output import printable, size

_PATIENCE = 1.0  # seconds before anything is shown
_EVERY = 0.1  # seconds between two redrawings


class Progress:
    """One job's progress; a `with` block that leaves no trace on the terminal."""

    def __init__(self, label: str, *, stream: TextIO, quiet: bool, environ: Mapping[str, str]) -> None:
        self._label, self._stream = printable(label), stream
        self._wanted = not quiet and stream.isatty() and environ.get("TERM", "dumb") != "dumb"
        self._start = time.monotonic()
        self._next = self._start + _PATIENCE
        self._shown = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def __call__(self, done: int, total: int | None = None) -> None:
        """Say how far it is, in bytes; cheap enough to be called for each chunk."""
        if not self._wanted:
            return
        now = time.monotonic()
        if now < self._next:
            return
        self._next, self._shown = now + _EVERY, True
        seconds = now - self._start
        rate = f"{size(int(done / seconds))}/s"
        if total:
            share = min(done / total, 1.0)
            filled = int(share * 20)
            bar = f"[{'#' * filled}{'.' * (20 - filled)}] {share:4.0%}  {size(done)} of {size(total)}"
        else:
            bar = size(done)
        self._stream.write(f"\r\x1b[K{self._label}  {bar}  {rate}")
        self._stream.flush()
