"""`cp`: the table of SRC and DEST, owners, links, volumes."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest

from oci.container.copying import copy_in, copy_out, tar_in
from oci.container.inside import Mounted
from oci.errors import DestinationError, LimitExceeded, NotFound, SourceError, UnsafeEntry, WrongState
from tests.support.copying import archive, files, inside, make_box, make_host
from tests.support.peers import need_mountable_root, need_podman, peer

ROOT = os.geteuid() == 0


@pytest.fixture
def box(tmp_path: Path) -> Path:
    """The tree of a container."""
    return make_box(tmp_path / "box")


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A folder of this machine."""
    return make_host(tmp_path / "host")


# (SRC below the host's folder, DEST in the container, what is new or changed there; None: it fails)
ROWS = [
    ("one", "/srv/new", {"srv/new": "one\n"}),
    ("one", "/srv/new/", None),
    ("one", "/srv/file", {"srv/file": "one\n"}),
    ("one", "/srv/file/", None),
    ("one", "/srv/there", {"srv/there/one": "one\n"}),
    ("one", "/srv/there/", {"srv/there/one": "one\n"}),
    ("one", "/srv/missing/new", None),
    ("one", "/", {"one": "one\n"}),
    ("one", "srv/relative", {"srv/relative": "one\n"}),
    ("one", "/srv/link", {"etc/hosts": "one\n"}),
    ("one", "/srv/dirlink", {"srv/there/one": "one\n"}),
    ("one/", "/srv/new", None),
    ("dir", "/srv/new", {"srv/new/x": "x\n", "srv/new/sub/y": "y\n"}),
    ("dir", "/srv/new/", {"srv/new/x": "x\n", "srv/new/sub/y": "y\n"}),
    ("dir/", "/srv/new", {"srv/new/x": "x\n", "srv/new/sub/y": "y\n"}),
    ("dir/.", "/srv/new", {"srv/new/x": "x\n", "srv/new/sub/y": "y\n"}),
    ("dir", "/srv/file", None),
    ("dir", "/srv/there", {"srv/there/dir/x": "x\n", "srv/there/dir/sub/y": "y\n"}),
    ("dir/", "/srv/there", {"srv/there/dir/x": "x\n", "srv/there/dir/sub/y": "y\n"}),
    ("dir/.", "/srv/there", {"srv/there/x": "x\n", "srv/there/sub/y": "y\n"}),
    ("dir/.", "/srv/there/", {"srv/there/x": "x\n", "srv/there/sub/y": "y\n"}),
    ("dir", "/srv/missing/new", None),
    ("missing", "/srv/new", None),
    ("dir", "/srv/dirlink", {"srv/there/dir/x": "x\n", "srv/there/dir/sub/y": "y\n"}),
]


def contents(root: Path) -> dict[str, str]:
    return {name: (root / name).read_text() for name in files(root) if not (root / name).is_symlink()}


@pytest.mark.parametrize(("source", "dest", "expected"), ROWS)
def test_cp_into_a_container_by_dockers_table(
    source: str, dest: str, expected: dict[str, str] | None, box: Path, host: Path
) -> None:
    before = contents(box)
    with inside(box) as tree:
        if expected is None:
            with pytest.raises((DestinationError, SourceError, NotFound)):
                copy_in(f"{host}/{source}", tree, dest.encode())
            assert contents(box) == before
        else:
            copy_in(f"{host}/{source}", tree, dest.encode())
            assert contents(box) == {**before, **expected}


# The same from the container, whose /src is the directory, to the host, where DEST lies in `there` or beside it.
OUT_ROWS = [
    ("/src/a", "new", {"new": "a\n"}),
    ("/src/a", "new/", None),
    ("/src/a", "one", {"one": "a\n"}),
    ("/src/a", "there", {"there/a": "a\n"}),
    ("/src/a", "missing/new", None),
    ("/src/a/", "new", None),
    ("/src", "new", {"new/a": "a\n", "new/sub/b": "b\n"}),
    ("/src/.", "new", {"new/a": "a\n", "new/sub/b": "b\n"}),
    ("/src", "one", None),
    ("/src", "there", {"there/src/a": "a\n", "there/src/sub/b": "b\n"}),
    ("/src/.", "there", {"there/a": "a\n", "there/sub/b": "b\n"}),
    ("src/", "there/", {"there/src/a": "a\n", "there/src/sub/b": "b\n"}),
    ("/missing", "new", None),
    ("/src/a/x", "new", None),
]


