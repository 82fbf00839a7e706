"""Whom a container runs as: docker's rules of User, over the image's own passwd and group files.

===================  ===================================================================================
nothing, ``""``      0:0; home and supplementary groups as passwd and group have them for user id 0
``USER``             by name, else by number; then its gid, home and supplementary groups
``UID``              one that passwd doesn't have: group 0, home ``/``, no supplementary groups
``USER:GROUP``       the group by name, else by number; no supplementary groups
===================  ===================================================================================

Both files are an image's, so anything: they are opened within its root (no link leads out), have to be plain files,
and are read up to a limit. Runtimes read them too, when the container has its /proc and /dev: where a link leads there,
they would wait for the kernel's next message (/proc/kmsg), so it is refused. A line that isn't a proper entry is passed
over: docker takes a missing number for 0, which would make root of a typing error. Ids go up to 2^31-1, as everywhere
in docker.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence

from oci.errors import InvalidInput, LimitExceeded, show
from oci.runtime.inside import is_kernels, settle
from oci.spec.record import Record

__all__ = ["User", "resolve_user"]

MAX_FILE = 1 << 20  # bytes of /etc/passwd or /etc/group: some 20,000 entries
MAX_ID = (1 << 31) - 1
MAX_GROUPS = 65536  # the kernel's NGROUPS_MAX


class User(Record):
    """Ids as the container sees them; `groups` are the supplementary ones."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str
    name: str  # "" where passwd has none


class _Account(Record):
    name: str
    uid: int
    gid: int
    home: str


class _Group(Record):
    name: str
    gid: int
    members: tuple[str, ...]


def resolve_user(root_fd: int, text: str | None, group_add: Sequence[str] = ()) -> User:
    """USER, UID, USER:GROUP, … → ids, as the image behind `root_fd` has them. Raises InvalidInput, LimitExceeded."""
    for path in ("/etc/passwd", "/etc/group"):
        _check_file(root_fd, path)
    wanted, _, group = (text or "").partition(":")
    account = _account(root_fd, wanted)
    gid, groups = account.gid, []
    listed: list[_Group] | None = None
    if group:
        listed = _groups(root_fd)
        gid = _group_id(listed, group, "user", text or "")
    elif account.name:
        listed = _groups(root_fd)
        groups = [entry.gid for entry in listed if account.name in entry.members]
    for name in group_add:
        listed = _groups(root_fd) if listed is None else listed
        groups.append(_group_id(listed, name, "--group-add", name))
    if len(groups) > MAX_GROUPS:
        raise LimitExceeded("supplementary groups of a user", MAX_GROUPS, len(groups))
    return User(
        uid=account.uid, gid=gid, groups=tuple(dict.fromkeys(groups)), home=account.home or "/", name=account.name
    )


def _check_file(root_fd: int, path: str) -> None:
    """Raise InvalidInput for what no runtime should open."""
    _close(_find(root_fd, path))
    place = settle(root_fd, path, "the image's file")
    if is_kernels(place):
        raise InvalidInput(f"the image's {path} leads to {show(place)}, which is not a file of the image")


def _account(root_fd: int, wanted: str) -> _Account:
    number = _number(wanted or "0")
    for account in _accounts(root_fd):
        if account.name == wanted or (number is not None and account.uid == number):
            return account
    if number is None:
        raise InvalidInput(f"user {show(wanted)!r}: the image's /etc/passwd has no such user")
    return _Account(name="", uid=_id("user", wanted or "0"), gid=0, home="/")


def _group_id(groups: Sequence[_Group], wanted: str, what: str, said: str) -> int:
    number = _number(wanted)
    for group in groups:
        if group.name == wanted or (number is not None and group.gid == number):
            return group.gid
    if number is None:
        raise InvalidInput(f"{what} {show(said)!r}: the image's /etc/group has no group {show(wanted)!r}")
    return _id("group", wanted)


def _number(text: str) -> int | None:
    """A decimal number; int() would also take " 1_0" and other alphabets' digits."""
    return int(text) if 0 < len(text) <= 20 and text.isascii() and text.isdigit() else None


def _id(what: str, text: str) -> int:
    number = _number(text)
    if number is None or number > MAX_ID:
        raise InvalidInput(f"{what} {show(text)!r}: ids go from 0 to {MAX_ID}")
    return number


def _accounts(root_fd: int) -> Iterator[_Account]:
    for fields in _entries(root_fd, "/etc/passwd", 4):
        uid, gid = _number(fields[2]), _number(fields[3])
        if uid is not None and gid is not None and uid <= MAX_ID and gid <= MAX_ID:
            yield _Account(name=fields[0], uid=uid, gid=gid, home=_home(fields))


def _home(fields: list[str]) -> str:
    home = fields[5] if len(fields) > 5 else ""
    plain = home.startswith("/") and home.isprintable()  # which bytes that are no UTF-8, and NUL, are not
    return home if plain else ""


def _groups(root_fd: int) -> list[_Group]:
    groups = []
    for fields in _entries(root_fd, "/etc/group", 3):
        gid = _number(fields[2])
        if gid is not None and gid <= MAX_ID:
            members = tuple(fields[3].split(",")) if len(fields) > 3 else ()
            groups.append(_Group(name=fields[0], gid=gid, members=members))
    return groups


def _entries(root_fd: int, path: str, least: int) -> Iterator[list[str]]:
    """Lines of fields between colons, those with a name and at least so many fields."""
    for line in read_plain(root_fd, path).decode("utf-8", "surrogateescape").split("\n"):
        fields = [field.strip() for field in line.strip().split(":")]
        if len(fields) >= least and fields[0] and not fields[0].startswith(("#", "+", "-")):
            yield fields


def read_plain(root_fd: int, path: str, limit: int = MAX_FILE) -> bytes:
    """A plain file inside a root, b"" where there is none. Raises InvalidInput, LimitExceeded."""
    found = _find(root_fd, path)
    if found is None:
        return b""
    try:
        size = os.fstat(found).st_size
        if size > limit:
            raise LimitExceeded(f"size of the image's {path} in bytes", limit, size)
        return _read(found, path, limit)
    finally:
        os.close(found)


def _find(root_fd: int, path: str) -> int | None:
    """A plain file inside a root, found and not opened; None where there is none. Raises InvalidInput."""
    from oci.linux.files import open_in_root

    try:
        found = open_in_root(root_fd, path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InvalidInput(f"the image's {path} can't be opened: {os.strerror(error.errno or 0)}") from None
    if not stat.S_ISREG(os.fstat(found).st_mode):  # opening a device or a fifo would do something, or wait for somebody
        os.close(found)
        raise InvalidInput(f"the image's {path} is not a file")
    return found


def _close(fd: int | None) -> None:
    if fd is not None:
        os.close(fd)


def _read(found: int, path: str, limit: int) -> bytes:
    try:
        # The very file that was looked at. Some of /proc wait when they are read, unless they are told not to.
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        with open(os.open(f"/proc/self/fd/{found}", flags), "rb", buffering=0) as file:
            raw = b""
            while len(raw) <= limit and (more := file.read(limit + 1 - len(raw))):
                raw += more
    except OSError as error:
        raise InvalidInput(f"the image's {path} can't be read: {os.strerror(error.errno or 0)}") from None
    if len(raw) > limit:
        raise LimitExceeded(f"size of the image's {path} in bytes", limit)
    return raw
