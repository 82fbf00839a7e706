"""Blobs whose digest only their end tells, for a destination that wants it first: kept in a file, then handed on.

The files have no name, so nothing is left of them whatever happens. Handing on (an upload) goes on in the background
while the next blob is made; how many files may wait is bounded, and so is the room they take. What went wrong is raised
by the next blob's end, or by `settle`, which comes before anything that names the blobs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Self

from oci.layout.blobs import Content, Counted
from oci.spec.descriptor import Descriptor
from oci.spec.digest import Digest
from oci.streams.chunks import read_chunks
from oci.streams.together import Stop

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

__all__ = ["Spool"]


class Spool:
    """Where such blobs wait; `put` stores one, in another thread. `folder` is for the files, if not the system's."""

    def __init__(self, put: Callable[[Descriptor, Content], object], *, parallel: int, folder: str | None) -> None:
        self._put, self._parallel, self.folder = put, parallel, folder
        self._room = threading.BoundedSemaphore(parallel)
        self._stop = Stop()
        self._pool: ThreadPoolExecutor | None = None
        self._begun: list[Future[None]] = []

    def writer(self) -> _SpooledBlob:
        """Open a writer for a blob."""
        return _SpooledBlob(self)

    def hand_on(self, descriptor: Descriptor, file: IO[bytes]) -> None:
        """Begin to store a blob; waits where too many are being stored. The file is closed when that is done."""
        from concurrent.futures import ThreadPoolExecutor

        try:
            self._room.acquire()
            self._raise_faults()
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._parallel)
            self._begun.append(self._pool.submit(self._one, descriptor, file))
        except BaseException:
            file.close()
            raise

    def _one(self, descriptor: Descriptor, file: IO[bytes]) -> None:
        @contextmanager
        def content() -> Iterator[Iterator[bytes]]:
            file.seek(0)
            with self._stop.watching(read_chunks(file)) as chunks:
                yield chunks

        try:
            with file:
                self._put(descriptor, content)
        finally:
            self._room.release()

    def _raise_faults(self) -> None:
        for future in self._begun:
            if future.done():
                future.result()

    def settle(self) -> None:
        """Wait until all blobs are stored; raise what went wrong with one."""
        from concurrent.futures import FIRST_EXCEPTION, wait

        if self._begun:
            wait(self._begun, return_when=FIRST_EXCEPTION)
            self._raise_faults()
            self._begun.clear()

    def close(self) -> None:
        """Stop what is not done."""
        self._stop.say()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)


class _SpooledBlob:
    """One blob on its way into its file."""

    def __init__(self, spool: Spool) -> None:
        import tempfile

        self._spool, self._counted = spool, Counted(None)
        self._folder = spool.folder or tempfile.gettempdir()
        self._file: IO[bytes] | None = tempfile.TemporaryFile(prefix="ocikit-", dir=self._folder, buffering=0)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert self._file is not None
        self._counted.update(data)
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:  # a full disk doesn't say which
            error.filename = self._folder
            raise

    def commit(self, digest: Digest | None = None) -> tuple[Digest, int]:
        assert self._file is not None
        actual, size = self._counted.finish(digest), self._counted.size
        file, self._file = self._file, None
        self._spool.hand_on(Descriptor(media_type="application/octet-stream", digest=actual, size=size), file)
        return actual, size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._file is not None:
            self._file.close()
