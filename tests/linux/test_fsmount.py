"""Overlay mounts: by the newer calls and by mount(2), both with hostile names and with more layers than anybody has."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from oci.linux import calls, fsmount, mounts, namespaces
from tests.support.namespaces import need_mounts, need_overlay, need_user_namespaces, rootless
from tests.support.users import in_child

WAYS = [pytest.param(fsmount.overlay, id="fsopen"), pytest.param(fsmount.overlay_by_mount, id="mount")]
LAYERS = 500  # OVL_MAX_STACK, the kernel's own bound

Overlay = Callable[..., int | None]


def apart(work: Callable[[], None]) -> None:
    """Run it where mounts go by themselves."""

    def call() -> None:
        namespaces.unshare_mounts()
        work()

    in_child(call)


def tree(folder: Path, *names: str) -> list[str]:
    """Lower layers, each with a file that has its number, and a file that all have."""
    made = []
    for number, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        (folder / name / f"own{number}").write_text(str(number))
        (folder / name / "all").write_text(str(number))
        made.append(str(folder / name))
    return made


def listing(fd: int) -> list[str]:
    return sorted(os.listdir(f"/proc/self/fd/{fd}"))


@pytest.mark.parametrize("way", WAYS)
def test_the_first_layer_is_the_top_one(way: Overlay, tmp_path: Path) -> None:
    need_overlay()
    lowers = tree(tmp_path, "a", "b", "c")
    fd = way(lowers, None, None, options={}, target=None)
    assert fd is not None
    assert listing(fd) == ["all", "own0", "own1", "own2"]
    with open(f"/proc/self/fd/{fd}/all") as file:
        assert file.read() == "0"
    with pytest.raises(OSError, match="Read-only"):
        os.open("new", os.O_CREAT | os.O_WRONLY, dir_fd=fd)
    os.close(fd)


HOSTILE = [
    "co:lon",
    "com,ma",
    "back\\slash",
    "spa ce",
    ":",
    ",",
    "\\",
    "a\\:b",
    "tab\tnew\nline",
    "ünï",
    'quo"te',
    "x" * 250,
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("rounds", [1, 3])
def test_names_mean_nothing(way: Overlay, rounds: int, tmp_path: Path) -> None:
    """However long their paths are, too: the third round's have more than fsconfig takes as text."""
    need_overlay()
    folder = tmp_path.joinpath(*["p:,\\ " + "y" * 200] * rounds)
    lowers = tree(folder, *HOSTILE)
    upper, work, target = folder / "up,:\\per", folder / "wo,:\\rk", folder / "tar,:\\ get"
    for each in (upper, work, target):
        each.mkdir()

    def check() -> None:
        assert way(lowers, str(upper), str(work), options={"index": "off"}, target=str(target)) is None
        assert sorted(os.listdir(target)) == sorted(["all", *(f"own{n}" for n in range(len(HOSTILE)))])
        (target / "written").write_text("w")
        mount = mounts.mounts()[-1]
        assert (mount.target, mount.fstype, mount.source) == (str(target), "overlay", "overlay")
        mounts.unmount(target)

    apart(check)
    assert (upper / "written").read_text() == "w"


@pytest.mark.parametrize("way", WAYS)
def test_as_many_layers_as_the_kernel_stacks(way: Overlay, tmp_path: Path) -> None:
    need_overlay()
    lowers = tree(tmp_path / ("long name " * 10), *[f"{number:064x}/fs" for number in range(LAYERS)])
    for name in ("upper", "work"):
        (tmp_path / name).mkdir()

    def check() -> None:
        fd = way(lowers, str(tmp_path / "upper"), str(tmp_path / "work"), options={}, target=None)
        assert fd is not None
        assert len(listing(fd)) == LAYERS + 1

    apart(check)


