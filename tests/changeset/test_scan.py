"""Directories as entries: what is written of them, what isn't, and trees that change or mislead."""

from __future__ import annotations

import os
import resource
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from oci.changeset.scan import Scan, scan
from oci.changeset.write import write_layer
from oci.errors import InvalidInput, SourceError, UnsafeEntry
from oci.tar import Entry, TarReader
from tests.support.users import as_user

T = TypeVar("T")

ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not ROOT, reason="needs to run as root")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    path = tmp_path / "tree"
    path.mkdir(mode=0o755)
    return path


def entries(source: Path, **options: object) -> dict[bytes, Entry]:
    return {entry.name: entry for entry, _ in scan(source, **options)}  # type: ignore[arg-type]


def names(source: Path, **options: object) -> list[bytes]:
    return list(entries(source, **options))


def tar(source: Path, **options: object) -> bytes:
    out = bytearray()
    write_layer(scan(source, **options), out.extend)  # type: ignore[arg-type]
    return bytes(out)


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


# Order and kinds


def test_names_come_in_byte_order_a_subtree_before_its_next_sibling(tree: Path) -> None:
    for name in ("a-b", "a/c", "a/b/d", "é", "Z", "a.d"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).touch()
    (tree / os.fsdecode(b"\xff")).touch()
    assert names(tree) == [b"", b"Z", b"a", b"a/b", b"a/b/d", b"a/c", b"a-b", b"a.d", "é".encode(), b"\xff"]


def test_all_kinds_are_told(tree: Path) -> None:
    (tree / "file").write_bytes(b"hello")
    (tree / "dir").mkdir()
    (tree / "link").symlink_to("nowhere/at all")
    os.mkfifo(tree / "pipe")
    found = entries(tree)
    assert [(name, entry.kind) for name, entry in found.items()] == [
        (b"", "dir"),
        (b"dir", "dir"),
        (b"file", "file"),
        (b"link", "symlink"),
        (b"pipe", "fifo"),
    ]
    assert found[b"link"].linkname == b"nowhere/at all"
    assert found[b"link"].mode == 0o777
    assert found[b"file"].size == 5


@needs_root
def test_devices_keep_their_numbers(tree: Path) -> None:
    os.mknod(tree / "c", 0o020640, os.makedev(300, 70000))
    os.mknod(tree / "b", 0o060640, os.makedev(7, 1))
    found = entries(tree)
    assert (found[b"c"].kind, found[b"c"].devmajor, found[b"c"].devminor) == ("char", 300, 70000)
    assert (found[b"b"].kind, found[b"b"].devmajor, found[b"b"].devminor) == ("block", 7, 1)


def test_a_socket_is_left_out_with_a_warning(tree: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tree / "s"))
        told: list[tuple[bytes, str]] = []
        assert names(tree, warn=lambda path, why: told.append((path, why))) == [b""]
    assert [path for path, _ in told] == [b"s"]
    assert "socket" in told[0][1]


def test_the_first_name_of_a_hard_link_is_the_file(tree: Path) -> None:
    (tree / "b").write_bytes(b"data")
    (tree / "a").hardlink_to(tree / "b")
    (tree / "d").mkdir()
    (tree / "d/c").hardlink_to(tree / "b")
    (tree / "s1").symlink_to("x")
    os.link(tree / "s1", tree / "s2", follow_symlinks=False)
    found = entries(tree, dest=b"opt")
    assert (found[b"opt/a"].kind, found[b"opt/a"].size) == ("file", 4)
    assert (found[b"opt/b"].kind, found[b"opt/b"].linkname) == ("hardlink", b"opt/a")
    assert (found[b"opt/d/c"].kind, found[b"opt/d/c"].linkname) == ("hardlink", b"opt/a")
    assert (found[b"opt/s2"].kind, found[b"opt/s2"].linkname) == ("hardlink", b"opt/s1")


def test_a_hard_link_whose_first_name_is_excluded_is_the_file(tree: Path) -> None:
    (tree / "a").write_bytes(b"data")
    (tree / "b").hardlink_to(tree / "a")
    assert entries(tree, exclude=["a"])[b"b"].kind == "file"


