"""An image layout on disk (image-spec v1.1.1 image-layout.md): `oci-layout`, `index.json` and `blobs/`.

`index.json` changes last, by rename, under an exclusive flock on the layout's directory, after every blob that was
written is on disk. A crash at any moment leaves the old state or the new one, and at worst a temporary file and blobs
that nothing names, which `collect.gc` removes.
"""

from __future__ import annotations

import _thread
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from oci.errors import DestinationError, LayoutError, LimitExceeded, read_from
from oci.layout import refs
from oci.layout.directory import DirectoryBlobs, flocked
from oci.layout.documents import MAX_DOCUMENT
from oci.layout.reader import INDEX_FILE, LAYOUT_FILE, LayoutReader, check_marker, empty_index
from oci.spec.descriptor import Descriptor
from oci.spec.document import Document, parse_index
from oci.spec.index import Index
from oci.spec.layout_header import MAX_HEADER, LayoutHeader
from oci.streams.atomic import TEMPORARY, fsync_dir, write_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

__all__ = ["IndexEdit", "Layout"]


class IndexEdit:
    """An index.json while its lock is held: set `index` to what it shall become."""

    def __init__(self, index: Index) -> None:
        self.index = index


class Layout(LayoutReader):
    """An image layout directory. Cheap to open; nothing is cached but the path, so every call sees the disk."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path)
        self.blobs: DirectoryBlobs = DirectoryBlobs(path)
        self._editor: int | None = None

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """Open an existing layout; LayoutError when PATH is none, or of an unknown version."""
        root = os.fspath(path)
        try:
            raw = _read_file(f"{root}/{LAYOUT_FILE}", MAX_HEADER)
        except FileNotFoundError:
            if not os.path.lexists(root):
                raise LayoutError(root, "no such directory") from None
            raise LayoutError(root, f"is not an image layout: it has no file '{LAYOUT_FILE}'") from None
        except NotADirectoryError:
            raise LayoutError(root, "is not a directory; an archive is named oci-archive:FILE") from None
        check_marker(raw, root)
        return cls(path)

    @classmethod
    def create(cls, path: str | os.PathLike[str], *, exist_ok: bool = False) -> Self:
        """Make an empty layout in a new or empty directory; with exist_ok, open one that is there.

        A directory where an earlier create was interrupted counts as empty. DestinationError for any other content.
        """
        root = os.fspath(path)
        try:
            os.makedirs(root, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise DestinationError(root, "exists and is not a directory") from None
        with flocked(root):
            if os.path.lexists(f"{root}/{LAYOUT_FILE}"):
                if not exist_ok:
                    raise DestinationError(root, "is an image layout already")
                return cls.open(path)
            foreign = [n for n in os.listdir(root) if n not in ("blobs", INDEX_FILE) and not n.startswith(TEMPORARY)]
            if foreign or (os.path.exists(f"{root}/{INDEX_FILE}") and cls(path).index().model.manifests):
                raise DestinationError(root, "is neither empty nor an image layout")
            os.makedirs(f"{root}/blobs/sha256", exist_ok=True)
            fsync_dir(f"{root}/blobs")
            _replace(root, INDEX_FILE, empty_index().raw)
            _replace(root, LAYOUT_FILE, LayoutHeader().encode())  # last: it is the marker
        fsync_dir(os.path.dirname(os.path.abspath(root)))
        return cls(path)

    def index(self) -> Document[Index]:
        """Read index.json as it is now."""
        try:
            raw = _read_file(f"{self._where}/{INDEX_FILE}", MAX_DOCUMENT)
        except FileNotFoundError:
            raise LayoutError(self._where, f"is not an image layout: it has no file '{INDEX_FILE}'") from None
        with read_from(f"{self._where}/{INDEX_FILE}"):
            return parse_index(raw)

    @contextmanager
    def edit_index(self) -> Iterator[IndexEdit]:
        """Change index.json: `with layout.edit_index() as edit: edit.index = …`. Written on leaving, unless raised.

        Other writers, threads and processes, wait meanwhile. Blobs written through `blobs` are durable before the new
        index.json is; afterwards they count as named, and `gc` may run again.
        """
        if self._editor == _thread.get_ident():
            raise RuntimeError("edit_index inside edit_index would wait for itself")
        with flocked(self._where):
            self._editor = _thread.get_ident()
            try:
                edit = IndexEdit(self.index().model)
                before = edit.index
                yield edit
            finally:
                self._editor = None
            if edit.index != before:
                raw = Document.of(edit.index).raw
                if len(raw) > MAX_DOCUMENT:
                    raise LimitExceeded(f"size in bytes of {self._where}/{INDEX_FILE}", MAX_DOCUMENT, len(raw))
                _replace(self._where, INDEX_FILE, raw)
        self.blobs.release()

    def tag(self, name: str, descriptor: Descriptor) -> None:
        """Make `name` stand for `descriptor` (moving it when it is there) and leave all other tags alone."""
        with self.edit_index() as edit:
            edit.index = refs.with_tag(edit.index, name, descriptor)

    def add(self, descriptor: Descriptor) -> None:
        """List an image without a tag, unless its digest is listed already."""
        with self.edit_index() as edit:
            edit.index = refs.with_entry(edit.index, descriptor)

    def untag(self, name: str) -> None:
        """Remove a tag; the blobs stay until `gc`. RefNotFound when there is none."""
        with self.edit_index() as edit:
            edit.index = refs.without_tag(edit.index, name, self._where)

    def close(self) -> None:
        """End writing (see DirectoryBlobs); the layout may be used on."""
        self.blobs.close()


def _read_file(path: str, limit: int) -> bytes:
    """Read a small regular file; a FIFO or device under its name neither hangs nor feeds us for ever."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise LayoutError(path, "is not a regular file")
        with open(fd, "rb", closefd=False) as file:
            raw = file.read(limit + 1)
    finally:
        os.close(fd)
    if len(raw) > limit:
        raise LimitExceeded(f"size in bytes of {path}", limit)
    return raw


def _replace(root: str, name: str, data: bytes) -> None:
    try:
        write_file(f"{root}/{name}", data)
    except IsADirectoryError:
        raise LayoutError(root, f"'{name}' is a directory") from None
