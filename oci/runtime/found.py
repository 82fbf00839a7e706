"""A runtime that was tried and works here, as a value to be remembered."""

from __future__ import annotations

import os
from collections.abc import Sequence

from oci.errors import InvalidDocument
from oci.spec.record import Record
from oci.spec.wire import Fields, dumps, loads

__all__ = ["Found", "file_of", "in_user_namespace", "remembered"]


class Found(Record):
    """A runtime that was tried and works."""

    path: str
    name: str  # the program's own: "runc", "crun"
    version: str
    seccomp: bool  # it can filter system calls
    file: str  # which file it was: device, inode, size, time
    user: bool = False  # tried in a user namespace

    def to_json(self) -> str:
        return dumps({name: getattr(self, name) for name in Found._specs}).decode()

    @classmethod
    def from_json(cls, text: str) -> Found:
        """Raises InvalidDocument."""
        fields = Fields(loads(text.encode(), document="remembered runtime"), document="remembered runtime")
        return cls(
            path=fields.string("path"),
            name=fields.string("name"),
            version=fields.string("version"),
            seccomp=fields.optional_boolean("seccomp") or False,
            file=fields.string("file"),
            user=fields.optional_boolean("user") or False,
        )


def remembered(text: str | None, names: Sequence[str]) -> Found | None:
    """The runtime that was found earlier, if it is one of `names` still, in a place that is as it was then."""
    if not text:
        return None
    try:
        found = Found.from_json(text)
    except InvalidDocument:
        return None
    known = any(name in (found.path, found.name, os.path.basename(found.path)) for name in names)
    if not known or found.user != in_user_namespace() or file_of(found.path) != found.file:
        return None
    return found


def file_of(path: str) -> str:
    """Which file a path is now: device, inode, size, time; empty where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return ""
    return f"{found.st_dev}:{found.st_ino}:{found.st_size}:{found.st_mtime_ns}"


def in_user_namespace() -> bool:
    """Whether this process is root of a user namespace only: a trial made there says nothing of the other case."""
    from oci.linux.namespaces import is_initial

    return not is_initial()