@pytest.mark.parametrize(("source", "dest", "expected"), OUT_ROWS)
def test_cp_out_of_a_container_by_dockers_table(
    source: str, dest: str, expected: dict[str, str] | None, box: Path, host: Path
) -> None:
    before = contents(host)
    with inside(box) as tree:
        if expected is None:
            with pytest.raises((DestinationError, SourceError, NotFound)):
                copy_out(tree, source.encode(), f"{host}/{dest}")
            assert contents(host) == before
        else:
            copy_out(tree, source.encode(), f"{host}/{dest}")
            assert contents(host) == {**before, **expected}


def test_podman_reads_the_table_alike(box: Path, host: Path, tmp_path: Path, vfs: list[str]) -> None:
    need_podman()
    need_mountable_root("podman")
    if not ROOT:
        pytest.skip("a store of podman's for a test alone needs root")
    command = ["podman", *vfs]
    for link, target in (("link", "../etc/hosts"), ("dirlink", "there")):
        (box / "srv" / link).unlink()
        (box / "srv" / link).symlink_to(target)
    rows = tmp_path / "rows"  # each row has a tree of its own, in one container: making containers takes long
    for number in range(len(ROWS)):
        shutil.copytree(box, rows / f"r{number}", symlinks=True)
    before = contents(box)
    differ = []
    try:
        peer("tar", "-C", rows, "-cf", tmp_path / "rows.tar", ".")
        image = peer(*command, "import", "-q", tmp_path / "rows.tar").strip()
        name = peer(*command, "create", image, "true").strip()
        failed = set()
        for number, (source, dest, _) in enumerate(ROWS):
            try:
                peer(*command, "cp", f"{host}/{source}", f"{name}:/r{number}/{dest.removeprefix('/')}")
            except AssertionError:
                failed.add(number)
        root = Path(peer(*command, "mount", name).strip())
        for number, (source, dest, expected) in enumerate(ROWS):
            after = contents(root / f"r{number}")
            new = {path: text for path, text in after.items() if before.get(path) != text}
            if (None if number in failed else new) != expected:
                differ.append((source, dest))
        peer(*command, "umount", name)
    finally:
        peer(*command, "rm", "-f", "-a")
        peer(*command, "rmi", "-f", "-a")
    # Docker's reference makes DEST with what is in SRC, whether a slash ends it or not.
    assert differ == [("dir", "/srv/new/")]


# Attributes


def test_what_comes_in_is_roots_and_keeps_modes_and_times(box: Path, host: Path) -> None:
    os.chmod(host / "one", 0o640)
    os.utime(host / "one", ns=(1, 1_234_567_890_123_456_789))
    os.chmod(host / "dir", 0o750)
    os.utime(host / "dir", ns=(1, 2_000_000_000))
    if ROOT:
        os.chown(host / "one", 1234, 1235)
    with inside(box) as tree:
        copy_in(f"{host}/one", tree, b"/srv/new")
        copy_in(f"{host}/dir", tree, b"/srv/newdir")
        if ROOT:
            copy_in(f"{host}/one", tree, b"/srv/kept", archive=True)
    made = os.stat(box / "srv/new")
    assert (made.st_uid, made.st_gid) == (os.geteuid(), os.getegid())
    assert stat.S_IMODE(made.st_mode) == 0o640
    assert made.st_mtime_ns == 1_234_567_890_123_456_789
    folder = os.stat(box / "srv/newdir")
    assert (stat.S_IMODE(folder.st_mode), folder.st_mtime_ns) == (0o750, 2_000_000_000)
    if ROOT:
        kept = os.stat(box / "srv/kept")
        assert (kept.st_uid, kept.st_gid) == (1234, 1235)


def test_set_id_bits_go_with_a_change_of_owner(box: Path, host: Path) -> None:
    if not ROOT:
        pytest.skip("needs root")
    os.chown(host / "one", 1234, 0)
    os.chmod(host / "one", 0o6755)
    shutil.copy(host / "one", host / "roots")
    os.chmod(host / "roots", 0o4755)
    with inside(box) as tree:
        copy_in(f"{host}/one", tree, b"/srv/new")
        copy_in(f"{host}/roots", tree, b"/srv/roots")
    assert stat.S_IMODE(os.stat(box / "srv/new").st_mode) == 0o2755  # the group is root's before and after
    assert stat.S_IMODE(os.stat(box / "srv/roots").st_mode) == 0o4755


