"""Scanned, applied and scanned again: the same entries, as root and as an ordinary user."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from oci.changeset.scan import scan
from oci.changeset.write import write_layer
from oci.tar import Entry
from oci.unpack.rootfs import unpack
from tests.support.layers import TarImage, char, directory, fifo, file, hardlink, symlink
from tests.support.users import as_user

ROOT = os.geteuid() == 0

MEMBERS = (
    directory(b"./", 0o751, mtime=b"5")
    + directory(b"d/", 0o1777, mtime=b"6.25", xattrs={b"user.note": b"d"})
    + file(b"d/setuid", b"1", mode=0o4755, uid=12, gid=34, mtime=b"7")
    + hardlink(b"d/link", b"d/setuid")
    + file(b"owned", b"2", mode=0o600, uid=70000, gid=3, mtime=b"1700000000.123456789", xattrs={b"user.x": b"\0"})
    + file(b"closed", b"3", mode=0, mtime=b"8")
    + symlink(b"s", b"/nowhere", mtime=b"9")
    + fifo(b"p", mtime=b"10")
)


@contextmanager
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        if ROOT:
            os.chown(name, 65534, 65534)
        yield Path(name)


def facts(entry: Entry, *names: str) -> tuple[object, ...]:
    return tuple(getattr(entry, name) for name in names)


SAID = ("kind", "mode", "uid", "gid", "size", "mtime_ns", "linkname", "xattrs", "devmajor", "devminor")


def round_trip(top: Path, members: bytes, *, rootless: bool) -> tuple[bytes, dict[bytes, tuple[object, ...]]]:
    unpack(TarImage(members), top / "dest", rootless=rootless)
    scanned = bytearray()
    found = {}

    def noted() -> Iterator[object]:
        for entry, data in scan(top / "dest", owner="auto" if rootless else "keep", mtime="exact"):
            found[entry.name] = facts(entry, *SAID)
            yield entry, data

    write_layer(noted(), scanned.extend)  # type: ignore[arg-type]
    return bytes(scanned[:-1024]), found


@pytest.mark.skipif(not ROOT, reason="needs to run as root")
def test_all_that_root_unpacks_is_scanned_again() -> None:
    members = MEMBERS + char(b"dev/null", 1, 3, mode=0o666)
    with place() as top:
        first, found = round_trip(top, members, rootless=False)
        (top / "again").mkdir()
        second, again = round_trip(top / "again", first, rootless=False)
    assert again == found
    assert second == first
    assert found[b"owned"][:6] == ("file", 0o600, 70000, 3, 1, 1_700_000_000_123_456_789)
    assert found[b"d/setuid"] == ("hardlink", 0o4755, 12, 34, 0, 7 * 10**9, b"d/link", None, 0, 0)
    assert found[b"dev/null"][-2:] == (1, 3)


def test_owners_survive_a_rootless_unpack() -> None:
    members = MEMBERS.replace(file(b"closed", b"3", mode=0, mtime=b"8"), b"")
    with place() as top:
        _, found = as_user(round_trip, top, members, rootless=True) if ROOT else round_trip(top, members, rootless=True)
    assert found[b""][:4] == ("dir", 0o751, 0, 0)
    assert found[b"d"][:4] == ("dir", 0o1777, 0, 0)
    assert found[b"owned"][:4] == ("file", 0o600, 70000, 3)
    assert found[b"owned"][7] == {b"user.x": b"\0"}
    assert found[b"d/link"][:4] == ("file", 0o4755, 12, 34)
    assert found[b"p"][:4] == ("fifo", 0o644, 0, 0)
