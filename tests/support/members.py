"""Reading an archive in one line: its members with their contents."""

from __future__ import annotations

from oci.tar import Entry, TarReader


def read(archive: bytes, chunk: int = 1 << 20) -> list[tuple[Entry, bytes]]:
    """All members with their stored content, from chunks of one size."""
    reader = TarReader(archive[at : at + chunk] for at in range(0, len(archive), chunk))
    return [(entry, b"".join(reader.data())) for entry in reader]


def one(archive: bytes) -> Entry:
    """The only member of an archive given without its end."""
    ((entry, _),) = read(archive + bytes(1024))
    return entry
