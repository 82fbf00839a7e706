"""Entries with their data → the tar bytes of one layer, handed on in large pieces.

An entry's data must be exactly as long as its size says; an archive that would be corrupt is never finished.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from oci.errors import UnsafeEntry
from oci.spec.record import Record
from oci.tar.entry import Entry
from oci.tar.writer import END, encode

__all__ = ["Totals", "write_layer"]

BATCH = 128 << 10  # bytes that are joined: half of a second-level cache, so that they are still there when copied again
LARGE = 32 << 10  # pieces from here on aren't joined
_PADDING = [bytes(-size % 512) for size in range(512)]


class Totals(Record):
    """What went into a layer: how many entries, and the latest modification time among them (None without entries)."""

    entries: int
    newest_ns: int | None


def write_layer(
    entries: Iterable[tuple[Entry, Iterable[bytes | memoryview]]], write: Callable[[bytes | memoryview], object]
) -> Totals:
    """Encode all entries and the end of the archive into `write`; the caller finishes what is behind it.

    `write` must be done with what it is given when it returns: it may be a view of a buffer that is filled again.

    Small pieces are joined (a call for each would cost more than copying them); large ones go through as they come.
    """
    pending: list[bytes] = []
    length = count = 0
    newest: int | None = None
    for entry, data in entries:
        count += 1
        if newest is None or entry.mtime_ns > newest:
            newest = entry.mtime_ns
        header = encode(entry)
        pending.append(header)
        length += len(header)
        size = 0
        for piece in data:
            size += len(piece)
            if len(piece) >= LARGE:
                write(b"".join(pending))
                write(piece)
                pending.clear()
                length = 0
            else:
                # A view may be of a buffer that is filled anew for the next piece.
                pending.append(piece if type(piece) is bytes else bytes(piece))
                length += len(piece)
        if size != entry.size:
            raise UnsafeEntry(entry.name, f"has {size} bytes of data where its header says {entry.size}")
        if size & 511:
            padding = _PADDING[size & 511]
            pending.append(padding)
            length += len(padding)
        if length >= BATCH:
            write(b"".join(pending))
            pending.clear()
            length = 0
    pending.append(END)
    write(b"".join(pending))
    return Totals(entries=count, newest_ns=newest)
