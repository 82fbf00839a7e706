"""Whatever can be written is read back the same, by us and by Python's own reader."""

from __future__ import annotations

import io
import os
import tarfile

from hypothesis import given, settings
from hypothesis import strategies as st

from oci.tar import BLOCK, CHAR, DIR, END, FIFO, FILE, HARDLINK, SYMLINK, Entry, TarReader, encode, expand, padding
from oci.tar.pax import parse_records, parse_time
from oci.tar.writer import format_time, record

component = st.one_of(
    st.binary(min_size=1, max_size=30),
    st.text("aé.-", min_size=1, max_size=120).map(str.encode),
).map(lambda name: name.replace(b"\0", b"x").replace(b"/", b"y"))
names = st.lists(component, min_size=1, max_size=6).map(b"/".join)
owners = st.one_of(st.just(b""), st.binary(max_size=40).map(lambda name: name.replace(b"\0", b"x")))
ids = st.one_of(st.integers(0, 70000), st.integers(0, 2**32 - 2))
times = st.one_of(
    st.integers(-(2**40), 2**40), st.integers(0, 2**40).map(lambda s: s * 10**9), st.integers(-(2**63), 2**63)
)
attributes = st.dictionaries(
    st.binary(min_size=1, max_size=20).map(lambda name: b"user." + name.replace(b"\0", b"x")),
    st.binary(max_size=100),
    max_size=3,
)


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    kind = draw(st.sampled_from((FILE, FILE, DIR, SYMLINK, HARDLINK, CHAR, BLOCK, FIFO)))
    device = st.integers(0, 2**32 - 1) if kind in (CHAR, BLOCK) else st.just(0)
    return Entry(
        draw(names),
        kind,
        mode=draw(st.integers(0, 0o7777)),
        uid=draw(ids),
        gid=draw(ids),
        size=draw(st.integers(0, 2000)) if kind == FILE else 0,
        mtime_ns=draw(times),
        linkname=draw(names) if kind in (SYMLINK, HARDLINK) else b"",
        devmajor=draw(device),
        devminor=draw(device),
        uname=draw(owners),
        gname=draw(owners),
        xattrs=draw(attributes) or None,
    )


FIELDS = [slot for slot in Entry.__slots__ if slot not in ("offset", "data_offset")]


def archive(members: list[Entry]) -> bytes:
    return b"".join(encode(e) + b"\xa5" * e.size + padding(e.size) for e in members) + END


@settings(max_examples=300, deadline=None)
@given(st.lists(entries(), max_size=5), st.integers(1, 3000))
def test_what_is_written_is_read_back_the_same(members: list[Entry], chunk: int) -> None:
    content = archive(members)
    reader = TarReader(content[at : at + chunk] for at in range(0, len(content), chunk))
    for expected, entry in zip(members, reader, strict=True):
        for field in FIELDS:
            assert getattr(entry, field) == getattr(expected, field), field
        assert b"".join(reader.data()) == b"\xa5" * expected.size
        assert content[entry.data_offset :][: entry.size] == b"\xa5" * expected.size


@settings(max_examples=150, deadline=None)
@given(st.lists(entries(), max_size=5))
def test_python_reads_the_same(members: list[Entry]) -> None:
    with tarfile.open(fileobj=io.BytesIO(archive(members)), errors="surrogateescape") as opened:
        read = opened.getmembers()
    assert [os.fsencode(m.name).rstrip(b"/") for m in read] == [e.name for e in members]
    assert [os.fsencode(m.linkname) for m in read] == [e.linkname for e in members]
    assert [(m.uid, m.gid, m.mode, m.size) for m in read] == [(e.uid, e.gid, e.mode, e.size) for e in members]


@settings(max_examples=300)
@given(st.lists(entries(), min_size=1, max_size=1))
def test_encoding_depends_on_nothing_else(members: list[Entry]) -> None:
    (entry,) = members
    again = entry.replace(xattrs=dict(reversed((entry.xattrs or {}).items())), offset=5, data_offset=9)
    assert encode(entry) == encode(again)
    assert len(encode(entry)) % 512 == 0


@given(st.integers(-(2**63), 2**63))
def test_times_round_trip(nanoseconds: int) -> None:
    assert parse_time(format_time(nanoseconds), 0) == nanoseconds


keys = st.binary(min_size=1).map(lambda key: key.replace(b"=", b"x").replace(b"\0", b"x"))


@given(st.dictionaries(keys.filter(lambda key: not key.startswith(b"GNU.sparse.")), st.binary()))
def test_records_round_trip(records: dict[bytes, bytes]) -> None:
    assert parse_records(b"".join(record(key, value) for key, value in records.items()), 0) == records


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 50)), max_size=8), st.integers(0, 50), st.integers(1, 30))
def test_expanding_a_sparse_file_fills_its_holes(shape: list[tuple[int, int]], tail: int, piece: int) -> None:
    extents, whole, stored = [], b"", b""
    for hole, length in shape:
        whole += bytes(hole)
        extents.append((len(whole), length))
        stored += b"\xa5" * length
        whole += b"\xa5" * length
    whole += bytes(tail)
    pieces = [stored[at : at + piece] for at in range(0, len(stored), piece)]
    assert b"".join(expand(tuple(extents), len(whole), pieces)) == whole
