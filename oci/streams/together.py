"""Several blobs at once, where a network or a disk waits: the first error ends all, and so does an interrupt.

Threads can't be ended from outside. So whoever works on a blob reads it through `Stop.watching`: once the others are to
end, its next chunk is Stopped, and a read that waits for a network fails at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from oci.streams.chunks import abort as abort_read

__all__ = ["Stop", "Stopped", "together"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    T = TypeVar("T")


class Stopped(Exception):  # noqa: N818 - no error: another one's work failed
    """What the work on one item raises when it was told to stop."""


class Stop:
    """A word to all threads that work on the same thing: nobody wants the rest any more."""

    def __init__(self) -> None:
        self._said = False
        self._reading: set[_Watched] = set()
        self._mutex = threading.Lock()

    def say(self) -> None:
        """End what reads at its next chunk, and what waits for one now."""
        with self._mutex:
            self._said = True
            reading = list(self._reading)
        for chunks in reading:
            chunks.abort()

    def check(self) -> None:
        """Raise Stopped if it was said."""
        if self._said:
            raise Stopped

    @contextmanager
    def watching(self, chunks: Iterator[bytes]) -> Iterator[Iterator[bytes]]:
        """Give the same chunks until it is said; then Stopped."""
        watched = _Watched(chunks, self)
        with self._mutex:
            self._reading.add(watched)
        try:
            yield watched
        finally:
            with self._mutex:
                self._reading.discard(watched)


class _Watched(Iterator[bytes]):
    """No generator, so that `abort` gets through."""

    def __init__(self, chunks: Iterator[bytes], stop: Stop) -> None:
        self._chunks, self._stop = chunks, stop

    def __next__(self) -> bytes:
        self._stop.check()
        return next(self._chunks)

    def abort(self) -> None:
        abort_read(self._chunks)


def together(
    work: Callable[[T], object], items: Sequence[T], *, workers: int, stop: Stop, abort: Callable[[], object]
) -> None:
    """Do the work on all items, at most `workers` at a time, in this thread where that is 1.

    `stop` is said as soon as one fails. `abort` is for interrupts: it makes also those fail at once that wait for a
    network without reading a blob. Raises the first error.
    """
    workers = min(workers, len(items))
    if workers <= 1:
        for item in items:
            work(item)
        return
    from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        except BaseException:
            stop.say()
            abort()
            raise
        finally:
            stop.say()
            pool.shutdown(wait=True, cancel_futures=True)
    errors = [error for f in done if (error := f.exception()) is not None and not isinstance(error, Stopped)]
    if errors:
        raise errors[0]
