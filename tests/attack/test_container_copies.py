"""`cp`, `volume import`: archives that want out of where they are unpacked, and links that are exchanged meanwhile."""

from __future__ import annotations

import io
import os
import signal
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from oci.container.copying import copy_in, copy_out, tar_in, tar_out
from oci.container.inside import Inside
from oci.errors import OciError
from oci.linux.files import exchange
from oci.storage.store import Store
from tests.support.containers import busybox_store

FILE, LINK, HARD, DIR, PIPE = (tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE)
Members = list[tuple[str, bytes, str]]
OUT = "../" * 30
ROUNDS = 150


def tar(members: Members) -> list[bytes]:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, kind, text in members:
            info = tarfile.TarInfo(name)
            info.type, info.mode = kind, 0o6755
            if kind == FILE:
                info.size = len(text)
            else:
                info.linkname = text
            archive.addfile(info, io.BytesIO(text.encode()))
    return [buffer.getvalue()]


def hostile(outside: Path) -> dict[str, Members]:
    """Archives, each of which would write or read `outside` if it were believed."""
    away = OUT + str(outside).lstrip("/")
    return {
        "name": [(f"{away}/new", FILE, "x")],
        "absolute": [(f"{outside}/new", FILE, "x")],
        "dots within": [("a", DIR, ""), (f"a/b/../../{away}/new", FILE, "x")],
        "through a link": [("way", LINK, away), ("way/new", FILE, "x")],
        "through an absolute link": [("way", LINK, str(outside)), ("way/new", FILE, "x")],
        "through two links": [("one", LINK, str(outside)), ("two", LINK, "one"), ("two/new", FILE, "x")],
        "a directory over a link": [("way", LINK, away), ("way", DIR, ""), ("way/new", FILE, "x")],
        "hard link out": [("stolen", HARD, f"{away}/secret")],
        "hard link to an absolute name": [("stolen", HARD, f"{outside}/secret"), ("stolen", FILE, "x")],
        "hard link through a link": [("way", LINK, away), ("stolen", HARD, "way/secret")],
        "hard link to a link": [("way", LINK, f"{away}/secret"), ("stolen", HARD, "way"), ("stolen", FILE, "x")],
        "the root as a link": [(".", LINK, away), ("new", FILE, "x")],
        "the root as a pipe": [("./", PIPE, "")],
        "a name with NUL": [("a\0/../b", FILE, "x")],
        "whiteouts": [(".wh.secret", FILE, ""), (".wh..wh..opq", FILE, "")],
    }


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "outside"
    place.mkdir()
    (place / "secret").write_text("TAKEN")
    yield place
    assert os.listdir(place) == ["secret"]
    assert (place / "secret").read_text() == "TAKEN"
    assert os.stat(place / "secret").st_nlink == 1


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Inside]:
    root = tmp_path / "root"
    (root / "dest").mkdir(parents=True)
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    yield Inside(fd)
    os.close(fd)


@pytest.mark.parametrize("name", hostile(Path("/x")))
def test_an_archive_stays_in_the_container(name: str, box: Inside, outside: Path) -> None:
    with suppress(OciError):
        tar_in(tar(hostile(outside)[name]), box, b"/dest")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with busybox_store(tmp_path_factory.mktemp("store") / "store") as opened:
        yield opened


@pytest.mark.parametrize("name", hostile(Path("/x")))
def test_an_archive_stays_in_its_volume(name: str, store: Store, outside: Path) -> None:
    with suppress(OciError):
        store.volumes.load("data", tar(hostile(outside)[name]), force=True)
    assert set(os.listdir(f"{store.root}/volumes")) <= {"data"}


@contextmanager
def exchanging(folder: Path, one: str, other: str) -> Iterator[None]:
    """Two names of a folder exchanged again and again by another process."""
    child = os.fork()
    if child == 0:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        while exchange(fd, one, fd, other):
            pass
        os._exit(1)
    try:
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_links_that_are_exchanged_while_files_are_copied(box: Inside, outside: Path, tmp_path: Path) -> None:
    """CVE-2018-15664: what was a directory when it was looked at is a link when it is opened."""
    root, host = tmp_path / "root", tmp_path / "host"
    for folder in (root, host):
        (folder / "dir/sub").mkdir(parents=True)
        (folder / "dir/secret").write_text("mine")
        (folder / "link").symlink_to(outside)
    (root / "dir/sub/link").symlink_to(f"{OUT}{outside}")
    (tmp_path / "file").write_text("new")
    for folder in (root, root / "dir"):
        with exchanging(folder, "dir" if folder == root else "sub", "link" if folder == root else "secret"):
            for number in range(ROUNDS):
                with suppress(OciError):
                    copy_in(str(tmp_path / "file"), box, b"/dir/sub/new")
                with suppress(OciError):
                    tar_in(tar([("sub/new", FILE, "x"), ("more", DIR, ""), ("h", HARD, "secret")]), box, b"/dir")
                taken = tmp_path / f"taken{folder == root}{number}"
                with suppress(OciError):
                    copy_out(box, b"/dir", str(taken))
                told = bytearray()
                with suppress(OciError):
                    tar_out(box, b"/dir/secret", told.extend)
                if taken.is_symlink():  # that is how cp takes a link which it is given
                    continue
                if (taken / "secret").is_file():
                    assert (taken / "secret").read_text() == "mine"
                assert b"TAKEN" not in told
    for place in ("dir", "link"):
        assert (root / place).is_symlink() or (root / place).is_dir()
