"""How far a job is: a callable that is handed down, and the counter that calls it.

The library only counts; whether, when and how anything is shown is up to the caller. Bytes are counted for each chunk
of a blob, never for each entry of an archive. Calls may come from several threads, but one at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator

__all__ = ["Meter", "Progress"]

# Called with the bytes done, the bytes in all (None where nobody can know), and what the last ones belong to, such as
# `layer sha256:…`. Of each such thing the first is heard when it is begun.
Progress = Callable[[int, int | None, str], object]


class Meter:
    """Counts bytes for a progress callable, if there is one."""

    def __init__(self, progress: Progress | None, total: int | None = None) -> None:
        self._progress, self._total, self._done = progress, total, 0
        self._mutex = threading.Lock()

    def add(self, count: int, what: str) -> None:
        """Count bytes that were dealt with; 0 says that something is begun."""
        if self._progress is not None:
            with self._mutex:
                self._done += count
                self._progress(self._done, self._total, what)

    def counted(self, chunks: Iterable[bytes], what: str) -> Iterator[bytes]:
        """The chunks, each counted when the next one is asked for."""
        self.add(0, what)
        for chunk in chunks:
            yield chunk
            self.add(len(chunk), what)
