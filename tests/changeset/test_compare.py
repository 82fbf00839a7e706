"""Two trees and their changeset: applying it to the first gives the second, for trees made at random."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oci.changeset.compare import compare
from oci.changeset.scan import scan
from oci.changeset.write import write_layer
from oci.errors import UnsafeEntry
from oci.unpack.rootfs import unpack
from tests.support.trees import differences, snapshot

ROOT = os.geteuid() == 0


class Layer:
    """A layer's tar in memory, to be unpacked."""

    def __init__(self, tar: bytes) -> None:
        self.tar = tar

    @contextmanager
    def open(self) -> Iterator[Iterator[bytes]]:
        yield iter([self.tar])


class Image:
    def __init__(self, *tars: bytes) -> None:
        self.layers = tuple(map(Layer, tars))


def tar(entries: object) -> bytes:
    out = bytearray()
    write_layer(entries, out.extend)  # type: ignore[arg-type]
    return bytes(out)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("a", "b"):
        (tmp_path / name).mkdir(mode=0o755)
    return tmp_path / "a", tmp_path / "b"


def settle(*trees: Path) -> None:
    """Give everything one time, so that only what a test changes differs."""
    for tree in trees:
        for path in sorted(tree.rglob("*"), reverse=True):
            os.utime(path, (1_700_000_000, 1_700_000_000), follow_symlinks=False)
        os.utime(tree, (1_700_000_000, 1_700_000_000))


def names(a: Path, b: Path, **options: object) -> list[tuple[bytes, str]]:
    return [(entry.name, entry.kind) for entry, _ in compare(a, b, **options)]  # type: ignore[arg-type]


def test_equal_trees_have_no_changes(pair: tuple[Path, Path]) -> None:
    for tree in pair:
        (tree / "d").mkdir()
        (tree / "d/x").write_text("same")
        (tree / "l").symlink_to("d/x")
    settle(*pair)
    assert names(*pair) == []


def test_added_changed_and_deleted(pair: tuple[Path, Path]) -> None:
    a, b = pair
    for tree in pair:
        (tree / "d").mkdir()
        (tree / "d/same").write_text("same")
        (tree / "d/x").write_text(tree.name)
    (a / "gone").mkdir()
    (a / "gone/below").touch()
    (b / "new").mkdir()
    (b / "new/y").touch()
    settle(*pair)
    assert names(a, b) == [
        (b"d/x", "file"),
        (b".wh.gone", "file"),
        (b"new", "dir"),
        (b"new/y", "file"),
    ]


def test_changed_attributes_alone_are_a_change(pair: tuple[Path, Path]) -> None:
    a, b = pair
    for tree in pair:
        for name in ("mode", "time", "same"):
            (tree / name).touch()
        (tree / "d").mkdir()
    settle(*pair)
    (b / "mode").chmod(0o600)
    (b / "d").chmod(0o700)
    os.utime(b / "time", (1, 1))
    assert names(a, b) == [(b"d", "dir"), (b"mode", "file"), (b"time", "file")]


def test_bytes_are_compared_unless_times_are_trusted(pair: tuple[Path, Path]) -> None:
    a, b = pair
    (a / "x").write_text("old")
    (b / "x").write_text("new")
    settle(*pair)
    assert names(a, b) == [(b"x", "file")]
    assert names(a, b, trust_times=True) == []


def test_large_files_are_compared_to_their_last_byte(pair: tuple[Path, Path]) -> None:
    a, b = pair
    (a / "x").write_bytes(bytes(3 << 20))
    (b / "x").write_bytes(bytes((3 << 20) - 1) + b"\1")
    (a / "y").write_bytes(bytes(3 << 20))
    (b / "y").write_bytes(bytes(3 << 20))
    settle(*pair)
    assert names(a, b) == [(b"x", "file")]


def test_a_directory_that_became_a_file_needs_no_whiteouts(pair: tuple[Path, Path]) -> None:
    a, b = pair
    (a / "d/e").mkdir(parents=True)
    (a / "d/x").touch()
    (b / "d").touch()
    settle(*pair)
    assert names(a, b) == [(b"d", "file")]


def test_a_changed_group_of_hard_links_is_told_in_full(pair: tuple[Path, Path]) -> None:
    a, b = pair
    for tree in pair:
        (tree / "a").write_text("same")
        (tree / "b").hardlink_to(tree / "a")
    (b / "c").hardlink_to(b / "a")
    settle(*pair)
    assert names(a, b) == [(b"a", "file"), (b"b", "hardlink"), (b"c", "hardlink")]


def test_hard_links_taken_apart_are_told(pair: tuple[Path, Path]) -> None:
    a, b = pair
    (a / "a").write_text("same")
    (a / "b").hardlink_to(a / "a")
    (b / "a").write_text("same")
    (b / "b").write_text("same")
    settle(*pair)
    assert names(a, b) == [(b"a", "file"), (b"b", "file")]


