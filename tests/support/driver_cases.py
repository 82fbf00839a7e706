"""What containers do to their files, one thing each, and what `changes` must say then, on every driver.

The image is three layers (driver_image.py); the top two hide and replace some of what is below. A case gets the path of
the mounted tree. Where drivers rightly differ (hard links of layers), a case says it.
"""

from __future__ import annotations

import errno
import os
import shutil
import socket
import stat
from collections.abc import Callable
from dataclasses import dataclass

from tests.support.driver_image import BASE

Expected = list[tuple[bytes, str]]


@dataclass(frozen=True)
class Case:
    name: str
    do: Callable[[bytes], object]
    changes: Expected
    copy_changes: Expected | None = None  # of the copy driver, where hard links of the layers are kept
    needs: str = ""  # "ids": other owners; "devices": mknod; "xattrs"
    alike: bool = True  # whether the delta is the same on all drivers
    refused: str = ""  # what the delta is refused with
    fuse: str = ""  # "can't": what fuse-overlayfs refuses; "forgets": what it shows otherwise when it is mounted again


CASES: list[Case] = []


def case(
    changes: Expected,
    *,
    copy: Expected | None = None,
    needs: str = "",
    alike: bool = True,
    refused: str = "",
    fuse: str = "",
) -> Callable[[Callable[[bytes], object]], Callable[[bytes], object]]:
    def add(function: Callable[[bytes], object]) -> Callable[[bytes], object]:
        CASES.append(Case(function.__name__, function, changes, copy, needs, alike, refused, fuse))
        return function

    return add


# Tools


def write(path: bytes, data: bytes, *, append: bool = False) -> None:
    with open(path, "ab" if append else "wb") as file:
        file.write(data)


def read(path: bytes) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def move(old: bytes, new: bytes) -> None:
    """As mv(1): where a directory can't be renamed, it is copied with all its attributes and removed."""
    try:
        os.rename(old, new)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        status = os.lstat(old)
        if stat.S_ISDIR(status.st_mode):
            os.mkdir(new)
            for name in os.listdir(old):
                move(old + b"/" + name, new + b"/" + name)
            os.chown(new, status.st_uid, status.st_gid)
            os.chmod(new, stat.S_IMODE(status.st_mode))
            os.utime(new, ns=(status.st_atime_ns, status.st_mtime_ns))
            os.rmdir(old)
        else:
            os.rename(old, new)


# The cases


@case([])
def nothing_is_done(_root: bytes) -> None:
    pass


@case([])
def everything_is_read(root: bytes) -> None:
    for folder, _, names in os.walk(root):
        for name in names:
            path = folder + b"/" + name
            if stat.S_ISREG(os.lstat(path).st_mode):
                read(path)
            os.listxattr(path, follow_symlinks=False)


@case([])
def opened_for_writing_and_no_more(root: bytes) -> None:
    os.close(os.open(root + b"/etc/passwd", os.O_RDWR))
    os.close(os.open(root + b"/dir/sub/deep/file", os.O_WRONLY | os.O_APPEND))


@case([])
def written_back_equal(root: bytes) -> None:
    write(root + b"/etc/passwd", read(root + b"/etc/passwd"))


@case([])
def mode_changed_and_changed_back(root: bytes) -> None:
    os.chmod(root + b"/dir/sub/deep/file", 0o600)
    os.chmod(root + b"/dir/sub/deep/file", 0o644)


@case([(b"etc/passwd", "modified")])
def mode_of_a_file(root: bytes) -> None:
    os.chmod(root + b"/etc/passwd", 0o600)


@case([(b"dir/sub", "modified")])
def mode_of_a_directory(root: bytes) -> None:
    os.chmod(root + b"/dir/sub", 0o700)


@case([(b"", "modified")])
def mode_of_the_root(root: bytes) -> None:
    os.chmod(root, 0o711)


@case([(b"su", "modified"), (b"tmp", "modified")])
def special_mode_bits(root: bytes) -> None:
    os.chmod(root + b"/su", 0o2755)
    os.chmod(root + b"/tmp", 0o777)


@case([(b"etc/passwd", "modified"), (b"link", "modified"), (b"tree/low", "modified")], needs="ids")
def owners(root: bytes) -> None:
    os.chown(root + b"/etc/passwd", 5, 6)
    os.chown(root + b"/link", 7, 0, follow_symlinks=False)
    os.chown(root + b"/tree/low", 0, 9)


