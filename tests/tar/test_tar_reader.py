"""What the reader makes of each format, header by header."""

from __future__ import annotations

import pytest

from oci.errors import TarError
from oci.tar import BLOCK, CHAR, DIR, FIFO, FILE, HARDLINK, SYMLINK, TarReader
from oci.tar.stream import JOIN
from tests.support.members import one, read
from tests.support.rawtar import END, GNU, V7, data, file, header, longname, pax


def test_ustar_header_gives_every_field() -> None:
    entry = one(
        header(
            b"bin",
            b"3",
            mode=b"0104755\0",
            uid=b"0001750\0",
            gid=b"0000144 ",
            mtime=b"14371573077\0",
            uname=b"alice",
            gname=b"users",
            devmajor=b"0000005\0",
            devminor=b"0000001\0",
            rest=b"usr/local",
        )
    )
    assert entry.name == b"usr/local/bin"
    assert (entry.kind, entry.mode, entry.uid, entry.gid) == (CHAR, 0o4755, 1000, 100)
    assert (entry.uname, entry.gname) == (b"alice", b"users")
    assert (entry.devmajor, entry.devminor) == (5, 1)
    assert entry.mtime_ns == 0o14371573077 * 10**9
    assert (entry.size, entry.stored_size, entry.xattrs, entry.sparse, entry.offset) == (0, 0, None, None, 0)


@pytest.mark.parametrize(
    ("flag", "kind"),
    [
        (b"0", FILE),
        (b"\0", FILE),
        (b"7", FILE),
        (b"1", HARDLINK),
        (b"2", SYMLINK),
        (b"3", CHAR),
        (b"4", BLOCK),
        (b"5", DIR),
        (b"6", FIFO),
        (b"D", DIR),
    ],
)
def test_typeflags(flag: bytes, kind: str) -> None:
    assert one(header(b"m", flag, link=b"t" if flag in b"12" else b"")).kind == kind


@pytest.mark.parametrize("flag", [b"A", b"M", b"N", b"Z", b"8", b"9", b"a", b" ", b"\xff"])
def test_a_typeflag_that_container_tools_refuse_is_refused(flag: bytes) -> None:
    with pytest.raises(TarError, match="at byte 512"):
        read(file() + header(b"m", flag) + END)


def test_v7_header_has_no_names_and_no_prefix() -> None:
    entry = one(header(b"n", uname=b"junk", magic=V7, rest=b"junk"))
    assert (entry.name, entry.uname, entry.kind) == (b"n", b"", FILE)


@pytest.mark.parametrize("flag", [b"0", b"\0"])
def test_file_with_a_directory_name_is_a_directory(flag: bytes) -> None:
    entry = one(header(b"dir//", flag, magic=V7))
    assert (entry.name, entry.kind) == (b"dir", DIR)


def test_file_with_a_directory_name_and_data_is_refused_as_others_skip_it_differently() -> None:
    with pytest.raises(TarError):
        read(file(b"dir/", b"abc") + END)


def test_volume_label_and_dump_directory_are_skipped_over() -> None:
    archive = header(b"label", b"V", 3, magic=GNU) + data(b"abc") + header(b"d/", b"D", 600, magic=GNU) + bytes(1024)
    assert [(entry.name, entry.kind, entry.size, content) for entry, content in read(archive + file() + END)] == [
        (b"d", DIR, 0, b""),
        (b"f", FILE, 0, b""),
    ]


def test_names_hold_any_byte_but_nul_and_slash() -> None:
    name = bytes(byte for byte in range(1, 256) if byte != 0x2F)
    entries = read(
        file(name[:100]) + file(name[100:200]) + longname(name) + file() + pax((b"path", name)) + file() + END
    )
    assert [entry.name for entry, _ in entries] == [name[:100], name[100:200], name, name]


def test_name_of_exactly_the_field_has_no_terminator() -> None:
    entry = one(header(b"n" * 100, b"2", link=b"l" * 100, rest=b"p" * 155))
    assert entry.name == b"p" * 155 + b"/" + b"n" * 100
    assert entry.linkname == b"l" * 100


def test_gnu_long_name_and_link() -> None:
    entry = one(longname(b"n" * 5000) + longname(b"l" * 300, b"K") + header(b"short", b"2", link=b"short", magic=GNU))
    assert (entry.name, entry.linkname) == (b"n" * 5000, b"l" * 300)


def test_gnu_times_in_the_prefix_field_are_no_prefix() -> None:
    assert one(header(magic=GNU, rest=b"14371573077\x0014371573077\0")).name == b"f"


def test_prefix_in_a_gnu_header_is_read_as_go_reads_it() -> None:
    # Go before 1.8 wrote such headers, and with it docker.
    assert one(header(magic=GNU, rest=b"usr/share/a/long/directory/name")).name == b"usr/share/a/long/directory/name/f"
    assert one(header(magic=GNU, rest=b"usr/\xff/not ascii")).name == b"f"


