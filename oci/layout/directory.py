"""Blobs in a layout's directory: `blobs/ALGORITHM/ENCODED` (image-spec v1.1.1 image-layout.md#blobs).

The promise: a blob gets its final name only after its bytes were hashed, compared and fsynced, so a name in `blobs/`
never stands for half a blob; and before `index.json` names it, its directory was fsynced too (`flush`).
A blob that is there already, with the right size, is kept; one with another size is damage, and is replaced.

While it writes, a store holds a shared flock on `blobs/` (from its first write to the end of the edit of `index.json`
that names what was written, or to `close`); `gc` takes that lock exclusively. Links that other tools made (`blobs`, an
algorithm's folder, or a blob being a symbolic or hard link) are followed when reading: the digest tells whether the
content is right. Only regular files are ever opened to the end; names that are no digests are ignored.
"""

from __future__ import annotations

import fcntl
import os
import stat
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from oci.errors import BlobNotFound, InvalidDigest, LayoutError
from oci.layout.blobs import BlobWriter, Counted
from oci.layout.scratch import Scratch
from oci.spec.descriptor import Descriptor
from oci.spec.digest import Digest
from oci.streams.atomic import fsync_dir
from oci.streams.chunks import read_chunks
from oci.streams.verify import verified

__all__ = ["DirectoryBlobs"]


class _Writing:
    """What a store holds while it writes: the shared lock and the scratch folder."""

    def __init__(self, root: str) -> None:
        os.makedirs(f"{root}/blobs", exist_ok=True)
        self._lock = os.open(f"{root}/blobs", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_SH)
            self.scratch = Scratch(root)
        except BaseException:
            os.close(self._lock)
            raise
        self.folders: set[str] = set()
        self.writers = 0

    def close(self) -> None:
        self.scratch.close()
        os.close(self._lock)


class _DirectoryWriter:
    def __init__(self, store: DirectoryBlobs, writing: _Writing, expected: Descriptor | None) -> None:
        self._store, self._writing, self._counted = store, writing, Counted(expected)
        self._fd, self._path = writing.scratch.new()
        writing.writers += 1

    def write(self, data: bytes) -> None:
        self._counted.update(data)
        written = os.write(self._fd, data)
        while written < len(data):
            written += os.write(self._fd, memoryview(data)[written:])

    def commit(self, digest: Digest | None = None) -> tuple[Digest, int]:
        actual, size = self._counted.finish(digest), self._counted.size
        if not self._store.keep(actual, size):
            os.fsync(self._fd)
            self._store._name(self._path, actual, self._writing)
        return actual, size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            self._writing.writers -= 1
        with suppress(FileNotFoundError):
            os.unlink(self._path)


