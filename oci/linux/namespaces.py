"""Namespaces of this process: its rights in them, mounts of its own, joining another's (namespaces(7), setns(2)).

Becoming root in a user namespace of one's own is user_namespace.py.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from contextlib import suppress

from oci.errors import ConfigurationError
from oci.linux import calls, idmaps, mounts, process

__all__ = [
    "has_admin_rights",
    "has_mount_rights",
    "is_initial",
    "join",
    "need_one_thread",
    "unshare",
    "unshare_mounts",
]

CLONE_FS = 0x200
CLONE_NEWNS = 0x20000
CLONE_NEWUSER = 0x10000000

_CAP_SYS_ADMIN = 21
_NS_GET_USERNS = 0xB701

# Of the thread that asks: one that has unshared its mounts is in another namespace than /proc/self says.
OWN = "/proc/thread-self"

_PATIENCE = 0.2  # seconds that a thread which has ended may take to be gone


def unshare(flags: int) -> None:
    """unshare(2)."""
    calls.call("unshare", flags)


def is_initial() -> bool:
    """Whether all ids here are those of the machine: no user namespace, or one that maps every id to itself."""
    return idmaps.current().identity


def has_mount_rights() -> bool:
    """Whether this process may mount in the mount namespace that it is in."""
    if not has_admin_rights():
        return False
    # Rights in a user namespace are none in a mount namespace that belongs to the one above.
    import fcntl

    try:
        own = os.stat(f"{OWN}/ns/user").st_ino
        mine = os.open(f"{OWN}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return True  # no /proc: the call itself will tell
    try:
        owner = fcntl.ioctl(mine, _NS_GET_USERNS)
    except OSError:
        return False  # EPERM: the owner is not ours or below
    finally:
        os.close(mine)
    try:
        return os.fstat(owner).st_ino == own
    finally:
        os.close(owner)


def has_admin_rights() -> bool:
    """Whether this process has CAP_SYS_ADMIN in its user namespace."""
    with open(f"{OWN}/status", "rb") as file:
        for line in file:
            if line.startswith(b"CapEff:"):
                return bool(int(line.split()[1], 16) >> _CAP_SYS_ADMIN & 1)
    return False


def unshare_mounts(*, follow_host: bool = False) -> None:
    """Enter a mount namespace of this process's own, in which nothing that is mounted is seen elsewhere.

    With `follow_host` unmounts and mounts made outside later happen here too, so that nothing outside is held. In a
    plain chroot, whose root is no mount point, the root is made one first, here only.
    """
    unshare(CLONE_NEWNS)
    settle = mounts.make_slave if follow_host else mounts.make_private
    try:
        settle("/")
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        _cover_root(settle)
        settle("/")


def _cover_root(settle: Callable[[str], None]) -> None:
    """Bind the root directory onto itself, and stand on what was bound."""
    here = _working_directory()
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    own = os.open(f"{OWN}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        # The mount that the chroot lies in may still be shared with the host, which would get the bind mount too. Its
        # root can't be named from here; who enters a mount namespace, were it his own, stands at the top of it.
        calls.call("setns", own, CLONE_NEWNS, path=f"{OWN}/ns/mnt")
        settle("/")
        os.fchdir(root)
        os.chroot(".")
        mounts.bind("/", "/", recursive=True)
        # '/' names the directory below the new mount; '..' of the root is looked up, and finds the mount.
        os.chdir("/..")
        covered = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # And to the top with it: whoever enters this namespace, or a container's that is made of it (`exec`),
            # stands there. Where it was, that was the root of the host.
            calls.call("setns", own, CLONE_NEWNS, path=f"{OWN}/ns/mnt")
            os.fchdir(covered)
            mounts.mount(".", "/", None, mounts.MS_MOVE)
            os.chroot(".")
        finally:
            os.close(covered)
    finally:
        os.close(own)
        os.close(root)
    with suppress(OSError):
        os.chdir(here or "/")


def join(pid: int, *, user: bool = False, mount: bool = False) -> None:
    """Enter the user or mount namespace (or both) of a process; one that this process is in already is left out.

    Entering a user namespace needs a single thread, and to be the user that made it, outside it, or root. With `mount`
    the working directory is the one of the same name there, else "/". OSErrors name /proc/PID/ns/….
    """
    wanted = [(name, flag) for name, flag, on in (("user", CLONE_NEWUSER, user), ("mnt", CLONE_NEWNS, mount)) if on]
    opened: list[tuple[str, int, int]] = []
    try:
        for name, flag in wanted:
            path = f"/proc/{pid}/ns/{name}"
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            if os.fstat(fd).st_ino == os.stat(f"{OWN}/ns/{name}").st_ino:
                os.close(fd)
                continue
            opened.append((path, flag, fd))
        if any(flag == CLONE_NEWUSER for _, flag, _ in opened):
            need_one_thread()
            process.dumpable(True)  # so that others of this user can follow this process there
        here = _working_directory()
        for path, flag, fd in opened:
            calls.call("setns", fd, flag, path=path)
        if any(flag == CLONE_NEWNS for _, flag, _ in opened) and here is not None:
            with suppress(OSError):
                os.chdir(here)
    finally:
        for _, _, fd in opened:
            os.close(fd)


def _working_directory() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # removed
        return None


def need_one_thread() -> None:
    """Raise ConfigurationError in a process with several threads: the kernel lets it enter no user namespace."""
    # A thread that was joined may take a moment to be gone from the kernel's list.
    end = time.monotonic() + _PATIENCE
    while process.threads() > 1:
        if time.monotonic() > end:
            raise ConfigurationError(
                "user namespace", "a program with several threads can't enter one; do it before the first is started"
            )
        time.sleep(0.001)
