"""Extended headers: pax records and what they say about a member.

POSIX.1-2017 pax, "pax Interchange Format"; `SCHILY.xattr.*` as star and GNU tar write it, `LIBARCHIVE.xattr.*` as
bsdtar does, `GNU.sparse.*` as GNU tar's manual describes. Values stay bytes: `hdrcharset=BINARY` then changes nothing.

An empty value deletes a record, and with it a global one of the same name, except for `SCHILY.xattr.*`, where GNU tar
and Go take it as an attribute with an empty value.
"""

from __future__ import annotations

from binascii import Error as Base64Error
from binascii import a2b_base64
from urllib.parse import unquote_to_bytes

from oci.errors import TarError, show
from oci.tar.entry import Entry
from oci.tar.fields import MAX_DEVICE, MAX_ID, MAX_SIZE, MAX_TIME, MIN_TIME

SCHILY = b"SCHILY.xattr."
LIBARCHIVE = b"LIBARCHIVE.xattr."
SPARSE = b"GNU.sparse."
SPARSE_PIECES = (
    b"\0sparse"  # our own key (no record can have it): the numbers of repeated GNU.sparse.offset and .numbytes
)

Records = dict[bytes, bytes]


def parse_records(data: bytes, offset: int) -> Records:
    """The records "LENGTH KEY=VALUE\\n" of an extended header whose data begin at `offset`; the last of a key wins."""
    records: Records = {}
    pieces: list[bytes] = []
    at = 0
    while at < len(data):
        blank = data.find(b" ", at, at + 20)
        digits = data[at:blank] if blank > 0 else b""
        if not digits.isdigit():
            raise TarError(offset + at, "a pax record doesn't begin with its length")
        end = at + int(digits)
        if end > len(data) or end <= blank + 1:
            raise TarError(offset + at, f"a pax record has the wrong length {int(digits)}")
        if data[end - 1] != 0x0A:
            raise TarError(offset + at, "a pax record doesn't end with a newline where its length says")
        key, equals, value = data[blank + 1 : end - 1].partition(b"=")
        if not equals or not key or b"\0" in key:
            raise TarError(offset + at, "a pax record has no key")
        if key == b"GNU.sparse.offset" or key == b"GNU.sparse.numbytes":  # version 0.0: pairs in their order
            if (len(pieces) % 2 == 0) != (key == b"GNU.sparse.offset"):
                raise TarError(offset + at, "GNU.sparse.offset and GNU.sparse.numbytes don't alternate")
            pieces.append(value)
        else:
            records[key] = value
        at = end
    if pieces:
        records[SPARSE_PIECES] = b",".join(pieces)
    return records


