"""Blobs that wait in files: handed on beside each other, bounded, and gone whatever happens."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from oci.errors import DigestMismatch
from oci.layout.blobs import Content
from oci.spec.descriptor import Descriptor
from oci.spec.digest import Digest
from oci.transports.spool import Spool


def write(spool: Spool, data: bytes) -> Digest:
    with spool.writer() as writer:
        for at in range(0, len(data), 7):
            writer.write(data[at : at + 7])
        return writer.commit(Digest.of(data))[0]


@pytest.fixture
def kept() -> dict[Digest, bytes]:
    return {}


def keeping(kept: dict[Digest, bytes]) -> object:
    def put(descriptor: Descriptor, content: Content) -> None:
        with content() as chunks:
            first = b"".join(chunks)
        with content() as chunks:  # an upload that was cut reads it again
            assert b"".join(chunks) == first
        assert len(first) == descriptor.size
        kept[descriptor.digest] = first

    return put


def test_blobs_arrive_and_their_files_have_no_name(tmp_path: Path, kept: dict[Digest, bytes]) -> None:
    spool = Spool(keeping(kept), parallel=2, folder=str(tmp_path))  # type: ignore[arg-type]
    for number in range(9):
        write(spool, b"%d" % number * 1000)
        assert list(tmp_path.iterdir()) == []
    spool.settle()
    assert sorted(kept.values()) == [b"%d" % number * 1000 for number in range(9)]
    spool.close()


def test_a_wrong_digest_hands_nothing_on(tmp_path: Path, kept: dict[Digest, bytes]) -> None:
    spool = Spool(keeping(kept), parallel=2, folder=str(tmp_path))  # type: ignore[arg-type]
    with spool.writer() as writer:
        writer.write(b"data")
        with pytest.raises(DigestMismatch):
            writer.commit(Digest.of(b"other"))
    spool.settle()
    spool.close()
    assert kept == {}


def test_no_more_wait_than_are_handed_on_at_once(tmp_path: Path) -> None:
    go = threading.Event()
    running: list[int] = []

    def put(descriptor: Descriptor, content: Content) -> None:
        running.append(1)
        assert go.wait(10)

    spool = Spool(put, parallel=2, folder=str(tmp_path))
    write(spool, b"a")
    write(spool, b"b")
    third = threading.Thread(target=write, args=(spool, b"c"))
    third.start()
    third.join(0.1)
    assert third.is_alive()
    go.set()
    third.join(10)
    spool.settle()
    spool.close()
    assert len(running) == 3


def test_what_went_wrong_is_raised_by_settle_and_by_the_next_blob(tmp_path: Path) -> None:
    def put(descriptor: Descriptor, content: Content) -> None:
        raise OSError("no room")

    spool = Spool(put, parallel=1, folder=str(tmp_path))
    write(spool, b"a")
    with pytest.raises(OSError, match="no room"):
        write(spool, b"b")
    with pytest.raises(OSError, match="no room"):
        spool.settle()
    spool.close()


def test_closing_stops_what_is_on_its_way(tmp_path: Path) -> None:
    begun, go = threading.Event(), threading.Event()
    read: list[bytes] = []

    def put(descriptor: Descriptor, content: Content) -> None:
        with content() as chunks:
            begun.set()
            assert go.wait(10)
            read.extend(chunks)

    spool = Spool(put, parallel=1, folder=str(tmp_path))
    write(spool, b"a" * 100)
    assert begun.wait(10)
    threading.Timer(0.05, go.set).start()
    spool.close()
    assert read == []
