"""What lies in a directory tree, as plain values that can be compared."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

_KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}

Facts = dict[str, object]


def snapshot(
    root: Path | str,
    *,
    owners: bool = True,
    mtimes: bool = True,
    xattrs: bool = True,
    links: bool = True,
    root_entry: bool = True,
) -> dict[bytes, Facts]:
    """Every path below `root` (b"." is the root itself) with its facts; the flags leave out what a peer can't keep.

    Hard links are told by `linked`: the sorted names in the tree that share the file's inode, where more than one.
    """
    found: dict[bytes, Facts] = {}
    inodes: dict[tuple[int, int], list[bytes]] = {}
    pending = [b"."]
    top = os.fsencode(root)
    while pending:
        path = pending.pop()
        full = top if path == b"." else os.path.join(top, path)
        status = os.lstat(full)
        kind = _KINDS[stat.S_IFMT(status.st_mode)]
        facts: Facts = {"kind": kind}
        if kind != "symlink":
            facts["mode"] = stat.S_IMODE(status.st_mode)
        if owners:
            facts["owner"] = (status.st_uid, status.st_gid)
        if mtimes:
            facts["mtime_ns"] = status.st_mtime_ns
        if kind == "file":
            with open(full, "rb") as file:
                facts["content"] = (status.st_size, hashlib.file_digest(file, "sha256").hexdigest())
        elif kind == "symlink":
            facts["target"] = os.readlink(full)
        elif kind in ("char", "block"):
            facts["device"] = (os.major(status.st_rdev), os.minor(status.st_rdev))
        if xattrs:
            names = os.listxattr(full, follow_symlinks=False)
            facts["xattrs"] = {name: os.getxattr(full, name, follow_symlinks=False) for name in sorted(names)}
        if kind == "dir":
            pending.extend(name if path == b"." else path + b"/" + name for name in os.listdir(full))
        elif links and status.st_nlink > 1:
            inodes.setdefault((status.st_dev, status.st_ino), []).append(path)
        if path != b"." or root_entry:
            found[path] = facts
    for names in inodes.values():
        if len(names) > 1:
            for name in names:
                found[name]["linked"] = tuple(sorted(names))
    return found


def differences(left: dict[bytes, Facts], right: dict[bytes, Facts]) -> list[str]:
    """One line for each path that differs, with what differs; empty where both are equal."""
    lines = []
    for path in sorted(left.keys() | right.keys()):
        a, b = left.get(path), right.get(path)
        if a is None or b is None:
            lines.append(f"{path!r}: only {'right' if a is None else 'left'}")
        elif a != b:
            keys = sorted(key for key in a.keys() | b.keys() if a.get(key) != b.get(key))
            lines.append(f"{path!r}: " + ", ".join(f"{key} {a.get(key)!r} != {b.get(key)!r}" for key in keys))
    return lines
