"""Becoming root in a user namespace: how an ordinary user gets mounts (user_namespaces(7), newuidmap(1)).

There he is root, over his own ids. It is all or nothing. A forked helper makes the namespace; when it is mapped and
mounts were seen to work in it, this process enters it; until then nothing has changed for it, and a helper or a program
killed meanwhile leaves nothing behind, for a namespace lives by its processes alone.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from contextlib import suppress

from oci.errors import ConfigurationError
from oci.linux import idmaps, mounts, process
from oci.linux.idmaps import IdMap, IdMaps
from oci.linux.namespaces import (
    CLONE_NEWNS,
    CLONE_NEWUSER,
    has_mount_rights,
    join,
    need_one_thread,
    unshare,
    unshare_mounts,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

__all__ = ["become_root"]

PROGRAMS = ("/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/local/bin")  # where newuidmap and newgidmap are looked for
MAX_ANSWER = 4096  # bytes of what newuidmap says


def become_root(
    maps: IdMaps | None = None,
    *,
    warn: Callable[[str], None] | None = None,
    subuid: str = "/etc/subuid",
    subgid: str = "/etc/subgid",
    programs: tuple[str, ...] = PROGRAMS,
) -> IdMaps:
    """Make this process root in a user namespace, with a private mount namespace; returns how ids are mapped there.

    A process that is root and may mount keeps what it has: nothing is done. `maps` None: the user's ranges in the
    subuid files; without any, and without newuidmap (`warn` gets a line then), the single id. Needs a process with a
    single thread. Raises ConfigurationError, with what to do, when it can't be had; nothing has changed then.
    """
    if os.geteuid() == 0 and has_mount_rights():
        return idmaps.current()
    need_one_thread()
    maps = _possible(maps, warn, subuid, subgid, programs)
    helpers = () if maps.single else _helpers(programs)
    _Making(maps, helpers).enter()
    unshare_mounts()
    return idmaps.current()


def _possible(
    maps: IdMaps | None, warn: Callable[[str], None] | None, subuid: str, subgid: str, programs: tuple[str, ...]
) -> IdMaps:
    """The maps that will be asked for."""
    uid, gid = os.geteuid(), os.getegid()
    asked = maps is not None
    maps = maps or idmaps.of_user(uid, _name_of(uid), gid=gid, subuid=subuid, subgid=subgid)
    if maps.single:
        return maps
    why = _unusable(programs)
    if not why:
        return maps
    if asked:
        raise ConfigurationError("user namespace", why)
    if warn is not None:
        warn(f"{why}; until then all files of containers belong to this user")
    return idmaps.single(uid, gid)


def _name_of(uid: int) -> str | None:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


def _unusable(programs: tuple[str, ...]) -> str:
    """Why ranges of ids can't be mapped here; nothing when they can."""
    found = _helpers(programs)
    if len(found) < 2:
        return "newuidmap and newgidmap are needed for ranges of ids (install the package uidmap or shadow-utils)"
    if process.gains_no_rights():
        return "newuidmap can't work for a process that may gain no rights (no_new_privs)"
    return ""


def _helpers(programs: tuple[str, ...]) -> tuple[str, ...]:
    found = []
    for name in ("newuidmap", "newgidmap"):
        for folder in programs:
            path = os.path.join(folder, name)
            if os.access(path, os.X_OK):
                found.append(path)
                break
    return tuple(found)


