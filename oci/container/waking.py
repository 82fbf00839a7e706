"""Signals as events of a loop: while a terminal or an attached client is served, a signal wakes the loop by a pipe.

After it everything is as it was. Only the main thread of a process has signals at all; any other gets none.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

__all__ = ["Handler", "woken_by"]

Handler = Callable[[int], object]


@contextmanager
def woken_by(handlers: Mapping[int, Handler]) -> Iterator[int | None]:
    """Handle these signals; gives the descriptor to wait for, from which their numbers can be read, or None."""
    if threading.current_thread() is not threading.main_thread():
        yield None
        return
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    before_fd = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    before = {number: signal.signal(number, _calling(handler)) for number, handler in handlers.items()}
    try:
        yield reading
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(before_fd)
        os.close(reading)
        os.close(writing)


def _calling(handler: Handler) -> Callable[[int, object], object]:
    return lambda number, at: handler(number)
