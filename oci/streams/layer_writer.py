"""A layer written once: diff_id, compression, blob digest and both sizes from one pass over the tar bytes, in threads.

image-spec v1.1.1 layer.md#distributable-format, config.md#layer-diffid. The caller's thread makes the tar and gives
the compressed bytes to the sink; hashing and compressing happen in threads that work with the GIL released. Blocks
have a fixed size whatever the sizes of the writes, so the blob's bytes depend on the tar bytes, the compression and the
level, never on the number of threads or on timing.
"""

from __future__ import annotations

import threading
from _queue import SimpleQueue
from collections import deque
from collections.abc import Callable, Iterable
from types import TracebackType

from oci.lazily import hashlib
from oci.spec.digest import Digest
from oci.spec.record import Record
from oci.streams.compression_write import BLOCK, WINDOW, Encoder, Written, encoder

__all__ = ["LayerSummary", "LayerWriter", "compress_tar"]


class LayerSummary(Record):
    """What a manifest and a config have to say about a layer."""

    digest: Digest  # of the blob
    size: int  # of the blob, bytes
    diff_id: Digest  # of the tar
    tar_size: int  # bytes


class _Job:
    """One block on its way; `done` is released when `piece` or `error` is there, `hashed` when it is in the diff_id."""

    __slots__ = ("before", "block", "crc", "done", "error", "hashed", "piece")

    def __init__(self, block: memoryview, before: memoryview) -> None:
        self.block = block
        self.before = before
        self.piece = b""
        self.crc = 0
        self.error: BaseException | None = None
        self.done = threading.Lock()
        self.done.acquire()
        self.hashed = threading.Lock()
        self.hashed.acquire()


class LayerWriter:
    """Write tar bytes with `write`, then `finish`; `sink` is called with the blob's bytes, in order, in this thread.

    `threads` (at least 1) is how many compress at once; one more hashes. As a context manager it stops the threads when
    an error comes between.

    Where what is behind the sink hashes its bytes anyway, as a blob store's writer does, `commit` is what ends it and
    gives the blob's digest and size; `finish` calls it last, and nothing is hashed twice.
    """

    def __init__(
        self,
        sink: Callable[[bytes], object],
        compression: Written = "gzip",
        level: int | None = None,
        threads: int = 2,
        *,
        commit: Callable[[], tuple[Digest, int]] | None = None,
    ) -> None:
        if threads < 1:
            raise ValueError(f"a layer needs at least one thread, not {threads}")
        self._sink = sink
        self._commit = commit
        self._encoder: Encoder = encoder(compression, level, threads)
        self._tar = hashlib.sha256()
        # An uncompressed blob is the tar: one hash for both.
        self._blob = self._tar if compression == "none" or commit is not None else hashlib.sha256()
        self._tar_size = 0
        self._size = 0
        self._block = memoryview(bytearray(BLOCK))
        self._fill = 0
        self._spare: list[memoryview] = []  # blocks to use again: fresh memory costs a page fault every 4 KiB
        self._last: memoryview | None = None  # the block collected last; the next one may still need its end
        self._before = memoryview(b"")
        self._pending: deque[_Job] = deque()
        self._workers = threads if self._encoder.parallel else 1
        self._depth = self._workers + 2
        self._work: SimpleQueue[_Job | None] = SimpleQueue()
        self._hashes: SimpleQueue[_Job | bytes | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._open = True
        self._emit(self._encoder.head())

    # Threads

    def _start(self) -> None:
        """Start them with the first block, so that a writer that is never used costs and leaks nothing."""
        if not self._open:
            raise ValueError("the layer is finished")
        self._threads = [
            threading.Thread(target=self._compress, name="ocikit-compress", daemon=True) for _ in range(self._workers)
        ]
        self._threads.append(threading.Thread(target=self._hash, name="ocikit-hash", daemon=True))
        for thread in self._threads:
            thread.start()

    def _compress(self) -> None:
        encode = self._encoder.encode
        while (job := self._work.get()) is not None:
            try:
                job.piece, job.crc = encode(job.block, job.before)
            except BaseException as error:  # noqa: BLE001 - carried over to the caller's thread
                job.error = error
            job.done.release()

    def _hash(self) -> None:
        while (item := self._hashes.get()) is not None:
            if isinstance(item, _Job):
                self._tar.update(item.block)
                item.hashed.release()
            else:
                self._blob.update(item)

    # The caller's thread

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Take tar bytes; they are copied, so the caller may reuse its buffer."""
        size = len(data)
        start = self._fill
        end = start + size
        if end < BLOCK:
            self._block[start:end] = data
            self._fill = end
            return size
        view = memoryview(data)
        taken = 0
        while size - taken >= BLOCK - self._fill:
            step = BLOCK - self._fill
            self._block[self._fill :] = view[taken : taken + step]
            taken += step
            self._next_block()
        end = self._fill + size - taken
        self._block[self._fill : end] = view[taken:]
        self._fill = end
        return size

    def _next_block(self) -> None:
        self._submit(self._block)
        self._block = self._spare.pop() if self._spare else memoryview(bytearray(BLOCK))
        self._fill = 0

    def _submit(self, block: memoryview) -> None:
        if not self._threads:
            self._start()
        job = _Job(block, self._before)
        self._before = block[-WINDOW:]
        self._tar_size += len(block)
        self._hashes.put(job)
        self._work.put(job)
        self._pending.append(job)
        if len(self._pending) > self._depth:
            self._collect()

    def _collect(self) -> None:
        job = self._pending.popleft()
        job.done.acquire()
        job.hashed.acquire()  # bounds the hash queue too: it is in order, so all pieces before this block are hashed
        if job.error is not None:
            raise job.error
        self._encoder.joined(job.crc, len(job.block))
        self._emit(job.piece)
        if self._last is not None:
            self._spare.append(self._last)
        self._last = job.block

    def _emit(self, piece: bytes) -> None:
        if piece:
            self._size += len(piece)
            if self._blob is not self._tar:
                self._hashes.put(piece)
            self._sink(piece)

    def finish(self) -> LayerSummary:
        """Write out what is left; give digests and sizes. The writer can't be used afterwards."""
        if not self._open:
            raise ValueError("the layer is finished")
        try:
            if self._fill or not self._threads:
                self._submit(self._block[: self._fill])
            while self._pending:
                self._collect()
            self._emit(self._encoder.tail())
        finally:
            self.close()
        digest, size = self._commit() if self._commit else (Digest("sha256", self._blob.hexdigest()), self._size)
        return LayerSummary(
            digest=digest,
            size=size,
            diff_id=Digest("sha256", self._tar.hexdigest()),
            tar_size=self._tar_size,
        )

    def close(self) -> None:
        """Stop the threads; without `finish` before it, the blob is not complete."""
        self._open = False
        threads, self._threads = self._threads, []
        for _ in threads:
            self._work.put(None)
        self._hashes.put(None)
        for thread in threads:
            thread.join()

    def __enter__(self) -> LayerWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def compress_tar(
    chunks: Iterable[bytes],
    sink: Callable[[bytes], object],
    compression: Written = "gzip",
    level: int | None = None,
    threads: int = 2,
) -> LayerSummary:
    """Write an existing tar stream as a layer, as `copy --compression` does; arguments as for LayerWriter."""
    with LayerWriter(sink, compression, level, threads) as writer:
        for chunk in chunks:
            writer.write(chunk)
        return writer.finish()
