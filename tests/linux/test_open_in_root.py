"""Opening inside a root: the kernel's way and the one by hand give the same, and neither ever leaves the root."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from oci.linux import files

Opener = Callable[..., int]

HERE = os.O_RDONLY
LOOK = os.O_PATH | os.O_NOFOLLOW
MAKE = os.O_CREAT | os.O_RDWR
NEW = MAKE | os.O_EXCL


def kernel(root_fd: int, path: bytes | str, flags: int, mode: int = 0) -> int:
    if not files._has_openat2():
        pytest.skip("this kernel, or a filter here, has no openat2")
    while True:
        try:
            return files.openat2(root_fd, path, flags, mode, files.RESOLVE_IN_ROOT | files.RESOLVE_NO_MAGICLINKS)
        except BlockingIOError:  # any mount or rename on the machine is enough
            continue


WAYS = [pytest.param(kernel, id="openat2"), pytest.param(files.open_by_hand, id="by hand")]


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    """A tree whose links all try to get out."""
    top = tmp_path / "root"
    (top / "dir" / "sub").mkdir(parents=True)
    (top / "etc").mkdir()
    (top / "etc" / "passwd").write_text("inside")
    (top / "file").write_text("file")
    (tmp_path / "outside").write_text("outside")
    for name, target in {
        "abs": "/etc/passwd",
        "up": "../../../../etc/passwd",
        "deep": "dir/sub/../../up",
        "to_root": "/",
        "dotdot": "..",
        "dirlink": "/dir",
        "dangling": "/dir/new",
        "chain": "/to_root/dirlink/../abs",
        "loop": "loop",
        "one": "two",
        "two": "one",
        "slash": "dir/",
        "fileslash": "file/",
        "dir/sub/climb": "../../../outside",
        "dir/back": "../../../../../../file",
    }.items():
        (top / name).symlink_to(target)
    fd = os.open(top, os.O_PATH | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def said(way: Opener, root_fd: int, path: str, flags: int, mode: int = 0) -> object:
    """What is opened, in words that can be compared: a link, a directory, a file's text; or the error."""
    try:
        fd = way(root_fd, path, flags, mode)
    except OSError as error:
        return errno.errorcode[error.errno or 0] if error.filename == path else f"{error} names another file"
    try:
        assert not os.get_inheritable(fd)
        status = os.fstat(fd)
        if stat.S_ISLNK(status.st_mode):
            return "link", os.readlink("", dir_fd=fd)
        if stat.S_ISDIR(status.st_mode):
            return "directory", sorted(os.listdir(f"/proc/self/fd/{fd}"))
        return "file", status.st_ino if flags & os.O_CREAT else Path(f"/proc/self/fd/{fd}").read_text()
    finally:
        os.close(fd)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "path",
    ["abs", "up", "deep", "chain", "to_root/abs", "/etc/passwd", "../../etc/passwd", "dotdot/abs", "dir/../../../up"],
)
def test_every_way_to_etc_passwd_ends_inside(root: int, way: Opener, path: str) -> None:
    assert said(way, root, path, HERE) == ("file", "inside")


PATHS = """
    abs up deep to_root dotdot dirlink dangling chain loop one slash fileslash file file/ file/. file/.. abs/ slash/
    / . .. ./ ../ /.. //dir///sub// dir/sub/climb dir/back dirlink/sub dirlink/sub/.. dirlink/back missing missing/
    missing/x dangling/ dangling/.. loop/x dir/missing dir/sub/../missing to_root/to_root/to_root/file dir/./sub/.
""".split()  # noqa: SIM905 - they are read more easily so


@pytest.mark.parametrize("path", [*PATHS, ""])
@pytest.mark.parametrize(
    "flags",
    [
        pytest.param(HERE, id="read"),
        pytest.param(HERE | os.O_DIRECTORY, id="directory"),
        pytest.param(HERE | os.O_NOFOLLOW, id="nofollow"),
        pytest.param(os.O_PATH, id="path"),
        pytest.param(LOOK, id="look"),
        pytest.param(LOOK | os.O_DIRECTORY, id="look for a directory"),
        pytest.param(os.O_WRONLY, id="write"),
    ],
)
def test_by_hand_is_as_the_kernel_does_it(root: int, path: str, flags: int) -> None:
    assert said(files.open_by_hand, root, path, flags) == said(kernel, root, path, flags)


