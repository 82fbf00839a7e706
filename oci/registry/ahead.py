"""The next blob, asked for while the one before it still comes in.

Between two blobs lie a question to the registry, often a redirect, often a new connection with TLS: a third of a second
over the internet, in which nothing would come. Who reads blobs one after the other says which one is next; it is asked
for when the present one has come but for its last part, so that its connection is never left waiting for long.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

from oci.errors import OciError
from oci.registry.download import Download
from oci.spec.digest import Digest

__all__ = ["Ahead"]

TAIL = 2 << 20  # bytes before a blob's end at which the next one is asked for: what is on its way through our threads


class Ahead:
    """At most one download that was begun before anybody opened it. Thread-safe."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._digest: Digest | None = None
        self._begin: Callable[[], Download] | None = None
        self._thread: threading.Thread | None = None
        self._download: Download | None = None
        self._closed = False

    def expect(self, present: Download | None, digest: Digest, begin: Callable[[], Download]) -> None:
        """Have a blob asked for by `begin` when `present` is nearly through; what was expected before is dropped."""
        self.drop()
        with self._mutex:
            if self._closed or present is None:
                return
            self._digest, self._begin = digest, begin
        present.at(TAIL, self._go)

    def _go(self) -> None:
        with self._mutex:
            begin, self._begin = self._begin, None
            if begin is None or self._closed:
                return
            self._thread = threading.Thread(target=self._run, args=(begin,), name="ocikit-ahead", daemon=True)
            self._thread.start()

    def _run(self, begin: Callable[[], Download]) -> None:
        with contextlib.suppress(OciError):  # whoever opens the blob will come upon it, and say so
            self._download = begin()

    def take(self, digest: Digest) -> Download | None:
        """Give the download of a blob, if it was begun; the taker closes it."""
        with self._mutex:
            if self._digest != digest:
                return None
            return self._taken()

    def drop(self) -> None:
        """Give up what was expected."""
        with self._mutex:
            download = self._taken()
        if download is not None:
            download.close()

    def _taken(self) -> Download | None:
        thread, self._thread = self._thread, None
        self._digest = self._begin = None
        if thread is not None:
            thread.join()  # it waits for the answer's head, as the taker would have to
        download, self._download = self._download, None
        return download

    def close(self) -> None:
        """Drop what was expected, and expect nothing more."""
        self._closed = True
        self.drop()