class _Making:
    """A namespace being made: a helper process holds it until this process has entered it."""

    def __init__(self, maps: IdMaps, helpers: tuple[str, ...]) -> None:
        self.maps, self.helpers = maps, helpers

    def enter(self) -> None:
        """Make it and enter it; raises ConfigurationError."""
        process.dumpable(True)  # else /proc/PID belongs to root, and neither we nor newuidmap may write there
        from_helper, to_parent = os.pipe()
        from_parent, to_helper = os.pipe()
        parent = os.getpid()
        helper = os.fork()
        if helper == 0:
            os.close(from_helper)
            os.close(to_helper)
            self._help(parent, from_parent, to_parent)
        os.close(to_parent)
        os.close(from_parent)
        try:
            self._expect(from_helper, b"made")
            self._map(helper)
            os.write(to_helper, b"m")
            self._expect(from_helper, b"works")
            try:
                join(helper, user=True)
            except OSError as error:
                raise _refused("enter", error) from error
        finally:
            os.close(from_helper)
            os.close(to_helper)  # the helper ends when it reads the end of it
            with suppress(ChildProcessError):  # the program ignores SIGCHLD: the kernel has reaped it
                os.waitpid(helper, 0)

    @staticmethod
    def _help(parent: int, reading: int, writing: int) -> NoReturn:
        """The helper: make the namespace, wait for the maps, try a mount namespace, wait until it is entered."""
        try:
            process.die_with_parent(signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)
            step = "make"
            try:
                unshare(CLONE_NEWUSER)
                os.write(writing, b"made")
                step = "map"
                if os.read(reading, 1) != b"m":
                    os._exit(1)
                step = "mount"
                unshare(CLONE_NEWNS)
                mounts.make_private("/")
                os.write(writing, b"works")
            except OSError as error:
                os.write(writing, f"{step} {error.errno}".encode())
            os.read(reading, 1)
        finally:
            os._exit(0)

    @staticmethod
    def _expect(reading: int, word: bytes) -> None:
        said = os.read(reading, 64)
        if said == word:
            return
        step, _, number = said.decode().partition(" ")
        if not number:
            raise ConfigurationError("user namespace", "the process that makes it was killed")
        raise _refused(step, OSError(int(number), os.strerror(int(number))))

    def _map(self, helper: int) -> None:
        if self.helpers:
            self._map_by_programs(helper)
        else:
            self._map_single(helper)

    def _map_single(self, helper: int) -> None:
        """One user and one group; a group may only be mapped by who gives up setgroups(2) before."""
        try:
            for name, text in (
                ("setgroups", "deny"),
                ("uid_map", _lines(self.maps.uids)),
                ("gid_map", _lines(self.maps.gids)),
            ):
                _write(f"/proc/{helper}/{name}", text)
        except OSError as error:
            raise _refused("map", error) from error

    def _map_by_programs(self, helper: int) -> None:
        """Both programs at once; each says on stderr what it dislikes."""
        running: list[tuple[str, int, int]] = []
        for program, maps in zip(self.helpers, (self.maps.uids, self.maps.gids), strict=True):
            words = [str(n) for one in maps for n in (one.inside, one.outside, one.size)]
            reading, writing = os.pipe()
            try:
                # A clean environment: the program runs with root's rights, and needs nothing of ours.
                child = os.posix_spawn(
                    program,
                    [program, str(helper), *words],
                    {},
                    file_actions=[(os.POSIX_SPAWN_DUP2, writing, 2), (os.POSIX_SPAWN_DUP2, writing, 1)],
                )
            finally:
                os.close(writing)
            running.append((program, child, reading))
        said = []
        for program, child, reading in running:
            with os.fdopen(reading, "rb") as pipe:
                words_of_it = pipe.read(MAX_ANSWER).decode("utf-8", "replace")
            with suppress(ChildProcessError):  # the program ignores SIGCHLD: the kernel has reaped it
                os.waitpid(child, 0)
            said.append(f"{os.path.basename(program)}: {' '.join(words_of_it.split())}")
        made = idmaps.current(helper)  # the truth, whatever they say and whether they could be waited for
        if not made.uids or not made.gids:
            said = said[:1] if not made.uids else said[1:]
            raise ConfigurationError(
                "user namespace", f"{'; '.join(said)}; are the ranges in /etc/subuid and /etc/subgid this user's?"
            )


def _lines(maps: tuple[IdMap, ...]) -> str:
    return "".join(f"{one.inside} {one.outside} {one.size}\n" for one in maps)


def _write(path: str, text: str) -> None:
    """In one write(2): the kernel takes a map only whole."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


# Files that say why, and the value that forbids.
_SYSCTLS = (
    ("/proc/sys/user/max_user_namespaces", "0", "sysctl user.max_user_namespaces is 0; set it to 10000"),
    ("/proc/sys/kernel/unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone is 0; set it to 1"),
)
_APPARMOR = (
    "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
    "1",
    "AppArmor forbids it: sysctl kernel.apparmor_restrict_unprivileged_userns is 1; "
    "set it to 0, or give this program a profile with 'userns,'",
)


def _refused(step: str, error: OSError) -> ConfigurationError:
    """What is in the way, as far as it can be seen from here."""
    why = ""
    if error.errno in (errno.EPERM, errno.EACCES, errno.ENOSPC, errno.EUSERS):
        for path, value, text in (*_SYSCTLS, _APPARMOR):
            if _says(path, value):
                why = text
                break
        if not why and step == "make" and error.errno == errno.EPERM:
            why = "the kernel doesn't allow it in a chroot; a container or a seccomp filter may forbid it too"
        if not why and step == "make" and error.errno in (errno.ENOSPC, errno.EUSERS):
            why = "there are as many as sysctl user.max_user_namespaces allows this user, or 32 in each other"
    elif error.errno == errno.EINVAL and step == "make":
        why = "the kernel was built without them"
    doing = {"make": "can't be made", "map": "ids can't be mapped", "mount": "mounts don't work in it"}
    sentence = f"{doing.get(step, 'cannot be entered')}: {why or error.strerror}"
    return ConfigurationError("user namespace", sentence)


def _says(path: str, value: str) -> bool:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read(64).strip() == value
    except OSError:
        return False
