"""The tar format, and nothing of images: reading, writing and indexing archives."""

from __future__ import annotations

from oci.tar.entry import BLOCK, CHAR, DIR, FIFO, FILE, HARDLINK, KINDS, SYMLINK, Entry
from oci.tar.reader import TarReader
from oci.tar.sparse import expand
from oci.tar.writer import END, encode, padding

__all__ = [
    "BLOCK",
    "CHAR",
    "DIR",
    "END",
    "FIFO",
    "FILE",
    "HARDLINK",
    "KINDS",
    "SYMLINK",
    "Entry",
    "Member",
    "TarIndex",
    "TarReader",
    "encode",
    "expand",
    "padding",
]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.tar.index import Member, TarIndex
else:

    def __getattr__(name):
        """The index of an archive, which only those need who open one in place."""
        if name not in ("Member", "TarIndex"):
            raise AttributeError(name)
        from oci.tar import index

        return getattr(index, name)