def test_star_prefix_is_shorter() -> None:
    rest = b"p" * 131 + b"00000000000 " * 2 + bytes(8) + b"tar\0"
    assert one(header(rest=rest)).name == b"p" * 131 + b"/f"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (b"00000000017\0", 15),
        (b"17          ", 15),
        (b"         17\0", 15),
        (b"000000000017", 15),
        (b"17\0junk\0\0\0\0\0\0"[:12], 15),
        (bytes(12), 0),
        (b" " * 12, 0),
        (b"\x80" + (15).to_bytes(11, "big"), 15),
    ],
)
def test_numbers_in_all_their_spellings(field: bytes, value: int) -> None:
    ((entry, content),) = read(header(size=field) + (data(b"x" * value) if value else b"") + END)
    assert (entry.size, len(content)) == (value, value)


@pytest.mark.parametrize(
    "field",
    [
        b"0000000001x\0",
        b"00000000018\0",
        b"-0000000017\0",
        b"+0000000017\0",
        b"0o000000017\0",
        b"0_000000017\0",
        b"1 7\0\0\0\0\0\0\0\0\0",
        b"\n0000000017\0",
        b"\xff" * 12,
        b"\x80\x80" + bytes(10),
        b"\xc0" + bytes(11),
        b"\x80" + b"\xff" * 11,
    ],
)
def test_a_size_that_is_no_number_or_negative_or_huge_is_refused(field: bytes) -> None:
    with pytest.raises(TarError, match="at byte 512: the size"):
        read(file() + header(size=field) + END)


def test_base_256_ids_and_negative_time() -> None:
    uid = b"\x80" + (4_000_000_000).to_bytes(7, "big")
    mtime = (-1_000_000_000 & ((1 << 96) - 1)).to_bytes(12, "big")
    entry = one(header(uid=uid, mtime=mtime))
    assert (entry.uid, entry.mtime_ns) == (4_000_000_000, -(10**18))


@pytest.mark.parametrize("field", [b"\xff" * 8, b"\x80" + (0xFFFFFFFF).to_bytes(7, "big"), b"0000x00\0"])
def test_ids_that_chown_would_take_for_something_else_are_refused(field: bytes) -> None:
    for name in ("uid", "gid"):
        with pytest.raises(TarError, match=name):
            read(header(**{name: field}) + END)  # type: ignore[arg-type]


def test_signed_checksum_of_historic_tars_holds() -> None:
    block = header(b"caf\xe9", checksum=b" " * 8)
    signed = sum(byte - 256 if byte > 127 else byte for byte in block)
    assert one(block[:148] + b"%06o\0 " % signed + block[156:]).name == b"caf\xe9"


def test_checksum_is_exact_where_a_sum_modulo_65521_would_agree() -> None:
    name, rest = b"\xff" * 100, b"\xff" * 155
    fields = {"link": b"\xff" * 100, "uname": b"\xff" * 32, "gname": b"\xff" * 32}
    block = header(name, rest=rest, checksum=b" " * 8, **fields)
    assert sum(block) > 65521
    with pytest.raises(TarError, match="checksum"):
        read(block[:148] + b"%06o\0 " % (sum(block) - 65521) + block[156:] + END)
    assert len(read(block[:148] + b"%06o\0 " % sum(block) + block[156:] + END)) == 1


@pytest.mark.parametrize("checksum", [bytes(8), b" " * 8, b"999999\0 ", b"-00001\0 ", b"\xff" * 8, b"0000000\0"])
def test_wrong_checksum_is_an_error_with_its_offset(checksum: bytes) -> None:
    with pytest.raises(TarError, match=r"at byte 1024.*checksum"):
        read(file(content=b"abc") + header(checksum=checksum) + END)


@pytest.mark.parametrize("flag", [b"2", b"3", b"4", b"5", b"6"])
def test_what_is_no_file_has_no_data_whatever_its_size(flag: bytes) -> None:
    archive = header(b"m", flag, 1000, link=b"t" if flag == b"2" else b"") + file(b"next", b"abc") + END
    assert [(entry.name, entry.size, content) for entry, content in read(archive)] == [
        (b"m", 0, b""),
        (b"next", 3, b"abc"),
    ]


def test_hard_link_with_a_size_but_no_data() -> None:
    link = header(b"h", b"1", 3, link=b"f")
    for rest in (file(b"next", b"abc") + END, END, bytes(512), b""):
        entries = read(link + rest)
        assert (entries[0][0].kind, entries[0][0].size, entries[0][1]) == (HARDLINK, 0, b"")
        assert len(entries) == (2 if len(rest) > 1024 else 1)


@pytest.mark.parametrize("chunk", [1 << 20, 512, 100, 1])
def test_hard_link_with_its_data(chunk: int) -> None:
    archive = header(b"h", b"1", 5, link=b"f") + data(b"hello") + file(b"next", b"abc") + END
    assert [(entry.name, entry.size, content) for entry, content in read(archive, chunk)] == [
        (b"h", 5, b"hello"),
        (b"next", 3, b"abc"),
    ]