@pytest.mark.parametrize("way", WAYS)
def test_a_detached_mount_is_seen_by_nobody_and_can_be_written(way: Overlay, tmp_path: Path) -> None:
    need_overlay()
    [lower] = tree(tmp_path, "lower")
    for name in ("upper", "work"):
        (tmp_path / name).mkdir()
    before = mounts.mounts()
    fd = way([lower], str(tmp_path / "upper"), str(tmp_path / "work"), options={}, target=None)
    assert fd is not None
    assert not os.get_inheritable(fd)
    assert stat.S_ISDIR(os.fstat(fd).st_mode)
    assert mounts.mounts() == before
    assert sorted(os.listdir(lower)) == ["all", "own0"]
    os.unlink("own0", dir_fd=fd)
    os.rename("all", "renamed", src_dir_fd=fd, dst_dir_fd=fd)
    os.close(fd)
    assert stat.S_ISCHR((tmp_path / "upper" / "own0").lstat().st_mode)
    assert (tmp_path / "upper" / "renamed").read_text() == "0"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("ranges", [pytest.param(True, id="ranges"), pytest.param(False, id="single id")])
def test_an_ordinary_user_mounts_in_his_namespace(way: Overlay, ranges: bool) -> None:
    need_overlay()

    def check() -> list[str]:
        [lower] = tree(Path.cwd(), "lower")
        for name in ("upper", "work", "merged"):
            Path(name).mkdir()
        options = {"userxattr": None}
        assert way([lower], os.path.abspath("upper"), "work", options=options, target="merged") is None
        Path("merged/own0").unlink()
        mounts.unmount("merged")
        fd = way([lower], "upper", "work", options=options, target=None)
        assert fd is not None
        return listing(fd)

    assert rootless(check, ranges=ranges) == ["all"]


@pytest.mark.parametrize("way", WAYS)
def test_attributes_and_read_only_hold(way: Overlay, tmp_path: Path) -> None:
    need_overlay()
    [lower] = tree(tmp_path, "lower")
    for name in ("upper", "work", "merged"):
        (tmp_path / name).mkdir()

    def check() -> None:
        way(
            [lower],
            str(tmp_path / "upper"),
            str(tmp_path / "work"),
            options={"ro": None},
            target=str(tmp_path / "merged"),
            attributes=mounts.MOUNT_ATTR_NODEV | mounts.MOUNT_ATTR_NOSUID,
        )
        mount = mounts.mounts()[-1]
        assert {"nodev", "nosuid"} <= set(mount.options)
        assert "ro" in mount.super_options
        with pytest.raises(OSError, match="Read-only"):
            (tmp_path / "merged" / "new").write_text("")

    apart(check)


def test_a_kernel_without_fsopen_gets_the_older_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_overlay()
    lowers = tree(tmp_path, "a", "b")
    true = calls.syscall
    for refused, code in (("fsopen", errno.ENOSYS), ("fsopen", errno.EPERM), ("fsconfig", errno.EINVAL)):

        def without(name: str, *words: Any, refused: str = refused, code: int = code, **named: Any) -> int:
            if name == refused:
                raise OSError(code, "refused")
            return true(name, *words, **named)

        monkeypatch.setattr(calls, "syscall", without)
        fd = fsmount.overlay(lowers, None, None, options={}, target=None)
        assert fd is not None
        assert listing(fd) == ["all", "own0", "own1"]
        os.close(fd)


