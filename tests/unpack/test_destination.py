"""All or nothing: what becomes of the destination, of what was there, and of what killed runs leave."""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from oci.errors import DestinationError, DigestMismatch, UnsafeEntry
from oci.unpack.rootfs import unpack
from tests.support.arena import Arena
from tests.support.layers import TarImage, TarLayer, directory, file, image_of

GOOD = image_of(file(b"etc/hostname", b"box"))


class Late(TarLayer):
    """A layer whose bytes turn out wrong at the very end, as a bad digest does."""

    @contextmanager
    def open(self) -> Iterator[Iterator[bytes]]:
        def chunks() -> Iterator[bytes]:
            yield self.tar
            raise DigestMismatch(expected="sha256:aa", actual="sha256:bb")

        yield chunks()


def test_an_absent_and_an_empty_destination_are_filled(ring: Arena) -> None:
    assert b"etc/hostname" in ring.unpack_image(GOOD)
    ring.unpack(directory(b"."), force=True)
    assert b"etc/hostname" in ring.unpack_image(GOOD)


def test_a_destination_with_content_is_refused_and_kept(ring: Arena) -> None:
    ring.unpack(file(b"mine", b"1"))
    with pytest.raises(DestinationError, match="--force"):
        ring.unpack_image(GOOD)
    assert ring.read("mine") == b"1"
    assert set(ring.unpack_image(GOOD, force=True)) == {b".", b"etc", b"etc/hostname"}


@pytest.mark.parametrize("force", [False, True])
def test_a_bad_digest_leaves_the_destination_as_it_was(ring: Arena, force: bool) -> None:
    if force:
        ring.unpack(file(b"mine", b"1"))
    for bad in (TarImage(Late(file(b"a", b"1"))), TarImage(Late(file(b"a", b"1")), file(b"b", b"2"))):
        with pytest.raises(DigestMismatch):
            ring.unpack_image(bad, force=force)
        assert ring.dest.exists() == force
        ring.check()
    if force:
        assert ring.read("mine") == b"1"


def test_a_refused_entry_leaves_nothing(ring: Arena) -> None:
    with pytest.raises(UnsafeEntry):
        ring.unpack(directory(b"a", 0) + file(b"a/b/c", b"1") + directory(b"a/b", 0o100) + file(b"../x"))
    assert not ring.dest.exists()
    ring.check()
    ring.unpack_image(GOOD)


def test_the_destination_may_be_named_in_any_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert unpack(GOOD, f"{tmp_path}/slash//") == tmp_path / "slash"
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert unpack(GOOD, tmp_path / "link") == tmp_path / "real"
    assert (tmp_path / "link").is_symlink()
    monkeypatch.chdir(tmp_path)
    assert unpack(GOOD, "relative") == tmp_path / "relative"
    assert unpack(GOOD, "n" * 255) == tmp_path / ("n" * 255)
    assert (tmp_path / "relative/etc/hostname").read_bytes() == b"box"


@pytest.mark.parametrize(
    ("dest", "words"),
    [
        ("missing/dest", "make it first"),
        ("file/dest", "not a directory"),
        ("file", "not a directory"),
        ("dangling", "isn't there"),
        ("", "empty"),
    ],
)
def test_a_destination_that_cannot_be_is_explained(tmp_path: Path, dest: str, words: str) -> None:
    (tmp_path / "file").write_bytes(b"1")
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(DestinationError, match=words):
        unpack(GOOD, f"{tmp_path}/{dest}" if dest else "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dangling", "file"]


def test_the_root_directory_is_refused() -> None:
    with pytest.raises(DestinationError):
        unpack(GOOD, "/", force=True)


def test_a_folder_that_cannot_be_written_is_explained(ring: Arena) -> None:
    if not ring.rootless:
        pytest.skip("root may write anywhere")
    mode = stat.S_IMODE(ring.path.stat().st_mode)
    ring.path.chmod(0o555)
    try:
        with pytest.raises(DestinationError, match="can't be written"):
            ring.unpack_image(GOOD)
    finally:
        ring.path.chmod(mode)


