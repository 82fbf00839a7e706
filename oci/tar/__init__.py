"""The tar format, and nothing of images: reading, writing and indexing archives."""

from oci.tar.entry import BLOCK, CHAR, DIR, FIFO, FILE, HARDLINK, KINDS, SYMLINK, Entry
from oci.tar.index import Member, TarIndex
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
