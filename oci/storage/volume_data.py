"""What is in a volume, on its way in and out: one tar each way, all of it or nothing.

Kept: names of any bytes, types, modes, owners, times to the nanosecond, hard links, extended attributes and ACLs (all
but those that speak to one host, oci/changeset/ownership.py), holes of sparse files, devices where they may be made.
Sockets can't be kept. The same data gives the same tar: entries in byte order, headers spelt in one way.

A tar is written by the code that applies layers, into a new folder beside the data (`.tmp-…`) that gets its name by
rename(2) when everything in it is on the disk; so no crash leaves half of it, and no name or link in it leads out.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from oci.changeset.apply import apply_archive
from oci.changeset.ownership import xattr_kept
from oci.changeset.removal import DIRECTORY
from oci.changeset.scan import Data, Scan
from oci.errors import TarError, show
from oci.linux.sync import sync_file_system
from oci.storage.folders import new_folder
from oci.tar import END, Entry, encode, padding
from oci.tar.writer import encode_sparse

__all__ = ["archive", "filled", "image_content"]

BATCH = 256 << 10  # bytes that are handed on as one piece
_BLOCK = 512

Warn = Callable[[str], object]


def archive(folder: str, *, live: bool, warn: Warn | None = None) -> Iterator[bytes]:
    """The tar of a volume's data; `live` while containers may be writing to it (see scan.py)."""

    def tell(path: bytes, sentence: str) -> None:
        if warn is not None:
            warn(f"{show(path)} {sentence}")

    yield from _tar(Scan(folder, owner="keep", mtime="exact", warn=tell, data=True, live=live))


def image_content(fd: int) -> Iterator[bytes]:
    """The tar of what an image has in an open directory; what the driver noted for overlayfs in it is none of it."""
    yield from _tar(_without_marks(Scan("image", at=(fd, b"."), owner="keep", mtime="exact", data=True)))


def _without_marks(entries: Iterable[tuple[Entry, Data]]) -> Iterator[tuple[Entry, Data]]:
    for entry, data in entries:
        if entry.xattrs:
            entry.xattrs = {name: value for name, value in entry.xattrs.items() if xattr_kept(name)} or None
        yield entry, data


def _tar(entries: Iterable[tuple[Entry, Data]]) -> Iterator[bytes]:
    pending: list[bytes] = []
    length = 0
    for entry, data in entries:
        header = encode(entry) if entry.sparse is None else encode_sparse(entry)
        pending.append(header)
        length += len(header)
        for piece in data:
            pending.append(bytes(piece))  # its buffer is filled anew for the next one
            length += len(piece)
            if length >= BATCH:
                yield b"".join(pending)
                pending.clear()
                length = 0
        pending.append(padding(entry.stored_size))
    pending.append(END)
    yield b"".join(pending)


@contextmanager
def filled(
    parent: str, chunks: Iterable[bytes], *, rootless: bool, warn: Callable[[str], None] | None
) -> Iterator[str]:
    """A new folder in `parent` with what a tar holds, on the disk; removed unless it has been renamed by the end."""
    with new_folder(parent) as path:
        fd = os.open(path, DIRECTORY)
        try:
            apply_archive(_with_its_end(chunks), fd, rootless=rootless, warn=warn)
            sync_file_system(fd)
        finally:
            os.close(fd)
        yield path


def _with_its_end(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """A tar as it comes; TarError if it stops short of the zero block that ends one.

    Layers without it are read (oci/tar/reader.py), and have a digest to tell that they are whole. This may be the end
    of a pipe whose other end failed, and what is imported takes the place of data.
    """
    tail, length = b"", 0
    for chunk in chunks:
        length += len(chunk)
        tail = (tail + chunk[-_BLOCK:])[-_BLOCK:]
        yield chunk
    if tail != bytes(_BLOCK):
        raise TarError(length, "it stops without the mark that ends an archive" if length else "there is nothing")
