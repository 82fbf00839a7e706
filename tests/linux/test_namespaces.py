"""Becoming root, joining others, and what is said where that can't be had."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import pytest

from oci.errors import ConfigurationError
from oci.linux import calls, fsmount, idmaps, mounts, namespaces, process, user_namespace
from oci.linux.idmaps import IdMap, IdMaps
from tests.support.namespaces import (
    FIRST_SUBID,
    GROUP,
    RANGE,
    USER,
    as_rootless_user,
    need_mounts,
    need_ranges,
    need_user_namespaces,
    rootless,
)
from tests.support.users import as_user, in_child

BOTH = pytest.mark.parametrize("ranges", [pytest.param(True, id="ranges"), pytest.param(False, id="single id")])

RANGES = IdMaps(
    uids=(IdMap(inside=0, outside=USER, size=1), IdMap(inside=1, outside=FIRST_SUBID, size=RANGE)),
    gids=(IdMap(inside=0, outside=USER, size=1), IdMap(inside=1, outside=FIRST_SUBID, size=RANGE)),
)


@BOTH
def test_a_user_becomes_root_over_his_own_ids(ranges: bool) -> None:
    def check() -> dict[str, object]:
        folder = os.getcwd()
        notes: list[str] = []
        before = os.stat("/proc/self/ns/mnt").st_ino
        maps = user_namespace.become_root(warn=notes.append)
        Path("file").touch()
        if not maps.single:
            os.chown("file", 7, 8)
        assert os.getcwd() == folder
        assert os.stat("/proc/self/ns/mnt").st_ino != before
        assert namespaces.has_mount_rights()
        assert not namespaces.is_initial()
        assert all(not mount.propagation for mount in mounts.mounts())
        mounts.mount("tmpfs", folder, "tmpfs")
        assert user_namespace.become_root() == maps  # nothing is done twice
        return {"maps": maps, "ids": (os.geteuid(), os.getegid(), os.getuid()), "notes": notes}

    assert as_rootless_user(check, ranges=ranges) == {
        "maps": RANGES if ranges else idmaps.single(USER, GROUP),
        "ids": (0, 0, 0),
        "notes": [],
    }


def test_with_a_single_id_groups_are_given_up() -> None:
    """user_namespaces(7): who maps his own group may no longer drop groups, by which files may be denied to him."""

    def check() -> str:
        return Path("/proc/self/setgroups").read_text()

    assert rootless(check, ranges=False) == "deny\n"
    assert rootless(check, ranges=True) == "allow\n"


def test_several_ranges_are_put_behind_each_other() -> None:
    need_ranges()

    def check() -> object:
        text = "".join(f"{USER}:{start}:{size}\n" for start, size in ((300_000, 10), (400_000, 100), (USER - 5, 20)))
        Path("sub").write_text(text)
        return None

    def become() -> IdMaps:
        check()
        # newuidmap reads /etc/subuid itself: what it has there must hold what is asked for.
        maps = idmaps.of_user(USER, None, gid=USER, subuid="sub", subgid="sub")
        assert [one.size for one in maps.uids] == [1, 10, 100]
        halves = (
            IdMap(inside=0, outside=USER, size=1),
            IdMap(inside=1, outside=FIRST_SUBID, size=10),
            IdMap(inside=11, outside=FIRST_SUBID + 100, size=20),
        )
        return user_namespace.become_root(IdMaps(uids=halves, gids=halves))

    assert [one.size for one in as_rootless_user(become, ranges=True).uids] == [1, 10, 20]


@BOTH
def test_a_root_that_may_mount_keeps_what_it_has(ranges: bool) -> None:
    def check() -> bool:
        before = [os.stat(f"/proc/self/ns/{name}").st_ino for name in ("user", "mnt")]
        user_namespace.become_root(RANGES)
        return before == [os.stat(f"/proc/self/ns/{name}").st_ino for name in ("user", "mnt")]

    assert rootless(check, ranges=ranges)


# What is in the way


@contextmanager
def refused(match: str) -> Iterator[None]:
    """A ConfigurationError, after which the process is as it was."""
    before = [os.stat(f"/proc/self/ns/{name}").st_ino for name in ("user", "mnt")], os.geteuid(), os.getcwd()
    with pytest.raises(ConfigurationError, match=match) as raised:
        yield
    assert len(str(raised.value).splitlines()) == 1
    assert before == (
        [os.stat(f"/proc/self/ns/{name}").st_ino for name in ("user", "mnt")],
        os.geteuid(),
        os.getcwd(),
    )
    with pytest.raises(ChildProcessError):  # no helper is left
        os.waitpid(-1, os.WNOHANG)


def test_without_newuidmap_there_is_the_single_id_and_one_note() -> None:
    def check() -> tuple[bool, list[str]]:
        notes: list[str] = []
        maps = user_namespace.become_root(warn=notes.append, programs=("/nonexistent",))
        return maps.single, notes

    single, notes = as_rootless_user(check, ranges=True)
    assert single
    assert len(notes) == 1
    assert "install the package uidmap" in notes[0]


def test_without_newuidmap_ranges_that_were_asked_for_are_an_error() -> None:
    def check() -> None:
        with refused("install the package uidmap"):
            user_namespace.become_root(RANGES, programs=("/nonexistent",))

    as_rootless_user(check, ranges=True)


def test_newuidmap_without_rights_is_as_none() -> None:
    def check() -> list[str]:
        notes: list[str] = []
        calls.call("prctl", 38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
        assert user_namespace.become_root(warn=notes.append).single
        return notes

    assert "no_new_privs" in as_rootless_user(check, ranges=True)[0]


def test_ranges_of_somebody_else_are_refused_with_the_words_of_newuidmap() -> None:
    def check() -> None:
        foreign = IdMaps(
            uids=(IdMap(inside=0, outside=USER, size=1), IdMap(inside=1, outside=900_000, size=10)),
            gids=RANGES.gids,
        )
        with refused(r"newuidmap: .*(not allowed|not permitted).*subuid"):
            user_namespace.become_root(foreign)
        with refused(r"newgidmap: "):
            user_namespace.become_root(IdMaps(uids=RANGES.uids, gids=foreign.uids))
        user_namespace.become_root()  # and after all that

    as_rootless_user(check, ranges=True)


def test_a_program_with_threads_is_told_so() -> None:
    def check() -> None:
        stop = threading.Event()
        thread = threading.Thread(target=stop.wait)
        thread.start()
        try:
            with refused("several threads"):
                user_namespace.become_root()
        finally:
            stop.set()
            thread.join()
        user_namespace.become_root()  # a thread that has just ended is none

    as_rootless_user(check, ranges=False)


@pytest.mark.parametrize(
    ("path", "value", "match"),
    [
        ("/proc/sys/user/max_user_namespaces", "0", r"sysctl user\.max_user_namespaces is 0; set it"),
        ("/proc/sys/kernel/unprivileged_userns_clone", "0", r"sysctl kernel\.unprivileged_userns_clone is 0"),
        ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "AppArmor forbids it"),
    ],
)
@pytest.mark.parametrize("step", ["make", "mount"])
def test_what_forbids_user_namespaces_is_named(
    path: str, value: str, match: str, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = namespaces.unshare

    def refuse(flags: int) -> None:
        if step == "make" or flags != namespaces.CLONE_NEWUSER:
            raise PermissionError(1, "no")
        true(flags)

    def check() -> None:
        monkeypatch.setattr(user_namespace, "unshare", refuse)
        monkeypatch.setattr(user_namespace, "_says", lambda file, wanted: (file, wanted) == (path, value))
        with refused(match):
            user_namespace.become_root()

    as_rootless_user(check, ranges=False)


@pytest.mark.parametrize(("code", "match"), [(1, "chroot"), (22, "built without"), (28, "as many as sysctl")])
def test_other_reasons_are_told_too(code: int, match: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(flags: int) -> None:
        raise OSError(code, "no")

    def check() -> None:
        monkeypatch.setattr(user_namespace, "unshare", refuse)
        monkeypatch.setattr(user_namespace, "_says", lambda *_: False)
        with refused(match):
            user_namespace.become_root()

    as_rootless_user(check, ranges=False)


def test_a_limit_of_zero_namespaces_is_the_kernel_s_own_refusal() -> None:
    need_user_namespaces()
    need_mounts()

    def check() -> None:
        # A limit that is set in a namespace holds in it and below.
        user_namespace.become_root(idmaps.single(USER, GROUP))
        Path("/proc/sys/user/max_user_namespaces").write_text("0")
        with pytest.raises(ConfigurationError, match=r"max_user_namespaces is 0"):
            user_namespace._Making(idmaps.single(0, 0), ()).enter()

    as_rootless_user(check, ranges=False)


def test_a_helper_that_is_killed_is_said_and_nothing_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    def die(flags: int) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def check() -> None:
        monkeypatch.setattr(user_namespace, "unshare", die)
        with refused("was killed"):
            user_namespace.become_root()

    as_rootless_user(check, ranges=False)


@BOTH
def test_a_program_that_ignores_its_children_s_ends_becomes_root_all_the_same(ranges: bool) -> None:
    def check() -> bool:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        return user_namespace.become_root().single

    assert as_rootless_user(check, ranges=ranges) is not ranges


@pytest.mark.parametrize("moment", range(0, 12, 2))
def test_a_program_killed_on_the_way_leaves_no_process(moment: int) -> None:
    need_user_namespaces()

    def check() -> list[str]:
        process.subreaper()
        child = os.fork()
        if child == 0:
            user_namespace.become_root()
            signal.pause()
        time.sleep(moment / 1000)
        os.kill(child, signal.SIGKILL)
        end = time.monotonic() + 10
        while time.monotonic() < end:
            try:
                os.waitpid(-1, 0)  # the child, and the helper that it may have left to us
            except ChildProcessError:
                return []
        return Path("/proc/self/task/self/children").read_text().split()

    assert as_rootless_user(check, ranges=False) == []


# Joining


@BOTH
def test_who_made_a_namespace_enters_it_again(ranges: bool) -> None:
    def check() -> tuple[bool, int, bool, str]:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            user_namespace.become_root()
            mounts.mount("tmpfs", "seen", "tmpfs")
            Path("seen/x").touch()
            os.write(writing, b"1")
            signal.pause()
        os.read(reading, 1)
        assert not Path("seen/x").exists()
        namespaces.join(child, user=True, mount=True)
        answer = Path("seen/x").exists(), os.geteuid(), namespaces.has_mount_rights(), os.path.basename(os.getcwd())
        # And from inside, what the other sees by its root: only its own namespace's processes may look there.
        assert Path(f"/proc/{child}/root{os.getcwd()}/seen/x").exists()
        namespaces.join(child, user=True, mount=True)  # already there: nothing is done
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return answer

    def prepared() -> tuple[bool, int, bool, str]:
        Path("seen").mkdir()
        folder = os.path.basename(os.getcwd())
        seen, uid, rights, name = check()
        return seen, uid, rights, "same" if name == folder else name

    assert as_rootless_user(prepared, ranges=ranges) == (True, 0, True, "same")


def test_a_process_that_is_gone_can_t_be_joined() -> None:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    with pytest.raises(FileNotFoundError) as raised:
        namespaces.join(done.pid, mount=True)
    assert raised.value.filename == f"/proc/{done.pid}/ns/mnt"


def test_an_ordinary_user_enters_nobody_else_s() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs a process of another user")
    with pytest.raises(PermissionError):
        as_user(lambda pid: namespaces.join(pid, mount=True), os.getppid())


# Mount namespaces


def test_mounts_made_apart_are_not_seen_outside(tmp_path: Path) -> None:
    need_mounts()

    def check(follow: bool) -> list[mounts.Mount]:
        namespaces.unshare_mounts()
        mounts.mount("tmpfs", tmp_path, "tmpfs")
        mounts.set_attributes("/", propagation=mounts.MS_SHARED, recursive=True)
        before = mounts.mounts()
        child = os.fork()
        if child == 0:
            namespaces.unshare_mounts(follow_host=follow)
            mounts.mount("tmpfs", tmp_path, "tmpfs")
            os._exit(0)
        os.waitpid(child, 0)
        assert mounts.mounts() == before
        return [mount for mount in before if mount.target == str(tmp_path)]

    for follow in (False, True):
        assert len(in_child(lambda follow=follow: check(follow))) == 1  # type: ignore[misc]


@pytest.mark.parametrize("follow", [False, True])
def test_what_is_unmounted_outside_goes_inside_for_who_follows(follow: bool, tmp_path: Path) -> None:
    need_mounts()

    def check() -> bool:
        namespaces.unshare_mounts()
        mounts.mount("tmpfs", tmp_path, "tmpfs")
        mounts.set_attributes("/", propagation=mounts.MS_SHARED, recursive=True)
        said, told = os.pipe(), os.pipe()
        child = os.fork()
        if child == 0:
            namespaces.unshare_mounts(follow_host=follow)
            os.write(said[1], b"1")
            os.read(told[0], 1)
            os._exit(int(mounts.is_mount_point(tmp_path)))
        os.read(said[0], 1)
        mounts.unmount(tmp_path)
        os.write(told[1], b"1")
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    assert in_child(check) is follow


@pytest.mark.parametrize("follow", [False, True])
def test_a_plain_chroot_gets_mounts_and_the_host_sees_none(follow: bool, tmp_path: Path) -> None:
    need_mounts()
    for name in ("root/proc", "root/mnt/x", "root/work"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "root" / "mark").touch()

    def check() -> tuple[str, ...]:
        namespaces.unshare_mounts()
        mounts.bind("/proc", tmp_path / "root" / "proc", recursive=True)
        mounts.set_attributes("/", propagation=mounts.MS_SHARED, recursive=True)
        before = mounts.mounts()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.chroot(tmp_path / "root")
                os.chdir("/work")
                namespaces.unshare_mounts(follow_host=follow)
                assert os.getcwd() == "/work"
                assert os.path.exists("/mark")
                mounts.mount("tmpfs", "/mnt/x", "tmpfs")
                Path("/mnt/x/y").touch()
                assert Path("/mnt/x/y").exists()
                assert mounts.is_mount_point("/")
                mounts.unmount("/mnt/x")
                fd = fsmount.detached("tmpfs", {})
                fsmount.attach(fd, "/mnt/x")
                os.chdir("/..")
                assert os.path.exists("mark")
                with open("/proc/self/ns/mnt") as own:  # as `runc exec` enters a container's: never the host's root
                    calls.call("setns", own.fileno(), namespaces.CLONE_NEWNS)
                assert os.path.exists("/mark")
                status = 0
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        return tuple(mount.target for mount in mounts.mounts() if mount not in before)

    assert in_child(check) == ()


def test_a_thread_in_a_plain_chroot_leaves_the_process_s_mounts_alone(tmp_path: Path) -> None:
    """The namespace that it covers the root in has to be its own, not the one of the process's first thread."""
    need_mounts()
    for name in ("root/proc", "root/a", "root/b"):
        (tmp_path / name).mkdir(parents=True)

    def check() -> tuple[bool, bool]:
        namespaces.unshare_mounts()
        mounts.bind("/proc", tmp_path / "root" / "proc", recursive=True)
        mounts.set_attributes("/", propagation=mounts.MS_SHARED, recursive=True)
        if (observer := os.fork()) == 0:  # stands outside the chroot, in the same mount namespace
            process.die_with_parent()
            signal.pause()
        before = mounts.mounts(observer)
        import_module("resource")  # fsmount imports it when it needs it, and from the chroot it can't be found
        os.chroot(tmp_path / "root")
        os.chdir("/")
        fd = fsmount.overlay_by_mount(["/a", "/b"], None, None, options={}, target=None)
        assert fd is not None
        after = mounts.mounts(observer)
        os.kill(observer, signal.SIGKILL)
        os.waitpid(observer, 0)
        return after == before, all(mount.propagation for mount in after if mount.target == "/")

    assert in_child(check) == (True, True)


def test_rights_over_mounts_are_those_of_the_namespace_that_owns_them() -> None:
    def check() -> tuple[bool, bool, bool]:
        before = namespaces.has_mount_rights()
        namespaces.unshare(namespaces.CLONE_NEWUSER)  # root in it, but the mounts are still those of outside
        return before, namespaces.has_admin_rights(), namespaces.has_mount_rights()

    assert as_rootless_user(check, ranges=False) == (False, True, False)
