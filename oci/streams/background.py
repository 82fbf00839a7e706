"""An iterator that runs ahead in a thread of its own, by a bounded distance.

Hashing, inflating and file IO release the GIL, so a chain of such iterators uses as many cores as it has links.
The rules: items arrive in order; an exception of the source is raised at the place of the item that it prevented;
leaving the `with` block stops the thread before it produces another item, closes the source and waits for both.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from queue import SimpleQueue
from types import TracebackType
from typing import Generic, TypeVar

__all__ = ["Background", "background"]

T = TypeVar("T")


class _End:
    """The last thing in the queue: the source is exhausted, or failed with `error`."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class Background(Generic[T], Iterator[T]):
    """Runs `source` in a daemon thread, at most `depth` items ahead of the consumer."""

    def __init__(self, source: Iterable[T], depth: int = 8, *, name: str = "ocikit-stream") -> None:
        self._source = source
        # Two queues in C instead of one Condition in Python: `items` goes forward, one token in `room` comes back for
        # each item taken. A token may also mean "stop", hence the flag.
        self._items: SimpleQueue[T | _End] = SimpleQueue()
        self._room: SimpleQueue[None] = SimpleQueue()
        for _ in range(depth):
            self._room.put(None)
        self._stopped = False
        self._ended = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        error: BaseException | None = None
        iterator: Iterator[T] | None = None
        try:
            iterator = iter(self._source)
            for item in iterator:
                self._room.get()
                if self._stopped:
                    break
                self._items.put(item)
        except BaseException as caught:  # noqa: BLE001 - carried over to the consumer's thread
            error = caught
        close = getattr(iterator, "close", None)  # a generator must be closed by the thread that runs it
        if close is not None:
            try:
                close()
            except BaseException as caught:  # noqa: BLE001
                error = error or caught
        self._items.put(_End(error))

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        if self._ended:
            raise StopIteration
        item = self._items.get()
        if isinstance(item, _End):
            self._ended = True
            self._thread.join()
            if item.error is not None:
                try:
                    raise item.error
                finally:
                    del item  # no reference cycle through the traceback's frame
            raise StopIteration
        self._room.put(None)
        return item

    def stop(self) -> None:
        """Tell the thread to stop, without waiting; a consumer that waits for an item sees the end."""
        self._stopped = True
        self._room.put(None)

    def close(self) -> None:
        """Stop the thread and wait for it: at most as long as the source takes for one item."""
        self.stop()
        self._ended = True
        self._thread.join()

    def __enter__(self) -> Background[T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def background(iterator: Iterable[T], depth: int = 8) -> Background[T]:
    """Run `iterator` in a thread, at most `depth` items ahead; use it as `with background(…) as items:`."""
    return Background(iterator, depth)
