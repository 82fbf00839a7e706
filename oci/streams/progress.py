"""How far a job is: a callable that is handed down, and the counter that calls it.

The library only counts; whether, when and how anything is shown is up to the caller. Bytes are counted for each chunk
of a blob, never for each entry of an archive. Calls may come from several threads, but one at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator

from oci.streams.chunks import abort

__all__ = ["Meter", "Progress", "Share"]

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
        return self.share(what).counted(chunks)

    def share(self, what: str) -> Share:
        """What one thing adds, where it may have to be read more than once."""
        return Share(self, what)


class Share:
    """One thing's part of a Meter: however often its bytes are read, each is counted once. For one thread at a time."""

    def __init__(self, meter: Meter, what: str) -> None:
        self._meter, self._what, self._reached = meter, what, 0

    def counted(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The chunks from the thing's first byte on; what an earlier reading reached is not counted again."""
        self._meter.add(0, self._what)
        return _Counted(chunks, self.complete)

    def complete(self, size: int) -> None:
        """Count everything up to `size` bytes as dealt with."""
        if size > self._reached:
            self._meter.add(size - self._reached, self._what)
            self._reached = size


class _Counted(Iterator[bytes]):
    """The chunks, each counted when the next one is asked for; no generator, so that `abort` gets through."""

    def __init__(self, chunks: Iterable[bytes], complete: Callable[[int], object]) -> None:
        self._chunks, self._complete = iter(chunks), complete
        self._position = 0

    def __next__(self) -> bytes:
        if self._position:
            self._complete(self._position)
        chunk = next(self._chunks)
        self._position += len(chunk)
        return chunk

    def abort(self) -> None:
        abort(self._chunks)
