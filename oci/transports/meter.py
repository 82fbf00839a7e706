"""Counting the bytes of a copy for a progress callback."""

from __future__ import annotations

import threading

from oci.transports.base import Progress

__all__ = ["Meter"]


class Meter:
    """Counts bytes for a progress callback; several threads may count at once."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0
        self._mutex = threading.Lock()

    def add(self, count: int) -> None:
        """Count bytes that were dealt with."""
        if self._progress is not None:
            with self._mutex:
                self._done += count
                self._progress(self._done, self._total)