def test_nothing_that_gives_rights_comes_out(box: Path, host: Path) -> None:
    if not ROOT:
        pytest.skip("needs root")
    os.chmod(box / "src/a", 0o4755)
    os.setxattr(box / "src/sub/b", "security.capability", bytes.fromhex("0100000200200000000000000000000000000000"))
    os.setxattr(box / "src/sub/b", "user.note", b"kept")
    os.mknod(box / "src/disk", stat.S_IFBLK | 0o666, os.makedev(7, 200))
    told: list[str] = []
    with inside(box) as tree:
        copy_out(tree, b"/src", f"{host}/new", warn=told.append)
    assert stat.S_IMODE(os.stat(host / "new/a").st_mode) == 0o755
    assert os.listxattr(host / "new/sub/b") == ["user.note"]
    assert not (host / "new/disk").exists()
    assert told == ["left out 1 device, which a container must not put here"]


def test_archive_mode_keeps_owners_on_the_way_out(box: Path, host: Path) -> None:
    if not ROOT:
        pytest.skip("needs root")
    os.chown(box / "src/a", 33, 34)
    with inside(box) as tree:
        copy_out(tree, b"/src/a", f"{host}/plain")
        copy_out(tree, b"/src/a", f"{host}/kept", archive=True)
    assert (os.stat(host / "plain").st_uid, os.stat(host / "kept").st_uid) == (0, 33)


def test_a_directory_that_was_there_keeps_its_mode_as_dest_and_takes_the_new_one_below(box: Path, host: Path) -> None:
    os.chmod(box / "srv", 0o755)
    (host / "dir/there").mkdir(mode=0o711)
    os.chmod(host / "dir", 0o700)
    os.chmod(host / "dir/there", 0o711)
    with inside(box) as tree:
        copy_in(f"{host}/dir/.", tree, b"/srv")
    assert stat.S_IMODE(os.stat(box / "srv").st_mode) == 0o755
    assert stat.S_IMODE(os.stat(box / "srv/there").st_mode) == 0o711


def test_hard_links_holes_and_odd_names_survive(box: Path, host: Path) -> None:
    os.link(host / "dir/x", host / "dir/sub/same")
    with open(host / "dir/holes", "wb") as file:
        file.seek(50 << 20)
        file.write(b"end")
    (host / "dir/.wh.name").write_text("no whiteout")
    os.mkfifo(host / "dir/pipe", 0o620)
    with inside(box) as tree:
        copy_in(f"{host}/dir", tree, b"/srv/new")
        copy_out(tree, b"/srv/new", f"{host}/back")
    for made in (box / "srv/new", host / "back"):
        assert os.stat(made / "x").st_ino == os.stat(made / "sub/same").st_ino
        holes = os.stat(made / "holes")
        assert holes.st_size == (50 << 20) + 3
        assert holes.st_blocks * 512 < 1 << 20
        assert (made / ".wh.name").read_text() == "no whiteout"
        assert stat.S_ISFIFO(os.stat(made / "pipe").st_mode)


# Links


def test_a_link_is_copied_as_one_unless_it_is_followed(box: Path, host: Path) -> None:
    with inside(box) as tree:
        copy_in(f"{host}/link", tree, b"/srv/plain")
        copy_in(f"{host}/link", tree, b"/srv/followed", follow=True)
        copy_in(f"{host}/link", tree, b"/srv/there", follow=True)
        copy_in(f"{host}/dirlink/", tree, b"/srv/dir")
        copy_out(tree, b"/srv/link", f"{host}/plain")
        copy_out(tree, b"/srv/link", f"{host}/followed", follow=True)
        copy_out(tree, b"/srv/dirlink", f"{host}/there", follow=True)
    assert os.readlink(box / "srv/plain") == "one"
    assert (box / "srv/followed").read_text() == (box / "srv/there/link").read_text() == "one\n"
    assert (box / "srv/dir/x").read_text() == "x\n"
    assert os.readlink(host / "plain") == "/etc/hosts"
    assert (host / "followed").read_text() == "inside\n"  # the container's, not this machine's
    assert (host / "there/dirlink").is_dir()


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../../../etc/passwd", "/../etc/passwd"])
def test_a_link_in_a_container_never_leads_to_this_machines_files(target: str, box: Path, host: Path) -> None:
    (box / "srv/out").symlink_to(target)
    with inside(box) as tree:
        with pytest.raises(NotFound, match="no such file"):
            copy_out(tree, b"/srv/out", f"{host}/stolen", follow=True)
        copy_in(f"{host}/one", tree, b"/srv/out")
    assert (box / "etc/passwd").read_text() == "one\n"
    assert not (host / "stolen").exists()


