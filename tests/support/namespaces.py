"""Tests in namespaces: an ordinary user who becomes root in his own, with ranges of ids or without; and what is needed.

Whatever a test mounts there goes with its process. `need_…` skip the test and name what the machine doesn't have:
a plain chroot has no user namespaces, for one.

All of root's rootless tests are the same user, and may run at the same time: a process is found by the pid that its
store or its starter knows, never by that user or by its name.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeVar

import pytest

from oci.errors import ConfigurationError
from oci.linux import fsmount, idmaps, mounts, namespaces, process, user_namespace
from tests.support.peers import ROOT, need
from tests.support.users import become_user, in_child

T = TypeVar("T")

# Whom root's tests become; everybody else stays who he is.
USER, GROUP = (1000, 1000) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
RANGE = 65536  # ids that he has beside his own
FIRST_SUBID = 200_000


def rootless(function: Callable[..., T], *args: object, ranges: bool, uid: int = USER, **named: object) -> T:
    """Call `function` in a forked child, as root of a user namespace of an ordinary user; its result or error.

    `ranges`: he has RANGE ids beside his own there (root's tests make /etc/subuid and its like for him, in a private
    mount namespace); else the single id. The working directory is a new, empty folder of his, HOME and the place for
    temporary files too, and goes afterwards. Python and the code under test can be read there, and be run.
    """
    return as_rootless_user(_then(function, args, named, ranges), ranges=ranges, uid=uid)


def _then(
    function: Callable[..., T], args: tuple[object, ...], named: dict[str, object], ranges: bool
) -> Callable[[], T]:
    def call() -> T:
        maps = user_namespace.become_root(None if ranges else idmaps.single(os.geteuid(), os.getegid()))
        assert maps.single is not ranges
        here = Path.cwd()
        try:
            return function(*args, **named)
        finally:
            # Files of other ids: only root of this namespace can remove them.
            for inside in here.iterdir():
                shutil.rmtree(inside, ignore_errors=True)

    return call


def as_rootless_user(function: Callable[..., T], *args: object, ranges: bool, uid: int = USER, **named: object) -> T:
    """The same, but he stays an ordinary user: for programs that become root by themselves."""
    need_user_namespaces()
    if ranges:
        need_ranges()
    folder = Path(tempfile.mkdtemp(prefix="ocikit-user-"))
    try:
        if os.geteuid() == 0:
            os.chown(folder, uid, uid)

        def call() -> T:
            if os.geteuid() == 0:
                _furnish(uid, folder, ranges)
                become_user(uid, uid)
            os.environ["HOME"] = os.environ["TMPDIR"] = str(folder)
            for name in [one for one in os.environ if one.startswith(("XDG_", "OCIKIT_"))]:
                del os.environ[name]
            tempfile.tempdir = None
            os.chdir(folder)
            return function(*args, **named)

        return in_child(call)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _furnish(uid: int, folder: Path, ranges: bool) -> None:
    """As root, in a mount namespace of this process: the files that make `uid` a user with ids."""
    namespaces.unshare_mounts()
    things = Path(tempfile.mkdtemp(prefix="ocikit-etc-"))
    mounts.mount("tmpfs", things, "tmpfs", 0, "mode=755")
    try:
        line = f"{uid}:{FIRST_SUBID}:{RANGE}\n" if ranges else ""
        _cover("/etc/subuid", things / "subuid", line)
        _cover("/etc/subgid", things / "subgid", line)
        passwd = Path("/etc/passwd").read_text()
        if not any(row.split(":")[2:3] == [str(uid)] for row in passwd.splitlines()):
            _cover("/etc/passwd", things / "passwd", f"{passwd}ocikit{uid}:x:{uid}:{uid}::{folder}:/bin/sh\n")
        for device, minor in (("/dev/fuse", 229), ("/dev/net/tun", 200)):
            if Path(device).exists():
                node = things / Path(device).name
                os.mknod(node, stat.S_IFCHR, os.makedev(10, minor))
                os.chmod(node, 0o666)
                mounts.bind(node, device)
    finally:
        mounts.unmount(things, detach=True)
        things.rmdir()
    _open_way(Path(sys.base_prefix), Path(sys.prefix), ROOT)


def _cover(path: str, source: Path, text: str) -> None:
    source.write_text(text)
    source.chmod(0o644)
    if Path(path).exists():
        mounts.bind(source, path)
    elif text:
        pytest.skip(f"there is no {path} here that could be covered")


def _open_way(*places: Path) -> None:
    """Let everybody reach these folders: the first folder on the way that is closed is covered by an open one."""
    for place in places:
        closed = next((p for p in reversed(place.resolve().parents) if not p.stat().st_mode & stat.S_IXOTH), None)
        if closed is None:
            continue
        fd = fsmount.open_tree(place.resolve(), recursive=True)
        mounts.mount("tmpfs", closed, "tmpfs", 0, "mode=755")
        place.resolve().mkdir(parents=True)
        fsmount.attach(fd, place.resolve())
        os.close(fd)


def need_mounts() -> None:
    """Skip the test where this user can't mount."""
    if reason := _no_mounts():
        pytest.skip(f"mounts: {reason}")


def need_overlay() -> None:
    """Skip the test where the kernel has no overlay, or not for this user; on the file system of temporary files."""
    need_mounts()
    if reason := _no_overlay():
        pytest.skip(f"overlay: {reason}")


def need_user_namespaces() -> None:
    """Skip the test where an ordinary user can't have a user namespace."""
    if reason := _no_user_namespaces():
        pytest.skip(f"user namespaces: {reason}")


def need_ranges() -> None:
    """Skip the test where nobody can have ranges of ids in a user namespace."""
    need("newuidmap", "newgidmap")
    if os.geteuid() != 0:
        pytest.skip("only root's tests can make an /etc/subuid and an /etc/subgid")


@cache
def _no_mounts() -> str:
    def attempt() -> str:
        if os.geteuid() != 0:
            return "not root"
        try:
            namespaces.unshare_mounts()
            mounts.mount("tmpfs", tempfile.gettempdir(), "tmpfs")
        except OSError as error:
            return str(error)
        return ""

    return in_child(attempt)


@cache
def _no_overlay() -> str:
    def attempt() -> str:
        namespaces.unshare_mounts()
        with tempfile.TemporaryDirectory() as folder:
            for name in ("lower", "upper", "work"):
                os.mkdir(f"{folder}/{name}")
            try:
                fd = fsmount.overlay([f"{folder}/lower"], f"{folder}/upper", f"{folder}/work", options={}, target=None)
            except OSError as error:
                return str(error)
            assert fd is not None
            os.close(fd)
        return ""

    return in_child(attempt)


@cache
def _no_user_namespaces() -> str:
    def attempt() -> str:
        if os.geteuid() == 0:
            process.dumpable(True)  # imports ctypes while this process may still read Python's library
            become_user(USER, USER)
        try:
            user_namespace.become_root(idmaps.single(os.geteuid(), os.getegid()))
        except ConfigurationError as error:
            return str(error)
        return ""

    return in_child(attempt)
