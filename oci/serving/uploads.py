"""Blobs on their way in (distribution-spec v1.1.1 spec.md#pushing-blobs): files that outlive the server.

An upload is a file `.ocikit-serve/uploads/REPOSITORY/UUID`, and its length is how far it has come; so it can be resumed
after a restart, even after a kill -9. Its hash is computed while bytes arrive; only a resumed one is read again at its
end. The finished file is fsynced and renamed to its place among the blobs: what was acknowledged is on disk.

Of two requests that write to one upload the later one goes on, from what is there, and the earlier one ends: a client
whose connection was lost comes back before we have noticed. Uploads that nobody has touched for IDLE seconds (counted
anew after a restart) are removed; beyond MAX_UPLOADS no more are begun.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from oci.errors import DigestMismatch, UnsupportedDigest
from oci.layout.directory import DirectoryBlobs
from oci.serving.exchange import Refusal
from oci.spec.digest import Digest
from oci.streams.atomic import AtomicFile
from oci.streams.chunks import CHUNK

__all__ = ["IDLE", "MAX_BLOB", "MAX_UPLOADS", "Upload", "Uploads", "Writer"]

MAX_UPLOADS = 1000  # begun and not ended: a push has as many as it has connections
MAX_BLOB = 1 << 40  # bytes of one blob (1 TiB): more than any layer; the disk is full before
IDLE = 24 * 3600.0  # seconds: a cut-off push of yesterday isn't taken up again
CROWDED = 600.0  # seconds of quiet after which an upload gives way to new ones, when there are MAX_UPLOADS
SWEEP_EVERY = 60.0  # seconds

_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


class Upload:
    """One blob that is being pushed."""

    def __init__(self, repository: str, name: str, path: str, size: int, clock: Callable[[], float]) -> None:
        self.repository, self.name, self.path, self.size = repository, name, path, size
        self.touched = clock()
        self.lock = threading.Lock()
        self.writer: Writer | None = None
        self.ended = False
        self._clock = clock
        self._hasher = Digest.of(b"").hasher()
        self._algorithm = "sha256"
        self._hashed = 0

    def use(self, algorithm: str) -> None:
        """Hash with this algorithm from the beginning; UnsupportedDigest."""
        if self._hashed == 0:
            self._hasher, self._algorithm = Digest(algorithm, "").hasher(), algorithm

    def open(self, at: int | None = None) -> Writer:
        """Begin to write, at position `at` if that is said; 416 when it isn't where the upload stands."""
        with self.lock:
            self.check()
            if at is not None and at != self.size:
                raise Refusal(416, "BLOB_UPLOAD_INVALID", f"the next byte is {self.size}, not {at}")
            self.touched = self._clock()
            self.writer = Writer(self)
            return self.writer

    def check(self) -> None:
        if self.ended:
            raise unknown(self.name)

    def take(self, writer: Writer, descriptor: int, data: bytes) -> None:
        """Write more bytes, for the writer that came last."""
        with self.lock:
            self.check()
            if self.writer is not writer:
                raise Refusal(409, "BLOB_UPLOAD_INVALID", "another request goes on with this upload", close=True)
            if self.size + len(data) > MAX_BLOB:
                raise Refusal(413, "SIZE_INVALID", f"a blob may have {MAX_BLOB} bytes", close=True)
            try:
                _write_all(descriptor, data, self.size)
            except OSError:
                with suppress(OSError):
                    os.ftruncate(descriptor, self.size)
                raise
            if self._hashed == self.size:
                self._hasher.update(data)
                self._hashed += len(data)
            self.size += len(data)
            self.touched = self._clock()

    def digest(self, wanted: Digest, descriptor: int) -> Digest:
        """Give the digest of what is there, by the algorithm of the one that is wanted."""
        if self._algorithm == wanted.algorithm and self._hashed == self.size:
            return Digest(wanted.algorithm, self._hasher.hexdigest())
        hasher, position = wanted.hasher(), 0
        while chunk := os.pread(descriptor, CHUNK, position):
            hasher.update(chunk)
            position += len(chunk)
        return Digest(wanted.algorithm, hasher.hexdigest())


class Writer:
    """One request that writes to an upload; a `with` block closes it, and what was written stays."""

    def __init__(self, upload: Upload) -> None:
        self._upload = upload
        self._descriptor = os.open(upload.path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)

    def write(self, data: bytes) -> None:
        """Take more bytes; Refusal when another request has taken over."""
        self._upload.take(self, self._descriptor, data)

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *exception: object) -> None:
        os.close(self._descriptor)


