"""Writing a tar archive: the same members give the same bytes, on any machine.

POSIX.1-2017 pax. A member is a ustar header where that can say it; a pax header stands before it only for what ustar
can't: names that are too long, are not ASCII, or don't split; times that are negative or have a fraction; ids over
2097151, sizes from 8 GiB on, extended attributes. Its records are sorted, its own fields are fixed.

A name that is not UTF-8 is put into the ustar fields as it is, which every reader gives back unchanged; where it is too
long for them, in a pax record under `hdrcharset=BINARY`.
"""

from __future__ import annotations

from functools import lru_cache

from oci.errors import LimitExceeded
from oci.tar.entry import BLOCK, CHAR, DIR, FIFO, FILE, HARDLINK, SYMLINK, Entry
from oci.tar.fields import BLOCK_SIZE, HEADER, ZERO_BLOCK, byte_sum
from oci.tar.pax import SCHILY

END = bytes(2 * BLOCK_SIZE)
MAX_PAX = 1 << 20  # readers, Go's archive/tar and ours among them, take no more

_MAX_NUMBER = 0o7777777  # seven octal digits and a NUL
_MAX_LONG_NUMBER = 0o77777777777  # eleven
_FLAGS = {FILE: b"0", HARDLINK: b"1", SYMLINK: b"2", CHAR: b"3", BLOCK: b"4", DIR: b"5", FIFO: b"6"}
_MAGIC = b"ustar\x0000"
_PLAIN_TAIL = _MAGIC + bytes(64) + b"0000000\0" * 2
_ZERO12 = b"00000000000\0"
_PAX_NAME = b"././@PaxHeader"

_BILLION = 1_000_000_000


def padding(size: int) -> bytes:
    """The zeros that fill the last block of `size` bytes of data."""
    return ZERO_BLOCK[: -size & 511]


def encode(entry: Entry) -> bytes:
    """The header block or blocks of a member, to be followed by `size` bytes for a file, and `padding(size)`.

    A sparse member is written as the whole file, and a hard link without data. ValueError for an entry that no archive
    can hold (a NUL in a name); LimitExceeded for extended attributes that no reader would take.
    """
    name, linkname, kind = entry.name, entry.linkname, entry.kind
    flag = _FLAGS.get(kind)
    if flag is None:
        raise ValueError(f"{kind!r} is not a kind of member")
    if kind == DIR:
        name = name + b"/" if name else b"./"
    if not name or b"\0" in name or b"\0" in linkname:
        raise ValueError(f"no name of a member: {name!r} → {linkname!r}")
    size = entry.size if kind == FILE else 0
    seconds, fraction = divmod(entry.mtime_ns, _BILLION)
    uname, gname = entry.uname, entry.gname
    tail = _owner_tail(uname, gname) if uname or gname else _PLAIN_TAIL
    if (
        len(name) > 100
        or not name.isascii()
        or len(linkname) > 100
        or not linkname.isascii()
        or fraction
        or not 0 <= seconds <= _MAX_LONG_NUMBER
        or not 0 <= size <= _MAX_LONG_NUMBER
        or not 0 <= entry.uid <= _MAX_NUMBER
        or not 0 <= entry.gid <= _MAX_NUMBER
        or entry.xattrs
        or tail is None
        or entry.devmajor
        or entry.devminor
    ):
        return _encode_extended(entry, name, size)
    return _header(
        name,
        b"%07o\0%07o\0%07o\0" % (entry.mode & 0o7777, entry.uid, entry.gid),
        b"%011o\0" % size if size else _ZERO12,
        b"%011o\0" % seconds,
        flag,
        linkname,
        tail,
    )


@lru_cache(1024)
def _owner_tail(uname: bytes, gname: bytes) -> bytes | None:
    """The fields from magic to devminor, if ustar can hold the names."""
    if len(uname) > 31 or len(gname) > 31 or not (uname + gname).isascii() or b"\0" in uname + gname:
        return None
    return _MAGIC + uname.ljust(32, b"\0") + gname.ljust(32, b"\0") + b"0000000\0" * 2


def _header(
    name: bytes, ids: bytes, size: bytes, mtime: bytes, flag: bytes, linkname: bytes, tail: bytes, prefix: bytes = b""
) -> bytes:
    block = HEADER.pack(name, ids, size, mtime, b"        ", flag, linkname, tail, prefix)
    return b"%b%06o\0 %b" % (block[:148], byte_sum(block), block[156:])


def encode_sparse(entry: Entry) -> bytes:
    """The headers and the map of a file with holes, to be followed by its stored data and `padding(stored_size)`.

    GNU tar's format 1.0 in pax, which GNU tar, bsdtar and Go read: the map stands before the data, as decimal lines.
    """
    pieces = list(entry.sparse or ())
    if not pieces or sum(pieces[-1]) < entry.size:
        pieces.append((entry.size, 0))  # as GNU tar says that the file ends with a hole
    lines = b"%d\n" % len(pieces) + b"".join([b"%d\n%d\n" % piece for piece in pieces])
    table = lines + padding(len(lines))
    records = {
        b"GNU.sparse.major": b"1",
        b"GNU.sparse.minor": b"0",
        b"GNU.sparse.name": entry.name,
        b"GNU.sparse.realsize": b"%d" % entry.size,
    }
    parent, slash, base = entry.name.rpartition(b"/")
    # Where a reader that knows no sparse files would put map and data; GNU tar has its process's number for the zero.
    name = parent + slash + b"GNUSparseFile.0/" + base
    return _encode_extended(entry, name, len(table) + entry.stored_size, records) + table


