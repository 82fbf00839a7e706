"""Mounts by the classic calls, and the table of those there are (mount(2), umount(2), proc(5) mountinfo)."""

from __future__ import annotations

import errno
import os

from oci.lazily import re
from oci.linux import calls
from oci.linux.calls import StrPath
from oci.spec.record import Record

__all__ = [
    "Mount",
    "bind",
    "is_mount_point",
    "make_private",
    "make_slave",
    "mount",
    "mounts",
    "set_attributes",
    "unmount",
]

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_NOATIME = 0x400
MS_NODIRATIME = 0x800
MS_BIND = 0x1000
MS_MOVE = 0x2000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MS_SLAVE = 0x80000
MS_SHARED = 0x100000
MS_RELATIME = 0x200000

MNT_DETACH = 0x2
UMOUNT_NOFOLLOW = 0x8

# Attributes of a mount in the newer calls (mount_setattr(2), fsmount(2)).
MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
MOUNT_ATTR_NOATIME = 0x10

# What statvfs(3) says of a mount → the flag that keeps it so. A user namespace may not drop those it was given.
_KEPT = (
    (os.ST_NOSUID, MS_NOSUID),
    (os.ST_NODEV, MS_NODEV),
    (os.ST_NOEXEC, MS_NOEXEC),
    (os.ST_NOATIME, MS_NOATIME),
    (os.ST_NODIRATIME, MS_NODIRATIME),
    (os.ST_RELATIME, MS_RELATIME),
)


class Mount(Record):
    """One line of /proc/PID/mountinfo."""

    mount_id: int
    parent: int
    device: str  # "MAJOR:MINOR", st_dev of the files in it
    root: str  # what of the file system is mounted: "/", or the directory that was bound
    target: str  # where, as the process sees it
    options: tuple[str, ...]  # of this mount: ro, nosuid…
    propagation: tuple[str, ...]  # "shared:N", "master:N"…; none: private
    fstype: str
    source: str
    super_options: tuple[str, ...]  # of the file system


def mount(source: StrPath | None, target: StrPath, fstype: str | None, flags: int = 0, data: str | bytes = "") -> None:
    """mount(2). OSErrors name the target."""
    calls.call(
        "mount",
        None if source is None else calls.text(source),
        calls.text(target),
        None if fstype is None else calls.text(fstype),
        flags,
        calls.text(data) or None,
        path=target,
    )


def bind(source: StrPath, target: StrPath, *, recursive: bool = False, read_only: bool = False) -> None:
    """Show `source`, a directory or a file, at `target` too; with `recursive` what is mounted below it as well."""
    mount(source, target, None, MS_BIND | (MS_REC if recursive else 0))
    if read_only:
        try:
            _make_read_only(target, recursive)
        except BaseException:
            unmount(target, detach=True)
            raise


def _make_read_only(target: StrPath, recursive: bool) -> None:
    try:
        set_attributes(target, MOUNT_ATTR_RDONLY, recursive=recursive)
        return
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EPERM):
            raise
    # Linux before 5.12, or a filter that doesn't know the call: one mount at a time, each with the flags it has.
    places = [os.fsdecode(target)]
    if recursive:
        real = os.path.realpath(os.fsdecode(target))
        places += [one.target for one in mounts() if one.target.startswith(f"{real.rstrip('/')}/")]
    for place in places:
        now = os.statvfs(place).f_flag
        kept = sum(flag for said, flag in _KEPT if now & said)
        mount(None, place, None, MS_REMOUNT | MS_BIND | MS_RDONLY | kept)


def set_attributes(
    target: StrPath | int, set_: int = 0, clear: int = 0, *, propagation: int = 0, recursive: bool = False
) -> None:
    """Change attributes of a mount, given by path or descriptor, and with `recursive` of all below it."""
    import ctypes
    import struct

    what = struct.pack("=QQQQ", set_, clear, propagation, 0)
    buffer = ctypes.create_string_buffer(what, len(what))
    flags = calls.AT_RECURSIVE if recursive else 0
    if isinstance(target, int):
        calls.syscall("mount_setattr", target, b"", flags | calls.AT_EMPTY_PATH, buffer, len(what))
    else:
        calls.syscall("mount_setattr", calls.AT_FDCWD, calls.text(target), flags, buffer, len(what), path=target)


def unmount(target: StrPath, *, detach: bool = False) -> None:
    """Take away the topmost mount at `target`, never following a link there.

    Busy is an OSError (EBUSY); with `detach` the mount leaves the tree at once, and goes when its last user does.
    """
    calls.call("umount2", calls.text(target), UMOUNT_NOFOLLOW | (MNT_DETACH if detach else 0), path=target)


def make_private(target: StrPath = "/", recursive: bool = True) -> None:
    """Mounts and unmounts at or below `target` are neither told to other namespaces nor learnt from them."""
    mount(None, target, None, MS_PRIVATE | (MS_REC if recursive else 0))


def make_slave(target: StrPath = "/", recursive: bool = True) -> None:
    """Mounts at or below `target` are not told to other namespaces, but what is done there happens here too.

    So a disk that is unmounted on the host is not held by every namespace that was made while it was mounted.
    """
    mount(None, target, None, MS_SLAVE | (MS_REC if recursive else 0))


def is_mount_point(path: StrPath) -> bool:
    """Whether something is mounted at exactly this path; links in it are followed."""
    real = os.path.realpath(os.fsdecode(path))
    return any(one.target == real for one in mounts())


def mounts(pid: int | str = "self") -> tuple[Mount, ...]:
    """The mounts that a process sees, in the order they were made."""
    with open(f"/proc/{pid}/mountinfo", "rb") as file:
        return tuple(_parse(line) for line in file.read().splitlines())


def _parse(line: bytes) -> Mount:
    words = line.split(b" ")
    end = words.index(b"-", 6)  # optional fields come before it
    return Mount(
        mount_id=int(words[0]),
        parent=int(words[1]),
        device=words[2].decode(),
        root=_unescape(words[3]),
        target=_unescape(words[4]),
        options=_options(words[5]),
        propagation=tuple(_unescape(word) for word in words[6:end]),
        fstype=_unescape(words[end + 1]),
        source=_unescape(words[end + 2]),
        super_options=_options(words[end + 3]) if len(words) > end + 3 else (),
    )


def _options(word: bytes) -> tuple[str, ...]:
    return tuple(_unescape(option) for option in word.split(b",") if option)


_OCTAL = rb"\\([0-7]{3})"


def _unescape(word: bytes) -> str:
    """Spaces, tabs, line ends and backslashes stand there as three octal digits behind a backslash."""
    if b"\\" not in word:
        return os.fsdecode(word)
    return os.fsdecode(re.sub(_OCTAL, lambda found: bytes([int(found[1], 8) & 0xFF]), word))
