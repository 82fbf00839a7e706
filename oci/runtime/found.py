"""A runtime that was tried and works here, as a value to be remembered."""

from __future__ import annotations

from oci.spec.record import Record
from oci.spec.wire import Fields, dumps, loads

__all__ = ["Found"]


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