def test_a_sparse_file_is_written_plain(tree: Path) -> None:
    with open(tree / "holes", "wb") as file:
        file.truncate(5 << 20)
        file.seek(3 << 20)
        file.write(b"x")
    ((entry, data),) = list(_with_data(tar(tree, root=False)))
    assert entry.size == 5 << 20
    assert data == bytes(3 << 20) + b"x" + bytes((2 << 20) - 1)


def _with_data(archive: bytes) -> list[tuple[Entry, bytes]]:
    reader = TarReader([archive])
    return [(entry, b"".join(reader.data())) for entry in reader]


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 256 * 1024, 256 * 1024 + 1, (2 << 20) + 3])
def test_content_of_any_size_comes_whole(tree: Path, size: int) -> None:
    content = os.urandom(size)
    (tree / "x").write_bytes(content)
    ((_, data),) = _with_data(tar(tree, root=False))
    assert data == content


def test_ends_of_large_files_are_not_mixed_up(tree: Path) -> None:
    contents = [bytes([number]) * ((256 << 10) + 5) for number in range(4)]
    for number, content in enumerate(contents):
        (tree / str(number)).write_bytes(content)
    assert [data for _, data in _with_data(tar(tree, root=False))] == contents


def test_below_dest_and_without_the_source_itself(tree: Path) -> None:
    (tree / "x").touch()
    assert names(tree, dest=b"/opt//app/") == [b"opt/app", b"opt/app/x"]
    assert names(tree, root=False) == [b"x"]


def test_a_dest_that_leads_out_is_refused(tree: Path) -> None:
    with pytest.raises(UnsafeEntry):
        names(tree, dest=b"../x")


@pytest.mark.parametrize("name", [".wh.x", ".wh..wh..opq", ".wh."])
def test_a_name_that_would_be_a_whiteout_is_refused(tree: Path, name: str) -> None:
    (tree / "d").mkdir()
    (tree / "d" / name).touch()
    with pytest.raises(UnsafeEntry, match="whiteout"):
        names(tree)


# Attributes


@needs_root
def test_the_source_owners_files_become_roots_and_others_keep_their_ids(tree: Path) -> None:
    for name, uid, gid in (("mine", 1000, 100), ("other", 33, 100), ("root", 0, 0)):
        (tree / name).touch()
        os.chown(tree / name, uid, gid)
    os.chown(tree, 1000, 100)
    owners = {name: (entry.uid, entry.gid) for name, entry in entries(tree).items()}
    assert owners == {b"": (0, 0), b"mine": (0, 0), b"other": (33, 0), b"root": (0, 0)}
    kept = {name: (entry.uid, entry.gid) for name, entry in entries(tree, owner="keep").items()}
    assert kept == {b"": (1000, 100), b"mine": (1000, 100), b"other": (33, 100), b"root": (0, 0)}
    assert {(entry.uid, entry.gid) for entry in entries(tree, owner=(5, 6)).values()} == {(5, 6)}


def test_an_owner_noted_by_a_rootless_unpack_is_the_owner(tree: Path) -> None:
    (tree / "x").touch()
    # umoci's: uid 1000, gid "not noted"
    os.setxattr(tree / "x", "user.rootlesscontainers", b"\x08\xe8\x07\x10\xff\xff\xff\xff\x0f")
    entry = entries(tree)[b"x"]
    assert (entry.uid, entry.gid, entry.xattrs) == (1000, 0, None)
    assert entries(tree, owner=(1, 2))[b"x"].uid == 1


def test_all_names_of_a_file_have_the_owner_that_is_noted_on_it(tree: Path) -> None:
    for name in ("a", "plain"):
        (tree / name).touch()
        os.link(tree / name, tree / f"{name}2")
    os.setxattr(tree / "a", "user.rootlesscontainers", b"\x08\x21\x10\x22")
    found = entries(tree, owner=(7, 8))
    assert {(entry.uid, entry.gid) for entry in found.values()} == {(7, 8)}
    found = entries(tree)
    assert found[b"a2"].linkname == b"a"
    assert [(found[name].uid, found[name].gid) for name in (b"a", b"a2", b"plain2")] == [(33, 34), (33, 34), (0, 0)]


def test_a_note_of_an_owner_that_is_none_is_an_error(tree: Path) -> None:
    (tree / "x").touch()
    os.setxattr(tree / "x", "user.rootlesscontainers", b"\x08\xe8")
    with pytest.raises(SourceError, match="rootlesscontainers"):
        names(tree)


