"""Several blobs at once, where a network waits: the first error ends all, and so does an interrupt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

__all__ = ["Stopped", "together"]

T = TypeVar("T")


class Stopped(Exception):  # noqa: N818 - no error: another one's work failed
    """What the work on one item raises when `stop` was called."""


def together(
    work: Callable[[T], object],
    items: Sequence[T],
    *,
    workers: int,
    stop: Callable[[], object],
    abort: Callable[[], object],
) -> None:
    """Do the work on all items, at most `workers` at a time, in this thread where that is 1.

    `stop` makes running work end soon; `abort` makes that happen even where it waits, and is for interrupts. Raises the
    first error.
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
            stop()
            abort()
            raise
        finally:
            stop()
            pool.shutdown(wait=True, cancel_futures=True)
    errors = [error for f in done if (error := f.exception()) is not None and not isinstance(error, Stopped)]
    if errors:
        raise errors[0]