@pytest.mark.parametrize("path", [path for path in PATHS if path not in ("abs/", "slash/", "fileslash")])
@pytest.mark.parametrize("flags", [pytest.param(MAKE, id="make"), pytest.param(NEW, id="new")])
def test_files_are_made_where_the_kernel_would_make_them(root: int, path: str, flags: int) -> None:
    seen = []
    for way in (kernel, files.open_by_hand):
        answer = said(way, root, path, flags, 0o640)
        if isinstance(answer, tuple):
            made = sorted(name for name in ("missing", "dir/new", "dir/missing") if _is_there(root, name))
            if made:
                assert stat.S_IMODE(os.stat(made[0], dir_fd=root).st_mode) == 0o640 & ~_umask()
            for name in made:
                os.unlink(name, dir_fd=root)
            answer = "opened", made
        seen.append(answer)
    assert seen[0] == seen[1]


def _is_there(root: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=root, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _umask() -> int:
    now = os.umask(0o022)
    os.umask(now)
    return now


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("link", ["/proc/self/fd/0", "/proc/self/cwd", "/proc/self/root"])
def test_magic_links_of_proc_lead_nowhere(way: Opener, link: str) -> None:
    top = os.open("/", os.O_PATH | os.O_DIRECTORY)
    try:
        assert said(way, top, link, HERE) == "ELOOP"
        assert said(way, top, f"{link}/etc/passwd", HERE) == "ELOOP"
        assert said(way, top, "/proc/self/stat", os.O_PATH) != "ELOOP"
    finally:
        os.close(top)


@pytest.mark.parametrize("way", WAYS)
def test_names_too_long_and_with_nul_are_errors(root: int, way: Opener) -> None:
    assert said(way, root, "x/" * 2048, HERE) == "ENAMETOOLONG"
    assert said(way, root, "x" * 256, HERE) == "ENAMETOOLONG"
    with pytest.raises(OSError, match="NUL byte") as raised:
        way(root, b"file\0/../../outside", HERE)
    assert raised.value.errno == errno.EINVAL


@pytest.mark.parametrize("way", WAYS)
def test_a_deep_tree_needs_few_descriptors(root: int, way: Opener) -> None:
    here = os.dup(root)
    for _ in range(300):
        os.mkdir("d", dir_fd=here)
        here, before = os.open("d", os.O_PATH, dir_fd=here), here
        os.close(before)
    os.close(here)
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 8, hard))
    try:
        assert said(way, root, "d/" * 300 + "../" * 300 + "file", HERE) == ("file", "file")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("way", [pytest.param(files.open_in_root, id="any"), *WAYS[1:]])
def test_a_directory_that_is_moved_out_meanwhile_opens_no_way_out(root: int, way: Opener, tmp_path: Path) -> None:
    (tmp_path / "away").mkdir()
    stop = threading.Event()

    def move() -> None:
        while not stop.is_set():
            os.rename("dir", tmp_path / "away" / "dir", src_dir_fd=root)
            os.rename(tmp_path / "away" / "dir", "dir", dst_dir_fd=root)

    thread = threading.Thread(target=move)
    thread.start()
    try:
        for _ in range(300):
            # Out of tmp_path/away/dir/sub, two levels up would be tmp_path, with "outside" in it.
            answer = said(way, root, "dir/sub/../../outside", HERE)
            assert answer in ("ENOENT", "EAGAIN"), answer
    finally:
        stop.set()
        thread.join()


def test_where_a_filter_refuses_openat2_it_is_done_by_hand(root: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(errno.EPERM, "seccomp", "abs")

    monkeypatch.setattr(files, "openat2", refuse)
    monkeypatch.setattr(files, "_has_openat2", lambda: True)
    assert said(files.open_in_root, root, "abs", HERE) == ("file", "inside")
    monkeypatch.setattr(files, "_has_openat2", lambda: False)
    assert said(files.open_in_root, root, "abs", HERE) == ("file", "inside")


def test_the_kernel_is_asked_again_when_a_rename_came_between(root: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    true = files.openat2

    def twice(*words: object) -> int:
        asked.append(words)
        if len(asked) < 3:
            raise BlockingIOError(errno.EAGAIN, "again")
        return true(*words)  # type: ignore[arg-type]

    files._has_openat2()
    monkeypatch.setattr(files, "openat2", twice)
    assert said(files.open_in_root, root, "abs", HERE) == ("file", "inside")
