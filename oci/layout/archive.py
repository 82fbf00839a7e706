"""An image layout in one tar file, read in place (image-spec v1.1.1 image-layout.md; `oci-archive:FILE`).

The same reading interface as `Layout`. Writing one is `archive_writer`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from oci.errors import BlobNotFound, InvalidDigest, LayoutError, read_from
from oci.layout.blobs import VerifyingReader
from oci.layout.documents import MAX_DOCUMENT
from oci.layout.reader import INDEX_FILE, LAYOUT_FILE, LayoutReader, blob_name, check_marker
from oci.layout.tar_files import TarFiles
from oci.spec.descriptor import Descriptor
from oci.spec.digest import Digest
from oci.spec.document import Document, parse_index
from oci.spec.index import Index
from oci.spec.layout_header import MAX_HEADER

__all__ = ["Archive", "ArchiveBlobs"]


class ArchiveBlobs(VerifyingReader):
    """The BlobReader over the members `blobs/ALGORITHM/ENCODED` of an archive."""

    def __init__(self, files: TarFiles) -> None:
        self._files = files

    def __repr__(self) -> str:
        return f"ArchiveBlobs({self._files.path!r})"

    def __str__(self) -> str:
        return self._files.path

    @contextmanager
    def open_raw(self, descriptor: Descriptor) -> Iterator[Iterator[bytes]]:
        if not self.has(descriptor.digest):
            raise BlobNotFound(str(descriptor.digest), self._files.path)
        with self._files.open(blob_name(descriptor.digest)) as chunks:
            yield chunks

    def size(self, digest: Digest) -> int | None:
        return self._files.size(blob_name(digest))

    def digests(self) -> Iterator[Digest]:
        """Give every blob's digest, sorted; members whose names are no digests are left out."""
        for name in sorted(self._files):
            match name.split("/"):
                case ["blobs", algorithm, encoded]:
                    try:
                        digest = Digest.parse(f"{algorithm}:{encoded}")
                    except InvalidDigest:
                        continue
                    if self.has(digest):
                        yield digest


class Archive(LayoutReader):
    """An oci-archive opened for reading; closed by `close` or a `with` block."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path)
        self.files = TarFiles(path)
        self.blobs = ArchiveBlobs(self.files)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """Open an archive; LayoutError when the file is none, or a layout of an unknown version."""
        archive = cls(path)
        if LAYOUT_FILE not in archive.files:
            hint = "; it is a docker-archive" if "manifest.json" in archive.files else ""
            raise LayoutError(archive._where, f"is not an OCI archive: it has no file '{LAYOUT_FILE}'{hint}")
        check_marker(archive.files.read(LAYOUT_FILE, limit=MAX_HEADER), archive._where)
        return archive

    def index(self) -> Document[Index]:
        """Read index.json."""
        if INDEX_FILE not in self.files:
            raise LayoutError(self._where, f"is not an OCI archive: it has no file '{INDEX_FILE}'")
        raw = self.files.read(INDEX_FILE, limit=MAX_DOCUMENT)
        with read_from(f"{self._where}: {INDEX_FILE}"):
            return parse_index(raw)

    def close(self) -> None:
        """Close the file."""
        self.files.close()
