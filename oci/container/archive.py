"""Entries of a scan, for a tar archive that everybody reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from oci.changeset.scan import Data
from oci.tar import Entry, expand

__all__ = ["plain"]


def plain(entries: Iterable[tuple[Entry, Data]]) -> Iterator[tuple[Entry, Data]]:
    """Files with their holes filled, for a tar archive that everybody reads."""
    for entry, data in entries:
        if entry.sparse is not None:
            data = expand(entry.sparse, entry.size, (memoryview(piece) for piece in data))
            entry.sparse = None
        yield entry, data
