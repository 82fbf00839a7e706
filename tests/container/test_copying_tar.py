"""`cp` by tar archives, and beside somebody who changes the tree meanwhile: nothing leaves the container."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from oci.container.copying import copy_in, copy_out, tar_in, tar_out
from oci.errors import DestinationError, NotFound, OciError, UnsafeEntry
from oci.linux.files import exchange
from tests.support.copying import archive, files, info, inside, make_box, make_host


@pytest.fixture
def box(tmp_path: Path) -> Path:
    """The tree of a container."""
    return make_box(tmp_path / "box")


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A folder of this machine."""
    return make_host(tmp_path / "host")


def test_a_tar_comes_out_and_goes_in_again(box: Path, host: Path) -> None:
    os.link(box / "src/a", box / "src/sub/same")
    pieces: list[bytes] = []
    with inside(box) as tree:
        tar_out(tree, b"/src", lambda data: pieces.append(bytes(data)))
        with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as tar:
            assert tar.getnames() == ["src", "src/a", "src/sub", "src/sub/b", "src/sub/same"]
        tar_in(pieces, tree, b"/srv/there")
        contents_only: list[bytes] = []
        tar_out(tree, b"/src/.", lambda data: contents_only.append(bytes(data)))
    with tarfile.open(fileobj=io.BytesIO(b"".join(contents_only))) as tar:
        assert tar.getnames()[:2] == [".", "a"]
    assert files(box / "srv/there") == ["src/a", "src/sub/b", "src/sub/same"]
    assert os.stat(box / "srv/there/src/a").st_nlink == 2


def test_a_tar_needs_a_directory(box: Path) -> None:
    with inside(box) as tree:
        for dest in (b"/srv/file", b"/srv/missing"):
            with pytest.raises(DestinationError, match="a directory that is there"):
                tar_in(archive(one="1"), tree, dest)


def test_a_tar_leads_over_links_of_the_container_and_stays_in_it(box: Path, tmp_path: Path) -> None:
    (box / "lib").symlink_to("srv/there")
    (box / "out").symlink_to(f"{tmp_path}/escape")
    (tmp_path / "escape").mkdir()
    with inside(box) as tree:
        tar_in(archive(lib__x="x", new__deep__y="y"), tree, b"/")
        with pytest.raises((NotFound, DestinationError)):
            tar_in(archive(out__z="z"), tree, b"/srv/../out")
    assert (box / "srv/there/x").read_text() == "x"
    assert (box / "new/deep/y").read_text() == "y"
    assert files(tmp_path / "escape") == []


@pytest.mark.parametrize("name", ["../x", "/../x", "a/../../x", "sub/../../../x"])
def test_a_tar_with_dots_is_refused(name: str, box: Path) -> None:
    with inside(box) as tree, pytest.raises(UnsafeEntry):
        tar_in(archive(x=info(name, tarfile.REGTYPE)), tree, b"/srv/there")


def test_a_tar_that_makes_a_link_and_writes_through_it_stays_inside(box: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    members = {"a": info("way", tarfile.SYMTYPE, str(outside)), "b": info("way/x", tarfile.REGTYPE)}
    with inside(box) as tree:
        with pytest.raises(NotFound):  # the container has nothing where its link leads
            tar_in(archive(**members), tree, b"/srv/there")
        (box / str(outside).lstrip("/")).mkdir(parents=True)
        tar_in(archive(**members), tree, b"/srv/there")
        with pytest.raises(OciError):
            tar_in(archive(a=info("hard", tarfile.LNKTYPE, "../../../etc/passwd")), tree, b"/srv/there")
    assert files(outside) == []
    assert (box / str(outside).lstrip("/") / "x").is_file()  # where the container's own link leads


def test_a_tar_of_the_root_itself_changes_nothing_of_it(box: Path) -> None:
    os.chmod(box, 0o755)
    with inside(box) as tree:
        tar_in(archive(a=info("./", tarfile.DIRTYPE, mode=0o700)), tree, b"/")
    assert stat.S_IMODE(os.stat(box).st_mode) == 0o755


# Races


def test_a_process_that_swaps_directories_for_links_gets_nothing_out_or_in(
    box: Path, host: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "a").write_text("secret\n")
    way = box / "way"
    (way / "d").mkdir(parents=True)
    (way / "d/a").write_text("harmless\n")
    (box / "evil").symlink_to(secret)
    over = threading.Event()

    folder = os.open(box, os.O_RDONLY)

    def swap() -> None:
        while not over.is_set():
            exchange(folder, b"evil", folder, b"way/d")

    thread = threading.Thread(target=swap)
    thread.start()
    done = 0
    try:
        with inside(box) as tree:
            for number in range(300):
                works: tuple[tuple[Callable[..., None], tuple[object, ...]], ...] = (
                    (copy_out, (tree, b"/way", f"{host}/out{number}")),
                    (copy_out, (tree, b"/way/d/a", f"{host}/a{number}")),
                    (copy_in, (f"{host}/one", tree, b"/way/d/planted")),
                    (copy_in, (f"{host}/dir/.", tree, b"/way/d")),
                    (tar_in, (archive(d__deep__x="x"), tree, b"/way")),
                )
                for work, arguments in works:
                    with suppress(OciError):
                        work(*arguments)
                        done += 1
    finally:
        over.set()
        thread.join()
        os.close(folder)
    assert done > 100
    assert files(secret) == ["a"]
    assert not [
        name for name in files(host) if "secret" in ((host / name).read_text() if (host / name).is_file() else "")
    ]


def test_a_file_that_grows_or_shrinks_meanwhile_is_copied_as_long_as_it_was(box: Path, host: Path) -> None:
    over = threading.Event()
    (box / "src/log").touch()

    def write() -> None:
        while not over.is_set():
            with open(box / "src/log", "ab") as file:
                file.write(b"line\n" * 1000)
            os.truncate(box / "src/log", 10)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        with inside(box) as tree:
            for number in range(100):
                copy_out(tree, b"/src", f"{host}/out{number}")
                raw = io.BytesIO()
                tar_out(tree, b"/src/log", raw.write)
                raw.seek(0)
                with tarfile.open(fileobj=raw) as tar:
                    assert tar.getnames() == ["log"]
    finally:
        over.set()
        thread.join()