def test_a_kernel_that_takes_no_descriptors_gets_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux 6.7 to 6.12."""
    need_overlay()
    folder = tmp_path.joinpath("p:,\\ q")
    lowers = tree(folder, *HOSTILE, "x/" + "y" * 250)
    for name in ("up\\per", "wo\\rk"):
        (folder / name).mkdir()
    true = calls.syscall

    def without(name: str, *words: Any, **named: Any) -> int:
        if name == "fsconfig" and words[1] == 5:
            raise OSError(errno.EINVAL, "no descriptors")
        return true(name, *words, **named)

    monkeypatch.setattr(calls, "syscall", without)
    monkeypatch.setattr(fsmount, "overlay_by_mount", None)
    fd = fsmount.overlay(lowers, str(folder / "up\\per"), str(folder / "wo\\rk"), options={}, target=None)
    assert fd is not None
    assert len(listing(fd)) == len(lowers) + 1
    os.close(fd)


def test_a_refusal_says_what_the_kernel_says_of_it(tmp_path: Path) -> None:
    need_overlay()
    lowers = tree(tmp_path, "a", "b")
    with pytest.raises(OSError, match="nonsense") as raised:
        fsmount.overlay(lowers, None, None, options={"nonsense": "1"}, target=None)
    assert raised.value.errno == errno.EINVAL
    with pytest.raises(FileNotFoundError) as missing:
        fsmount.overlay([*lowers, str(tmp_path / "gone")], None, None, options={}, target=None)
    assert missing.value.filename == str(tmp_path / "gone")
    with pytest.raises(FileNotFoundError) as target:
        fsmount.overlay(lowers, None, None, options={}, target=str(tmp_path / "nowhere"))
    assert target.value.filename == str(tmp_path / "nowhere")
    with pytest.raises(OSError, match="comma"):
        fsmount.overlay_by_mount(lowers, None, None, options={"index": "off,upperdir=/"}, target=None)
    with pytest.raises(OSError, match=r"unknown filesystem|No such device") as nodev:
        fsmount.detached("nosuchfs", {})
    assert nodev.value.errno == errno.ENODEV


def test_no_descriptor_is_left_behind(tmp_path: Path) -> None:
    need_overlay()
    lowers = tree(tmp_path, *[f"l{n}" for n in range(20)])
    for way in (fsmount.overlay, fsmount.overlay_by_mount):
        before = sorted(os.listdir("/proc/self/fd"))
        fd = way(lowers, None, None, options={}, target=None)
        assert fd is not None
        os.close(fd)
        with pytest.raises(OSError, match=r".") as _:
            way(lowers, None, None, options={"nonsense": "1"}, target=None)
        assert sorted(os.listdir("/proc/self/fd")) == before


def test_a_tree_is_copied_and_shown_elsewhere(tmp_path: Path) -> None:
    need_mounts()
    (tmp_path / "from" / "below").mkdir(parents=True)
    (tmp_path / "to").mkdir()
    (tmp_path / "file").write_text("1")
    (tmp_path / "file2").write_text("2")

    def check() -> None:
        mounts.mount("tmpfs", tmp_path / "from" / "below", "tmpfs")
        (tmp_path / "from" / "below" / "x").write_text("x")
        fd = fsmount.open_tree(tmp_path / "from", recursive=True)
        mounts.set_attributes(fd, mounts.MOUNT_ATTR_RDONLY, recursive=True)
        fsmount.attach(fd, tmp_path / "to")
        assert (tmp_path / "to" / "below" / "x").read_text() == "x"
        with pytest.raises(OSError, match="Read-only"):
            (tmp_path / "to" / "below" / "y").write_text("y")
        mounts.set_attributes(tmp_path / "to", clear=mounts.MOUNT_ATTR_RDONLY)
        (tmp_path / "to" / "y").write_text("y")
        one = fsmount.open_tree(tmp_path / "file")
        at = os.open(tmp_path / "file2", os.O_PATH)
        fsmount.attach(one, "", dir_fd=at)
        assert (tmp_path / "file2").read_text() == "1"

    apart(check)


def test_a_detached_tmpfs_lives_as_long_as_its_descriptor() -> None:
    need_user_namespaces()

    def check() -> str:
        fd = fsmount.detached("tmpfs", {"size": "64k", "mode": "700"}, mounts.MOUNT_ATTR_NOEXEC)
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        assert os.fstatvfs(fd).f_flag & os.ST_NOEXEC
        return oct(os.fstat(fd).st_mode)

    assert rootless(check, ranges=False) == "0o40700"
