"""Extended headers: pax records and what they say about a member.

POSIX.1-2017 pax, "pax Interchange Format"; `SCHILY.xattr.*` as star and GNU tar write it, `LIBARCHIVE.xattr.*` as
bsdtar does, `GNU.sparse.*` as GNU tar's manual describes. Values stay bytes: `hdrcharset=BINARY` then changes nothing.

An empty value deletes a record, and with it a global one of the same name, except for `SCHILY.xattr.*`, where GNU tar
and Go take it as an attribute with an empty value.
"""

from __future__ import annotations

from binascii import Error as Base64Error
from binascii import a2b_base64, a2b_hex
from collections.abc import Callable

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


def apply(records: Records, entry: Entry, offset: int) -> Records:
    """Write what records say over what the member's own header said; returns the GNU.sparse ones, if any."""
    sparse: Records = {}
    archived: Records = {}
    xattrs: dict[bytes, bytes] = {}
    for key, value in records.items():
        setter = _SETTERS.get(key)
        if setter is not None:
            if value:
                setter(entry, value, offset)
        elif key.startswith(SCHILY):
            xattrs[_xattr_name(_unescape(key[len(SCHILY) :]), offset)] = value
        elif key.startswith(LIBARCHIVE):
            archived[key] = value
        elif key.startswith(SPARSE) or key == SPARSE_PIECES:
            sparse[key] = value
    for key, value in archived.items():
        name = _xattr_name(_unquote(key[len(LIBARCHIVE) :]), offset)
        if value and name not in xattrs:  # SCHILY's form holds the exact bytes and wins
            xattrs[name] = _base64(value, offset)
    if xattrs:
        entry.xattrs = xattrs
    return sparse


def _set_name(entry: Entry, value: bytes, offset: int) -> None:
    entry.name = string(value, "path", offset)


def _set_linkname(entry: Entry, value: bytes, offset: int) -> None:
    entry.linkname = string(value, "linkpath", offset)


def _set_uname(entry: Entry, value: bytes, offset: int) -> None:
    entry.uname = string(value, "uname", offset)


def _set_gname(entry: Entry, value: bytes, offset: int) -> None:
    entry.gname = string(value, "gname", offset)


def _set_size(entry: Entry, value: bytes, offset: int) -> None:
    entry.size = entry.stored_size = parse_decimal(value, "size", offset)


def _set_uid(entry: Entry, value: bytes, offset: int) -> None:
    entry.uid = parse_decimal(value, "uid", offset, MAX_ID)


def _set_gid(entry: Entry, value: bytes, offset: int) -> None:
    entry.gid = parse_decimal(value, "gid", offset, MAX_ID)


def _set_mtime(entry: Entry, value: bytes, offset: int) -> None:
    entry.mtime_ns = parse_time(value, offset)


def _set_devmajor(entry: Entry, value: bytes, offset: int) -> None:
    entry.devmajor = parse_decimal(value, "devmajor", offset, MAX_DEVICE)


def _set_devminor(entry: Entry, value: bytes, offset: int) -> None:
    entry.devminor = parse_decimal(value, "devminor", offset, MAX_DEVICE)


_SETTERS: dict[bytes, Callable[[Entry, bytes, int], None]] = {
    b"path": _set_name,
    b"linkpath": _set_linkname,
    b"uname": _set_uname,
    b"gname": _set_gname,
    b"size": _set_size,
    b"uid": _set_uid,
    b"gid": _set_gid,
    b"mtime": _set_mtime,
    b"SCHILY.devmajor": _set_devmajor,
    b"SCHILY.devminor": _set_devminor,
}


def is_known(key: bytes) -> bool:
    """Whether apply() does anything with a record of this key."""
    return key in _SETTERS or key.startswith((SCHILY, LIBARCHIVE, SPARSE))


def string(value: bytes, key: str, offset: int) -> bytes:
    """A value that may hold anything but NUL bytes."""
    if b"\0" in value:  # readers written in C would see a shorter one
        raise TarError(offset, f"the pax record {key} contains a NUL byte")
    return value


def _xattr_name(name: bytes, offset: int) -> bytes:
    if not name or b"\0" in name:
        raise TarError(offset, f"{show(name)!r} is not the name of an extended attribute")
    return name


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


def _unescape(name: bytes) -> bytes:
    # GNU tar's escape for the one byte that a key can't hold, and for the escape itself; no others.
    return name.replace(b"%3D", b"=").replace(b"%25", b"%") if b"%" in name else name


def _unquote(name: bytes) -> bytes:
    """Undo bsdtar's URL encoding; what is no escape stays as it is, as bsdtar reads it."""
    first, *rest = name.split(b"%")
    parts = [first]
    for part in rest:
        try:
            parts.append(a2b_hex(part[:2]) + part[2:])
        except Base64Error:
            parts.append(b"%" + part)
    return b"".join(parts)


def _base64(value: bytes, offset: int) -> bytes:
    try:
        return a2b_base64(value.rstrip(b"=") + b"=" * (-len(value.rstrip(b"=")) % 4), strict_mode=True)
    except Base64Error:
        raise TarError(offset, "a LIBARCHIVE.xattr record is not base64") from None