def test_extended_attributes_that_mean_the_same_everywhere_are_kept(tree: Path) -> None:
    (tree / "x").touch()
    os.setxattr(tree / "x", "user.note", b"\0\xff")
    os.setxattr(tree / "x", "user.overlay.opaque", b"y")
    os.setxattr(tree, "user.note", b"on a directory")
    found = entries(tree)
    assert found[b"x"].xattrs == {b"user.note": b"\0\xff"}
    assert found[b""].xattrs == {b"user.note": b"on a directory"}


@needs_root
def test_capabilities_are_kept(tree: Path) -> None:
    (tree / "x").touch()
    value = bytes.fromhex("0100000200040000000000000000000000000000")
    os.setxattr(tree / "x", "security.capability", value)
    os.setxattr(tree / "x", "trusted.overlay.opaque", b"y")
    assert entries(tree)[b"x"].xattrs == {b"security.capability": value}


def test_times_are_whole_seconds_exact_or_one_for_all(tree: Path) -> None:
    (tree / "x").touch()
    (tree / "old").touch()
    os.utime(tree / "x", ns=(0, 1_700_000_000_123_456_789))
    os.utime(tree / "old", ns=(0, -1_500_000_000))
    os.utime(tree, ns=(0, 5 * 10**9))

    def times(**options: object) -> list[int]:
        return [entry.mtime_ns for entry in entries(tree, **options).values()]

    assert times() == [5 * 10**9, -2 * 10**9, 1_700_000_000 * 10**9]
    assert times(mtime="exact") == [5 * 10**9, -1_500_000_000, 1_700_000_000_123_456_789]
    assert times(mtime=7) == [7, 7, 7]
    assert times(clamp_mtime=10**9) == [10**9, -2 * 10**9, 10**9]
    assert times(mtime=7, clamp_mtime=3) == [3, 3, 3]


@pytest.mark.parametrize(
    ("mode", "file", "script", "folder"),
    [
        (None, 0o640, 0o750, 0o2755),
        (0o600, 0o600, 0o600, 0o600),
        ("0644", 0o644, 0o644, 0o644),
        ("4755", 0o4755, 0o4755, 0o4755),
        ("u=rwX,go=rX", 0o644, 0o755, 0o755),
        ("a-x", 0o640, 0o640, 0o2644),
        ("o+w,g=", 0o602, 0o702, 0o707),
        ("g+s,o+t", 0o3640, 0o3750, 0o3755),
    ],
)
def test_modes_are_kept_or_as_chmod_says(tree: Path, mode: object, file: int, script: int, folder: int) -> None:
    (tree / "file").touch()
    (tree / "file").chmod(0o640)
    (tree / "script").touch()
    (tree / "script").chmod(0o750)
    (tree / "folder").mkdir()
    (tree / "folder").chmod(0o2755)
    (tree / "link").symlink_to("x")
    found = entries(tree, mode=mode)
    assert [oct(found[name].mode) for name in (b"file", b"script", b"folder", b"link")] == [
        oct(file),
        oct(script),
        oct(folder),
        oct(0o777),
    ]


@pytest.mark.parametrize("mode", ["", "9", "rwx", "u", "+x", 0o10000, -1, "77777"])
def test_a_mode_that_is_none_is_refused(tree: Path, mode: object) -> None:
    with pytest.raises(InvalidInput, match="mode"):
        names(tree, mode=mode)


# Excludes


@pytest.mark.parametrize(
    ("pattern", "left"),
    [
        ("*.pyc", [b"a", b"a/b", b"a/b/x.pyc", b"a/x.py", b"a/x.pyc"]),
        ("**/*.pyc", [b"a", b"a/b", b"a/x.py"]),
        ("a/b", [b"a", b"a/x.py", b"a/x.pyc", b"top.pyc"]),
        ("/a/b/", [b"a", b"a/x.py", b"a/x.pyc", b"top.pyc"]),
        ("a/**", [b"a", b"top.pyc"]),
        ("**/b", [b"a", b"a/x.py", b"a/x.pyc", b"top.pyc"]),
        ("a/?.p[yz]", [b"a", b"a/b", b"a/b/x.pyc", b"a/x.pyc", b"top.pyc"]),
        ("[!t]", [b"top.pyc"]),
        (r"\a", [b"top.pyc"]),
        ("*", []),
        ("nothing", [b"a", b"a/b", b"a/b/x.pyc", b"a/x.py", b"a/x.pyc", b"top.pyc"]),
    ],
)
def test_excluded_paths_are_left_out_with_all_below(tree: Path, pattern: str, left: list[bytes]) -> None:
    (tree / "a/b").mkdir(parents=True)
    for name in ("a/x.py", "a/x.pyc", "a/b/x.pyc", "top.pyc"):
        (tree / name).touch()
    assert names(tree, root=False, exclude=[pattern]) == left
    below = [b"opt/" + name for name in left]
    assert names(tree, root=False, dest=b"opt", exclude=[pattern]) == below


