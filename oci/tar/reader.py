"""Reading a tar archive from a stream of chunks, in one pass.

POSIX.1-2017 pax (ustar and pax interchange formats), GNU tar's formats and V7. Where readers differ, an archive must
not mean one thing here and another to containerd or docker, which use Go's archive/tar; so the rules are Go's, and what
others would read differently is refused rather than guessed:

- Directories, symlinks, devices and FIFOs have no data, whatever their size field says (Go, libarchive).
- A hard link with a size: GNU tar and Go say no data follows, pax says data does. It has none if the next block is one
  they could go on with (a valid header, a zero block, the end); otherwise, where they fail, the data is its content.
  With a pax header of its own, where bsdtar and GNU tar may see data in that next header, it is refused.
- A file whose name ends with "/" is a directory (V7); with data it is refused, since Go and GNU tar skip differently.
- The pax `size` says how much is stored and skipped, never the header's beside it (CVE-2025-62518).
- Global headers count for what describes a file; a global `path`, `linkpath`, `size` or sparse map is refused.
- Two headers that both name a member (pax and GNU) must agree; a second extended header for one member is refused.
- GNU volume labels ("V") are skipped, dump directories ("D") are directories whose listing is skipped; pieces of
  multi-volume archives ("M"), old long-name scripts ("N") and unknown types are refused, as containerd and umoci do.
- An archive may end without end blocks, and without the padding of its last member's content (Go; `umoci insert` of
  umoci 0.4 writes layers like that). GNU tar and bsdtar complain, so `unpadded` tells it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from zlib import adler32

from oci.errors import TarError, show
from oci.tar import sparse
from oci.tar.entry import BLOCK, CHAR, DIR, FIFO, FILE, HARDLINK, SYMLINK, Entry
from oci.tar.fields import (
    BLOCK_SIZE,
    HEADER,
    MAGIC_GNU,
    MAGIC_USTAR,
    MAX_DEVICE,
    MAX_ID,
    MAX_SIZE,
    MAX_TIME,
    MIN_TIME,
    OWNERS,
    TAIL,
    ZERO_BLOCK,
    byte_sum,
    checksum_holds,
    expected_sum,
    number,
    text,
)
from oci.tar.pax import SPARSE, SPARSE_PIECES, Records, apply, is_known, parse_records, string
from oci.tar.stream import ChunkStream

MIB = 1 << 20
MAX_EXTENSION = MIB  # a pax header or GNU long name; Go's archive/tar has the same limit
MAX_GLOBALS = 64 << 10  # bytes in force at a time, in at most 64 records: each member pays for them
MAX_EXTENTS = 1 << 18  # pieces of a sparse file: some 30 MB of memory
MAX_HEADERS = 64  # extended headers, global ones and labels in a row; pax needs two, GNU tar three
_CACHED = 4096  # values kept in each cache of parsed fields

_FILE_FLAGS = {b"0": FILE, b"\0": FILE, b"7": FILE, b"S": FILE}
_KINDS = {
    **_FILE_FLAGS,
    b"1": HARDLINK,
    b"2": SYMLINK,
    b"3": CHAR,
    b"4": BLOCK,
    b"5": DIR,
    b"6": FIFO,
    b"D": DIR,
}
_EXTENSIONS = frozenset((b"x", b"X", b"g", b"L", b"K", b"V"))
_REFUSED = {
    b"M": "a piece of a multi-volume archive",
    b"N": "a script of old GNU long names",
}
_PER_MEMBER_ONLY = (b"path", b"linkpath", b"size")


class _Extensions:
    """What extended headers have said about the member that follows them."""

    __slots__ = ("linkname", "longname", "offset", "records")

    def __init__(self, offset: int) -> None:
        self.offset = offset
        self.records: Records | None = None
        self.longname: bytes | None = None
        self.linkname: bytes | None = None


class TarReader(ChunkStream):
    """The members of an archive, in order: iterate over it once, and call `data()` for the content of the latest.

    Content that isn't asked for is skipped. After the last member the stream is read to its very end, so that whoever
    verifies it sees all of it. Anything wrong is a TarError with the byte offset; errors of `chunks` pass through.
    """

    def __init__(
        self,
        chunks: Iterable[bytes],
        *,
        max_extension: int = MAX_EXTENSION,
        max_extents: int = MAX_EXTENTS,
        max_headers: int = MAX_HEADERS,
    ) -> None:
        super().__init__(chunks)
        self._max_extension = max_extension
        self._max_extents = max_extents
        self._max_headers = max_headers
        self._next = 0  # where the next header begins
        self._globals: Records = {}
        self._members = self._read_members()

    def __iter__(self) -> Iterator[Entry]:
        return self._members

    def __next__(self) -> Entry:
        return next(self._members)

    def _read_members(self) -> Iterator[Entry]:
        """The hot loop: about three microseconds for an ordinary member, measured; hence its length and its caches."""
        unpack = HEADER.unpack
        new = Entry.__new__
        sums: dict[bytes, int] = {}
        times: dict[bytes, int] = {}
        owners: dict[bytes, tuple[int, int, int]] = {}
        tails: dict[bytes, tuple[bytes, bytes, bytes]] = {}
        extensions: _Extensions | None = None
        headers = 0
        while True:
            offset = self._next
            buffer = self._buffer
            at = offset - self._base
            if at + BLOCK_SIZE > len(buffer):
                if not self._seek(offset):
                    self._check_end(extensions)
                    return
                self._entry = None
                buffer, at = self._take(BLOCK_SIZE), 0
            block = buffer[at : at + BLOCK_SIZE]
            name, ids, size_field, mtime_field, checksum, flag, link, tail_field, prefix = unpack(block)

            expected = sums.get(checksum)
            if expected is None:
                if len(sums) >= _CACHED:
                    sums.clear()
                expected = sums[checksum] = expected_sum(checksum)
            # byte_sum(), without the price of a call
            if ((adler32(block) & 0xFFFF) - 1 if block.isascii() else byte_sum(block)) != expected:
                if block == ZERO_BLOCK:
                    self._check_end(extensions)
                    self._at = offset + BLOCK_SIZE
                    self._finish_stream()
                    return
                if not checksum_holds(block):
                    raise TarError(offset, "not a tar header: its checksum is wrong")

            digits = size_field[:11]
            if digits.isdigit() and size_field[11] == 0:  # number(), likewise
                try:
                    size = int(digits, 8)
                except ValueError:
                    raise TarError(offset, "the size field is not a number") from None
            else:
                size = number(size_field, "size", offset)

            kind = _KINDS.get(flag)
            if kind is None:
                if flag not in _EXTENSIONS:
                    raise TarError(offset, _REFUSED.get(flag, f"a member of the unknown type {show(flag)!r}"))
                headers += 1
                if headers > self._max_headers:
                    raise TarError(offset, f"more than {self._max_headers} extended headers in a row")
                extensions = self._read_extension(flag, size, offset, extensions)
                continue

            mtime_ns = times.get(mtime_field)
            if mtime_ns is None:
                if len(times) >= _CACHED:
                    times.clear()
                mtime_ns = number(mtime_field, "mtime", offset, least=MIN_TIME, most=MAX_TIME) * 1_000_000_000
                times[mtime_field] = mtime_ns
            owner = owners.get(ids)
            if owner is None:
                if len(owners) >= _CACHED:
                    owners.clear()
                owner = owners[ids] = _owner(ids, offset)
            tail = tails.get(tail_field)
            if tail is None:
                if len(tails) >= _CACHED:
                    tails.clear()
                tail = tails[tail_field] = _tail(tail_field)

            name = name.partition(b"\0")[0]
            if prefix[0]:
                name = _with_prefix(name, prefix, tail[0])

            entry = new(Entry)
            entry.kind = kind
            entry.mode, entry.uid, entry.gid = owner
            entry.mtime_ns = mtime_ns
            entry.linkname = linkname = link.partition(b"\0")[0] if link[0] else b""
            _, entry.uname, entry.gname = tail
            entry.devmajor = entry.devminor = 0
            entry.xattrs = entry.sparse = None
            entry.offset = offset
            entry.data_offset = data_offset = offset + BLOCK_SIZE
            # b"" in b"/" is true: an empty name goes the long way, which refuses it.
            ordinary = extensions is None and not self._globals
            if kind is FILE:
                ordinary = ordinary and name[-1:] not in b"/" and flag != b"S"
            elif kind is DIR:
                stripped = name.rstrip(b"/")
                ordinary = ordinary and stripped != b"" and flag == b"5"
                if ordinary:
                    name, size = stripped, 0
            else:
                ordinary = ordinary and kind is SYMLINK and linkname != b"" and name[-1:] not in b"/"
                if ordinary:
                    size = 0
            entry.name = name
            entry.size = entry.stored_size = size
            self._entry = entry
            if ordinary:
                self._at = data_offset
                self._end = end = data_offset + size
            else:
                end = self._describe(entry, flag, tail_field, prefix, extensions)
                extensions = None
            headers = 0
            self._next = (end + 511) & -512
            yield entry

    def _check_end(self, extensions: _Extensions | None) -> None:
        self._entry = None
        if extensions is not None:
            raise TarError(extensions.offset, "an extended header with no member after it")

    def _read_extension(
        self, flag: bytes, size: int, offset: int, extensions: _Extensions | None
    ) -> _Extensions | None:
        """Take in the data of a block that is no member itself."""
        self._entry = None
        if size > self._max_extension:
            raise TarError(offset, f"an extended header of {size} bytes; the limit is {self._max_extension}")
        self._at = self._end = offset + BLOCK_SIZE
        data = self._take(size)
        self._end = self._at
        self._next = (self._at + 511) & -512
        if flag == b"V":
            return extensions
        if flag == b"g":
            if extensions is not None:
                raise TarError(offset, "a global header between an extended header and its member")
            self._add_globals(parse_records(data, offset + BLOCK_SIZE), offset)
            return None
        if extensions is None:
            extensions = _Extensions(offset)
        if flag == b"L" or flag == b"K":
            name = text(data)
            if not name:
                raise TarError(offset, "a GNU long name that is empty")
            attribute = "longname" if flag == b"L" else "linkname"
            if getattr(extensions, attribute) is not None:
                raise TarError(offset, "two GNU long names for one member")
            setattr(extensions, attribute, name)
        else:
            if extensions.records is not None:
                raise TarError(offset, "two extended headers for one member")
            extensions.records = parse_records(data, offset + BLOCK_SIZE)
        return extensions

    def _add_globals(self, records: Records, offset: int) -> None:
        for key, value in records.items():
            if key in _PER_MEMBER_ONLY or key.startswith((SPARSE, SPARSE_PIECES)):
                raise TarError(offset, f"a global header that sets {show(key)!r} for every member")
            self._globals.pop(key, None)
            if value and is_known(key):
                self._globals[key] = value
        total = sum(len(key) + len(value) for key, value in self._globals.items())
        if len(self._globals) > 64 or total > MAX_GLOBALS:
            raise TarError(offset, f"global headers of more than {MAX_GLOBALS} bytes or 64 records")

    def _describe(self, entry: Entry, flag: bytes, tail: bytes, prefix: bytes, extensions: _Extensions | None) -> int:
        """Finish a member that is not ordinary: extended headers, sparse, links, devices. Returns where it ends."""
        offset = entry.offset
        sparse_records = self._override(entry, extensions)
        stored, self._at = entry.size, entry.data_offset
        self._end = self._at + stored
        if flag == b"S":
            if tail[:8] != MAGIC_GNU or sparse_records:
                raise TarError(offset, "a sparse member that is not in GNU tar's format")
            self._end = MAX_SIZE  # blocks of the map come first and are not counted by the size
            self._read_old_sparse(entry, prefix, stored)
        elif sparse_records:
            if entry.kind != FILE:
                raise TarError(offset, "a sparse map for something that is no file")
            self._read_pax_sparse(entry, sparse_records, stored)

        name = entry.name.rstrip(b"/")
        if name != entry.name and entry.kind == FILE:
            if entry.size or stored:
                raise TarError(offset, f"the file {show(name)!r} has a directory's name")
            entry.kind = DIR
        kind = entry.kind
        if not name and (kind != DIR or not entry.name):
            raise TarError(offset, "a member without a name")
        entry.name = name
        if kind in (CHAR, BLOCK):
            _, _, _, major, minor = TAIL.unpack(tail)
            entry.devmajor = entry.devmajor or number(major, "device major", offset, most=MAX_DEVICE)
            entry.devminor = entry.devminor or number(minor, "device minor", offset, most=MAX_DEVICE)
        else:
            entry.devmajor = entry.devminor = 0
        if kind == FILE:
            entry.data_offset, self._end = self._at, self._at + entry.stored_size
            return self._end
        if kind in (SYMLINK, HARDLINK) and not entry.linkname:
            raise TarError(offset, f"the link {show(name)!r} has no target")
        if kind == HARDLINK and stored:
            if not self._member_follows(entry.data_offset):
                self._end = entry.data_offset + stored
                return self._end
            if extensions is not None and extensions.records is not None:
                raise TarError(offset, f"the hard link {show(name)!r} has a size, and a header where its data goes")
        entry.size = entry.stored_size = 0
        self._at = self._end = entry.data_offset + (stored if flag == b"D" else 0)
        return self._end

    def _override(self, entry: Entry, extensions: _Extensions | None) -> Records | None:
        """Let extended headers change the member; returns the records of a sparse map."""
        records = extensions.records if extensions is not None else None
        if self._globals:
            records = {**self._globals, **records} if records else self._globals
        sparse_records = apply(records, entry, entry.offset) if records else None
        if extensions is not None:
            said = records or {}
            if extensions.longname is not None:
                if said.get(b"path") not in (None, b"", extensions.longname):
                    raise TarError(entry.offset, "a pax path and a GNU long name that differ")
                entry.name = extensions.longname
            if extensions.linkname is not None:
                if said.get(b"linkpath") not in (None, b"", extensions.linkname):
                    raise TarError(entry.offset, "a pax linkpath and a GNU long link name that differ")
                entry.linkname = extensions.linkname
        return sparse_records

    def _member_follows(self, offset: int) -> bool:
        """Whether readers that take hard links as having no data could go on at `offset`."""
        block = self._peek(offset)
        return not block or block == ZERO_BLOCK[: len(block)] or (len(block) == BLOCK_SIZE and checksum_holds(block))

    def _read_old_sparse(self, entry: Entry, prefix: bytes, stored: int) -> None:
        # The prefix field is at 345: four descriptors from 386 on, "is extended" at 482, the real size at 483.
        offset = entry.offset
        extents: list[tuple[int, int]] = []
        sparse.from_blocks(prefix[41:137], self._max_extents, offset, extents)
        more = prefix[137]
        while more:
            filled = len(extents)
            block = self._take(BLOCK_SIZE)
            sparse.from_blocks(block[:504], self._max_extents, offset, extents)
            more = block[504]
            if len(extents) == filled:
                raise TarError(offset, "a sparse map with an empty block, which could go on for ever")
        entry.size = number(prefix[138:150], "real size", offset)
        self._set_sparse(entry, extents, stored)

    def _read_pax_sparse(self, entry: Entry, records: Records, stored: int) -> None:
        offset = entry.offset
        version = sparse.version(records, offset)
        if version is None:  # GNU tar and bsdtar take the name in them all the same, Go doesn't
            raise TarError(offset, "GNU.sparse records without a sparse map")
        if version == (1, 0):
            extents = sparse.from_lines(self._blocks(), self._max_extents, offset)
            stored -= self._at - entry.data_offset
        else:
            extents = sparse.from_records(records, self._max_extents, offset)
        entry.size = sparse.real_size(records, offset)
        name = records.get(b"GNU.sparse.name")
        if name:
            entry.name = string(name, "GNU.sparse.name", offset)
        self._set_sparse(entry, extents, stored)

    def _set_sparse(self, entry: Entry, extents: list[tuple[int, int]], stored: int) -> None:
        entry.sparse = sparse.check(extents, entry.size, stored, entry.offset)
        entry.stored_size = stored
        if stored == entry.size:
            entry.sparse = None

    def _blocks(self) -> Iterator[bytes]:
        while self._end - self._at >= BLOCK_SIZE:
            yield self._take(BLOCK_SIZE)


def _owner(ids: bytes, offset: int) -> tuple[int, int, int]:
    mode, uid, gid = OWNERS.unpack(ids)
    return (
        number(mode, "mode", offset, most=MAX_ID) & 0o7777,
        number(uid, "uid", offset, most=MAX_ID),
        number(gid, "gid", offset, most=MAX_ID),
    )


def _tail(field: bytes) -> tuple[bytes, bytes, bytes]:
    """The format's magic and the names of owner and group; all empty in a V7 header."""
    magic, uname, gname, _, _ = TAIL.unpack(field)
    if magic[:6] == MAGIC_USTAR:
        return MAGIC_USTAR, text(uname), text(gname)
    if magic == MAGIC_GNU:
        return MAGIC_GNU, text(uname), text(gname)
    return b"", b"", b""


def _with_prefix(name: bytes, prefix: bytes, magic: bytes) -> bytes:
    """The whole name from a header whose prefix field is in use."""
    if magic == MAGIC_GNU:
        # GNU's format has access and change times there. Go before 1.8 wrote a prefix all the same, and with it the
        # layers of docker at that time; like Go, take text that can't be two numbers for a prefix.
        try:
            for field in (prefix[:12], prefix[12:24]):
                if field[0]:
                    number(field, "time", 0, least=MIN_TIME, most=MAX_TIME)
        except TarError:
            directory = text(prefix[:155])
            return directory + b"/" + name if directory.isascii() else name
        return name
    if magic != MAGIC_USTAR:
        return name  # V7 has nothing there
    # A prefix is 155 bytes long; star's is 131, with its own times and its mark behind it.
    return text(prefix[: 131 if prefix[163:] == b"tar\0" else 155]) + b"/" + name
