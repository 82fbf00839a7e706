"""Which ids inside a user namespace stand for which outside (user_namespaces(7), subuid(5), subgid(5))."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from oci.errors import ConfigurationError
from oci.linux.calls import StrPath
from oci.spec.record import Record

__all__ = ["IdMap", "IdMaps", "current", "of_user", "single", "single_owner"]

MAX_SUBID_FILE = 1 << 24  # bytes of /etc/subuid or /etc/subgid; a machine of 100,000 users has 3 MB
MAX_EXTENTS = 340  # lines of a uid_map: the kernel's own bound, user_namespaces(7)
_ALL = 0xFFFFFFFF


class IdMap(Record):
    """`size` ids from `inside` on, which outside are those from `outside` on."""

    inside: int
    outside: int
    size: int


class IdMaps(Record):
    """The maps of one user namespace."""

    uids: tuple[IdMap, ...]
    gids: tuple[IdMap, ...]

    @property
    def single(self) -> bool:
        """Whether there is only one user and one group inside: all files are theirs, whoever owned them in an image."""
        return sum(one.size for one in self.uids) <= 1 or sum(one.size for one in self.gids) <= 1

    @property
    def identity(self) -> bool:
        """Whether every id stands for itself: the initial namespace, or one that is as good."""
        whole = IdMap(inside=0, outside=0, size=_ALL)
        return self.uids == (whole,) and self.gids == (whole,)

    def has_uid(self, uid: int) -> bool:
        """Whether a file can have this owner inside."""
        return any(one.inside <= uid < one.inside + one.size for one in self.uids)

    def has_gid(self, gid: int) -> bool:
        """Whether a file can have this group inside."""
        return any(one.inside <= gid < one.inside + one.size for one in self.gids)


def current(pid: int | str = "self") -> IdMaps:
    """The maps of the user namespace that a process is in, as its parent namespace sees them (ours for "self")."""
    return IdMaps(uids=_read(f"/proc/{pid}/uid_map"), gids=_read(f"/proc/{pid}/gid_map"))


def _read(path: str) -> tuple[IdMap, ...]:
    with open(path, encoding="utf-8") as file:
        rows = [[int(word) for word in line.split()] for line in file]
    return tuple(IdMap(inside=inside, outside=outside, size=size) for inside, outside, size in rows)


def single(uid: int, gid: int) -> IdMaps:
    """The maps that everybody may have: root inside is the user outside, and nobody else is there."""
    return IdMaps(uids=(IdMap(inside=0, outside=uid, size=1),), gids=(IdMap(inside=0, outside=gid, size=1),))


def single_owner() -> bool:
    """Whether all files here are one user's, so that owners can only be noted: an ordinary user, or a single id."""
    return os.geteuid() != 0 or current().single


def of_user(
    uid: int,
    name: str | None,
    *,
    gid: int | None = None,
    subuid: StrPath = "/etc/subuid",
    subgid: StrPath = "/etc/subgid",
) -> IdMaps:
    """The largest maps that a user may have: root inside is that user, from 1 on come his ranges of the subuid files.

    `gid` is his group, this process's when None. Lines are for a user by name or by number; several are put behind
    each other, in the order of the file. Without ranges in both files, the single id. Raises ConfigurationError for a
    file that can't be read or understood.
    """
    group = os.getegid() if gid is None else gid
    uid_ranges = _ranges(subuid, uid, name)
    gid_ranges = _ranges(subgid, uid, name)
    if not uid_ranges or not gid_ranges:
        return single(uid, group)
    return IdMaps(uids=_behind(uid, uid_ranges), gids=_behind(group, gid_ranges))


def _behind(own: int, ranges: Iterable[tuple[int, int]]) -> tuple[IdMap, ...]:
    maps = [IdMap(inside=0, outside=own, size=1)]
    inside = 1
    for start, size in ranges:
        if len(maps) == MAX_EXTENTS:
            break
        # The kernel takes no id twice. One that overlaps is a mistake of the file's; what is left still works.
        if any(start < one.outside + one.size and one.outside < start + size for one in maps):
            continue
        maps.append(IdMap(inside=inside, outside=start, size=size))
        inside += size
    return tuple(maps)


def _ranges(path: StrPath, uid: int, name: str | None) -> Sequence[tuple[int, int]]:
    shown = os.fsdecode(path)
    try:
        with open(path, "rb") as file:
            raw = file.read(MAX_SUBID_FILE + 1)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise ConfigurationError(shown, f"cannot be read: {error.strerror}") from None
    if len(raw) > MAX_SUBID_FILE:
        raise ConfigurationError(shown, f"has more than {MAX_SUBID_FILE} bytes")
    wanted = {str(uid).encode(), os.fsencode(name) if name else str(uid).encode()}
    found: list[tuple[int, int]] = []
    for number, line in enumerate(raw.splitlines(), 1):
        who, colon, rest = line.strip().partition(b":")
        if not colon or who not in wanted:
            continue
        first, _, count = rest.partition(b":")
        if not (first.isdigit() and count.isdigit()) or len(first) > 10 or len(count) > 10:
            raise ConfigurationError(f"{shown} line {number}", "not USER:FIRST:COUNT")
        start, size = int(first), int(count)
        if not start and size and uid:
            raise ConfigurationError(f"{shown} line {number}", "begins with 0: root is nobody else's id")
        if start + size > _ALL:
            raise ConfigurationError(f"{shown} line {number}", "ids beyond 4294967294")
        if size and (start, size) not in found:
            found.append((start, size))
    return found
