"""Extended headers: what records say, and which are refused."""

from __future__ import annotations

import pytest

from oci.errors import TarError
from oci.tar import TarReader
from oci.tar.pax import parse_time
from oci.tar.reader import MAX_EXTENSION, MAX_HEADERS
from tests.support.members import one, read
from tests.support.rawtar import END, data, file, header, longname, pax, record


def test_records_override_the_header() -> None:
    entry = one(
        pax(
            (b"path", b"long"),
            (b"linkpath", b"target"),
            (b"uid", b"3000000"),
            (b"gid", b"4000000"),
            (b"mtime", b"1.25"),
            (b"atime", b"2"),
            (b"uname", "ü".encode()),
            (b"gname", b"g"),
            (b"comment", b"anything \0 at all\n"),
        )
        + header(b"short", b"2", link=b"short")
    )
    assert (entry.name, entry.linkname, entry.uid, entry.gid) == (b"long", b"target", 3000000, 4000000)
    assert (entry.mtime_ns, entry.uname, entry.gname) == (1_250_000_000, "ü".encode(), b"g")


def test_an_override_holds_for_one_member_only() -> None:
    assert [entry.name for entry, _ in read(pax((b"path", b"a")) + file() + file() + END)] == [b"a", b"f"]


@pytest.mark.parametrize("in_header", [0, 1, 5000])
def test_the_pax_size_is_what_is_skipped(in_header: int) -> None:
    # CVE-2025-62518 ("TARmageddon"): a reader that skips by the header's size takes the content's headers for members.
    inner = file(b"smuggled", b"evil")
    archive = pax((b"size", b"%d" % len(inner))) + header(b"outer", b"0", in_header) + data(inner) + file(b"next") + END
    assert [(entry.name, content) for entry, content in read(archive)] == [(b"outer", inner), (b"next", b"")]


def test_empty_value_leaves_the_header_alone_and_undoes_a_global_one() -> None:
    globals_ = pax((b"uname", b"global"), (b"mtime", b"5"), flag=b"g")
    archive = globals_ + file() + pax((b"uname", b""), (b"path", b"")) + file(uname=b"own") + END
    (first, _), (second, _) = read(archive)
    assert (first.uname, first.mtime_ns) == (b"global", 5 * 10**9)
    assert (second.uname, second.name, second.mtime_ns) == (b"own", b"f", 5 * 10**9)


def test_global_header_holds_until_changed_and_yields_to_the_member() -> None:
    archive = (
        pax((b"uid", b"7"), (b"gid", b"8"), (b"comment", b"a commit"), flag=b"g")
        + file()
        + pax((b"uid", b"9"))
        + file()
        + pax((b"gid", b""), flag=b"g")
        + file()
        + END
    )
    assert [(entry.uid, entry.gid) for entry, _ in read(archive)] == [(7, 8), (9, 8), (7, 0)]
    assert read(pax((b"comment", b"an empty repository"), flag=b"g") + END) == []


@pytest.mark.parametrize("key", [b"path", b"linkpath", b"size", b"GNU.sparse.size", b"GNU.sparse.offset"])
def test_global_headers_that_would_rename_or_resize_every_member_are_refused(key: bytes) -> None:
    with pytest.raises(TarError, match="global"):
        read(pax((key, b"5"), flag=b"g") + file() + END)


def test_a_binary_header_charset_changes_nothing() -> None:
    name = b"\xff\xfe" * 80
    assert one(pax((b"hdrcharset", b"BINARY"), (b"path", name)) + file()).name == name
    assert one(pax((b"path", name)) + file()).name == name


def test_extended_attributes() -> None:
    capability = b"\x01\0\0\x02\0\x04\0\0" + bytes(12)
    entry = one(
        pax(
            (b"SCHILY.xattr.security.capability", capability),
            (b"SCHILY.xattr.user.empty", b""),
            (b"SCHILY.xattr.user.a%3Db%25", b"=\n="),
            (b"LIBARCHIVE.xattr.user.only%20there", b"AAEC/w"),
            (b"LIBARCHIVE.xattr.user.both", b"AAEC/w=="),
            (b"SCHILY.xattr.user.both", b"wins"),
        )
        + file()
    )
    assert entry.xattrs == {
        b"security.capability": capability,
        b"user.empty": b"",
        b"user.a=b%": b"=\n=",
        b"user.only there": b"\x00\x01\x02\xff",
        b"user.both": b"wins",
    }


def test_solaris_extended_header_is_one() -> None:
    assert one(pax((b"path", b"solaris"), flag=b"X") + file()).name == b"solaris"


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        (b"0", 0),
        (b"1.5", 1_500_000_000),
        (b"-1.5", -1_500_000_000),
        (b"-0.000000001", -1),
        (b"-0", 0),
        (b"1700000000.123456789", 1_700_000_000_123_456_789),
        (b"1.1234567899", 1_123_456_789),
        (b"1.", 1_000_000_000),
        (b".5", 500_000_000),
        (b"9223372036854775807", 9223372036854775807 * 10**9),
    ],
)
def test_times_are_exact(text: bytes, nanoseconds: int) -> None:
    assert parse_time(text, 0) == nanoseconds


