"""The next blobs, asked for while those before them still come in.

Between two blobs lie a question to the registry, often a redirect, often a new connection with TLS: a third of a
second over the internet, in which nothing would come. Who reads blobs one after the other says which ones are to come,
and each is asked for when no more than NEAR bytes have to come before it: so its connection is not left waiting for
long, and what it sends meanwhile fits into the system's buffers.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from functools import partial

from oci.errors import OciError
from oci.registry.download import Download
from oci.spec.descriptor import Descriptor
from oci.spec.digest import Digest

__all__ = ["Ahead"]

NEAR = 8 << 20  # bytes: 80 ms of a fast line, a few seconds of a slow one
MAX_BEGUN = 3  # downloads that nobody has opened yet: with the present one, what a copy has at once


class _Begun:
    """A download that is being connected in a thread."""

    def __init__(self, size: int, begin: Callable[[], Download]) -> None:
        self.size = size
        self._begin = begin
        self._download: Download | None = None
        self._thread = threading.Thread(target=self._run, name="ocikit-ahead", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with contextlib.suppress(OciError):  # whoever opens the blob will come upon it, and say so
            self._download = self._begin()

    def result(self) -> Download | None:
        """Wait for the answer's head, as one would have to without all this."""
        self._thread.join()
        return self._download


class Ahead:
    """The blobs that are to come, in order, the first of them begun. Thread-safe."""

    def __init__(self, begin: Callable[[Descriptor], Download]) -> None:
        self._begin = begin
        self._mutex = threading.Lock()
        self._expected: dict[Digest, Descriptor] = {}
        self._begun: dict[Digest, _Begun] = {}
        self._present: Download | None = None
        self._closed = False

    def expect(self, descriptor: Descriptor) -> None:
        """Say that a blob will be opened, after those that were said before."""
        with self._mutex:
            if descriptor.digest not in self._begun:
                self._expected.setdefault(descriptor.digest, descriptor)
        self._go_on()

    def take(self, digest: Digest) -> Download | None:
        """Give the download of a blob, if it was begun and did not fail; the taker closes it."""
        with self._mutex:
            self._expected.pop(digest, None)
            begun = self._begun.pop(digest, None)
        return None if begun is None else begun.result()

    def opened(self, download: Download) -> None:
        """Say which download is read now; those to come are measured from it."""
        self._present = download
        self._go_on()

    def _go_on(self) -> None:
        """Begin what is near, or have this called again when it is."""
        with self._mutex:
            present = self._present
            while self._expected and present is not None and not self._closed and len(self._begun) < MAX_BEGUN:
                near = NEAR - sum(begun.size for begun in self._begun.values())
                if present.left > near:
                    present.when_left(near, self._go_on)
                    return
                digest, descriptor = next(iter(self._expected.items()))
                del self._expected[digest]
                self._begun[digest] = _Begun(descriptor.size, partial(self._begin, descriptor))

    def close(self) -> None:
        """Drop what nobody has opened, and begin nothing more."""
        with self._mutex:
            self._closed = True
            dropped, self._begun = list(self._begun.values()), {}
            self._expected.clear()
        for begun in dropped:
            download = begun.result()
            if download is not None:
                download.close()