@pytest.mark.parametrize("pattern", ["", "/", "../x", "!a", "[a", "[z-a]"])
def test_a_pattern_that_says_nothing_is_refused(tree: Path, pattern: str) -> None:
    with pytest.raises(InvalidInput, match="exclude pattern"):
        names(tree, exclude=[pattern])


# Trees that change, and other trouble


def after(name: bytes, scanning: Scan, change: Callable[[], object]) -> None:
    """Go on with a scan after doing something to the tree when `name` was handed out."""
    for entry, data in scanning:
        if entry.name == name:
            change()
        for _ in data:
            pass


@pytest.mark.parametrize("size", [100, 3 << 20])
@pytest.mark.parametrize("by", [-1, 1])
def test_a_file_that_changes_its_size_is_an_error_and_no_corrupt_layer(tree: Path, size: int, by: int) -> None:
    (tree / "x").write_bytes(bytes(size))
    scanning = iter(scan(tree, small=0))
    next(scanning)
    entry, data = next(scanning)
    os.truncate(tree / "x", size + by)
    with pytest.raises(SourceError, match=r"x: became (shorter|longer)"):
        write_layer([(entry, data)], len)


def test_a_directory_swapped_for_a_link_is_not_followed(tree: Path, tmp_path: Path) -> None:
    (tree / "a").touch()
    (tree / "d").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").touch()

    def swap() -> None:
        (tree / "d").rmdir()
        (tree / "d").symlink_to(tmp_path / "outside")

    with pytest.raises(SourceError, match="replaced or removed"):
        after(b"a", scan(tree), swap)


def test_a_file_swapped_for_a_link_or_a_pipe_is_not_followed(tree: Path, tmp_path: Path) -> None:
    for make in (lambda: (tree / "b").symlink_to("/etc/passwd"), lambda: os.mkfifo(tree / "b")):
        (tree / "a").touch()
        (tree / "b").touch()

        def swap(make: Callable[[], object] = make) -> None:
            (tree / "b").unlink()
            make()

        with pytest.raises(SourceError, match="replaced"):
            after(b"a", scan(tree), swap)
        (tree / "b").unlink()


def test_a_file_that_vanishes_is_an_error(tree: Path) -> None:
    (tree / "a").touch()
    (tree / "b").touch()
    with pytest.raises(SourceError, match="b: was replaced or removed"):
        after(b"a", scan(tree), (tree / "b").unlink)


def test_a_directory_moved_out_while_inside_it_is_an_error(tree: Path, tmp_path: Path) -> None:
    deep = tree
    for _ in range(140):
        deep = deep / "d"
        deep.mkdir()
    (deep / "x").touch()

    def move() -> None:
        (tmp_path / "elsewhere").mkdir()
        # Of the levels whose descriptors were given back: the way up leads elsewhere now.
        (tree / "d/d/d").rename(tmp_path / "elsewhere/d")

    with pytest.raises(SourceError, match="moved"):
        after(b"d/" * 140 + b"x", scan(tree), move)


def test_thousands_of_levels_take_few_descriptors(tree: Path) -> None:
    fd = os.open(tree, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(os.open("x", os.O_CREAT, dir_fd=fd))
    os.close(fd)
    before = open_descriptors()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before + 200, hard))
    try:
        assert sum(1 for _ in scan(tree)) == 3002
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert open_descriptors() == before
    from oci.changeset.removal import remove_tree

    top = os.open(tree.parent, os.O_RDONLY)
    remove_tree(b"tree", dir_fd=top)
    os.close(top)