def test_dots_stop_at_the_root(box: Path, host: Path) -> None:
    with inside(box) as tree:
        copy_out(tree, b"/../../../etc/hosts", f"{host}/hosts")
        copy_in(f"{host}/one", tree, b"../../../../one")
        copy_out(tree, b"/srv/dirlink/../file", f"{host}/physical")
    assert (host / "hosts").read_text() == "inside\n"
    assert (box / "one").read_text() == "one\n"
    assert (host / "physical").read_text() == "old\n"


@pytest.mark.usefixtures("deep_trees")
def test_links_that_lead_round_are_one_line(box: Path, host: Path) -> None:
    (box / "loop").symlink_to("loop")
    with inside(box) as tree:
        with pytest.raises(UnsafeEntry, match="symbolic links"):
            copy_out(tree, b"/loop", f"{host}/x", follow=True)
        os.makedirs(f"{box}/{'d/' * 600}")
        with pytest.raises(LimitExceeded, match="directories on the way"):
            copy_out(tree, b"d/" * 600, f"{host}/x")


def test_a_link_in_the_way_of_a_directory_is_not_followed_on_this_machine(box: Path, host: Path) -> None:
    (host / "there/src").symlink_to(host / "dir")
    with inside(box) as tree, pytest.raises(DestinationError, match="is no directory"):
        copy_out(tree, b"/src", f"{host}/there")
    assert files(host / "dir") == ["sub/y", "x"]


def test_a_file_replaces_a_link_below_dest_and_not_what_it_leads_to(box: Path, host: Path) -> None:
    (box / "srv/there/dir").mkdir()
    (box / "srv/there/dir/x").symlink_to("/etc/hosts")
    with inside(box) as tree:
        copy_in(f"{host}/dir", tree, b"/srv/there")
    assert (box / "srv/there/dir/x").read_text() == "x\n"
    assert (box / "etc/hosts").read_text() == "inside\n"


# Volumes


def test_volumes_are_where_the_container_has_them(box: Path, host: Path, tmp_path: Path) -> None:
    data = tmp_path / "volume"
    data.mkdir()
    (data / "kept").write_text("kept\n")
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "deep").write_text("deep\n")
    (data / "in").mkdir()
    (box / "data").symlink_to("srv/there")  # the volume's path leads over a link of the image
    with inside(box, Mounted(target="/data/in", source=str(inner)), Mounted(target="/data", source=str(data))) as tree:
        copy_in(f"{host}/one", tree, b"/srv/there/new")
        copy_in(f"{host}/dir/.", tree, b"/data/in")
        copy_out(tree, b"/data/kept", f"{host}/kept")
        copy_out(tree, b"/srv", f"{host}/srv")
        copy_out(tree, b"/data/in/../kept", f"{host}/up")
    assert (data / "new").read_text() == "one\n"
    assert (inner / "sub/y").read_text() == "y\n"
    assert (host / "kept").read_text() == (host / "up").read_text() == "kept\n"
    assert (host / "srv/there/in/deep").read_text() == "deep\n"
    assert files(box / "srv/there") == []


def test_what_is_read_only_is_refused(box: Path, host: Path, tmp_path: Path) -> None:
    data, free = tmp_path / "volume", tmp_path / "free"
    data.mkdir()
    free.mkdir()
    (box / "data").mkdir()
    with inside(box, Mounted(target="/data", source=str(data), read_only=True)) as tree:
        with pytest.raises(WrongState, match="mounted read-only"):
            copy_in(f"{host}/one", tree, b"/data")
        with pytest.raises(WrongState, match="mounted read-only"):
            tar_in(archive(one="1"), tree, b"/data")
        (host / "all/data").mkdir(parents=True)
        (host / "all/data/x").touch()
        with pytest.raises(WrongState, match="mounted read-only"):
            copy_in(f"{host}/all/.", tree, b"/")
    with inside(box, Mounted(target="/data", source=str(free)), read_only="the read-only root") as tree:
        with pytest.raises(WrongState, match="read-only root"):
            copy_in(f"{host}/one", tree, b"/srv/there")
        copy_in(f"{host}/one", tree, b"/data")
    assert files(data) == []
    assert files(free) == ["one"]


def test_a_file_that_is_mounted_is_read_and_not_replaced(box: Path, host: Path) -> None:
    with inside(box, Mounted(target="/etc/hosts", source=str(host / "one"))) as tree:
        copy_out(tree, b"/etc/hosts", f"{host}/hosts")
        with pytest.raises(WrongState, match="mounted from outside"):
            copy_in(f"{host}/dir/x", tree, b"/etc/hosts")
    assert (host / "hosts").read_text() == "one\n"