def _encode_extended(entry: Entry, name: bytes, size: int, more: dict[bytes, bytes] | None = None) -> bytes:
    """The header of a member that needs more than the plain fields, with a pax header before it where that must be."""
    linkname = entry.linkname
    records: dict[bytes, bytes] = more or {}
    prefix, field = split(name)
    if not field or not _is_plain(name):
        records[b"path"] = name
        prefix, field = b"", name[:100]
    if len(linkname) > 100 or not _is_plain(linkname):
        records[b"linkpath"] = linkname
    names = []
    for key, value in ((b"uname", entry.uname), (b"gname", entry.gname)):
        if b"\0" in value:
            raise ValueError(f"a name with a NUL byte: {value!r}")
        if len(value) > 31 or not _is_plain(value):
            records[key] = value
        names.append(value[:31].ljust(32, b"\0"))
    binary = not all(_is_utf8(value) for value in records.values())
    ids = (
        _small(records, b"uid", entry.uid, _MAX_NUMBER),
        _small(records, b"gid", entry.gid, _MAX_NUMBER),
    )
    device = entry.kind in (CHAR, BLOCK)
    devices = (
        _small(records, b"SCHILY.devmajor", entry.devmajor if device else 0, _MAX_NUMBER),
        _small(records, b"SCHILY.devminor", entry.devminor if device else 0, _MAX_NUMBER),
    )
    stored = _small(records, b"size", size, _MAX_LONG_NUMBER)
    seconds, fraction = divmod(entry.mtime_ns, _BILLION)
    if fraction or not 0 <= seconds <= _MAX_LONG_NUMBER:
        records[b"mtime"] = format_time(entry.mtime_ns)
        seconds = min(max(seconds, 0), _MAX_LONG_NUMBER)
    for key, value in (entry.xattrs or {}).items():
        if not key or b"\0" in key:
            raise ValueError(f"not the name of an extended attribute: {key!r}")
        records[SCHILY + key.replace(b"%", b"%25").replace(b"=", b"%3D")] = value

    header = _header(
        field,
        b"%07o\0%07o\0%07o\0" % (entry.mode & 0o7777, *ids),
        b"%011o\0" % stored,
        b"%011o\0" % seconds,
        _FLAGS[entry.kind],
        linkname[:100],
        _MAGIC + b"".join(names) + b"%07o\0%07o\0" % devices,
        prefix,
    )
    return _pax_header(records, binary) + header if records else header


def _small(records: dict[bytes, bytes], key: bytes, value: int, most: int) -> int:
    """A number for a header field; 0, with a record that says it, if the field can't hold it."""
    if value < 0:
        raise ValueError(f"{key.decode()} is negative: {value}")
    if value <= most:
        return value
    records[key] = b"%d" % value
    return 0


def _is_plain(name: bytes) -> bool:
    """Whether a name may stand in a ustar field: ASCII, or bytes that are no UTF-8, which pax says no better."""
    return name.isascii() or not _is_utf8(name)


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def split(name: bytes) -> tuple[bytes, bytes]:
    """A name as ustar's prefix and name fields, with the longest prefix that fits; two empty parts if none does."""
    if len(name) <= 100:
        return b"", name
    if len(name) > 256:
        return b"", b""
    slash = name.rfind(b"/", 0, min(156, len(name) - 1))
    if slash <= 0 or len(name) - slash - 1 > 100:
        return b"", b""
    return name[:slash], name[slash + 1 :]


def format_time(nanoseconds: int) -> bytes:
    """Nanoseconds as pax writes a time: decimal seconds, with a fraction only if there is one."""
    seconds, fraction = divmod(abs(nanoseconds), _BILLION)
    sign = b"-" if nanoseconds < 0 else b""
    return (b"%b%d.%09d" % (sign, seconds, fraction)).rstrip(b"0").rstrip(b".")


def _pax_header(records: dict[bytes, bytes], binary: bool) -> bytes:
    keys = sorted(records)
    if binary:  # it is about the records behind it
        records[b"hdrcharset"] = b"BINARY"
        keys.insert(0, b"hdrcharset")
    data = b"".join([record(key, records[key]) for key in keys])
    if len(data) > MAX_PAX:
        raise LimitExceeded("bytes of names and extended attributes of one file", MAX_PAX, len(data))
    ids = b"0000644\x000000000\x000000000\0"
    header = _header(_PAX_NAME, ids, b"%011o\0" % len(data), _ZERO12, b"x", b"", _PLAIN_TAIL)
    return header + data + padding(len(data))


def record(key: bytes, value: bytes) -> bytes:
    """One pax record, "LENGTH KEY=VALUE\\n", whose length counts its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    if len(str(length)) > len(str(rest)):
        length += 1
    return b"%d %b=%b\n" % (length, key, value)
