"""One member of a tar archive, as a plain record.

`Entry` is not a dataclass, against the project's habit: a layer has tens of thousands of members, and a slotted class
whose attributes the reader sets one by one is made in a third of the time a keyword-only `__init__` takes (measured).
"""

from __future__ import annotations

FILE = "file"
DIR = "dir"
SYMLINK = "symlink"
HARDLINK = "hardlink"
CHAR = "char"
BLOCK = "block"
FIFO = "fifo"

KINDS = frozenset((FILE, DIR, SYMLINK, HARDLINK, CHAR, BLOCK, FIFO))


class Entry:
    """One member; names are bytes as they stand in the archive, sizes are bytes, times are nanoseconds since 1970.

    `size` is the length of the file once holes are filled in; `stored_size` is how many bytes of it the archive holds
    (they differ for sparse files only). Both are 0 for anything but files and hard links that carry data.
    `sparse` lists the (offset, length) of each piece of data, in order; None means one piece, the whole file.
    `offset` is where the member's own header block begins, `data_offset` where its stored data does.
    """

    __slots__ = (
        "data_offset",
        "devmajor",
        "devminor",
        "gid",
        "gname",
        "kind",
        "linkname",
        "mode",
        "mtime_ns",
        "name",
        "offset",
        "size",
        "sparse",
        "stored_size",
        "uid",
        "uname",
        "xattrs",
    )

    name: bytes
    kind: str
    mode: int
    uid: int
    gid: int
    size: int
    mtime_ns: int
    linkname: bytes
    devmajor: int
    devminor: int
    uname: bytes
    gname: bytes
    xattrs: dict[bytes, bytes] | None
    sparse: tuple[tuple[int, int], ...] | None
    stored_size: int
    offset: int
    data_offset: int

    def __init__(
        self,
        name: bytes,
        kind: str = FILE,
        *,
        mode: int | None = None,
        uid: int = 0,
        gid: int = 0,
        size: int = 0,
        mtime_ns: int = 0,
        linkname: bytes = b"",
        devmajor: int = 0,
        devminor: int = 0,
        uname: bytes = b"",
        gname: bytes = b"",
        xattrs: dict[bytes, bytes] | None = None,
        sparse: tuple[tuple[int, int], ...] | None = None,
        stored_size: int | None = None,
        offset: int = 0,
        data_offset: int = 0,
    ) -> None:
        self.name = name
        self.kind = kind
        self.mode = mode if mode is not None else 0o755 if kind == DIR else 0o777 if kind == SYMLINK else 0o644
        self.uid = uid
        self.gid = gid
        self.size = size
        self.mtime_ns = mtime_ns
        self.linkname = linkname
        self.devmajor = devmajor
        self.devminor = devminor
        self.uname = uname
        self.gname = gname
        self.xattrs = xattrs
        self.sparse = sparse
        self.stored_size = size if stored_size is None else stored_size
        self.offset = offset
        self.data_offset = data_offset

    def replace(self, **changes: object) -> Entry:
        """A copy with some attributes changed; an unknown attribute is an AttributeError."""
        copy = Entry.__new__(Entry)
        for slot in Entry.__slots__:
            setattr(copy, slot, getattr(self, slot))
        for slot, value in changes.items():
            setattr(copy, slot, value)
        return copy

    def __repr__(self) -> str:
        facts = ", ".join(f"{slot}={getattr(self, slot)!r}" for slot in ("name", "kind", "mode", "size", "mtime_ns"))
        return f"Entry({facts})"
