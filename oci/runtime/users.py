"""Whom a container runs as: docker's rules of User, over the image's own passwd and group files."""

from __future__ import annotations

from collections.abc import Sequence

from oci.spec.record import Record

__all__ = ["User", "resolve_user"]


class User(Record):
    """Ids as the container sees them; `groups` are the supplementary ones."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str
    name: str  # "" where passwd has none


def resolve_user(root_fd: int, text: str | None, group_add: Sequence[str] = ()) -> User:
    """USER, UID, USER:GROUP, … → ids. Raises InvalidInput, LimitExceeded."""
    raise NotImplementedError
