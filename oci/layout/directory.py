"""Blobs in a layout's directory: `blobs/ALGORITHM/ENCODED` (image-spec v1.1.1 image-layout.md#blobs).

The promise: a blob gets its name only after its bytes were hashed, compared and fsynced, and the name is on disk too
when `put` or `commit` returns. So a name in `blobs/` never stands for half a blob. Bytes on their way are in a
temporary file beside `index.json` (never inside `blobs/`, where other tools take every file for a blob).
A blob that is there already, with the right size, is kept; one with another size is damage, and is replaced.

While it writes, a store holds a shared flock on `blobs/` itself (no lock file that other tools would see or copy), from
its first write to the end of the edit of `index.json` that names what was written, or to `close`; `gc` takes that lock
exclusively. Links that other tools made (`blobs`, an algorithm's folder, or a blob being a symbolic or hard link) are
followed when reading: the digest tells whether the content is right. Only regular files are read. Files whose names
are no digests are ignored. To write, `blobs` must be in the file system of the layout's directory.
"""

from __future__ import annotations

import _thread
import errno
import fcntl
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from oci.errors import BlobNotFound, InvalidDigest, LayoutError, LimitExceeded, show
from oci.layout.blobs import BlobWriter, Counted, VerifyingReader
from oci.layout.documents import MAX_HOLES
from oci.layout.reader import blob_name
from oci.spec.descriptor import Descriptor
from oci.spec.digest import Digest
from oci.streams.atomic import AtomicFile, fsync_dir
from oci.streams.chunks import read_chunks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

__all__ = ["DirectoryBlobs", "flocked"]


@contextmanager
def flocked(path: str, *, wait: bool = True) -> Iterator[None]:
    """Hold an exclusive advisory lock on a directory; with wait=False BlockingIOError when somebody holds one."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB), path)
        yield
    finally:
        os.close(fd)  # closing the only descriptor of this open() drops the lock


def _flock(fd: int, operation: int, path: str) -> None:
    try:
        fcntl.flock(fd, operation)
    except BlockingIOError:
        raise
    except OSError as error:  # NFS says EBADF: it makes exclusive locks only of files open for writing
        raise LayoutError(path, f"can't be written to: its file system has no locks ({error.strerror})") from error


class _DirectoryWriter:
    def __init__(self, store: DirectoryBlobs, expected: Descriptor | None) -> None:
        self._store, self._counted = store, Counted(expected)
        self._file = AtomicFile(f"{store}/blob")

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._counted.update(data)
        self._file.write(data)

    def commit(self, digest: Digest | None = None) -> tuple[Digest, int]:
        actual, size = self._counted.finish(digest), self._counted.size
        if not self._store.keep(actual, size):
            self._store.name(self._file, actual)
        return actual, size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.discard()
        self._store.leave()


class DirectoryBlobs(VerifyingReader):
    """The BlobStore below `PATH/blobs`; may be used by several threads at once."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._root = os.fspath(path)
        self._mutex = _thread.allocate_lock()
        self._lock = -1
        self._users = 0

    @property
    def path(self) -> Path:
        """Where it is on this machine."""
        from pathlib import Path  # not at start-up: three milliseconds for something seldom asked

        return Path(self._root)

    def __repr__(self) -> str:
        return f"DirectoryBlobs({self._root!r})"

    def __str__(self) -> str:
        return self._root

    def blob_path(self, digest: Digest) -> str:
        """Give the file name of a blob, there or not."""
        return f"{self._root}/{blob_name(digest)}"

    # Reading

    def open_file(self, digest: Digest) -> int:
        """Open a blob's file; whoever asks closes the descriptor, and checks what it reads."""
        try:  # O_NONBLOCK: a FIFO placed under a blob's name must not hang the reader
            fd = os.open(self.blob_path(digest), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError):
            raise BlobNotFound(str(digest), self._root) from None
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            os.close(fd)
            raise LayoutError(self.blob_path(digest), "is not a regular file")
        if status.st_size - 512 * status.st_blocks > MAX_HOLES:
            os.close(fd)
            raise LimitExceeded(f"bytes of holes in {show(self.blob_path(digest))}", MAX_HOLES)
        return fd

    @contextmanager
    def open_raw(self, descriptor: Descriptor) -> Iterator[Iterator[bytes]]:
        fd = self.open_file(descriptor.digest)
        try:
            yield read_chunks(fd)
        finally:
            os.close(fd)

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

    def enter(self) -> None:
        """Begin to write: `gc` of other processes is kept out until `leave` was called as often, and then `release`."""
        with self._mutex:
            if self._lock < 0:
                os.makedirs(f"{self._root}/blobs", exist_ok=True)
                fd = os.open(f"{self._root}/blobs", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    _flock(fd, fcntl.LOCK_SH, self._root)
                except BaseException:
                    os.close(fd)
                    raise
                self._lock = fd
            self._users += 1

    def leave(self) -> None:
        """Undo one `enter`; what was written stays protected until `release`."""
        with self._mutex:
            self._users -= 1

    def release(self) -> None:
        """Let `gc` in, unless somebody is writing: called when `index.json` names what was written."""
        with self._mutex:
            if self._lock >= 0 and not self._users:
                os.close(self._lock)
                self._lock = -1

    close = release

    @contextmanager
    def hold(self) -> Iterator[Self]:
        """Keep `gc` of other processes out for the whole block, over several writes and edits of `index.json`."""
        self.enter()
        try:
            yield self
        finally:
            self.leave()
            self.release()

    def keep(self, digest: Digest, size: int) -> bool:
        """Say whether that blob is there with that size, and if so make sure that it is on disk and stays."""
        with self._writing():
            try:
                fd = self.open_file(digest)
            except BlobNotFound:
                return False
            try:
                if os.fstat(fd).st_size != size:
                    return False
                os.fsync(fd)  # skopeo and others leave it to the kernel; costs nothing when it is clean
            finally:
                os.close(fd)
            fsync_dir(os.path.dirname(self.blob_path(digest)))
            return True

    @contextmanager
    def _writing(self) -> Iterator[None]:
        self.enter()
        try:
            yield
        finally:
            self.leave()

    def put(self, chunks: Iterable[bytes], *, expected: Descriptor | None = None) -> tuple[Digest, int]:
        if expected is not None and self.keep(expected.digest, expected.size):
            return expected.digest, expected.size
        with self.writer(expected=expected) as writer:
            for chunk in chunks:
                writer.write(chunk)
            return writer.commit()

    def writer(self, *, expected: Descriptor | None = None) -> BlobWriter:
        self.enter()
        try:
            return _DirectoryWriter(self, expected)
        except BaseException:
            self.leave()
            raise

    def name(self, file: AtomicFile, digest: Digest) -> None:
        """Give a finished file its place; if another writer was faster, its equal blob is replaced by this one."""
        target = self.blob_path(digest)
        folder = os.path.dirname(target)
        if not os.path.isdir(folder):
            os.makedirs(folder, exist_ok=True)
            fsync_dir(os.path.dirname(folder))
        try:
            file.commit(target)
        except OSError as error:
            if error.errno == errno.EXDEV:
                raise LayoutError(self._root, "its blobs are in another file system; it can only be read") from None
            raise

    def delete(self, digest: Digest) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self.blob_path(digest))

    def __del__(self) -> None:
        fd, self._lock = getattr(self, "_lock", -1), -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