class Overrides:
    """What extended headers say about a member; None where they are silent."""

    __slots__ = (
        "devmajor",
        "devminor",
        "gid",
        "gname",
        "linkname",
        "mtime_ns",
        "name",
        "size",
        "sparse",
        "uid",
        "uname",
        "xattrs",
    )

    def __init__(self, records: Records, offset: int) -> None:
        """Interpret records; TarError with the offset of their header if one is malformed."""
        self.name = _name(records, b"path", offset)
        self.linkname = _name(records, b"linkpath", offset)
        self.uname = _name(records, b"uname", offset)
        self.gname = _name(records, b"gname", offset)
        self.size = _decimal(records, b"size", offset, MAX_SIZE)
        self.uid = _decimal(records, b"uid", offset, MAX_ID)
        self.gid = _decimal(records, b"gid", offset, MAX_ID)
        self.devmajor = _decimal(records, b"SCHILY.devmajor", offset, MAX_DEVICE)
        self.devminor = _decimal(records, b"SCHILY.devminor", offset, MAX_DEVICE)
        mtime = records.get(b"mtime")
        self.mtime_ns = parse_time(mtime, offset) if mtime else None
        self.xattrs: dict[bytes, bytes] | None = None
        sparse: Records = {}
        for key, value in records.items():
            if key.startswith(SCHILY):
                self._add_xattr(_schily_name(key[len(SCHILY) :]), value, offset)
            elif key.startswith(SPARSE) or key == SPARSE_PIECES:
                sparse[key] = value
        self.sparse = sparse or None
        for key, value in records.items():
            if key.startswith(LIBARCHIVE) and value:
                name = unquote_to_bytes(key[len(LIBARCHIVE) :])
                if self.xattrs is None or name not in self.xattrs:  # SCHILY's form holds the exact bytes and wins
                    self._add_xattr(name, _base64(value, offset), offset)

    def apply(self, entry: Entry) -> None:
        """Write what they say over what the member's own header said."""
        if self.name is not None:
            entry.name = self.name
        if self.linkname is not None:
            entry.linkname = self.linkname
        if self.uname is not None:
            entry.uname = self.uname
        if self.gname is not None:
            entry.gname = self.gname
        if self.uid is not None:
            entry.uid = self.uid
        if self.gid is not None:
            entry.gid = self.gid
        if self.mtime_ns is not None:
            entry.mtime_ns = self.mtime_ns
        if self.size is not None:
            entry.size = entry.stored_size = self.size
        if self.devmajor is not None:
            entry.devmajor = self.devmajor
        if self.devminor is not None:
            entry.devminor = self.devminor
        entry.xattrs = self.xattrs

    def _add_xattr(self, name: bytes, value: bytes, offset: int) -> None:
        if not name or b"\0" in name:
            raise TarError(offset, f"{show(name)!r} is not the name of an extended attribute")
        if self.xattrs is None:
            self.xattrs = {}
        self.xattrs[name] = value


def _name(records: Records, key: bytes, offset: int) -> bytes | None:
    value = records.get(key)
    if value and b"\0" in value:  # C readers would see a shorter name
        raise TarError(offset, f"pax record {key.decode()} contains a NUL byte")
    return value or None


def _decimal(records: Records, key: bytes, offset: int, most: int) -> int | None:
    value = records.get(key)
    return parse_decimal(value, key.decode(), offset, most) if value else None


def parse_decimal(value: bytes, what: str, offset: int, most: int = MAX_SIZE) -> int:
    """A decimal number without sign; TarError if it is none or over `most`."""
    if not value.isdigit() or len(value) > 20:
        raise TarError(offset, f"{what} {show(value)!r} is not a number")
    result = int(value)
    if result > most:
        raise TarError(offset, f"{what} {result} is out of range")
    return result


def parse_time(value: bytes, offset: int) -> int:
    """Seconds with a decimal fraction, "-1.5", in whole nanoseconds; digits after the ninth are dropped, as Go does."""
    negative = value[:1] == b"-"
    whole, dot, fraction = value[1 if negative else 0 :].partition(b".")
    if not (whole.isdigit() or (not whole and fraction)) or len(whole) > 20 or (fraction and not fraction.isdigit()):
        raise TarError(offset, f"mtime {show(value)!r} is not a time")
    seconds = int(whole or b"0")
    if not MIN_TIME <= (-seconds if negative else seconds) <= MAX_TIME:
        raise TarError(offset, f"mtime {show(value)!r} is out of range")
    nanoseconds = seconds * 1_000_000_000 + int(fraction[:9].ljust(9, b"0") if dot else b"0")
    return -nanoseconds if negative else nanoseconds


def _schily_name(name: bytes) -> bytes:
    # GNU tar's escape for the one byte that a key can't hold, and for the escape itself; no others.
    return name.replace(b"%3D", b"=").replace(b"%25", b"%") if b"%" in name else name


def _base64(value: bytes, offset: int) -> bytes:
    try:
        return a2b_base64(value.rstrip(b"=") + b"=" * (-len(value.rstrip(b"=")) % 4), strict_mode=True)
    except Base64Error:
        raise TarError(offset, "a LIBARCHIVE.xattr record is not base64") from None
