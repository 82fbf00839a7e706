"""Layouts in tar files: read in place whatever wrote them, written the same each time."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from oci.errors import BlobNotFound, DigestMismatch, LayoutError, LimitExceeded, NotFound, SizeMismatch
from oci.layout import tar_files
from oci.layout.archive import Archive
from oci.layout.archive_writer import ArchiveWriter
from oci.layout.layout import Layout
from oci.layout.reader import empty_index
from oci.layout.tar_files import TarFiles
from oci.layout.walk import walk
from oci.spec import Descriptor, Digest
from tests.support import rawtar
from tests.support.images import LayoutMaker, pack, tar, tar_layer


def zstd(data: bytes) -> bytes:
    if shutil.which("zstd") is None:
        pytest.skip("needs zstd(1)")
    return subprocess.run(["zstd", "-qc"], input=data, capture_output=True, check=True).stdout


COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstd,
}


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    maker = LayoutMaker(tmp_path / "layout")
    maker.tag("v1", maker.image([tar_layer({"a": b"1"}), tar_layer({"big": os.urandom(100_000)})]))
    return maker.finish()


def check(archive: Archive, tag: str = "v1") -> list[Descriptor]:
    found = list(walk(archive.blobs, archive.resolve(tag)))
    for descriptor in found:
        with archive.blobs.open(descriptor) as chunks:
            assert sum(map(len, chunks)) == descriptor.size
    return found


@pytest.mark.parametrize("compression", COMPRESSORS)
def test_an_archive_is_read_in_place_however_it_is_compressed(
    layout: Path, tmp_path: Path, compression: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tar_files, "KEPT_SIZE", 1000)  # so that the large layer has to be read again
    path = tmp_path / "a.tar"
    path.write_bytes(COMPRESSORS[compression](pack(layout, path).read_bytes()))
    before = sorted(tmp_path.rglob("*"))
    with Archive.open(path) as archive:
        assert len(check(archive)) == 4
        assert sorted(archive.blobs.digests()) == sorted(Layout.open(layout).blobs.digests())
        assert archive.index() == Layout.open(layout).index()
    assert sorted(tmp_path.rglob("*")) == before


def test_memory_for_small_files_of_a_compressed_archive_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tar_files, "KEPT_TOTAL", 250)
    contents = {f"f{n}": bytes([n]) * 100 for n in range(5)}
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(tar(contents)))
    with TarFiles(tmp_path / "a.tar.gz") as files:
        assert len(files._kept) == 2
        assert {name: files.read(name, limit=100) for name in files} == contents


@pytest.mark.parametrize("prefix", ["./", "/", ".//", "a/../"])
def test_odd_spellings_of_names_are_understood(layout: Path, tmp_path: Path, prefix: str) -> None:
    members = {prefix + str(p.relative_to(layout)): p.read_bytes() for p in layout.rglob("*") if p.is_file()}
    (tmp_path / "a.tar").write_bytes(tar(members))
    with Archive.open(tmp_path / "a.tar") as archive:
        check(archive)


def test_of_several_members_with_one_name_the_last_counts(tmp_path: Path) -> None:
    """As after unpacking with tar; an archive that was appended to (`tar -r`) is read as its writer meant it."""
    (tmp_path / "a.tar").write_bytes(tar([("f", b"first"), ("g", b"other"), ("./f", b"last")]))
    with TarFiles(tmp_path / "a.tar") as files:
        assert files.read("f", limit=10) == b"last"
        assert files.size("f") == 4


def test_links_lead_to_other_members_and_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    members = [
        ("dir/real", b"content"),
        ("sym", ("symlink", "dir/real")),
        ("dir/up", ("symlink", "../sym")),
        ("hard", ("hardlink", "dir/real")),
        ("absolute", ("symlink", "/etc/passwd")),
        ("outside", ("symlink", str(tmp_path / "secret"))),
        ("climbing", ("symlink", "../../../../../../etc/passwd")),
        ("loop", ("symlink", "loop")),
        ("fifo", ("fifo", "")),
        ("device", ("char", "1:5")),
    ]
    (tmp_path / "a.tar").write_bytes(tar(members))  # type: ignore[arg-type]
    with TarFiles(tmp_path / "a.tar") as files:
        for name in ("sym", "dir/up", "hard"):
            assert files.read(name, limit=10) == b"content", name
        for name in ("absolute", "outside", "climbing", "loop", "fifo", "device", "nothing"):
            assert name not in files, name
            with pytest.raises(NotFound):
                files.read(name, limit=10_000)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"hello, this is no archive" * 100, "is not an archive that can be read"),
        (rawtar.file(b"f", b"x" * 600)[:700], "is not an archive that can be read"),
        (tar({"index.json": b"{}"}), "no file 'oci-layout'"),
        (tar({"manifest.json": b"[]"}), "it is a docker-archive"),
        (tar({"oci-layout": b'{"imageLayoutVersion":"9"}'}), "'9' is not known"),
        (gzip.compress(b"hello" * 1000, mtime=0), "is not an archive that can be read"),
    ],
)
def test_what_is_no_archive_is_said_to_be_none(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(LayoutError, match=message):
        Archive.open(tmp_path / "a.tar")


def test_what_is_no_file_is_said_to_be_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path, message in (
        (tmp_path, "oci:PATH"),
        (tmp_path / "fifo", "regular file"),
        (tmp_path / "x", "no such file"),
    ):
        with pytest.raises(LayoutError, match=message):
            Archive.open(path)


def test_an_archive_without_index_json_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(tar({"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}))
    with Archive.open(tmp_path / "a.tar") as archive, pytest.raises(LayoutError, match=r"no file 'index.json'"):
        archive.index()


def test_a_document_over_the_limit_is_not_read(tmp_path: Path) -> None:
    big = bytes((4 << 20) + 1)
    (tmp_path / "a.tar").write_bytes(tar({"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": big}))
    with Archive.open(tmp_path / "a.tar") as archive, pytest.raises(LimitExceeded):
        archive.index()


def test_tampered_and_missing_blobs_are_found_out(layout: Path, tmp_path: Path) -> None:
    entry = Layout.open(layout).resolve()
    blob = layout / "blobs/sha256" / entry.digest.encoded
    raw = blob.read_bytes()
    for content, error in ((raw[:-1] + b" ", DigestMismatch), (raw + b" ", SizeMismatch)):
        blob.write_bytes(content)
        with Archive.open(pack(layout, tmp_path / "a.tar")) as archive, pytest.raises(error):
            check(archive)
    blob.unlink()
    with Archive.open(pack(layout, tmp_path / "a.tar")) as archive:
        assert not archive.blobs.has(entry.digest)
        with pytest.raises(BlobNotFound), archive.blobs.open(entry):
            pass


# Writing


def written(path: Path) -> bytes:
    one = Descriptor(media_type="a/b", digest=Digest.of(b"one"), size=3)
    with ArchiveWriter(path) as archive:
        archive.put([b"o", b"ne"], one)
        archive.put([b"never read again"], one)
        with archive.writer() as writer:
            writer.write(b"two" * 1000)
            writer.commit()
        with archive.writer() as writer:
            writer.write(b"given up")
        with archive.writer() as writer:
            writer.write(b"one")
            writer.commit(one.digest)
        archive.finish(empty_index().raw, {"note": b"hello"})
    return path.read_bytes()


def test_the_same_blobs_give_the_same_bytes_whatever_the_umask(tmp_path: Path) -> None:
    first = written(tmp_path / "a.tar")
    before = os.umask(0o077)
    try:
        assert written(tmp_path / "b.tar") == first
    finally:
        os.umask(before)


def test_every_reader_of_tar_sees_plain_members(tmp_path: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(written(tmp_path / "a.tar"))) as archive:
        members = archive.getmembers()
        assert [m.name for m in members] == [
            "oci-layout",
            "blobs",
            "blobs/sha256",
            f"blobs/sha256/{Digest.of(b'one').encoded}",
            f"blobs/sha256/{Digest.of(b'two' * 1000).encoded}",
            "index.json",
            "note",
        ]
        assert {(m.mtime, m.uid, m.gid, m.uname) for m in members} == {(0, 0, 0, "")}
        content = archive.extractfile(members[4])
        assert content is not None
        assert content.read() == b"two" * 1000


def test_wrong_bytes_leave_no_archive(tmp_path: Path) -> None:
    def wrong() -> None:
        with ArchiveWriter(tmp_path / "a.tar") as archive:
            archive.put([b"eno"], Descriptor(media_type="a/b", digest=Digest.of(b"one"), size=3))

    with pytest.raises(DigestMismatch):
        wrong()
    assert list(tmp_path.iterdir()) == []