def test_a_name_left_out_of_an_unchanged_group_is_only_deleted(pair: tuple[Path, Path]) -> None:
    a, b = pair
    for tree in pair:
        (tree / "a").write_text("same")
        (tree / "b").hardlink_to(tree / "a")
    (a / "c").hardlink_to(a / "a")
    settle(*pair)
    assert names(a, b) == [(b".wh.c", "file")]


def test_what_a_layer_cannot_delete_is_refused(pair: tuple[Path, Path]) -> None:
    a, b = pair
    (a / ".wh.x").touch()
    with pytest.raises(UnsafeEntry, match="whiteout"):
        names(a, b)


# Random trees: a list of steps, each of which may fail to apply and is then left out.
NAMES = st.sampled_from(["a", "b", "c", "é"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
STEPS = st.one_of(
    st.tuples(st.just("file"), PATHS, st.binary(max_size=3)),
    st.tuples(st.just("dir"), PATHS, st.sampled_from([0o755, 0o700, 0o1777])),
    st.tuples(st.just("symlink"), PATHS, st.sampled_from(["a", "../b", "/c"])),
    st.tuples(st.just("fifo"), PATHS, st.just(0)),
    st.tuples(st.just("link"), PATHS, PATHS),
    st.tuples(st.just("chmod"), PATHS, st.sampled_from([0o600, 0o4755])),
    st.tuples(st.just("chown"), PATHS, st.sampled_from([0, 7])),
    st.tuples(st.just("xattr"), PATHS, st.binary(min_size=1, max_size=2)),
    st.tuples(st.just("time"), PATHS, st.sampled_from([0, 1_600_000_000, 1_600_000_001])),
    st.tuples(st.just("remove"), PATHS, st.just(0)),
)


def over_link(root: Path, name: str) -> bool:
    """Whether the way to a name leads over a symbolic link, perhaps out of the tree."""
    parts = name.split("/")[:-1]
    return any((root / "/".join(parts[: n + 1])).is_symlink() for n in range(len(parts)))


def build(root: Path, steps: list[tuple[str, str, object]]) -> None:
    for step in steps:
        if not over_link(root, step[1]):
            with suppress(OSError):  # a step that the tree doesn't allow
                take(root, *step)


def take(root: Path, kind: str, name: str, value: object) -> None:
    path = root / name
    if kind == "file" and not path.is_symlink() and not path.is_fifo():  # a FIFO would wait for a reader
        path.write_bytes(value)  # type: ignore[arg-type]
    elif kind == "dir":
        path.mkdir()
        path.chmod(value)  # type: ignore[arg-type]
    elif kind == "symlink":
        path.symlink_to(str(value))
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "link" and not over_link(root, str(value)):
        os.link(root / str(value), path, follow_symlinks=False)
    elif kind == "chmod" and not path.is_symlink():
        path.chmod(value)  # type: ignore[arg-type]
    elif kind == "chown" and ROOT:
        os.chown(path, value, value, follow_symlinks=False)  # type: ignore[arg-type]
    elif kind == "xattr" and not path.is_symlink():
        os.setxattr(path, "user.test", value, follow_symlinks=False)  # type: ignore[arg-type]
    elif kind == "time":
        os.utime(path, (value, value), follow_symlinks=False)  # type: ignore[arg-type]
    elif kind == "remove" and path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif kind == "remove":
        path.unlink()


@pytest.fixture(scope="module")
def scratch() -> Iterator[Path]:
    place = Path(tempfile.mkdtemp(prefix="ocikit-compare-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
    yield place
    shutil.rmtree(place)


@pytest.mark.skipif(os.geteuid() != 0, reason="looks at files that their owner may not read")
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(STEPS, max_size=10), st.lists(STEPS, max_size=10), st.booleans())
def test_applying_the_changes_from_a_to_b_to_a_gives_b(
    scratch: Path, first: list[tuple[str, str, object]], second: list[tuple[str, str, object]], again: bool
) -> None:
    a, b, dest = scratch / "a", scratch / "b", scratch / "dest"
    try:
        a.mkdir(mode=0o755)
        build(a, first)
        if again:  # B is A, changed; otherwise another tree
            shutil.copytree(a, b, symlinks=True, copy_function=shutil.copy2) if not _special(a) else b.mkdir()
        else:
            b.mkdir(mode=0o755)
        build(b, second)
        owner: Any = "keep" if ROOT else "auto"
        whole = tar(scan(a, mtime="exact", owner=owner))
        changes = tar(compare(a, b, mtime="exact", owner=owner))
        unpack(Image(whole, changes), dest, force=True, rootless=not ROOT)
        left = snapshot(b, owners=ROOT)
        right = snapshot(dest, owners=ROOT)
        assert differences(left, right) == []
    finally:
        for tree in (a, b, dest):
            shutil.rmtree(tree, ignore_errors=True)


def _special(root: Path) -> bool:
    return any(path.is_fifo() for path in root.rglob("*"))