@case([(b"dir", "modified"), (b"etc/conf", "modified"), (b"etc/passwd", "modified")], needs="xattrs")
def attributes_set_and_removed(root: bytes) -> None:
    os.removexattr(root + b"/etc/conf", "user.note")
    os.setxattr(root + b"/etc/passwd", "user.note", b"\0binary")
    os.setxattr(root + b"/dir", "user.note", b"of a directory")


@case([(b"big", "modified")])
def appended_to_a_large_file(root: bytes) -> None:
    write(root + b"/big", b"more", append=True)


@case([(b"big", "modified"), (b"dir/a", "modified")])
def truncated(root: bytes) -> None:
    os.truncate(root + b"/big", 1000)
    write(root + b"/dir/a", b"")


@case([(b"big", "modified"), (b"sparse", "modified")])
def bytes_changed_size_and_time_kept(root: bytes) -> None:
    for name in (b"/big", b"/sparse"):
        status = os.stat(root + name)
        with open(root + name, "r+b") as file:
            file.seek(status.st_size - 1)
            file.write(b"!")
        os.utime(root + name, ns=(status.st_atime_ns, status.st_mtime_ns))


@case([])
def only_the_time(root: bytes) -> None:
    os.utime(root + b"/etc/passwd", ns=(BASE, BASE + 987_654_321))
    os.utime(root + b"/dir/sub", ns=(BASE, BASE + 123_456_789))


@case([(b"dir/a", "deleted"), (b"dir/renamed", "added")])
def file_renamed(root: bytes) -> None:
    os.rename(root + b"/dir/a", root + b"/dir/renamed")


@case([(b"dir/a", "deleted"), (b"dir/b", "modified")])
def file_renamed_over_another(root: bytes) -> None:
    os.rename(root + b"/dir/a", root + b"/dir/b")


@case([])
def file_renamed_and_renamed_back(root: bytes) -> None:
    os.rename(root + b"/dir/a", root + b"/dir/renamed")
    os.rename(root + b"/dir/renamed", root + b"/dir/a")


@case(
    [
        (b"tree/low", "deleted"),
        (b"tree/moved", "added"),
        (b"tree/moved/leaf", "added"),
        (b"tree/moved/leaf2", "added"),
        (b"tree/moved/link", "added"),
    ],
    alike=False,  # two names of one file in a layer: a copy-up makes two files of them
)
def directory_of_a_layer_renamed(root: bytes) -> None:
    move(root + b"/tree/low", root + b"/tree/moved")


@case([(b"new", "added"), (b"new/sub", "added"), (b"new/sub/file", "added")])
def new_directory_renamed(root: bytes) -> None:
    os.makedirs(root + b"/other/sub")
    write(root + b"/other/sub/file", b"1")
    os.rename(root + b"/other", root + b"/new")


@case([(b"etc/again", "added")], alike=False)
def hard_link_to_a_file_of_a_layer(root: bytes) -> None:
    os.link(root + b"/h2", root + b"/etc/again")


@case([(b"dir/again", "added"), (b"dir/third", "added")])
def hard_links_to_a_file_with_one_name(root: bytes) -> None:
    os.link(root + b"/dir/a", root + b"/dir/again")
    os.link(root + b"/dir/again", root + b"/dir/third")


@case([(b"one", "added"), (b"two", "added")])
def hard_links_between_new_files(root: bytes) -> None:
    write(root + b"/two", b"new")
    os.link(root + b"/two", root + b"/one")


@case(
    [(b"h1", "modified")],
    copy=[(b"h1", "modified"), (b"h2", "modified"), (b"h3", "modified")],
    alike=False,
    fuse="forgets",
)
def write_through_one_of_three_names(root: bytes) -> None:
    write(root + b"/h1", b"through", append=True)


@case([(b"h2", "deleted")])
def one_of_three_names_removed(root: bytes) -> None:
    os.unlink(root + b"/h2")


@case([(b"dir/b", "deleted"), (b"etc/passwd", "deleted"), (b"link", "deleted")])
def files_removed(root: bytes) -> None:
    for name in (b"/dir/b", b"/etc/passwd", b"/link"):
        os.unlink(root + name)