class Uploads:
    """All uploads below a folder; may be used by several threads at once."""

    def __init__(self, folder: str, blobs: DirectoryBlobs, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder, self._blobs, self._clock = folder, blobs, clock
        self._lock = threading.Lock()
        self._all: dict[str, Upload] = {upload.name: upload for upload in self._found()}
        self._swept = clock()

    def __len__(self) -> int:
        return len(self._all)

    def _found(self) -> Iterator[Upload]:
        """Give what an earlier server left."""
        with suppress(FileNotFoundError):
            for folder in sorted(os.listdir(self._folder)):
                path = f"{self._folder}/{folder}"
                with suppress(OSError):
                    os.rmdir(path)  # one that is empty; names cost a client nothing
                    continue
                with os.scandir(path) as files:
                    for file in files:
                        if re.fullmatch(_UUID, file.name) and file.is_file(follow_symlinks=False):
                            size = file.stat().st_size
                            yield Upload(folder.replace("+", "/"), file.name, file.path, size, self._clock)

    def start(self, repository: str) -> Upload:
        """Begin an upload; 429 when there are too many."""
        self._sweep()
        name = _uuid()
        folder = f"{self._folder}/{repository.replace('/', '+')}"
        upload = Upload(repository, name, f"{folder}/{name}", 0, self._clock)
        with self._lock:  # so that nobody removes the folder before the file is in it
            if len(self._all) < MAX_UPLOADS:
                os.makedirs(folder, exist_ok=True)
                os.close(os.open(upload.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
                self._all[name] = upload
                return upload
        raise Refusal(
            429, "TOOMANYREQUESTS", f"{MAX_UPLOADS} uploads are under way; end or cancel some", [("Retry-After", "60")]
        )

    def get(self, repository: str, name: str) -> Upload:
        """Find an upload of this repository; 404."""
        upload = self._all.get(name)
        if upload is None or upload.repository != repository:
            raise unknown(name)
        return upload

    def cancel(self, upload: Upload) -> None:
        """End an upload and forget its bytes."""
        with upload.lock:
            upload.ended = True
        with suppress(FileNotFoundError):
            os.unlink(upload.path)
        self._forget(upload)

    def _forget(self, upload: Upload) -> None:
        with self._lock:
            self._all.pop(upload.name, None)
            with suppress(OSError):
                os.rmdir(os.path.dirname(upload.path))  # unless there are others: names cost a client nothing

    def finish(self, upload: Upload, digest: Digest) -> int:
        """Make the bytes a blob, durably, and give their number; DigestMismatch ends the upload without one.

        So does a disk that fails: a second fsync may say yes to what the first one couldn't write.
        """
        with upload.lock:
            upload.check()
            try:
                file = AtomicFile.resume(upload.path)
            except (BlockingIOError, FileNotFoundError):
                raise unknown(upload.name) from None
            upload.ended = True
            try:
                with file:  # discarded unless it becomes the blob
                    actual = upload.digest(digest, file.fileno())
                    if actual == digest and not self._blobs.keep(digest, upload.size):
                        self._blobs.name(file, digest)
            finally:
                self._forget(upload)
        if actual != digest:
            raise DigestMismatch(expected=str(digest), actual=str(actual))
        return upload.size

    def _sweep(self) -> None:
        now = self._clock()
        crowded = len(self._all) >= MAX_UPLOADS
        if not crowded and now - self._swept < SWEEP_EVERY:
            return
        self._swept = now
        with self._lock:
            stale = [u for u in self._all.values() if now - u.touched > (CROWDED if crowded else IDLE)]
        for upload in stale:
            self.cancel(upload)


def unknown(name: str) -> Refusal:
    return Refusal(404, "BLOB_UPLOAD_UNKNOWN", f"no upload {name} is under way here")


def check_algorithm(algorithm: str) -> None:
    """Raise a Refusal for a digest algorithm that can't be computed."""
    try:
        Digest(algorithm, "").hasher()
    except UnsupportedDigest:
        raise Refusal(400, "DIGEST_INVALID", f"digests of {algorithm} can't be checked here") from None


def _uuid() -> str:
    """Make a random UUID (RFC 9562 version 4); the module `uuid` takes long to import."""
    raw = bytearray(os.urandom(16))
    raw[6], raw[8] = raw[6] & 0x0F | 0x40, raw[8] & 0x3F | 0x80
    text = raw.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def _write_all(descriptor: int, data: bytes, position: int) -> None:
    written = os.pwrite(descriptor, data, position)
    while written < len(data):  # a full disk or a signal; the next write says which
        written += os.pwrite(descriptor, memoryview(data)[written:], position + written)
