"""One contract, every store: what a BlobStore promises; and what the directory of a layout adds to it."""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from oci.errors import BlobNotFound, DigestMismatch, LayoutError, SizeMismatch
from oci.layout.blobs import BlobStore, ChainBlobs, MemoryBlobs
from oci.layout.directory import DirectoryBlobs
from oci.spec import Descriptor, Digest

CONTENT = b"some content"


def described(data: bytes, algorithm: str = "sha256") -> Descriptor:
    return Descriptor(media_type="application/octet-stream", digest=Digest.of(data, algorithm), size=len(data))


@pytest.fixture(params=["memory", "directory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    return MemoryBlobs() if request.param == "memory" else DirectoryBlobs(tmp_path)


def read(store: BlobStore, descriptor: Descriptor) -> bytes:
    with store.open(descriptor) as chunks:
        return b"".join(chunks)


def test_what_was_put_can_be_read_and_is_listed(store: BlobStore) -> None:
    digest, size = store.put([CONTENT[:4], b"", CONTENT[4:]])
    assert (digest, size) == (Digest.of(CONTENT), len(CONTENT))
    assert read(store, described(CONTENT)) == CONTENT
    assert store.has(digest)
    assert store.size(digest) == len(CONTENT)
    assert list(store.digests()) == [digest]


def test_the_empty_blob_is_a_blob(store: BlobStore) -> None:
    assert store.put([]) == (Digest.of(b""), 0)
    assert read(store, described(b"")) == b""
    assert store.size(Digest.of(b"")) == 0


def test_an_expected_sha512_digest_is_what_the_blob_is_stored_under(store: BlobStore) -> None:
    wanted = described(CONTENT, "sha512")
    assert store.put([CONTENT], expected=wanted)[0] == wanted.digest
    assert read(store, wanted) == CONTENT
    assert list(store.digests()) == [wanted.digest]


def test_bytes_with_another_digest_are_refused_and_not_stored(store: BlobStore) -> None:
    with pytest.raises(DigestMismatch):
        store.put([CONTENT.upper()], expected=described(CONTENT))
    assert list(store.digests()) == []


@pytest.mark.parametrize("data", [CONTENT[:-1], CONTENT + b"x"], ids=["too few", "too many"])
def test_bytes_of_another_size_are_refused_and_not_stored(store: BlobStore, data: bytes) -> None:
    with pytest.raises(SizeMismatch):
        store.put([data], expected=described(CONTENT))
    assert list(store.digests()) == []


def test_an_endless_stream_ends_at_the_expected_size(store: BlobStore) -> None:
    taken = 0

    def endless() -> object:
        nonlocal taken
        while True:
            taken += 1
            yield b"x"

    with pytest.raises(SizeMismatch):
        store.put(endless(), expected=described(CONTENT))  # type: ignore[arg-type]
    assert taken == len(CONTENT) + 1


def test_a_blob_that_is_there_is_kept_and_the_new_bytes_are_not_read(store: BlobStore) -> None:
    store.put([CONTENT])

    def never() -> object:
        raise AssertionError("was read")
        yield b""

    assert store.put(never(), expected=described(CONTENT)) == (Digest.of(CONTENT), len(CONTENT))  # type: ignore[arg-type]


def test_a_writer_that_is_left_without_commit_stores_nothing(store: BlobStore) -> None:
    with store.writer() as writer:
        writer.write(CONTENT)
    assert list(store.digests()) == []


def test_a_writer_commits_only_the_digest_it_was_told(store: BlobStore) -> None:
    with store.writer() as writer:
        writer.write(CONTENT)
        with pytest.raises(DigestMismatch):
            writer.commit(Digest.of(b"other"))
    assert list(store.digests()) == []
    with store.writer() as writer:
        writer.write(memoryview(CONTENT))
        assert writer.commit(Digest.of(CONTENT)) == (Digest.of(CONTENT), len(CONTENT))
    assert read(store, described(CONTENT)) == CONTENT


def test_a_missing_blob_is_said_to_be_missing(store: BlobStore) -> None:
    for opened in (store.open, store.open_raw):
        with pytest.raises(BlobNotFound), opened(described(CONTENT)) as chunks:
            list(chunks)
    assert store.size(Digest.of(CONTENT)) is None
    assert not store.has(Digest.of(CONTENT))


def test_deleting_is_done_once_and_asked_for_as_often_as_one_likes(store: BlobStore) -> None:
    digest, _ = store.put([CONTENT])
    store.delete(digest)
    store.delete(digest)
    assert not store.has(digest)


def test_a_chain_reads_from_the_first_store_that_has_the_blob(tmp_path: Path) -> None:
    directory = DirectoryBlobs(tmp_path)
    directory.put([b"old"])
    chain = ChainBlobs(MemoryBlobs([b"new"]), directory)
    assert read(chain, described(b"old")) == b"old"  # type: ignore[arg-type]
    assert read(chain, described(b"new")) == b"new"  # type: ignore[arg-type]
    assert chain.size(Digest.of(b"old")) == 3
    with pytest.raises(BlobNotFound), chain.open(described(b"none")):
        pass


# The directory


def test_a_blob_lies_where_the_spec_says_and_nothing_else_is_left(tmp_path: Path) -> None:
    with DirectoryBlobs(tmp_path) as store:
        store.put([CONTENT])
        store.put([CONTENT], expected=described(CONTENT, "sha512"))
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert files == [f"blobs/{algorithm}/{Digest.of(CONTENT, algorithm).encoded}" for algorithm in ("sha256", "sha512")]
    assert (tmp_path / files[0]).stat().st_mode & 0o777 == 0o644


def test_a_failed_put_leaves_no_temporary_file(tmp_path: Path) -> None:
    store = DirectoryBlobs(tmp_path)

    def broken() -> object:
        yield CONTENT[:4]
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        store.put(broken(), expected=described(CONTENT))  # type: ignore[arg-type]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_tampered_blob_is_found_out_by_reading_it(tmp_path: Path) -> None:
    store = DirectoryBlobs(tmp_path)
    digest, _ = store.put([CONTENT])
    path = Path(store.blob_path(digest))
    path.write_bytes(CONTENT.upper())
    with pytest.raises(DigestMismatch):
        read(store, described(CONTENT))
    path.write_bytes(CONTENT * 2)
    with pytest.raises(SizeMismatch):
        read(store, described(CONTENT))


def test_a_blob_of_another_size_is_damage_and_is_replaced(tmp_path: Path) -> None:
    store = DirectoryBlobs(tmp_path)
    digest, _ = store.put([CONTENT])
    Path(store.blob_path(digest)).write_bytes(b"")
    store.put([CONTENT], expected=described(CONTENT))
    assert read(store, described(CONTENT)) == CONTENT


def test_foreign_files_are_no_blobs(tmp_path: Path) -> None:
    store = DirectoryBlobs(tmp_path)
    digest, _ = store.put([CONTENT])
    folder = tmp_path / "blobs" / "sha256"
    (folder / "README").write_text("hello")
    (folder / ("0" * 63)).write_text("one digit short")
    (folder / ("1" * 64)).mkdir()
    (folder / ("2" * 64)).symlink_to("nowhere")
    (tmp_path / "blobs" / "note.txt").write_text("hello")
    assert list(store.digests()) == [digest]


def test_a_fifo_under_a_blobs_name_neither_hangs_nor_counts(tmp_path: Path) -> None:
    store = DirectoryBlobs(tmp_path)
    wanted = described(CONTENT)
    path = Path(store.blob_path(wanted.digest))
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    assert not store.has(wanted.digest)
    with pytest.raises(LayoutError, match="not a regular file"):
        read(store, wanted)


@pytest.mark.parametrize("level", ["blobs", "algorithm", "blob"])
def test_links_that_other_tools_made_are_read_through(tmp_path: Path, level: str) -> None:
    real = DirectoryBlobs(tmp_path / "real")
    digest, _ = real.put([CONTENT])
    linked = tmp_path / "linked"
    linked.mkdir()
    target, link = {
        "blobs": (tmp_path / "real/blobs", linked / "blobs"),
        "algorithm": (tmp_path / "real/blobs/sha256", linked / "blobs/sha256"),
        "blob": (Path(real.blob_path(digest)), linked / "blobs/sha256" / digest.encoded),
    }[level]
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(target)
    store = DirectoryBlobs(linked)
    assert read(store, described(CONTENT)) == CONTENT
    assert list(store.digests()) == [digest]


def test_a_digest_of_an_unknown_algorithm_is_a_name_that_is_not_there(tmp_path: Path) -> None:
    store: BlobStore = DirectoryBlobs(tmp_path)
    unknown = Descriptor(media_type="a/b", digest=Digest.parse("blake3:" + "0" * 64), size=1)
    assert not store.has(unknown.digest)
    with pytest.raises(BlobNotFound):
        read(store, unknown)


def test_threads_share_one_store(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    store = DirectoryBlobs(tmp_path)
    contents = [b"%d" % (number % 10) * 1000 for number in range(60)]
    put: Callable[[bytes], tuple[Digest, int]] = lambda data: store.put([data], expected=described(data))  # noqa: E731
    with store.hold(), ThreadPoolExecutor(4) as pool:
        assert list(pool.map(put, contents)) == [(Digest.of(data), len(data)) for data in contents]
    assert len(list(store.digests())) == 10
    assert [path.name for path in tmp_path.iterdir()] == ["blobs"]


def test_a_file_system_without_locks_can_only_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest, _ = DirectoryBlobs(tmp_path).put([CONTENT])

    def no_locks(fd: int, operation: int) -> None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))  # what NFS says

    monkeypatch.setattr(fcntl, "flock", no_locks)
    store = DirectoryBlobs(tmp_path)
    assert read(store, described(CONTENT)) == CONTENT
    with pytest.raises(LayoutError, match="no locks"):
        store.put([b"more"])
    assert list(store.digests()) == [digest]


def test_blobs_in_another_file_system_can_only_be_read(tmp_path: Path) -> None:
    if not os.access("/dev/shm", os.W_OK) or os.stat("/dev/shm").st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs a second file system at /dev/shm")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        (tmp_path / "blobs").symlink_to(elsewhere)
        with pytest.raises(LayoutError, match="another file system"):
            DirectoryBlobs(tmp_path).put([CONTENT])
        assert [path.name for path in tmp_path.iterdir()] == ["blobs"]


def test_a_directory_without_blobs_has_none(tmp_path: Path) -> None:
    assert list(DirectoryBlobs(tmp_path).digests()) == []
