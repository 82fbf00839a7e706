"""Tar archives made byte by byte, for what no tool writes; independent of `oci.tar`, so that both can't err alike."""

from __future__ import annotations

END = bytes(1024)
USTAR = b"ustar\x0000"
GNU = b"ustar  \0"
V7 = bytes(8)


def header(
    name: bytes = b"f",
    flag: bytes = b"0",
    size: int | bytes = 0,
    *,
    link: bytes = b"",
    mode: bytes = b"0000644\0",
    uid: bytes = b"0000000\0",
    gid: bytes = b"0000000\0",
    mtime: bytes = b"00000000000\0",
    magic: bytes = USTAR,
    uname: bytes = b"",
    gname: bytes = b"",
    devmajor: bytes = b"",
    devminor: bytes = b"",
    rest: bytes = b"",
    checksum: bytes | None = None,
) -> bytes:
    """A header block; `rest` is everything from byte 345 on (ustar's prefix, GNU's times and sparse map)."""
    length = size if isinstance(size, bytes) else b"%011o\0" % size
    fields = ((name, 100), (mode, 8), (uid, 8), (gid, 8), (length, 12), (mtime, 12), (b" " * 8, 8), (flag, 1))
    more = ((link, 100), (magic, 8), (uname, 32), (gname, 32), (devmajor, 8), (devminor, 8), (rest, 167))
    block = b"".join(value.ljust(width, b"\0") for value, width in fields + more)
    assert len(block) == 512
    return block[:148] + (checksum if checksum is not None else b"%06o\0 " % sum(block)) + block[156:]


def data(content: bytes) -> bytes:
    """Content filled up to whole blocks."""
    return content + bytes(-len(content) % 512)


def record(key: bytes, value: bytes) -> bytes:
    """One pax record."""
    length = len(key) + len(value) + 3
    while len(b"%d" % length) + len(key) + len(value) + 3 != length:
        length = len(b"%d" % length) + len(key) + len(value) + 3
    return b"%d %b=%b\n" % (length, key, value)


def pax(*records: tuple[bytes, bytes], flag: bytes = b"x", raw: bytes | None = None) -> bytes:
    """An extended header with its records, or with any bytes in their place."""
    content = b"".join(record(key, value) for key, value in records) if raw is None else raw
    return header(b"pax", flag, len(content)) + data(content)


def file(name: bytes = b"f", content: bytes = b"", **fields: bytes) -> bytes:
    """A whole ordinary member."""
    return header(name, b"0", len(content), **fields) + data(content)  # type: ignore[arg-type]


def longname(name: bytes, flag: bytes = b"L") -> bytes:
    """A GNU long name."""
    return header(b"././@LongLink", flag, len(name) + 1, magic=GNU) + data(name + b"\0")