class DirectoryBlobs:
    """The BlobStore below `PATH/blobs`; may be used by several threads at once."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._root = os.fspath(path)
        self._mutex = threading.Lock()
        self._writing: _Writing | None = None
        self._holds = 0

    def __repr__(self) -> str:
        return f"DirectoryBlobs({self._root!r})"

    def __str__(self) -> str:
        return self._root

    def blob_path(self, digest: Digest) -> str:
        """Give the file name of a blob, there or not; a digest's grammar leaves no room for '..' or '/'."""
        return f"{self._root}/blobs/{digest.algorithm}/{digest.encoded}"

    # Reading

    def _open_fd(self, digest: Digest) -> int:
        try:  # O_NONBLOCK: a FIFO placed under a blob's name must not hang the reader
            fd = os.open(self.blob_path(digest), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError):
            raise BlobNotFound(str(digest), self._root) from None
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise LayoutError(self.blob_path(digest), "is not a regular file")
        return fd

    @contextmanager
    def open_raw(self, descriptor: Descriptor) -> Iterator[Iterator[bytes]]:
        fd = self._open_fd(descriptor.digest)
        try:
            yield read_chunks(fd)
        finally:
            os.close(fd)

    @contextmanager
    def open(self, descriptor: Descriptor) -> Iterator[Iterator[bytes]]:
        with self.open_raw(descriptor) as chunks:
            yield verified(chunks, descriptor.digest, descriptor.size)

    def has(self, digest: Digest) -> bool:
        return self.size(digest) is not None

    def size(self, digest: Digest) -> int | None:
        try:
            status = os.stat(self.blob_path(digest))
        except (FileNotFoundError, NotADirectoryError):
            return None
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    def digests(self) -> Iterator[Digest]:
        """Give every blob's digest, sorted; files whose names are no digests are not ours and left out."""
        try:
            algorithms = sorted(os.listdir(f"{self._root}/blobs"))
        except (FileNotFoundError, NotADirectoryError):
            return
        for algorithm in algorithms:
            try:
                names = sorted(os.listdir(f"{self._root}/blobs/{algorithm}"))
            except NotADirectoryError:
                continue
            for name in names:
                try:
                    digest = Digest.parse(f"{algorithm}:{name}")
                except InvalidDigest:
                    continue
                if self.has(digest):
                    yield digest

    # Writing

    @contextmanager
    def hold(self) -> Iterator[Self]:
        """Keep `gc` of other processes out for the whole block, over several writes and edits of `index.json`."""
        self._begin()
        self._holds += 1
        try:
            yield self
        finally:
            self._holds -= 1
            self.release()

    def _begin(self) -> _Writing:
        with self._mutex:
            if self._writing is None:
                self._writing = _Writing(self._root)
            return self._writing

    def keep(self, digest: Digest, size: int) -> bool:
        """Say whether that blob is there with that size, and if so make sure it is on disk and stays."""
        writing = self._begin()
        try:
            fd = self._open_fd(digest)
        except BlobNotFound:
            return False
        try:
            if os.fstat(fd).st_size != size:
                return False
            os.fsync(fd)  # skopeo and others leave it to the kernel; costs nothing when clean
        finally:
            os.close(fd)
        writing.folders.add(digest.algorithm)
        return True

    def put(self, chunks: Iterable[bytes], *, expected: Descriptor | None = None) -> tuple[Digest, int]:
        if expected is not None and self.keep(expected.digest, expected.size):
            return expected.digest, expected.size
        with self.writer(expected=expected) as writer:
            for chunk in chunks:
                writer.write(chunk)
            return writer.commit()

    def writer(self, *, expected: Descriptor | None = None) -> BlobWriter:
        return _DirectoryWriter(self, self._begin(), expected)

    def _name(self, path: str, digest: Digest, writing: _Writing) -> None:
        """Give a finished scratch file its name; an equal blob that another writer just named is replaced by its twin."""
        target = self.blob_path(digest)
        try:
            os.rename(path, target)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.rename(path, target)
            writing.folders.add("")
        writing.folders.add(digest.algorithm)

    def delete(self, digest: Digest) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self.blob_path(digest))

    def flush(self) -> None:
        """Make the names of all blobs written or kept so far durable: one fsync a folder, not one a blob."""
        writing = self._writing
        if writing is not None:
            folders, writing.folders = writing.folders, set()
            for folder in sorted(folders, reverse=True):  # "" (blobs/ itself) last
                fsync_dir(f"{self._root}/blobs/{folder}")

    def release(self) -> None:
        """End writing when nobody holds it and no writer is open: remove scratch files, let `gc` in."""
        self.flush()
        with self._mutex:
            writing = self._writing
            if writing is None or writing.writers or self._holds:
                return
            self._writing = None
        writing.close()

    def close(self) -> None:
        """End writing. Reading, and a new write, may go on."""
        self.release()

    def __del__(self) -> None:
        # A forgotten close must not leave the folder behind, nor the lock; what was written has its name already.
        writing, self._writing = getattr(self, "_writing", None), None
        if writing is not None:
            writing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