def test_what_the_folder_hands_down_does_not_reach_the_image(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs to run as root")
    tmp_path.chmod(0o2777)
    os.chown(tmp_path, 0, 50)
    unpack(image_of(directory(b"d") + file(b"d/f", b"1")), tmp_path / "dest")
    for name in ("dest", "dest/d", "dest/d/f"):
        status = (tmp_path / name).stat()
        assert (status.st_gid, status.st_mode & 0o7000) == (0, 0)


def test_a_killed_run_leaves_the_destination_alone_and_the_next_clears_up(tmp_path: Path) -> None:
    dest = tmp_path / "dest"
    child = os.fork()
    if child == 0:
        try:
            unpack(TarImage(_Endless(file(b"a/b", b"1"))), dest)
        finally:
            os._exit(1)
    while not list(tmp_path.glob(".dest.ocikit-*/a/b")):
        time.sleep(0.01)
    # While it lives, its work is not taken for a leftover.
    unpack(GOOD, dest)
    (left,) = tmp_path.glob(".dest.ocikit-*")
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert left.exists()
    unpack(GOOD, dest, force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["dest"]


class _Endless(TarLayer):
    @contextmanager
    def open(self) -> Iterator[Iterator[bytes]]:
        def chunks() -> Iterator[bytes]:
            yield self.tar[:-1024]
            while True:
                time.sleep(0.05)
                yield file(b"more", b"1")

        yield chunks()


def test_a_former_tree_that_lost_its_name_is_put_back(tmp_path: Path) -> None:
    old = tmp_path / ".dest.ocikit-0123abcd.old"
    old.mkdir()
    (old / "mine").write_bytes(b"1")
    with pytest.raises(UnsafeEntry):
        unpack(image_of(file(b"../x")), tmp_path / "dest")
    assert [path.name for path in tmp_path.rglob("*")] == ["dest", "mine"]


def test_what_only_looks_like_a_leftover_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".dest.ocikit-notes").mkdir()
    (tmp_path / ".dest.ocikit-0123abcd").write_bytes(b"a file")
    (tmp_path / ".other.ocikit-0123abcd").mkdir()
    unpack(GOOD, tmp_path / "dest")
    assert len(list(tmp_path.iterdir())) == 4


def test_a_locked_leftover_is_left_alone(tmp_path: Path) -> None:
    busy = tmp_path / ".dest.ocikit-0123abcd"
    busy.mkdir()
    fd = os.open(busy, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        unpack(GOOD, tmp_path / "dest")
        assert busy.exists()
    finally:
        os.close(fd)


@pytest.mark.parametrize("mode", [0o777, 0o775])
def test_where_others_may_rename_nothing_is_taken_for_a_leftover(tmp_path: Path, mode: int) -> None:
    # They can't delete a directory of ours with its content, but they could have us do it.
    treasure = tmp_path / ".dest.ocikit-0123abcd"
    treasure.mkdir(0o700)
    (treasure / "kept").write_bytes(b"1")
    tmp_path.chmod(mode)
    unpack(GOOD, tmp_path / "dest")
    assert (treasure / "kept").exists()
    tmp_path.chmod(0o1777)
    unpack(GOOD, tmp_path / "dest", force=True)
    assert not treasure.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a folder away")
def test_in_somebody_elses_folder_nothing_is_taken_for_a_leftover(tmp_path: Path) -> None:
    treasure = tmp_path / ".dest.ocikit-0123abcd"
    treasure.mkdir(0o700)
    os.chown(tmp_path, 65534, 65534)
    unpack(GOOD, tmp_path / "dest")
    assert treasure.exists()


@pytest.mark.parametrize("swap", ["link", "directory", "full"])
def test_a_scratch_directory_swapped_at_once_harms_nobody(
    tmp_path: Path, swap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = tmp_path / "host"
    host.write_bytes(b"of the host")
    host.chmod(0o644)
    full = tmp_path / "full"
    full.mkdir(0o700)
    (full / "hello").write_bytes(b"of the host")
    mkdir = os.mkdir

    def race(path: bytes, *arguments: object, **named: object) -> None:
        mkdir(path, *arguments, **named)  # type: ignore[arg-type]
        if b".ocikit-" in path:
            mine = tmp_path / os.fsdecode(path)
            mine.rename(tmp_path / "away")
            if swap == "link":
                mine.symlink_to(host)
            elif swap == "full":
                full.rename(mine)
            else:
                mkdir(mine, 0o777)
                mine.chmod(0o777)

    monkeypatch.setattr(os, "mkdir", race)
    with pytest.raises(DestinationError):
        unpack(GOOD, tmp_path / "dest")
    assert host.stat().st_mode & 0o777 == 0o644
    assert {path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == {b"of the host"}


def test_a_strict_umask_takes_nothing_from_the_caller(tmp_path: Path) -> None:
    before = os.umask(0o777)
    try:
        unpack(GOOD, tmp_path / "dest")
    finally:
        os.umask(before)
    assert (tmp_path / "dest").stat().st_mode & 0o777 == 0o755


def test_an_image_without_layers_is_an_empty_root(ring: Arena) -> None:
    assert set(ring.unpack_image(TarImage())) == {b"."}


def test_each_layer_is_read_once(ring: Arena) -> None:
    image = image_of(file(b"a", b"1"), file(b"b", b"2"))
    unpack_here = ring.rootless or image
    ring.unpack_image(image)
    assert unpack_here is True or [layer.opened for layer in image.layers] == [1, 1]


def test_where_names_cannot_be_exchanged_the_former_tree_goes_aside(
    ring: Arena, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring.unpack(file(b"mine", b"1"))
    monkeypatch.setattr("oci.unpack.rootfs.files.exchange", lambda *_: False)
    assert set(ring.unpack_image(GOOD, force=True)) == {b".", b"etc", b"etc/hostname"}
    ring.check()


def test_a_destination_filled_meanwhile_is_kept(ring: Arena) -> None:
    class Meddling(TarLayer):
        @contextmanager
        def open(self) -> Iterator[Iterator[bytes]]:
            ring.dest.mkdir()
            (ring.dest / "theirs").write_bytes(b"1")
            yield iter([self.tar])

    with pytest.raises(DestinationError, match="filled by another program"):
        ring.unpack_image(TarImage(Meddling(file(b"a", b"1"))))
    assert ring.read("theirs") == b"1"