def test_hard_link_whose_pax_size_and_next_header_contradict_is_refused() -> None:
    with pytest.raises(TarError, match="hard link"):
        read(pax((b"size", b"1024")) + header(b"h", b"1", link=b"f") + file(b"smuggled", b"abc") + END)


def test_links_without_a_target_and_members_without_a_name_are_refused() -> None:
    for archive in (
        header(b"l", b"2"),
        header(b"l", b"1"),
        header(b""),
        header(b"", b"5"),
        header(b"/", b"2", link=b"t"),
    ):
        with pytest.raises(TarError):
            read(archive + END)


def test_the_root_directory_may_be_named_in_each_way() -> None:
    assert [entry.name for entry, _ in read(header(b"./", b"5") + header(b"/", b"5") + header(b".", b"5") + END)] == [
        b".",
        b"",
        b".",
    ]


# -- the stream


@pytest.mark.parametrize("end", [b"", bytes(512), bytes(1024), bytes(10240), bytes(700), bytes(100_001)])
def test_every_usual_end_is_accepted(end: bytes) -> None:
    assert len(read(file(content=b"abc") + end, 1000)) == 1
    assert read(end) == [] if len(end) != 0 else read(b"") == []


@pytest.mark.parametrize("chunk", [1 << 20, 512, 77])
def test_garbage_behind_the_end_is_an_error_with_its_offset(chunk: int) -> None:
    with pytest.raises(TarError, match="at byte 1636: trailing garbage"):
        read(file() + END + bytes(100) + b"x" + bytes(5000), chunk)


def test_a_member_behind_a_zero_block_is_garbage() -> None:
    with pytest.raises(TarError, match="at byte 1024: trailing garbage"):
        read(file() + bytes(512) + file() + END)


def test_the_stream_is_read_to_its_very_end() -> None:
    done = False

    def chunks():  # type: ignore[no-untyped-def]
        nonlocal done
        yield file() + END
        yield bytes(4096)
        done = True

    assert len(list(TarReader(chunks()))) == 1
    assert done


def test_errors_of_the_stream_pass_through() -> None:
    def chunks():  # type: ignore[no-untyped-def]
        yield file()
        raise KeyError("from the stream")

    with pytest.raises(KeyError, match="from the stream"):
        list(TarReader(chunks()))


def test_a_file_within_one_chunk_is_one_piece_without_copy() -> None:
    chunk = file(b"a", b"x" * 5000) + file(b"b", b"y" * 5000) + END
    reader = TarReader([chunk])
    for _ in reader:
        (piece,) = reader.data()
        assert isinstance(piece, memoryview)
        assert piece.obj is chunk
        assert list(reader.data()) == []


def test_a_small_file_across_chunks_is_one_piece_and_a_large_one_is_views() -> None:
    archive = file(b"a", b"x" * JOIN) + file(b"b", b"y" * (JOIN + 1)) + END
    chunks = [archive[at : at + 1000] for at in range(0, len(archive), 1000)]
    reader = TarReader(chunks)
    next(reader)
    assert [len(piece) for piece in reader.data()] == [JOIN]
    next(reader)
    pieces = list(reader.data())
    assert len(pieces) > 100
    assert all(any(piece.obj is chunk for chunk in chunks) for piece in pieces)


def test_data_read_in_part_or_not_at_all_is_skipped() -> None:
    content = bytes(range(256)) * 2000
    archive = file(b"a", content) + file(b"b", content) + file(b"c", content) + END
    reader = TarReader(archive[at : at + 1000] for at in range(0, len(archive), 1000))
    next(reader)
    next(reader)
    pieces = reader.data()
    first = next(pieces)
    assert next(reader).name == b"c"
    assert bytes(first) == content[: len(first)]
    with pytest.raises(RuntimeError):
        next(pieces)
    assert b"".join(reader.data()) == content


def test_empty_chunks_and_other_buffers_are_taken() -> None:
    archive = file(b"a", b"abc") + END
    parts = [b"", bytearray(archive[:300]), b"", memoryview(archive)[300:700], b"", archive[700:], b""]
    reader = TarReader(parts)  # type: ignore[arg-type]
    assert [(entry.name, b"".join(reader.data())) for entry in reader] == [(b"a", b"abc")]


def test_device_numbers_count_for_devices_only() -> None:
    extended = pax((b"SCHILY.devmajor", b"3000000"), (b"SCHILY.devminor", b"7"))
    junk = {"devmajor": b"junk", "devminor": b"0000001\0"}
    device, other = one(extended + header(b"b", b"4")), one(extended + header(b"f", **junk))
    assert (device.devmajor, device.devminor) == (3_000_000, 7)
    assert (other.devmajor, other.devminor) == (0, 0)
    with pytest.raises(TarError, match="device major"):
        read(header(b"b", b"3", **junk) + END)
