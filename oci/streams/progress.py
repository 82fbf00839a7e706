"""How far a job is: a callable that is handed down, and the counter that calls it.

The library only counts; whether, when and how anything is shown is up to the caller. Bytes are counted for each chunk
of a blob, never for each entry of an archive. Calls may come from several threads, but one at a time.

Who shows only the whole gives a plain callable. Who shows each blob that is under way gives an object with a method
`blob` too; it is told of the same bytes, blob by blob.
"""

from __future__ import annotations

import _thread
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType

from oci.streams.chunks import abort
from oci.typed import Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

__all__ = ["BlobProgress", "Meter", "Progress", "Share"]

# Called with the bytes done, the bytes in all (None where nobody can know), and what the last ones belong to, such as
# `layer sha256:…`. Of each such thing the first is heard when it is begun.
Progress = Callable[[int, int | None, str], object]


class BlobProgress(Protocol):
    """A progress that is told of each blob as well."""

    def __call__(self, done: int, total: int | None, what: str, /) -> object:
        """The same as of a plain callable: the whole."""

    def blob(self, what: str, done: int | None, size: int | None, /) -> object:
        """Hear of one thing: the bytes of it that are done, 0 when it is begun, None when it is under way no more.

        `size` is how many there will be, None where nobody can know. None as `done` says nothing of success: what
        failed is under way no more either. What was there already and is not read is never begun.
        """


class Meter:
    """Counts bytes for a progress callable, if there is one."""

    def __init__(self, progress: Progress | None, total: int | None = None) -> None:
        self._progress, self._total, self._done = progress, total, 0
        self._blob: Callable[[str, int | None, int | None], object] | None = getattr(progress, "blob", None)
        self._mutex = _thread.allocate_lock()

    def add(self, count: int, what: str, reached: int | None = None, size: int | None = None) -> None:
        """Count bytes that were dealt with, by which `what` has `reached` so many of its own."""
        if self._progress is not None:
            with self._mutex:
                self._done += count
                self._progress(self._done, self._total, what)
                if self._blob is not None and reached is not None:
                    self._blob(what, reached, size)

    def expect(self, total: int) -> None:
        """Say how many bytes there are in all, where that turns out later than the beginning."""
        with self._mutex:
            self._total = total

    def end(self, what: str, size: int | None) -> None:
        """Say that something is under way no more."""
        if self._blob is not None:
            with self._mutex:
                self._blob(what, None, size)

    def share(self, what: str, size: int | None = None) -> Share:
        """What one thing adds, which may have to be read more than once; a `with` block, in which it is under way."""
        return Share(self, what, size)


class Share:
    """One thing's part of a Meter: however often its bytes are read, each is counted once. For one thread at a time."""

    def __init__(self, meter: Meter, what: str, size: int | None) -> None:
        self._meter, self._what, self._size = meter, what, size
        self._reached, self._begun = 0, False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._begun:
            self._meter.end(self._what, self._size)

    def begin(self) -> None:
        """Say that it is under way."""
        self._begun = True
        self._meter.add(0, self._what, self._reached, self._size)

    def counted(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The chunks from the thing's first byte on; what an earlier reading reached is not counted again."""
        self.begin()
        return _Counted(chunks, self.complete)

    def complete(self, size: int) -> None:
        """Count everything up to `size` bytes as dealt with."""
        if size > self._reached:
            self.more(size - self._reached)

    def more(self, count: int) -> None:
        """Count so many bytes more as dealt with."""
        self._reached += count
        self._meter.add(count, self._what, self._reached if self._begun else None, self._size)


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
