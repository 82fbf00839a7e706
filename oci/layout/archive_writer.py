"""An image layout written as one tar file, in one pass: the same blobs in the same order give the same bytes.

The order is `oci-layout`, the folders, blobs as they come (a copy sends them in the order in which the documents name
them, children before parents), `index.json`, and last what the caller adds (`manifest.json` of docker-archive). Members
are plain ustar: mode 0644, owner 0, time 0. The file appears under its name only when it is whole and on disk.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Self

from oci.errors import LimitExceeded
from oci.layout.blobs import BlobWriter, Counted
from oci.layout.reader import INDEX_FILE, LAYOUT_FILE, blob_name
from oci.spec.descriptor import Descriptor
from oci.spec.digest import Digest
from oci.spec.layout_header import LayoutHeader
from oci.streams.atomic import AtomicFile
from oci.tar import DIR, END, FILE, Entry, encode, padding

__all__ = ["ArchiveWriter"]

# A blob whose size is known only at its end has one block reserved for its header; more needs a pax header.
MAX_STREAMED = (8 << 30) - 1
_BLOCK = 512


def _header(name: str, size: int) -> bytes:
    return encode(Entry(name.encode(), FILE, size=size))


class ArchiveWriter:
    """A layout archive being written; discarded on leaving the `with` block unless finished. For one thread."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._file = AtomicFile(path)
        self._position = 0
        self._sizes: dict[Digest, int] = {}
        self._folders: set[str] = set()
        try:
            self._add(LAYOUT_FILE, LayoutHeader().encode())
            self._folder("blobs")
        except BaseException:  # a full disk: nobody has the writer yet, who could close it
            self._file.discard()
            raise

    def _write(self, data: bytes | bytearray | memoryview) -> None:
        self._file.write(data)
        self._position += len(data)

    def _add(self, name: str, data: bytes) -> None:
        self._write(b"".join((_header(name, len(data)), data, padding(len(data)))))

    def _folder(self, name: str) -> None:
        if name not in self._folders:
            self._folders.add(name)
            self._write(encode(Entry(name.encode(), DIR)))

    def has(self, digest: Digest, size: int) -> bool:
        """Say whether the blob was written already."""
        return self._sizes.get(digest) == size

    def put(self, chunks: Iterable[bytes], descriptor: Descriptor) -> None:
        """Write a blob, verified meanwhile, unless it is there; after an error the archive can't be finished well."""
        if self.has(descriptor.digest, descriptor.size):
            return
        counted = Counted(descriptor)
        self._folder(f"blobs/{descriptor.digest.algorithm}")
        self._write(_header(blob_name(descriptor.digest), descriptor.size))
        for chunk in chunks:
            counted.update(chunk)
            self._write(chunk)
        self._sizes[counted.finish(None)] = descriptor.size
        self._write(padding(descriptor.size))

    @contextmanager
    def writer(self) -> Iterator[BlobWriter]:
        """Write a blob whose digest and size are known only at its end."""
        with _StreamedBlob(self) as writer:
            yield writer

    def finish(self, index: bytes, extra: Mapping[str, bytes] | None = None) -> None:
        """Write index.json and what else belongs beside it, and make the file appear under its name."""
        self._add(INDEX_FILE, index)
        for name, data in (extra or {}).items():
            self._add(name, data)
        self._write(END)
        self._file.commit()

    def close(self) -> None:
        """Discard the file, unless it was finished."""
        self._file.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class _StreamedBlob:
    """The BlobWriter of an archive: one block is left free for the header, which is written at the end."""

    def __init__(self, archive: ArchiveWriter) -> None:
        archive._folder("blobs/sha256")
        self._archive, self._start, self._counted = archive, archive._position, Counted(None)
        self._committed = False
        archive._write(bytes(_BLOCK))

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._counted.update(data)
        if self._counted.size > MAX_STREAMED:
            raise LimitExceeded("size in bytes of a layer that is compressed into an archive", MAX_STREAMED)
        self._archive._write(data)

    def commit(self, digest: Digest | None = None) -> tuple[Digest, int]:
        actual, size = self._counted.finish(digest), self._counted.size
        if not self._archive.has(actual, size):
            self._archive._write(padding(size))
            os.pwrite(self._archive._file.fileno(), _header(blob_name(actual), size), self._start)
            self._archive._sizes[actual] = size
            self._committed = True
        return actual, size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if not self._committed:
            os.ftruncate(self._archive._file.fileno(), self._start)
            os.lseek(self._archive._file.fileno(), self._start, os.SEEK_SET)
            self._archive._position = self._start