@pytest.mark.parametrize(
    "text", [b"x", b"-", b".", b"1e5", b"0x1", b"1.5.5", b"--1", b"+1", b"1.-5", b" 1", b"1_0", b"9" * 19, b"9" * 5000]
)
def test_a_time_that_is_none_is_refused(text: bytes) -> None:
    with pytest.raises(TarError):
        read(pax((b"mtime", text)) + file() + END)


@pytest.mark.parametrize(
    "raw",
    [
        b"junk",
        b"\0" * 20,
        b"path=a\n",
        b" path=a\n",
        b"8 path=a\n",
        b"11 path=a\n",
        b"10 path=aX",
        b"99999999999999999999999 path=a\n",
        b"999 path=a\n",
        b"3 \n",
        b"4 =\n",
        b"6 abc\n",
        b"5 =a\n",
        b"9 pa\0=ab\n",
        b"-10 path=a\n",
        b"+10 path=a\n",
        b"0 path=a\n",
        b"1 path=a\n",
        record(b"path", b"a") + b"\n",
        record(b"path", b"a") + b"\0",
        record(b"path", b"a\0b"),
        record(b"linkpath", b"\0"),
        record(b"uname", b"a\0"),
        record(b"size", b"-1"),
        record(b"size", b"1.5"),
        record(b"size", b"9223372036854775808"),
        record(b"size", b"9" * 4000),
        record(b"uid", b"-2"),
        record(b"uid", b"4294967295"),
        record(b"gid", b"0x10"),
        record(b"LIBARCHIVE.xattr.user.a", b"!!"),
        record(b"LIBARCHIVE.xattr.user.a", b"A"),
        record(b"LIBARCHIVE.xattr.", b"AAEC"),
        record(b"SCHILY.xattr.", b"x"),
    ],
)
def test_a_malformed_extended_header_is_refused(raw: bytes) -> None:
    with pytest.raises(TarError):
        read(pax(raw=raw) + file() + END)


def test_the_offset_of_a_malformed_record_is_exact() -> None:
    with pytest.raises(TarError, match="at byte 1033"):
        read(file() + pax(raw=record(b"path", b"a") + b"oops") + file() + END)


def test_headers_for_no_member_are_refused() -> None:
    for head in (pax((b"path", b"a")), longname(b"a")):
        for end in (b"", END):
            with pytest.raises(TarError, match="at byte 512: an extended header with no member"):
                read(file() + head + end)


@pytest.mark.parametrize(
    "heads",
    [
        pax((b"path", b"a")) + pax((b"path", b"b")),
        longname(b"a") + longname(b"b"),
        longname(b"a", b"K") + longname(b"b", b"K"),
        pax((b"path", b"a")) + longname(b"b"),
        longname(b"b") + pax((b"path", b"a")),
        longname(b"b", b"K") + pax((b"linkpath", b"a")),
        pax((b"path", b"a")) + pax((b"uname", b"b"), flag=b"g"),
    ],
)
def test_two_headers_that_readers_would_rank_differently_are_refused(heads: bytes) -> None:
    with pytest.raises(TarError):
        read(heads + header(b"l", b"2", link=b"t") + END)


def test_pax_and_gnu_names_that_agree_are_fine() -> None:
    assert one(longname(b"same") + pax((b"path", b"same"), (b"mtime", b"1")) + file()).name == b"same"


@pytest.mark.parametrize("flag", [b"x", b"g", b"X", b"L", b"K", b"V"])
def test_a_bomb_of_a_header_is_refused_before_it_is_read(flag: bytes) -> None:
    def chunks():  # type: ignore[no-untyped-def]
        yield header(b"bomb", flag, 1 << 32)
        pytest.fail("the bomb is being read")

    with pytest.raises(TarError, match="limit"):
        list(TarReader(chunks()))


def test_extended_header_of_just_the_limit_is_read() -> None:
    value = b"v" * (MAX_EXTENSION - len(record(b"comment", b"v" * MAX_EXTENSION)) + MAX_EXTENSION)
    assert len(record(b"comment", value)) == MAX_EXTENSION
    assert one(pax((b"comment", value)) + file()).name == b"f"


def test_global_headers_are_bounded_in_number_and_in_sum() -> None:
    one_global = pax((b"comment", b"c"), flag=b"g")
    assert len(read((one_global * MAX_HEADERS + file()) * 2 + END)) == 2
    with pytest.raises(TarError, match="headers in a row"):
        read(one_global * (MAX_HEADERS + 1) + file() + END)
    for values in ([b"v" * 40_000] * 2, [b"v"] * 65):
        heads = [pax((b"SCHILY.xattr.user.%d" % n, value), flag=b"g") + file() for n, value in enumerate(values)]
        assert len(read(b"".join(heads[:-1]) + END)) == len(heads) - 1
        with pytest.raises(TarError, match="global headers"):
            read(b"".join(heads) + END)
    assert len(read(b"".join(pax((b"comment.%d" % n, b"v"), flag=b"g") + file() for n in range(100)) + END)) == 100
