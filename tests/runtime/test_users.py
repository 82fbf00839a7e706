"""User: docker's rules, over passwd and group files that may be anything."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from oci.errors import InvalidInput, LimitExceeded, OciError
from oci.runtime.users import MAX_FILE, User, resolve_user

PASSWD = """root:x:0:0:root:/root:/bin/sh
bin:x:1:1::/bin:
app:x:1000:1001:App:/home/app:/bin/sh
1234:x:77:78::/named/like/a/number:
nohome:x:5:5
"""
GROUP = "root:x:0:\nvideo:x:44:app,bin\napp:x:1001:\naudio:x:29:other,app\nwheel:x:0:app\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(PASSWD)
    (tmp_path / "etc/group").write_text(GROUP)
    return tmp_path


def who(root: Path, text: str | None, group_add: tuple[str, ...] = ()) -> User:
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return resolve_user(fd, text, group_add)
    finally:
        os.close(fd)


@pytest.mark.parametrize(
    ("text", "uid", "gid", "groups", "home", "name"),
    [
        (None, 0, 0, (), "/root", "root"),
        ("", 0, 0, (), "/root", "root"),
        ("0", 0, 0, (), "/root", "root"),
        ("root", 0, 0, (), "/root", "root"),
        ("app", 1000, 1001, (44, 29, 0), "/home/app", "app"),
        ("1000", 1000, 1001, (44, 29, 0), "/home/app", "app"),
        ("app:", 1000, 1001, (44, 29, 0), "/home/app", "app"),
        ("app:video", 1000, 44, (), "/home/app", "app"),
        ("app:44", 1000, 44, (), "/home/app", "app"),
        ("app:4711", 1000, 4711, (), "/home/app", "app"),
        ("4711", 4711, 0, (), "/", ""),
        ("4711:4712", 4711, 4712, (), "/", ""),
        ("4711:video", 4711, 44, (), "/", ""),
        ("1234", 77, 78, (), "/named/like/a/number", "1234"),
        ("nohome", 5, 5, (), "/", "nohome"),
        (":video", 0, 44, (), "/root", "root"),
        ("2147483647", 2147483647, 0, (), "/", ""),
    ],
)
def test_users_as_docker_reads_them(
    root: Path, text: str | None, uid: int, gid: int, groups: tuple[int, ...], home: str, name: str
) -> None:
    assert who(root, text) == User(uid=uid, gid=gid, groups=groups, home=home, name=name)


def test_groups_are_added_by_name_and_by_number(root: Path) -> None:
    assert who(root, "bin", ("audio", "5", "44")).groups == (44, 29, 5)
    with pytest.raises(InvalidInput, match="--group-add 'nosuch': the image's /etc/group has no group 'nosuch'"):
        who(root, "bin", ("nosuch",))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("nosuch", "no such user"),
        ("app:nosuch", "no group 'nosuch'"),
        ("2147483648", "ids go from 0"),
        ("99999999999999999999", "ids go from 0"),
        ("0:2147483648", "ids go from 0"),
        ("-1", "no such user"),
        ("+0", "no such user"),
        ("٣", "no such user"),
        (" 0", "no such user"),
        ("1e3", "no such user"),
        ("0x0", "no such user"),
    ],
)
def test_what_is_no_user_is_one_clear_error(root: Path, text: str, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        who(root, text)


def test_without_passwd_numbers_do(tmp_path: Path) -> None:
    assert who(tmp_path, "7:8") == User(uid=7, gid=8, groups=(), home="/", name="")
    assert who(tmp_path, None) == User(uid=0, gid=0, groups=(), home="/", name="")
    with pytest.raises(InvalidInput, match="no such user"):
        who(tmp_path, "root")


def test_lines_that_are_no_entries_make_nobody_root(root: Path) -> None:
    (root / "etc/passwd").write_text(
        "app\napp:x\napp:x:\napp:x::\napp:x:y:z\napp:x:-1:0\n:x:0:0\n#app:x:0:0::/:\n+app:x:0:0\n"
    )
    with pytest.raises(InvalidInput, match="no such user"):
        who(root, "app")


def test_a_home_that_is_no_path_is_none(root: Path) -> None:
    (root / "etc/passwd").write_text("app:x:1:1::relative:\n")
    assert who(root, "app").home == "/"


# Hostile files


def test_a_passwd_that_links_out_of_the_root_is_looked_for_inside(
    root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "passwd"
    outside.write_text("evil:x:0:0::/evil:\n")
    (root / "etc/passwd").unlink()
    for target in (str(outside), "../../../../../../../../.." + str(outside)):
        (root / "etc/passwd").symlink_to(target)
        with pytest.raises(InvalidInput, match="no such user"):
            who(root, "evil")
        (root / "etc/passwd").unlink()
    (root / "real").write_text(PASSWD)
    (root / "etc/passwd").symlink_to("/real")
    assert who(root, "app").uid == 1000


def test_an_etc_that_links_out_is_looked_for_inside(tmp_path: Path) -> None:
    (tmp_path / "etc").symlink_to("/etc")
    with pytest.raises(OciError):
        who(tmp_path, "root")


@pytest.mark.parametrize(
    "make",
    [os.mkdir, os.mkfifo, lambda path: os.symlink("passwd", path), lambda path: os.symlink("/proc/self/root", path)],
    ids=["directory", "fifo", "loop", "magic"],
)
@pytest.mark.parametrize("name", ["passwd", "group"])
def test_what_is_no_file_is_one_clear_error_or_nothing(root: Path, name: str, make: Callable[[str], None]) -> None:
    (root / f"etc/{name}").unlink()
    make(str(root / f"etc/{name}"))
    user = "app" if name == "group" else "1:video"
    try:
        found = str(who(root, user))
    except InvalidInput as error:
        found = str(error)
    assert f"the image's /etc/{name}" in found or "groups=()" in found


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="makes a device")
def test_a_device_is_not_opened(root: Path) -> None:
    (root / "etc/passwd").unlink()
    os.mknod(root / "etc/passwd", 0o20666, os.makedev(1, 5))
    with pytest.raises(InvalidInput, match="the image's /etc/passwd is not a file"):
        who(root, "app")


def test_a_passwd_of_a_gibibyte_is_not_read(root: Path) -> None:
    with open(root / "etc/passwd", "wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(LimitExceeded, match=f"1073741824, over the limit of {MAX_FILE}"):
        who(root, "app")


def test_bytes_that_are_no_text_do_no_harm(root: Path) -> None:
    (root / "etc/passwd").write_bytes(b"\xff\xfe:x:3:3::/\xff:\n\0\0\0\napp:x:9:9::/a\0b:\n")
    assert who(root, "app") == User(uid=9, gid=9, groups=(44, 29, 0), home="/", name="app")
    (root / "etc/passwd").write_bytes(b"app:x:9:9::/\xff:\n")
    assert who(root, "app").home == "/"
