"""The bytes that the writer makes, and that other tools read them back."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from oci.errors import LimitExceeded
from oci.tar import BLOCK, CHAR, DIR, END, FIFO, FILE, HARDLINK, SYMLINK, Entry, encode, padding
from oci.tar.writer import MAX_PAX, format_time, record, split
from tests.support import rawtar
from tests.support.members import one, read

BAD = b"\xff\xfe-latin\xe9"  # not UTF-8


def archive(*entries: Entry, content: bytes = b"") -> bytes:
    """The members, each file with as much of `content` as its size says."""
    parts = []
    for entry in entries:
        parts.append(encode(entry))
        if entry.kind == FILE:
            parts += [content[: entry.size], padding(entry.size)]
    return b"".join((*parts, END))


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (Entry(b"a/file", size=5, mtime_ns=10**9), rawtar.header(b"a/file", b"0", 5, mtime=b"00000000001\0")),
        (
            Entry(b"a", DIR, uid=1000, gid=100),
            rawtar.header(b"a/", b"5", mode=b"0000755\0", uid=b"0001750\0", gid=b"0000144\0"),
        ),
        (Entry(b"", DIR), rawtar.header(b"./", b"5", mode=b"0000755\0")),
        (Entry(b"l", SYMLINK, linkname=b"t"), rawtar.header(b"l", b"2", link=b"t", mode=b"0000777\0")),
        (Entry(b"h", HARDLINK, linkname=b"f", size=9), rawtar.header(b"h", b"1", link=b"f")),
        (Entry(b"p", FIFO, mode=0o104644), rawtar.header(b"p", b"6", mode=b"0004644\0")),
        (Entry(b"o", uname=b"root", gname=b"wheel"), rawtar.header(b"o", uname=b"root", gname=b"wheel")),
        (Entry(b"p" * 155 + b"/" + b"n" * 100), rawtar.header(b"n" * 100, rest=b"p" * 155)),
        (Entry(BAD, SYMLINK, linkname=BAD), rawtar.header(BAD, b"2", link=BAD, mode=b"0000777\0")),
    ],
)
def test_what_ustar_can_say_is_one_ustar_header(entry: Entry, expected: bytes) -> None:
    devices = {"devmajor": b"0000000\0", "devminor": b"0000000\0"}
    block = bytearray(expected)
    for at, value in zip((329, 337), devices.values(), strict=True):
        block[at : at + 8] = value
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    assert encode(entry) == bytes(block)


def test_golden_bytes_of_every_kind_of_record() -> None:
    # A change of this digest changes the diff_id of everything that was ever built; it needs a very good reason.
    entries = (
        Entry(b"usr", DIR, mtime_ns=1_700_000_000 * 10**9),
        Entry("usr/ünïcode".encode(), size=3, mtime_ns=-1_500_000_000, uid=3_000_000, gid=2_097_151),
        Entry(b"usr/" + b"long" * 100, SYMLINK, linkname=b"target" * 50),
        Entry(BAD * 30, FIFO),
        Entry(b"dev/null", CHAR, mode=0o666, devmajor=1, devminor=3),
        Entry(b"dev/sda", BLOCK, devmajor=8, devminor=3_000_000),
        Entry(
            b"cap",
            xattrs={b"user.b": b"2", b"user.a": b"", b"security.capability": b"\x01\0\xff\n"},
            uname="ü".encode(),
        ),
        Entry(b"huge", HARDLINK, linkname=b"cap", mtime_ns=1),
    )
    digest = hashlib.sha256(archive(*entries, content=b"abc")).hexdigest()
    assert digest == "4172d9413a21a5a794a6994de2d6f5027397e17a38fea246d90d76efdcbd1c02"


def test_the_order_of_attributes_does_not_matter() -> None:
    names = [b"user.%d" % n for n in range(50)]
    assert encode(Entry(b"f", xattrs=dict.fromkeys(names, b"v"))) == encode(
        Entry(b"f", xattrs=dict.fromkeys(reversed(names), b"v"))
    )


@pytest.mark.parametrize(
    ("entry", "records"),
    [
        (Entry(b"f", mtime_ns=1), [(b"mtime", b"0.000000001")]),
        (Entry(b"f", mtime_ns=-1), [(b"mtime", b"-0.000000001")]),
        (Entry(b"f", mtime_ns=-2 * 10**9), [(b"mtime", b"-2")]),
        (Entry(b"f", mtime_ns=8**11 * 10**9), [(b"mtime", b"8589934592")]),
        (Entry(b"f", size=8**11), [(b"size", b"8589934592")]),
        (Entry(b"f", uid=0o7777777 + 1), [(b"uid", b"2097152")]),
        (Entry("é".encode()), [(b"path", "é".encode())]),
        (Entry(b"f", SYMLINK, linkname=b"l" * 101), [(b"linkpath", b"l" * 101)]),
        (Entry(b"n" * 101), [(b"path", b"n" * 101)]),
        (Entry(b"d" * 100, DIR), [(b"path", b"d" * 100 + b"/")]),
        (Entry(BAD * 20), [(b"hdrcharset", b"BINARY"), (b"path", BAD * 20)]),
        (Entry(b"f", gname=BAD * 4), [(b"hdrcharset", b"BINARY"), (b"gname", BAD * 4)]),
        (Entry(b"f", xattrs={b"user.a=%": b"="}), [(b"SCHILY.xattr.user.a%3D%25", b"=")]),
    ],
)
def test_pax_records_stand_only_for_what_ustar_cannot_say(entry: Entry, records: list[tuple[bytes, bytes]]) -> None:
    content = b"".join(rawtar.record(*one_record) for one_record in records)
    encoded = encode(entry)
    assert encoded[156:157] == b"x"
    assert encoded[512:-512] == rawtar.data(content)


@pytest.mark.parametrize(
    "entry",
    [
        Entry(b"f", mtime_ns=(8**11 - 1) * 10**9, size=8**11 - 1, uid=0o7777777, gid=0o7777777),
        Entry(b"n" * 100),
        Entry(b"d" * 99, DIR),
        Entry(b"p" * 155 + b"/" + b"d" * 99, DIR),
        Entry(b"f", xattrs={}, uname=b"u" * 31, gname=b"g" * 31),
    ],
)
def test_what_just_fits_needs_no_pax(entry: Entry) -> None:
    assert len(encode(entry)) == 512
    assert encode(entry)[156:157] != b"x"


def test_names_are_split_at_the_last_slash_that_fits() -> None:
    assert split(b"a" * 60 + b"/" + b"b" * 60 + b"/c") == (b"a" * 60 + b"/" + b"b" * 60, b"c")
    assert split(b"a" * 155 + b"/" + b"b" * 100) == (b"a" * 155, b"b" * 100)
    assert split(b"a" * 156 + b"/b") == (b"", b"")
    assert split(b"/" + b"a" * 100) == (b"", b"")
    assert split(b"a/" + b"b" * 99 + b"/") == (b"a", b"b" * 99 + b"/")


def test_record_lengths_count_themselves() -> None:
    for size in (*range(1, 200), *range(900, 1100), 9_990, 9_991, 99_980, 99_990):
        assert record(b"k", b"v" * size) == rawtar.record(b"k", b"v" * size)


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, b"0"),
        (10**9, b"1"),
        (-(10**9), b"-1"),
        (1_500_000_000, b"1.5"),
        (-1_500_000_000, b"-1.5"),
        (-1, b"-0.000000001"),
        (10 * 10**9, b"10"),
    ],
)
def test_times_are_written_exactly(nanoseconds: int, text: bytes) -> None:
    assert format_time(nanoseconds) == text


@pytest.mark.parametrize(
    "entry",
    [
        Entry(b"a\0b"),
        Entry(b"l", SYMLINK, linkname=b"\0"),
        Entry(b"f", uname=b"\0"),
        Entry(b"f", uid=-1),
        Entry(b"f", size=-1),
        Entry(b""),
        Entry(b"f", xattrs={b"": b""}),
        Entry(b"f", xattrs={b"a\0": b""}),
        Entry(b"f", "socket"),
    ],
)
def test_what_no_archive_can_hold_is_an_error(entry: Entry) -> None:
    with pytest.raises(ValueError, match=r"."):
        encode(entry)


def test_attributes_that_no_reader_takes_are_an_error() -> None:
    assert one(encode(Entry(b"f", xattrs={b"user.a": b"v" * (MAX_PAX - 100)}))).xattrs
    with pytest.raises(LimitExceeded):
        encode(Entry(b"f", xattrs={b"user.a": b"v" * MAX_PAX}))


def test_padding() -> None:
    assert [len(padding(size)) for size in (0, 1, 511, 512, 513, 8**12 + 1)] == [0, 511, 1, 0, 511, 511]


# -- other tools read it

ODD = (
    Entry(b"dir", DIR, mtime_ns=1_600_000_000_123_456_789),
    Entry(b"dir/plain", size=3, mtime_ns=1_600_000_000 * 10**9),
    Entry(b"dir/" + b"s" * 90 + b"/" + b"t" * 90, size=3),
    Entry(b"dir/" + b"x" * 150, size=3),
    Entry("dir/ünïcode".encode(), size=3),
    Entry(b"dir/" + "ü".encode() * 100, SYMLINK, linkname="ö".encode() * 100),
    Entry(b"dir/" + BAD, size=3),
    Entry(b"dir/" + BAD * 15, size=3),
    Entry(b"dir/badlink", SYMLINK, linkname=BAD),
    Entry(b"dir/longbadlink", SYMLINK, linkname=BAD * 15),
    Entry(b"dir/hard", HARDLINK, linkname=b"dir/" + BAD * 15),
    Entry(b"dir/old", size=3, mtime_ns=-1_500_000_000),
    Entry(b"dir/new line\n", size=3),
)


def tree(root: bytes) -> dict[bytes, tuple[str, int, bytes]]:
    """Each path below `root` with its kind, mtime and content or target."""
    found: dict[bytes, tuple[str, int, bytes]] = {}
    for at, names, files in os.walk(root):
        for name in names + files:
            path = os.path.join(at, name)
            status = os.lstat(path)
            if os.path.islink(path):
                value = (SYMLINK, 0, os.readlink(path))
            elif os.path.isdir(path):
                value = (DIR, status.st_mtime_ns, b"")
            else:
                value = (FILE, status.st_mtime_ns, Path(os.fsdecode(path)).read_bytes())
            found[os.path.relpath(path, root)] = value
    return found


def expected_tree() -> dict[bytes, tuple[str, int, bytes]]:
    found: dict[bytes, tuple[str, int, bytes]] = {}
    for entry in ODD:
        if entry.kind == SYMLINK:
            found[entry.name] = (SYMLINK, 0, entry.linkname)
        elif entry.kind == HARDLINK:
            found[entry.name] = found[entry.linkname]
        else:
            found[entry.name] = (entry.kind, entry.mtime_ns, b"abc" if entry.kind == FILE else b"")
    return found


# bsdtar can't convert any pax archive's UTF-8 names in the C locale.
@pytest.mark.parametrize(("tool", "locale"), [("tar", "C"), ("tar", "C.UTF-8"), ("bsdtar", "C.UTF-8")])
def test_other_tars_extract_the_same_bytes_names_and_times(tool: str, locale: str, tmp_path: Path) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    run = subprocess.run(
        [tool, "-xpf", "-", "-C", str(tmp_path)],
        input=archive(*ODD, content=b"abc"),
        capture_output=True,
        env={**os.environ, "LC_ALL": locale},
        check=False,
    )
    assert run.returncode == 0, run.stderr.decode()
    found = tree(os.fsencode(tmp_path))
    expected = expected_tree()
    found.pop(b"dir/" + b"s" * 90)  # a parent that is no member
    if tool == "bsdtar":  # libarchive up to 3.6 reads -1.5 as -0.5
        assert found.pop(b"dir/old")[1] > expected.pop(b"dir/old")[1]
    assert found == expected


def test_python_reads_every_attribute() -> None:
    members = tarfile.open(fileobj=io.BytesIO(archive(*ODD, content=b"abc"))).getmembers()
    assert [os.fsencode(member.name) for member in members] == [entry.name for entry in ODD]
    assert [os.fsencode(member.linkname) for member in members] == [entry.linkname for entry in ODD]


@pytest.mark.parametrize("pax", [False, True])
def test_our_reader_agrees_on_what_python_writes(pax: bool) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT if pax else tarfile.GNU_FORMAT) as out:
        for entry in ODD:
            info = tarfile.TarInfo(os.fsdecode(entry.name))
            info.type = {DIR: b"5", FILE: b"0", SYMLINK: b"2", HARDLINK: b"1"}[entry.kind]
            info.linkname, info.size = os.fsdecode(entry.linkname), entry.size
            info.mtime = entry.mtime_ns // 10**9
            out.addfile(info, io.BytesIO(b"abc"))
    entries = [entry for entry, _ in read(buffer.getvalue())]
    assert [(e.name, e.linkname, e.kind, e.size) for e in entries] == [
        (e.name, e.linkname, e.kind, e.size) for e in ODD
    ]
    assert [e.mtime_ns // 10**9 for e in entries] == [e.mtime_ns // 10**9 for e in ODD]
