"""Damage and malice: every archive is either read or refused with a TarError that says where, in bounded memory."""

from __future__ import annotations

import random
import time
import tracemalloc
from collections.abc import Iterator

import pytest

from oci.errors import TarError
from oci.tar import DIR, END, FIFO, HARDLINK, SYMLINK, Entry, TarReader, encode, padding
from tests.support import rawtar
from tests.support.members import read
from tests.support.rawtar import GNU, file, header, longname, pax


def corpus() -> list[bytes]:
    """Small archives that between them use everything the reader knows."""
    ours = b"".join(
        encode(entry) + bytes(entry.size) + padding(entry.size)
        for entry in (
            Entry(b"dir", DIR),
            Entry(b"dir/file", size=700, xattrs={b"user.a": b"v"}),
            Entry(b"dir/" + b"long" * 40, size=3, mtime_ns=-1),
            Entry(b"link", SYMLINK, linkname=b"t" * 150),
            Entry(b"pipe", FIFO),
        )
    )
    sparse_1 = (b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"9")
    old = bytes(41) + b"%011o\0%011o\0" % (1, 2) + bytes(72) + b"\1" + b"%011o\0" % 20
    return [
        ours + END,
        longname(b"n" * 200)
        + longname(b"l" * 200, b"K")
        + header(b"s", b"1", link=b"s", magic=GNU)
        + file(content=b"abc"),
        pax((b"uid", b"1"), flag=b"g")
        + file(b"a/", b"")
        + header(b"h", b"1", 3, link=b"f")
        + rawtar.data(b"abc")
        + END,
        pax(*sparse_1) + file(content=b"1\n2\n3\n".ljust(512, b"\0") + b"abc") + END,
        pax((b"GNU.sparse.size", b"9"), (b"GNU.sparse.map", b"2,3"), (b"size", b"3")) + file(content=b"abc") + END,
        header(b"o", b"S", 5, magic=GNU, rest=old)
        + (b"%011o\0%011o\0" % (7, 3)).ljust(512, b"\0")
        + rawtar.data(b"abcde")
        + header(b"d/", b"D", 10, magic=GNU)
        + rawtar.data(b"0123456789")
        + END,
    ]


def consume(chunks: Iterator[bytes]) -> int:
    """Read everything; how many members there were. Whatever is no TarError comes out of here."""
    reader = TarReader(chunks)
    count = 0
    for entry in reader:
        count += 1
        assert sum(len(piece) for piece in reader.data()) == entry.stored_size
        assert entry.name or entry.kind == DIR
        assert b"\0" not in entry.name
        assert entry.size >= 0 <= entry.stored_size
    return count


def pieces(archive: bytes, size: int) -> Iterator[bytes]:
    return (archive[at : at + size] for at in range(0, len(archive), size))


@pytest.mark.parametrize("number", range(6))
def test_truncation_at_every_offset_is_told_exactly(number: int) -> None:
    archive = corpus()[number]
    whole = consume(pieces(archive, 1 << 20))
    zeros = len(archive) - len(archive.rstrip(b"\0"))
    body = (len(archive) - zeros + 511) & -512
    for length in range(0, len(archive), 7 if len(archive) > 4000 else 1):
        cut = archive[:length]
        try:
            count = consume(pieces(cut, 600))
        except TarError as caught:
            error: TarError | None = caught
        else:
            error = None
        if error is not None:
            pending = error.reason == "an extended header with no member after it"
            assert pending or (error.offset == length and "ends inside" in error.reason), error
        else:
            # Only between members, or in the padding of one, does an archive that is cut read as one without an end.
            assert not archive[length : (length + 511) & -512].strip(b"\0")
            assert count <= whole
            assert count == whole or length < body


def test_an_archive_may_end_without_padding_and_end_blocks() -> None:
    """As `umoci insert` (0.4) writes layers, and Go reads them; nothing of the content is missing."""
    archive = file(b"name", b"x" * 600)
    for length, unpadded in ((1112, True), (1113, True), (1535, True), (1536, False)):
        for size in (100, 1 << 20):
            reader = TarReader(pieces(archive[:length], size))
            assert consume_reader(reader) == [b"x" * 600]
            assert reader.unpadded is unpadded


def consume_reader(reader: TarReader) -> list[bytes]:
    return [b"".join(bytes(piece) for piece in reader.data()) for _ in reader]


def test_where_the_archive_ends_is_told() -> None:
    archive = file(b"name", b"x" * 600) + END
    for length, where in ((100, "a header"), (512, "the data of 'name'"), (1111, "the data of 'name'")):
        with pytest.raises(TarError, match=f"at byte {length}: the archive ends inside {where}"):
            read(archive[:length])
    for length in (1112, 1113, 1535, 1536):
        assert len(read(archive[:length])) == 1


