"""What an image may make us remember, and how far its symbolic links may lead: bounds that real images never meet.

Layers compress a thousandfold, and one name may imply thousands of directories, so neither the size of a blob nor that
of a tar bounds memory or time. These do.
"""

from __future__ import annotations

from oci.errors import LimitExceeded, UnsafeEntry

__all__ = ["MAX_HOPS", "MAX_STEPS", "MAX_TARGET", "Budget", "Hops", "check_target"]

MAX_HOPS = 40  # symbolic links followed for one name: what the kernel allows itself
MAX_STEPS = 1024  # names in the targets of those links, together; 40 links of 4 KiB would be some 80,000 for each entry
MAX_TARGET = 4095  # bytes of a symbolic link's target: Linux's PATH_MAX without its NUL


class Budget:
    """Memory for what has to be remembered, in bytes, about; LimitExceeded when it is used up."""

    __slots__ = ("_left", "_limit", "_what")

    def __init__(self, what: str, limit: int) -> None:
        self._what, self._limit, self._left = what, limit, limit

    def take(self, count: int) -> None:
        """Use some of it."""
        self._left -= count
        if self._left < 0:
            raise LimitExceeded(self._what, self._limit)


class Hops:
    """The symbolic links that are followed for one name, `path`."""

    __slots__ = ("_hops", "_path", "_steps")

    def __init__(self, path: bytes) -> None:
        self._path, self._hops, self._steps = path, 0, 0

    def follow(self, target: bytes) -> list[bytes]:
        """Count one more link, and give the names in its target; UnsafeEntry when it is too much."""
        self._hops += 1
        if self._hops > MAX_HOPS:
            raise UnsafeEntry(self._path, f"more than {MAX_HOPS} symbolic links lead to it")
        self._steps += target.count(b"/") + 1
        if self._steps > MAX_STEPS:
            raise UnsafeEntry(self._path, f"symbolic links with more than {MAX_STEPS} names in them lead to it")
        return target.split(b"/")


def check_target(path: bytes, target: bytes) -> None:
    """Refuse a symbolic link that Linux can't make, also where it doesn't have to be made."""
    if len(target) > MAX_TARGET:
        raise UnsafeEntry(path, f"a symbolic link's target of more than {MAX_TARGET} bytes")
