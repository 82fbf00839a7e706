"""Documents and layouts made to cost time or to confuse: every one gets one sentence, soon."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from oci.errors import LayoutError, LimitExceeded
from oci.layout.collect import gc
from oci.layout.layout import Layout
from oci.layout.tar_files import TarFiles
from oci.spec.digest import Digest
from oci.verification.verify import verify
from tests.support import rawtar


def test_an_index_of_a_hundred_thousand_bad_entries_is_judged_in_linear_time(tmp_path: Path) -> None:
    Layout.create(tmp_path / "layout")
    entries = ",".join(["{}"] * 100_000)
    (tmp_path / "layout/index.json").write_text(f'{{"schemaVersion":2,"manifests":[{entries}]}}')
    before = time.process_time()
    report = verify(tmp_path / "layout")
    assert time.process_time() - before < 20  # comparing each fault with each took hours
    assert not report.ok
    assert len(report.findings) < 500


@pytest.mark.parametrize("name", ["index.json", "oci-layout"])
def test_a_directory_in_place_of_a_file_is_named(tmp_path: Path, name: str) -> None:
    Layout.create(tmp_path / "layout")
    (tmp_path / "layout" / name).unlink()
    (tmp_path / "layout" / name).mkdir()
    with pytest.raises(LayoutError, match=f"{name}: is not a regular file"):
        Layout.open(tmp_path / "layout").index()


def test_a_blob_of_nothing_but_a_hole_is_not_hashed_for_years(tmp_path: Path) -> None:
    with Layout.create(tmp_path / "layout") as layout:
        path = layout.blobs.blob_path(Digest("sha256", "a" * 64))
        with open(path, "wb") as file:
            os.truncate(file.fileno(), 1 << 42)
    report = verify(tmp_path / "layout")
    assert any("bytes of holes" in finding.message for finding in report.findings)


def test_a_member_of_nothing_but_a_hole_is_not_read_for_years(tmp_path: Path) -> None:
    records = ((b"major", b"0"), (b"minor", b"1"), (b"size", b"%d" % (1 << 62)), (b"numblocks", b"0"), (b"map", b""))
    archive = rawtar.pax(*((b"GNU.sparse." + key, value) for key, value in records)) + rawtar.header(b"f")
    (tmp_path / "a.tar").write_bytes(archive + rawtar.END)
    with (
        TarFiles(tmp_path / "a.tar") as files,
        pytest.raises(LimitExceeded, match="bytes of holes in f"),
        files.open("f") as chunks,
    ):
        next(chunks)


@pytest.mark.parametrize("link", ["blobs", "blobs/sha256"])
def test_gc_deletes_nothing_behind_a_link(tmp_path: Path, link: str) -> None:
    for name in ("mine", "hostile"):
        Layout.create(tmp_path / name).close()
    with Layout.open(tmp_path / "mine") as mine:
        digest, _ = mine.blobs.put([b"precious"])
    (tmp_path / "hostile/blobs/sha256").rmdir()
    if link == "blobs":
        (tmp_path / "hostile/blobs").rmdir()
    (tmp_path / "hostile" / link).symlink_to(tmp_path / "mine" / link)
    with pytest.raises(LayoutError, match="nothing was removed"):
        gc(Layout.open(tmp_path / "hostile"))
    assert mine.blobs.has(digest)
