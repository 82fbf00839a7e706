"""Pulling the files of an artifact: what is written, what is kept, and what is left when something fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from oci.artifact.files import Draft, File
from oci.artifact.pack import push
from oci.artifact.pull import Pulled, pull
from oci.errors import DestinationError, InvalidDocument, NotFound
from oci.spec.descriptor import Descriptor
from oci.transports.names import open_destination, open_source
from tests.support.artifacts import TITLE, One, artifact, file, folder, source_of
from tests.support.commands import ROOT
from tests.support.images import OCI_EMPTY, OCI_INDEX, OCI_LAYER_GZIP, descriptor, encode, index, manifest


def pulled(to: Path, *parts: One, **options: Any) -> Pulled:
    source, found = artifact(*parts)
    return pull(source, found, str(to), **options)


def tree(folder: Path) -> dict[str, bytes | None]:
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def test_files_and_folders_come_out_as_they_went_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs/img").mkdir(parents=True)
    (tmp_path / "docs/img/x").write_bytes(os.urandom(300_000))
    (tmp_path / "docs/run").write_text("#!")
    (tmp_path / "docs/run").chmod(0o755)
    (tmp_path / "docs/l").symlink_to("img/x")
    (tmp_path / "a").mkdir()
    (tmp_path / "a/b.bin").write_bytes(os.urandom(2_000_000))
    (tmp_path / "empty").write_bytes(b"")
    words = ["docs", "a/b.bin", "empty", "a:application/vnd.example.tree.tar+gzip"]
    with open_destination("oci-archive:x.tar:v1") as destination:
        push(destination, Draft(files=tuple(map(File.parse, words[:3]))))
    steps: list[int] = []
    with open_source("oci-archive:x.tar") as source:
        made = pull(source, source.resolve(), "out/deep", progress=lambda done, _total, _what: steps.append(done))
    assert [item.where for item in made.items] == ["docs", "a/b.bin", "empty"]
    out = tmp_path / "out/deep"
    assert (out / "docs/img/x").read_bytes() == (tmp_path / "docs/img/x").read_bytes()
    assert (out / "a/b.bin").read_bytes() == (tmp_path / "a/b.bin").read_bytes()
    assert (out / "docs/run").stat().st_mode & 0o777 == 0o755
    assert os.readlink(out / "docs/l") == "img/x"
    assert (out / "empty").read_bytes() == b""
    assert sorted(os.listdir(out)) == ["a", "docs", "empty"]
    assert steps[-1] == sum(item.content.descriptor.size for item in made.items)


def test_the_contents_of_a_whole_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "from"
    (source / "sub").mkdir(parents=True)
    (source / "sub/x").write_text("1")
    (source / "y").symlink_to("sub/x")
    monkeypatch.chdir(source)
    with open_destination(f"oci:{tmp_path}/layout:v1") as destination:
        push(destination, Draft(files=(File.parse("."),)))
    target = tmp_path / "to"
    target.mkdir()
    (target / "mine").write_text("kept")
    for force in (False, True):
        with open_source(f"oci:{tmp_path}/layout:v1") as opened:
            pull(opened, opened.resolve(), str(target), force=force)
        assert tree(target) == {"sub": None, "sub/x": b"1", "y": b"1", "mine": b"kept"}
    with open_source(f"oci:{tmp_path}/layout:v1") as opened, pytest.raises(DestinationError, match="exists already"):
        pull(opened, opened.resolve(), str(target))


def test_what_is_there_is_kept_unless_it_is_to_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "report").write_text("mine")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/old").write_text("old")
    report, docs = file("report", b"new"), folder("docs", {"docs/new": b"1"})
    before = tree(tmp_path)
    for part in (report, docs):
        with pytest.raises(DestinationError, match="--force"):
            pulled(tmp_path, file("other"), part)
        assert tree(tmp_path) == before
    pulled(tmp_path, report, docs, force=True)
    assert tree(tmp_path) == {"report": b"new", "docs": None, "docs/new": b"1"}


def test_a_file_never_replaces_a_directory_nor_a_directory_a_file(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "f").write_text("mine")
    for force in (False, True):
        with pytest.raises(DestinationError, match="would have to be a file"):
            pulled(tmp_path, file("d"), force=force)
        with pytest.raises(DestinationError, match="would have to be one"):
            pulled(tmp_path, folder("f", {"f/x": b"1"}), force=force)
        with pytest.raises(DestinationError, match="is no directory"):
            pulled(tmp_path, file("f/x"), force=force)
    assert tree(tmp_path) == {"d": None, "f": b"mine"}


def test_an_empty_directory_of_that_name_is_room(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    pulled(tmp_path, folder("d", {"d/x": b"1"}))
    assert tree(tmp_path) == {"d": None, "d/x": b"1"}


def test_only_what_is_asked_for(tmp_path: Path) -> None:
    parts = file("a.json", b"1"), file("sub/b.json", b"2"), file("c.txt", b"3"), folder("docs", {"docs/x": b"4"})
    made = pulled(tmp_path / "1", *parts, include=["*.json"])
    assert [item.title for item in made.items] == ["a.json", "sub/b.json"]
    pulled(tmp_path / "2", *parts, include=["c.txt", "docs"])
    assert tree(tmp_path / "2") == {"c.txt": b"3", "docs": None, "docs/x": b"4"}
    with pytest.raises(NotFound, match=r"no title matches; there is: a\.json, c\.txt"):
        pulled(tmp_path / "3", *parts, include=["nothing"])
    assert not (tmp_path / "3").exists()


def test_which_layers_become_directories_can_be_said(tmp_path: Path) -> None:
    marked = folder("d", {"d/x": b"1"})
    # What oras-py pushes: the type alone says that it is a directory.
    unmarked = One(folder("e", {"e/x": b"2"}).data, OCI_LAYER_GZIP, {TITLE: "e"})
    pulled(tmp_path / "1", marked, unmarked)
    assert (tmp_path / "1/d/x").read_bytes() == b"1"
    assert (tmp_path / "1/e").read_bytes() == unmarked.data
    pulled(tmp_path / "2", marked, unmarked, unpacking="always")
    assert (tmp_path / "2/e/x").read_bytes() == b"2"
    pulled(tmp_path / "3", marked, unmarked, unpacking="never")
    assert (tmp_path / "3/d").read_bytes() == marked.data


def test_an_uncompressed_and_a_zstd_directory_are_read_too(tmp_path: Path) -> None:
    import gzip

    import zstandard

    plain = gzip.decompress(folder("d", {"d/x": b"1"}).data)
    notes = folder("d", {"d/x": b"1"}).annotations
    for number, data in enumerate((plain, zstandard.compress(plain))):
        pulled(tmp_path / str(number), One(data, annotations=notes))
        assert (tmp_path / str(number) / "d/x").read_bytes() == b"1"


def test_layers_without_a_title_are_no_files(tmp_path: Path) -> None:
    made = pulled(tmp_path, file("a"), One(b"untitled"))
    assert [str(one.digest) for one in made.untitled] == [descriptor(b"untitled", "x/y")["digest"]]
    with pytest.raises(NotFound, match="none of its 1 layers has a title"):
        pulled(tmp_path / "x", One(b"untitled"))
    assert tree(tmp_path) == {"a": b"x"}


def test_an_artifact_without_files_is_pulled_as_nothing(tmp_path: Path) -> None:
    source, found = source_of(
        manifest(descriptor(b"{}", OCI_EMPTY), [descriptor(b"{}", OCI_EMPTY)], artifactType="a/b"), []
    )
    assert pull(source, found, str(tmp_path / "x")).items == ()
    assert not (tmp_path / "x").exists()


def test_a_config_with_a_title_is_a_file_as_in_oras(tmp_path: Path) -> None:
    config = descriptor(b'{"a":1}', "application/json", annotations={TITLE: "config.json"})
    source, found = source_of(manifest(config, [file("a").descriptor()]), [b'{"a":1}', b"x"])
    pull(source, found, str(tmp_path))
    assert tree(tmp_path) == {"a": b"x", "config.json": b'{"a":1}'}


def test_an_index_has_no_files(tmp_path: Path) -> None:
    source, _ = artifact(file("a"))
    raw = encode(index([]))
    found = Descriptor.from_json(descriptor(raw, OCI_INDEX))
    source.blobs.put((raw,))  # type: ignore[attr-defined]
    with pytest.raises(InvalidDocument, match="an index"):
        pull(source, found, str(tmp_path / "x"))


def test_several_at_once_and_the_first_error_ends_all(tmp_path: Path) -> None:
    parts = [file(f"f{number}", b"%d" % number) for number in range(50)]
    source, found = artifact(*parts)
    source.parallel = 4  # type: ignore[misc]
    pull(source, found, str(tmp_path / "1"))
    assert tree(tmp_path / "1") == {f"f{number}": b"%d" % number for number in range(50)}
    blobs = source.blobs._blobs  # type: ignore[attr-defined]
    wrong = next(name for name, data in blobs.items() if data == b"17")
    blobs[wrong] = b"71"
    with pytest.raises(Exception, match=wrong.encoded):
        pull(source, found, str(tmp_path / "2"))
    assert not (tmp_path / "2").exists()


def test_what_a_killed_pull_left_goes_with_the_next(tmp_path: Path) -> None:
    script = f"""
import sys, time
sys.path.insert(0, {str(ROOT)!r})
from tests.support.artifacts import artifact, file
from oci.artifact.pull import pull
source, found = artifact(file("a"), file("b", b"2"))
opened = source.blobs.open_raw
def slow(descriptor):
    if descriptor.size == 1 and descriptor.digest.encoded.startswith("d4735e"):
        print("now", flush=True)
        time.sleep(60)
    return opened(descriptor)
source.open_raw = slow
pull(source, found, {str(tmp_path / "out")!r})
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"now\n"
        process.kill()
    out = tmp_path / "out"
    assert len(os.listdir(out)) == 1
    assert os.listdir(out)[0].startswith(".pull.ocikit-")
    pulled(out, file("c"))
    assert tree(out) == {"c": b"x"}


def test_a_folder_of_many_files_in_any_order(tmp_path: Path) -> None:
    entries = {f"d/{number % 50}/{number}": b"x" for number in range(1000)}
    pulled(tmp_path, folder("d", entries))
    assert sum(1 for path in tmp_path.rglob("*") if path.is_file()) == 1000
