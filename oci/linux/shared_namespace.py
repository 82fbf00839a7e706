"""One user namespace for all the commands of a user that work on one store.

A process that is root in a user namespace has no power over processes in another one, though both are the same user's:
it can't look at their files by /proc/PID/root, nor enter their namespaces (user_namespaces(7): power comes from the
namespace itself or from above). So the command that runs a program in a container has to be in the namespace of the
one that started the container. Commands find it by a list of processes in it, one a line: the first that still lives
is joined; when none does, none of its containers lives either, and a new namespace is made.

A supervisor puts itself on the list (`stay`), and the container's first process, which may outlive it. The list is only
read and written under its own lock, so that two commands that come at once don't make two namespaces.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from oci.linux import idmaps, namespaces, process
from oci.linux.idmaps import IdMaps
from oci.linux.process import Identity

__all__ = ["LIST", "enter", "stay"]

LIST = "user-namespace"  # the name of the list, in a folder that a reboot makes void
MAX_LIST = 1 << 20  # bytes of it that are looked at: some 15,000 processes, the latest
_MANY = 16  # lines of dead processes after which the list is written anew


def enter(folder: str, *, maps: IdMaps | None = None, warn: Callable[[str], None] | None = None) -> IdMaps:
    """`become_root`, in the namespace that other processes on the list in `folder` are in, if there is one.

    Its id maps are then what they are, whatever `maps` asks for. In either case this process has a private mount
    namespace of its own, and stands on the list. Without the folder nothing can be shared. Raises ConfigurationError.
    """
    if os.geteuid() == 0 and namespaces.has_mount_rights():
        return idmaps.current()
    from oci.linux.user_namespace import become_root  # root's commands and all supervisors do without

    try:
        with _locked(folder) as fd:
            lines = _read(fd)
            dead = _join_one(lines)
            if dead is None:
                found = become_root(maps, warn=warn)
                _rewrite(fd, [])
            else:
                namespaces.unshare_mounts()
                found = idmaps.current()
                if dead >= _MANY:
                    _rewrite(fd, lines[: len(lines) - dead])
            _append(fd, process.identity(os.getpid()))
            return found
    except FileNotFoundError:
        return become_root(maps, warn=warn)


def stay(folder: str, pid: int | None = None) -> None:
    """Put a process (None: this one) on the list: it lives on when the command that started it has ended.

    Nothing for real root, or for a process that has ended already.
    """
    if namespaces.is_initial():
        return
    with suppress(FileNotFoundError, ProcessLookupError), _locked(folder) as fd:
        _append(fd, process.identity(os.getpid() if pid is None else pid))


@contextmanager
def _locked(folder: str) -> Iterator[int]:
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    fd = os.open(os.path.join(folder, LIST), flags, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield fd
    finally:
        os.close(fd)


def _read(fd: int) -> list[str]:
    size = os.fstat(fd).st_size
    raw = os.pread(fd, MAX_LIST, max(0, size - MAX_LIST))
    return raw.decode("utf-8", "replace").splitlines()


def _join_one(lines: list[str]) -> int | None:
    """Join the namespace of a living process, the latest first; how many dead ones came before it. None: none lives."""
    for number, line in enumerate(reversed(lines)):
        try:
            one = Identity.parse(line)
        except ValueError:  # a line that was cut
            continue
        if not one.alive():
            continue
        try:
            namespaces.join(one.pid, user=True)
        except OSError:  # it has just ended, or is another's after all
            continue
        if os.geteuid() == 0 and namespaces.has_admin_rights():
            return number
    return None


def _append(fd: int, who: Identity) -> None:
    os.write(fd, f"{who}\n".encode())


def _rewrite(fd: int, lines: list[str]) -> None:
    """What a crash between the two steps leaves out are processes of a namespace that nobody can find: at worst one
    command more makes its own, as after a crash of all of them."""
    os.ftruncate(fd, 0)
    if lines:
        os.write(fd, "".join(f"{line}\n" for line in lines).encode())