@case([(b"dir/sub/deep/other", "deleted")])
def deep_file_removed(root: bytes) -> None:
    os.unlink(root + b"/dir/sub/deep/other")


@case([(b"dir", "deleted"), (b"many", "deleted"), (b"tree", "deleted")])
def directories_removed(root: bytes) -> None:
    for name in (b"/dir", b"/many", b"/tree"):
        shutil.rmtree(root + name)


@case([])
def made_and_removed_again(root: bytes) -> None:
    write(root + b"/etc/short", b"1")
    os.unlink(root + b"/etc/short")
    os.mkdir(root + b"/short")
    os.rmdir(root + b"/short")


@case([(b"opq/w", "added"), (b"opq/z", "deleted")])
def directory_removed_and_made_again(root: bytes) -> None:
    shutil.rmtree(root + b"/opq")
    os.mkdir(root + b"/opq")
    write(root + b"/opq/w", b"w")


@case(
    [
        (b"dir", "modified"),
        (b"dir/a", "modified"),
        (b"dir/b", "deleted"),
        (b"dir/new", "added"),
        (b"dir/sub/deep", "deleted"),
        (b"dir/sub/fresh", "added"),
    ]
)
def directory_made_again_with_some_of_the_names(root: bytes) -> None:
    shutil.rmtree(root + b"/dir")
    os.mkdir(root + b"/dir", 0o755)
    write(root + b"/dir/a", b"another a")
    write(root + b"/dir/new", b"new")
    os.mkdir(root + b"/dir/sub")
    write(root + b"/dir/sub/fresh", b"fresh")


@case([(b"etc/passwd", "modified")])
def removed_and_made_again_otherwise(root: bytes) -> None:
    os.unlink(root + b"/etc/passwd")
    write(root + b"/etc/passwd", b"another\n")


@case([])
def removed_and_made_again_equal(root: bytes) -> None:
    data, status = read(root + b"/etc/passwd"), os.stat(root + b"/etc/passwd")
    os.unlink(root + b"/etc/passwd")
    write(root + b"/etc/passwd", data)
    os.chmod(root + b"/etc/passwd", stat.S_IMODE(status.st_mode))


@case([(b"swap/file", "modified"), (b"swap/file/x", "added")])
def file_replaced_by_a_directory(root: bytes) -> None:
    os.unlink(root + b"/swap/file")
    os.mkdir(root + b"/swap/file")
    write(root + b"/swap/file/x", b"x")


@case([(b"swap/dir", "modified")])
def directory_replaced_by_a_file(root: bytes) -> None:
    shutil.rmtree(root + b"/swap/dir")
    write(root + b"/swap/dir", b"now a file")


@case([(b"swap/dir", "modified"), (b"swap/file", "modified")])
def replaced_by_links(root: bytes) -> None:
    shutil.rmtree(root + b"/swap/dir")
    os.symlink("elsewhere", root + b"/swap/dir")
    os.unlink(root + b"/swap/file")
    os.symlink("/etc/passwd", root + b"/swap/file")


@case([(b"link", "modified")])
def link_replaced_by_a_directory_and_back(root: bytes) -> None:
    os.unlink(root + b"/link")
    os.mkdir(root + b"/link")
    os.rmdir(root + b"/link")
    os.symlink("etc/shadow", root + b"/link")


@case([(b"dir/sub/deep", "modified"), (b"dir/sub/deep/link", "added"), (b"new", "added")])
def links_made(root: bytes) -> None:
    os.symlink("/" + "x" * 300, root + b"/dir/sub/deep/link")
    os.symlink(b"\xff", root + b"/new")
    os.chmod(root + b"/dir/sub/deep", 0o711)


@case([(b"etc/pipe", "added"), (b"pipe", "deleted")])
def pipes(root: bytes) -> None:
    os.mkfifo(root + b"/etc/pipe", 0o600)
    os.unlink(root + b"/pipe")


@case([(b"pipe", "modified")], fuse="can't")
def mode_of_a_pipe_of_a_layer(root: bytes) -> None:
    os.chmod(root + b"/pipe", 0o600)


