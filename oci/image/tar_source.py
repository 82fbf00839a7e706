"""A tar archive somebody made → the entries of a layer, in the archive's order.

What is normalised: names (clean paths, below `dest`), the spelling of headers (ours), names of users and groups (they
mean something on the archive's machine only: left out), times (whole seconds unless said otherwise), extended
attributes that speak to one host (ownership.py: left out), sparse files (plain). Owners are the archive's. Whiteouts
are checked and kept; what AUFS left behind is dropped, and names that a layer can't hold are UnsafeEntry.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from oci.changeset.exclude import excluder
from oci.changeset.mode import mode_rule
from oci.changeset.ownership import xattr_kept
from oci.changeset.paths import ancestors, clean, join
from oci.changeset.scan import Data, MTime
from oci.changeset.whiteout import classify
from oci.errors import LimitExceeded, SourceError
from oci.streams.chunks import read_chunks
from oci.streams.compression import decompress, sniff
from oci.tar import DIR, FILE, HARDLINK, SYMLINK, Entry, TarReader, expand

__all__ = ["open_tar", "tar_entries"]

MAX_HOLES = 64 << 30  # bytes of holes in sparse files of one archive that are written out: some minutes of work


@contextmanager
def open_tar(source: str | os.PathLike[str] | Iterable[bytes]) -> Iterator[Iterator[bytes]]:
    """The tar bytes of a file (or chunks), whatever it is compressed with; CorruptStream while they are read."""
    if isinstance(source, (str, os.PathLike)):
        try:
            file = open(source, "rb", buffering=0)
        except OSError as error:
            raise SourceError(os.fspath(source), f"can't be read: {error.strerror}") from error
        with file:
            yield _inflated(read_chunks(file.fileno()))
    else:
        yield _inflated(iter(source))


def _inflated(chunks: Iterator[bytes]) -> Iterator[bytes]:
    compression, chunks = sniff(chunks)
    return decompress(chunks, compression)


class _Rules:
    """What is made of each entry's attributes."""

    def __init__(
        self,
        dest: bytes,
        owner: tuple[int, int] | None,
        mode: int | str | None,
        mtime: MTime,
        clamp_mtime: int | None,
    ) -> None:
        self._dest, self._owner = clean(dest), owner
        self._mode = None if mode is None else mode_rule(mode)
        self._mtime, self._clamp = mtime, clamp_mtime

    def inside(self, path: bytes) -> bytes:
        """A clean path of the archive as one of the layer."""
        return join(self._dest, path) if self._dest and path else path or self._dest

    def apply(self, entry: Entry, path: bytes) -> Entry:
        made = Entry(
            self.inside(path),
            entry.kind,
            mode=entry.mode,
            uid=entry.uid if self._owner is None else self._owner[0],
            gid=entry.gid if self._owner is None else self._owner[1],
            size=entry.size if entry.kind == FILE else 0,
            mtime_ns=self._time(entry.mtime_ns),
            devmajor=entry.devmajor,
            devminor=entry.devminor,
            linkname=self.inside(clean(entry.linkname)) if entry.kind == HARDLINK else entry.linkname,
        )
        if entry.kind == SYMLINK:
            made.mode = 0o777
        elif self._mode is not None:
            made.mode = self._mode(entry.mode, entry.kind == DIR)
        if entry.xattrs:
            made.xattrs = {name: value for name, value in entry.xattrs.items() if xattr_kept(name)} or None
        return made

    def _time(self, mtime_ns: int) -> int:
        if isinstance(self._mtime, int):
            mtime_ns = self._mtime
        elif self._mtime == "whole":
            mtime_ns -= mtime_ns % 1_000_000_000
        return mtime_ns if self._clamp is None else min(mtime_ns, self._clamp)


def tar_entries(
    chunks: Iterable[bytes],
    *,
    dest: bytes = b"",
    owner: tuple[int, int] | None = None,
    mode: int | str | None = None,
    mtime: MTime = "whole",
    clamp_mtime: int | None = None,
    exclude: Iterable[str | bytes] = (),
) -> Iterator[tuple[Entry, Data]]:
    """The entries of an archive with their data, which must be read before the next is asked for."""
    rules = _Rules(dest, owner, mode, mtime, clamp_mtime)
    excluded = excluder(exclude)
    reader = TarReader(chunks)
    holes = 0
    for entry in reader:
        path = clean(entry.name)
        mark = classify(path)
        if mark is not None and mark[0] == "skip":
            continue
        if excluded is not None and any(map(excluded, (path, *ancestors(path)))):
            continue
        if mark is not None:
            yield rules.apply(Entry(path, FILE, mode=0, mtime_ns=entry.mtime_ns), path), ()
        elif entry.kind == FILE and entry.size:
            holes += entry.size - entry.stored_size
            if holes > MAX_HOLES:
                raise LimitExceeded("bytes of holes in the sparse files of an archive", MAX_HOLES)
            yield rules.apply(entry, path), expand(entry.sparse, entry.size, reader.data())
        else:
            yield rules.apply(entry, path), ()