def test_deep_branches_give_descriptors_back_in_turn(tree: Path) -> None:
    deep = tree
    for level in range(150):
        (deep / "a").mkdir()
        if level % 10 == 0:
            (deep / "b/c/d").mkdir(parents=True)
        deep = deep / "a"
    before = open_descriptors()
    opened = [open_descriptors() - before for _ in scan(tree)]
    assert len(opened) == 1 + 150 + 15 * 3
    assert max(opened) <= 135
    assert open_descriptors() == before


def test_a_scan_left_early_closes_all_it_opened(tree: Path) -> None:
    (tree / "a/b").mkdir(parents=True)
    (tree / "a/b/x").write_bytes(bytes(3 << 20))
    before = open_descriptors()
    for entry, data in (scanning := iter(scan(tree))):
        if entry.name == b"a/b/x":
            next(iter(data))
            break
    assert open_descriptors() > before
    scanning.close()  # type: ignore[attr-defined]
    assert open_descriptors() == before


@contextmanager
def shared_place() -> Iterator[Path]:
    """A directory that other users can use, which pytest's are not."""
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o1777)
        yield Path(place)


def as_somebody(function: Callable[..., T], *args: object) -> T:
    return as_user(function, *args) if ROOT else function(*args)


@needs_root
def test_what_cannot_be_read_is_named() -> None:
    with shared_place() as place:
        (place / "secret").touch()
        (place / "secret").chmod(0)
        with pytest.raises(SourceError, match=r"secret: can't be read: Permission denied"):
            as_user(names, place)


def closed_tree(place: Path) -> tuple[list[tuple[bytes, int]], list[int]]:
    (place / "d/e").mkdir(parents=True)
    (place / "d/e/x").write_text("x")
    paths = [place / "d/e/x", place / "d/e", place / "d"]
    for path, mode in zip(paths, (0o200, 0o600, 0), strict=True):
        path.chmod(mode)
    found = [(entry.name, entry.mode) for entry, _ in scan(place, root=False)]
    left = []
    for path in reversed(paths):
        left.append(path.stat().st_mode & 0o7777)
        path.chmod(0o700)
    return found, left


def test_an_owner_kept_out_by_modes_reads_and_leaves_them_as_they_were() -> None:
    with shared_place() as place:
        place.joinpath("top").mkdir()
        place.joinpath("top").chmod(0o1777)
        found, left = as_somebody(closed_tree, place / "top")
    assert found == [(b"d", 0), (b"d/e", 0o600), (b"d/e/x", 0o200)]
    assert left == [0, 0o600, 0o200]


def test_content_that_is_not_as_long_as_its_entry_says_is_refused() -> None:
    with pytest.raises(UnsafeEntry, match="3 bytes of data"):
        write_layer([(Entry(b"x", size=4), [b"abc"])], len)


# The same bytes

MAKE = """
import os, sys
from pathlib import Path
from typing import TypeVar
from oci.changeset.scan import scan
from oci.changeset.write import write_layer
import hashlib
root, order = Path(sys.argv[1]), sys.argv[2].split(",")
root.mkdir(mode=0o755, parents=True)
for name in order:
    path = root / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(name)
    path.chmod(0o644)
    os.utime(path, (1_700_000_000, 1_700_000_000))
for path in (root / "d", root):
    path.chmod(0o755)
    os.utime(path, (1_700_000_000, 1_700_000_000))
digest = hashlib.sha256()
write_layer(scan(root), digest.update)
print(digest.hexdigest())
"""


def test_the_bytes_depend_on_the_tree_alone(tmp_path: Path) -> None:
    import subprocess

    def digest(place: str, order: str, *, umask: int, **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", MAKE, str(tmp_path / place), order],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
            umask=umask,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout

    first = digest("one", "a,d/x,é", umask=0o022, TZ="UTC", PYTHONHASHSEED="1", LC_ALL="C.UTF-8")
    second = digest("else/two", "é,d/x,a", umask=0o077, TZ="Asia/Tokyo", PYTHONHASHSEED="2", LC_ALL="C")
    assert first == second


@needs_root
def test_any_users_checkout_gives_the_same_bytes(tree: Path) -> None:
    (tree / "d").mkdir()
    (tree / "d/x").write_text("x")
    for place in (tree / "d/x", tree / "d", tree):
        place.chmod(0o755)
        os.utime(place, (1, 1))
    first = tar(tree)
    for place in (tree / "d/x", tree / "d", tree):
        os.chown(place, 1234, 5678)
    assert tar(tree) == first