@case([(b"etc/zero", "added"), (b"loop", "added"), (b"null", "deleted")], needs="devices")
def devices(root: bytes) -> None:
    os.mknod(root + b"/etc/zero", stat.S_IFCHR | 0o660, os.makedev(1, 5))
    os.mknod(root + b"/loop", stat.S_IFBLK | 0o660, os.makedev(7, 3))
    os.unlink(root + b"/null")


@case([(b"etc/passwd", "deleted"), (b"fresh", "added")])
def sockets_are_left_out(root: bytes) -> None:
    os.mkdir(root + b"/fresh")
    os.unlink(root + b"/etc/passwd")
    for name in (b"/fresh/socket", b"/etc/passwd"):
        server = socket.socket(socket.AF_UNIX)
        here = os.open(os.path.dirname(root + name), os.O_PATH | os.O_DIRECTORY)
        server.bind(b"/proc/self/fd/%d/%s" % (here, os.path.basename(name)))
        os.close(here)
        server.close()


@case(
    [
        (b"names/\x01", "added"),
        (b"names/a\tb", "added"),
        (b"names/new\nline", "modified"),
        (b"names/sp ace", "deleted"),
        (b"names/\xfe", "added"),
        (b"names/\xff\xfe", "modified"),
    ]
)
def odd_names(root: bytes) -> None:
    for name in (b"\x01", b"a\tb", b"\xfe"):
        write(root + b"/names/" + name, name)
    os.chmod(root + b"/names/new\nline", 0o600)
    os.unlink(root + b"/names/sp ace")
    write(root + b"/names/\xff\xfe", b"changed")


@case([(b"etc/empty", "added"), (b"vacant", "added"), (b"vacant/sub", "added")])
def empty_ones(root: bytes) -> None:
    os.makedirs(root + b"/vacant/sub")
    write(root + b"/etc/empty", b"")


@case([(b"dir/c", "added")])
def name_that_a_layer_had_removed(root: bytes) -> None:
    write(root + b"/dir/c", b"again")


@case([(b"opq/x", "added")])
def name_below_an_opaque_directory(root: bytes) -> None:
    write(root + b"/opq/x", b"x again")


@case([(b"empty", "modified"), (b"empty/f", "added")])
def times_to_the_nanosecond(root: bytes) -> None:
    write(root + b"/empty/f", b"f")
    os.chmod(root + b"/empty", 0o700)
    os.utime(root + b"/empty/f", ns=(1, 1_234_567_890_987_654_321))
    os.utime(root + b"/empty", ns=(1, 999_999_999))


@case([(b"hole", "added")])
def sparse_file_made(root: bytes) -> None:
    write(root + b"/hole", b"")
    os.truncate(root + b"/hole", 1 << 20)


@case([(b"points", "added"), (b"points/data", "added"), (b"points/data/x", "added")])
def written_below_a_mount_point(root: bytes) -> None:
    write(root + b"/points/data/x", b"x")


@case([])
def mount_points_removed(root: bytes) -> None:
    shutil.rmtree(root + b"/points")
    os.unlink(root + b"/etc/hosts")


@case([(b"etc/hosts", "added"), (b"points", "added")])
def mount_points_changed(root: bytes) -> None:
    write(root + b"/etc/hosts", b"127.0.0.1 localhost\n")
    os.chmod(root + b"/points", 0o700)


def table() -> list[str]:
    """The rows of the table in docs/drivers.md: each case, what `changes` says, and which drivers say so."""
    rows = ["| what is done | `diff` | overlay | fuse-overlayfs | copy |", "| --- | --- | --- | --- | --- |"]
    for one in CASES:
        fuse = {"can't": "refused (EIO)", "forgets": "yes; until the next start all three show it"}.get(one.fuse, "yes")
        copy = "yes" if one.copy_changes is None else _say(one.copy_changes)
        rows.append(f"| {one.name.replace('_', ' ')} | {_say(one.changes)} | yes | {fuse} | {copy} |")
    return rows


def _say(changes: Expected) -> str:
    letters = {"added": "A", "modified": "C", "deleted": "D"}
    shown = [f"{letters[kind]} `/{path.decode('ascii', 'backslashreplace')}`" for path, kind in changes]
    return ", ".join(shown).replace("\n", "\\n").replace("\t", "\\t").replace("\x01", "\\x01") or "nothing"
