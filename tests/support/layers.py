"""Layers as the bytes of their tar, member by member, hostile ones too; and the least image that can be unpacked.

    image = image_of(directory(b"a") + file(b"a/x", b"below"), file(b"a/.wh.x"))

Made with `rawtar`, so not by the writer that is under test elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tests.support import rawtar


class TarLayer:
    """A layer that is read from memory, in small chunks so that members lie across their ends."""

    def __init__(self, members: bytes, *, chunk: int = 4099) -> None:
        self.tar = members + rawtar.END
        self.chunk = chunk
        self.opened = 0

    @contextmanager
    def open(self) -> Iterator[Iterator[bytes]]:
        self.opened += 1
        yield (self.tar[at : at + self.chunk] for at in range(0, len(self.tar), self.chunk))


class TarImage:
    """An image of such layers, the bottom one first."""

    def __init__(self, *layers: bytes | TarLayer) -> None:
        self.layers = tuple(TarLayer(layer) if isinstance(layer, bytes) else layer for layer in layers)


def image_of(*layers: bytes) -> TarImage:
    """An image of layers given as members, the bottom one first."""
    return TarImage(*layers)


def member(
    name: bytes,
    flag: bytes,
    content: bytes = b"",
    *,
    link: bytes = b"",
    mode: int = 0o644,
    uid: int = 0,
    gid: int = 0,
    mtime: bytes = b"0",
    device: tuple[int, int] = (0, 0),
    xattrs: Mapping[bytes, bytes] = {},
) -> bytes:
    """A member of any type; `mtime` is text as pax has it, with a fraction if wanted."""
    records = [(b"SCHILY.xattr." + key, value) for key, value in xattrs.items()]
    if len(name) > 100:
        records.append((b"path", name))
    if len(link) > 100:
        records.append((b"linkpath", link))
    plain = mtime.isdigit() and len(mtime) < 11
    if not plain:
        records.append((b"mtime", mtime))
    ids = []
    for key, number in ((b"uid", uid), (b"gid", gid)):
        if number > 0o7777777:
            records.append((key, b"%d" % number))
            number = 0
        ids.append(b"%07o\0" % number)
    head = rawtar.header(
        name[:100],
        flag,
        len(content),
        link=link[:100],
        mode=b"%07o\0" % mode,
        uid=ids[0],
        gid=ids[1],
        mtime=b"%011o\0" % int(mtime) if plain else b"00000000000\0",
        devmajor=b"%07o\0" % device[0],
        devminor=b"%07o\0" % device[1],
    )
    return (rawtar.pax(*records) if records else b"") + head + rawtar.data(content)


def file(name: bytes, content: bytes = b"", **facts: object) -> bytes:
    return member(name, b"0", content, **facts)  # type: ignore[arg-type]


def directory(name: bytes, mode: int = 0o755, **facts: object) -> bytes:
    return member(name, b"5", mode=mode, **facts)  # type: ignore[arg-type]


def symlink(name: bytes, target: bytes, **facts: object) -> bytes:
    return member(name, b"2", link=target, mode=0o777, **facts)  # type: ignore[arg-type]


def hardlink(name: bytes, target: bytes) -> bytes:
    return member(name, b"1", link=target)


def char(name: bytes, major: int = 1, minor: int = 3, **facts: object) -> bytes:
    return member(name, b"3", device=(major, minor), **facts)  # type: ignore[arg-type]


def block(name: bytes, major: int = 7, minor: int = 0, **facts: object) -> bytes:
    return member(name, b"4", device=(major, minor), **facts)  # type: ignore[arg-type]


def fifo(name: bytes, **facts: object) -> bytes:
    return member(name, b"6", **facts)  # type: ignore[arg-type]