@pytest.mark.parametrize("number", range(6))
def test_any_flipped_bit_gives_a_tar_error_or_an_archive(number: int) -> None:
    archive = bytearray(corpus()[number])
    rng = random.Random(number)
    offsets: list[int] = []
    for position in rng.sample(range(len(archive)), 800):
        bit = 1 << rng.randrange(8)
        archive[position] ^= bit
        try:
            consume(pieces(bytes(archive), 1000))
        except TarError as error:
            offsets.append(error.offset)
        archive[position] ^= bit
    assert all(0 <= offset <= len(archive) for offset in offsets)


def fix_checksums(archive: bytearray) -> None:
    """Make the checksum of each block that looks like a header right, so that mutations get past it."""
    for at in range(0, len(archive) - 511, 512):
        if archive[at + 257 : at + 262] == b"ustar":
            archive[at + 148 : at + 156] = b" " * 8
            archive[at + 148 : at + 156] = b"%06o\0 " % sum(archive[at : at + 512])


def test_random_mutations_behind_right_checksums_give_a_tar_error_or_an_archive() -> None:
    rng = random.Random(20250)
    archives = corpus()
    interesting = [
        b"\0",
        b"\xff",
        b"\x80",
        b"/",
        b"0",
        b"7",
        b"9",
        b"-",
        b" ",
        b"=",
        b"\n",
        b"x",
        b"g",
        b"L",
        b"K",
        b"S",
        b"1",
        b"5",
    ]
    deadline = time.monotonic() + 2.5
    accepted = refused = 0
    while time.monotonic() < deadline:
        archive = bytearray(rng.choice(archives))
        for _ in range(rng.randint(1, 6)):
            at = rng.randrange(len(archive))
            choice = rng.random()
            if choice < 0.5:
                archive[at] = rng.choice(interesting)[0]
            elif choice < 0.8:
                archive[at] = rng.randrange(256)
            elif choice < 0.9:
                block = at & -512
                archive[block:block] = archive[block : block + 512]
            else:
                block = at & -512
                del archive[block : block + 512]
            if not archive:
                break
        fix_checksums(archive)
        try:
            consume(pieces(bytes(archive), rng.choice((64, 512, 5000))))
            accepted += 1
        except TarError:
            refused += 1
    assert accepted > 20
    assert refused > 20


def endless(block: bytes) -> Iterator[bytes]:
    while True:
        yield block


def test_endless_headers_are_refused() -> None:
    for block in (
        longname(b"n" * 100),
        pax((b"path", b"n")),
        pax((b"comment", b"n"), flag=b"g"),
        header(b"h", b"L", 0, magic=GNU),
    ):
        with pytest.raises(TarError):
            consume(endless(block))


def test_a_volume_label_without_end_is_refused() -> None:
    with pytest.raises(TarError):
        consume(endless(header(b"label", b"V", magic=GNU)))


def test_a_member_of_many_gigabytes_takes_no_memory() -> None:
    block = bytes(1 << 20)

    def chunks() -> Iterator[bytes]:
        yield header(b"big", b"0", 4 << 30)
        for _ in range(4 << 10):
            yield block
        yield END

    tracemalloc.start()
    try:
        assert [entry.size for entry in TarReader(chunks())] == [4 << 30]
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_memory_is_flat_over_many_members_whatever_their_fields() -> None:
    # Every member has other ids, time, checksum and owner's name, so that each cache meets a new value each time.
    def chunks(count: int) -> Iterator[bytes]:
        for at in range(0, count, 500):
            yield b"".join(
                encode(Entry(b"f%d" % n, uid=n, gid=n, mtime_ns=n * 10**9, uname=b"u%d" % n))
                for n in range(at, at + 500)
            )

    def peak(count: int) -> int:
        tracemalloc.reset_peak()
        assert sum(1 for _ in TarReader(chunks(count))) == count
        return tracemalloc.get_traced_memory()[1]

    tracemalloc.start()
    try:
        few, many = peak(6_000), peak(18_000)
        assert many < few * 1.1 + 100_000
        assert many < 10 << 20
    finally:
        tracemalloc.stop()


def test_hostile_names_do_not_forge_lines_of_messages() -> None:
    with pytest.raises(TarError) as caught:
        read(header(b"a\nerror: \x1b[31mfake", b"0", 100) + b"cut")
    assert str(caught.value).isprintable()


def test_a_tar_within_a_tar_is_content() -> None:
    inner = file(b"evil", b"data") + END
    entries = read(file(b"inner.tar", inner) + header(b"h", HARDLINK and b"1", link=b"inner.tar") + END)
    assert [(entry.name, content) for entry, content in entries] == [(b"inner.tar", inner), (b"h", b"")]
