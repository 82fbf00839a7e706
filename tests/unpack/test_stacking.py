"""Random layers against a second opinion, and against the kernel's overlayfs."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from oci.errors import UnsafeEntry
from oci.unpack.rootfs import unpack
from tests.support.layers import TarImage
from tests.support.stacking import Node, Op, Refused, Unclear, images, members, paths, plain, stack, targets


def look(root: Path) -> dict[bytes, Node]:
    found = {b"": Node("dir")}
    top = os.fsencode(root)
    for folder, directories, files in os.walk(top):
        for name in directories + files:
            full = os.path.join(folder, name)
            path = os.path.relpath(full, top)
            if os.path.islink(full):
                found[path] = Node("symlink", os.readlink(full))
            elif os.path.isdir(full):
                found[path] = Node("dir", mode=os.lstat(full).st_mode & 0o7777)
            elif os.path.exists(full):  # overlayfs lists a whiteout in a directory of one layer, but has nothing there
                with open(full, "rb") as content:
                    found[path] = Node("file", content.read())
    return found


@pytest.fixture(scope="module")
def scratch() -> Iterator[Path]:
    place = Path(
        tempfile.mkdtemp(prefix="ocikit-stacking-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    )
    yield place
    shutil.rmtree(place, ignore_errors=True)


@settings(max_examples=600, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(images())
@example([[Op("file", b"a/b", b"1")], [Op("file", b"a", b"2")], [Op("file", b"a/c", b"3")]])
@example([[Op("symlink", b"a", b"b"), Op("file", b"a/c", b"1")], [Op("file", b"a/b", b"2")]])
@example([[Op("file", b"a", b"1"), Op("hardlink", b"b", b"a")], [Op("file", b"a", b"2")]])
@example([[Op("file", b"a", b"1")], [Op("hardlink", b"b", b"a"), Op("whiteout", b"a")]])
@example([[Op("symlink", b"a", b"b"), Op("file", b"a", b"1"), Op("file", b"a/a", b"2")], [Op("file", b"a/a", b"3")]])
@example([[Op("file", b"a/a", b"1")], [Op("file", b"a", b"2"), Op("file", b"a/b", b"3")], [Op("dir", b"a")]])
def test_an_image_shows_what_its_stacked_layers_show(scratch: Path, layers: list[list[Op]]) -> None:
    dest = scratch / "dest"
    image = TarImage(*map(members, layers))
    try:
        expected = stack(layers)
    except Unclear:
        return
    except Refused:
        with suppress(UnsafeEntry):
            unpack(image, dest, force=True)
        return
    unpack(image, dest, force=True)
    assert plain(look(dest)) == plain(expected)
    assert [path.name for path in scratch.iterdir()] == ["dest"]


def overlay_usable(scratch: Path) -> bool:
    if os.geteuid() != 0 or shutil.which("mount") is None:
        return False
    for name in ("l1", "l2", "m"):
        (scratch / name).mkdir()
    options = f"lowerdir={scratch}/l1:{scratch}/l2"
    done = subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, scratch / "m"], capture_output=True)
    if done.returncode == 0:
        subprocess.run(["umount", scratch / "m"], check=True)
    for name in ("l1", "l2", "m"):
        (scratch / name).rmdir()
    return done.returncode == 0


def build_overlay_layer(place: Path, layer: list[Op]) -> None:
    """A layer as overlayfs keeps it on disk; only for layers without links, whose paths don't meet twice."""
    for op in layer:
        if op.kind == "opaque":
            (place / os.fsdecode(op.path)).mkdir(parents=True, exist_ok=True)
            os.setxattr(place / os.fsdecode(op.path), "trusted.overlay.opaque", b"y")
    for op in layer:
        path = place / os.fsdecode(op.path)
        if op.kind != "opaque":
            path.parent.mkdir(parents=True, exist_ok=True)
        if op.kind == "file":
            path.write_bytes(op.content)
        elif op.kind == "symlink":
            path.symlink_to(os.fsdecode(op.content))
        elif op.kind == "dir":
            path.mkdir(exist_ok=True)
        elif op.kind == "whiteout":
            if path.is_dir():  # whited out and made again in one layer: opaque
                os.setxattr(path, "trusted.overlay.opaque", b"y")
            elif not path.exists() and not path.is_symlink():
                os.mknod(path, 0o020000, 0)


def _whiteouts_last_and_deepest_first(op: Op) -> tuple[bool, int]:
    return op.kind == "whiteout", -op.path.count(b"/")


def overlayable(layer: list[Op]) -> bool:
    """Whether a layer can be put on disk member by member: no path twice, nothing below a file, marks made last."""
    taken = [op.path for op in layer if op.kind in ("file", "symlink")]
    made = [op.path for op in layer if op.kind in ("file", "symlink", "dir")]
    return len(set(made)) == len(made) and not any(
        op.path.startswith(leaf + b"/") or (op.kind == "opaque" and op.path == leaf) for leaf in taken for op in layer
    )


def test_an_image_shows_what_the_kernels_overlayfs_shows(scratch: Path) -> None:
    if not overlay_usable(scratch):
        pytest.skip("overlayfs can't be mounted here (needs root and kernel support)")
    mode = st.just(0o755)
    some = st.one_of(
        st.builds(Op, st.just("file"), paths(), st.binary(min_size=1, max_size=3)),
        st.builds(Op, st.just("dir"), paths(), st.just(b""), mode),
        st.builds(Op, st.just("symlink"), paths(), targets()),
        st.builds(Op, st.just("whiteout"), paths()),
        st.builds(Op, st.just("opaque"), paths()),
    )

    @settings(max_examples=80, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.lists(some, max_size=5).filter(overlayable), min_size=2, max_size=4))
    def compare(layers: list[list[Op]]) -> None:
        # Marks after entries on disk, as `build_overlay_layer` needs them; in a tar their place plays no part.
        ordered = [sorted(layer, key=_whiteouts_last_and_deepest_first) for layer in layers]
        parts = []
        merged = scratch / "merged"
        merged.mkdir()
        try:
            for number, layer in enumerate(ordered):
                part = scratch / f"layer{number}"
                part.mkdir()
                parts.append(part)
                build_overlay_layer(part, layer)
            lower = ":".join(str(part) for part in reversed(parts))
            subprocess.run(["mount", "-t", "overlay", "overlay", "-o", f"lowerdir={lower}", merged], check=True)
            try:
                expected = plain(look(merged))
            finally:
                subprocess.run(["umount", merged], check=True)
            unpack(TarImage(*map(members, layers)), scratch / "dest", force=True)
            assert plain(look(scratch / "dest")) == expected
        finally:
            for part in (*parts, merged):
                shutil.rmtree(part)

    compare()
