"""Faults: kill -9 before every single effect of a change, and a full disk. The old state is left, or the new one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from oci.layout.collect import gc
from oci.layout.layout import Layout
from oci.layout.walk import walk
from oci.transports.copy import copy
from oci.transports.from_archive import ArchiveDestination
from oci.transports.names import open_destination, open_source
from tests.support import effects
from tests.support.images import LayoutMaker, tar_layer

EFFECTS = ("open", "write", "fsync", "rename", "mkdir", "unlink", "close", "pwrite")


def killed_before(moment: int, action: Callable[[], object]) -> bool:
    """See effects.py."""
    return effects.killed_before(moment, action, EFFECTS)


def check_whole(layout: Layout) -> None:
    """Everything that index.json leads to is there and verifies."""
    for entry in layout.tags().values():
        for descriptor in walk(layout.blobs, entry):
            with layout.blobs.open(descriptor) as chunks:
                for _ in chunks:
                    pass


@pytest.fixture
def source(tmp_path: Path) -> Path:
    maker = LayoutMaker(tmp_path / "source")
    maker.tag("old", maker.image([tar_layer({"old": b"old" * 1000})]))
    maker.tag("new", maker.image([tar_layer({"old": b"old" * 1000}), tar_layer({"new": os.urandom(2000)})]))
    return maker.finish()


def copied(source: Path, tag: str, target: str) -> None:
    with open_source(f"oci:{source}:{tag}") as opened, open_destination(target) as destination:
        copy(opened, destination)


def test_a_copy_that_is_killed_at_any_moment_leaves_the_old_state_or_the_new(source: Path, tmp_path: Path) -> None:
    seen, moment = set(), 0
    killed = True
    while killed:
        moment += 1
        target = tmp_path / f"target-{moment}"
        copied(source, "old", f"oci:{target}:old")
        # One thread: threads would make the moments differ from run to run.
        killed = killed_before(moment, lambda path=target: copied(source, "new", f"oci:{path}:new"))  # type: ignore[misc]
        layout = Layout.open(target)
        tags = tuple(layout.tags())
        assert tags in (("old",), ("old", "new")), f"killed before effect {moment}"
        seen.add(tags)
        check_whole(layout)
        gc(layout)
        check_whole(layout)
        assert sorted(path.name for path in target.iterdir()) == ["blobs", "index.json", "oci-layout"]
        copied(source, "new", f"oci:{target}:new")  # a repeat works, whatever was left
        check_whole(layout)
        shutil.rmtree(target)
    assert moment > 30
    assert seen == {("old",), ("old", "new")}


def test_a_create_that_is_killed_at_any_moment_can_be_repeated(tmp_path: Path) -> None:
    moment = 1
    while killed_before(moment, lambda: Layout.create(tmp_path / "new", exist_ok=True)):
        Layout.create(tmp_path / "new", exist_ok=True).tag("v1", next(iter_descriptors()))
        assert list(Layout.open(tmp_path / "new").tags()) == ["v1"]
        shutil.rmtree(tmp_path / "new")
        moment += 1
    assert moment > 8


def iter_descriptors() -> object:
    from oci.spec import Descriptor, Digest

    yield Descriptor(media_type="text/plain", digest=Digest.of(b"x"), size=1)


def test_an_archive_that_is_killed_at_any_moment_is_the_old_one_or_the_new(source: Path, tmp_path: Path) -> None:
    archive, moment, killed = tmp_path / "images.tar", 0, True
    copied(source, "old", f"oci-archive:{archive}:old")
    old = archive.read_bytes()
    contents = set()
    while killed:
        moment += 1
        archive.write_bytes(old)
        killed = killed_before(moment, lambda: copied(source, "new", f"oci-archive:{archive}:new"))
        contents.add(archive.read_bytes())
        for left in tmp_path.glob(".tmp-*"):
            left.unlink()
    assert moment > 30
    assert len(contents) == 2
    assert old in contents
    assert archive.read_bytes() != old


def test_a_gc_that_is_killed_at_any_moment_loses_nothing_reachable(source: Path, tmp_path: Path) -> None:
    moment, killed = 0, True
    while killed:
        moment += 1
        target = tmp_path / f"target-{moment}"
        shutil.copytree(source, target)
        Layout.open(target).untag("old")
        killed = killed_before(moment, lambda path=target: gc(Layout.open(path)))  # type: ignore[misc]
        check_whole(Layout.open(target))
        gc(Layout.open(target))
        check_whole(Layout.open(target))
    assert moment > 5


def test_a_failed_archive_leaves_the_old_one_and_no_temporary_file(source: Path, tmp_path: Path) -> None:
    archive = tmp_path / "images.tar"
    copied(source, "old", f"oci-archive:{archive}:old")
    before = archive.read_bytes()

    def interrupted() -> None:
        with ArchiveDestination(archive, tag="new") as destination:
            with destination.writer() as writer:
                writer.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert archive.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"source", "images.tar"}


FULL_DISK = """
    import errno, os, sys
    from oci.layout.layout import Layout
    from oci.layout.collect import gc
    from oci.transports.copy import copy
    from oci.transports.names import open_destination, open_source

    source, disk = sys.argv[1:]

    def copied(tag, target):
        with open_source(f"oci:{source}:{tag}") as opened, open_destination(target) as destination:
            copy(opened, destination)

    copied("old", f"oci:{disk}/layout:old")
    for target in (f"oci:{disk}/layout:big", f"oci-archive:{disk}/images.tar:big"):
        try:
            copied("big", target)
        except OSError as error:
            assert error.errno == errno.ENOSPC, error
        else:
            raise AssertionError("it fitted")
        layout = Layout.open(f"{disk}/layout")
        assert list(layout.tags()) == ["old"]
        assert os.listdir(disk) == ["layout"], os.listdir(disk)
        assert not [name for name in os.listdir(f"{disk}/layout") if name.startswith(".tmp")]
    # The last bytes: blobs fit, index.json doesn't.
    gc(layout)
    filler = os.open(f"{disk}/filler", os.O_WRONLY | os.O_CREAT)
    try:
        while os.write(filler, bytes(4096)):
            pass
    except OSError as error:
        assert error.errno == errno.ENOSPC, error
    try:
        layout.tag("other", layout.resolve("old"))
    except OSError as error:
        assert error.errno == errno.ENOSPC, error
    else:
        raise AssertionError("it fitted")
    assert list(layout.tags()) == ["old"]
    os.close(filler)
    os.unlink(f"{disk}/filler")
    copied("old", f"oci:{disk}/layout:again")
    assert list(layout.tags()) == ["old", "again"]
    print("held")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small file system")
@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare(1) of util-linux")
def test_a_full_disk_leaves_the_old_state_and_nothing_in_the_way(tmp_path: Path) -> None:
    maker = LayoutMaker(tmp_path / "source")
    maker.tag("old", maker.image([tar_layer({"old": b"old" * 1000})]))
    maker.tag("big", maker.image([tar_layer({str(n): os.urandom(1 << 20)}) for n in range(4)]))
    maker.finish()
    disk = tmp_path / "disk"
    disk.mkdir()
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(FULL_DISK))
    mount = f"mount -t tmpfs -o size=2m tmpfs {disk} && exec {sys.executable} {script} {maker.path} {disk}"
    ran = subprocess.run(
        ["unshare", "-m", "sh", "-c", mount],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.stderr.startswith("unshare:") or "permission denied" in ran.stderr or "not permitted" in ran.stderr:
        pytest.skip(f"mounting is not allowed here: {ran.stderr.strip()}")
    assert (ran.stdout, ran.returncode) == ("held\n", 0), ran.stderr
