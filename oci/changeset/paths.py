"""Names of layer entries as paths inside the root: relative, clean, never upwards.

A path is bytes without a leading or trailing "/", without empty, "." or ".." components; `b""` is the root itself.
Names are bytes because a tar header holds bytes: everything but NUL and "/" is a legal name on Linux.
(image-spec v1.1.1 layer.md#populate-initial-filesystem: entries are relative to the root, with or without "./".)
"""

from __future__ import annotations

from oci.errors import UnsafeEntry

__all__ = ["MAX_PATH", "ancestors", "clean", "join", "order", "split"]

# Bytes of one path; four times what one system call takes. Each of the directories in it is remembered by its own path,
# so memory grows with the square: 130 MB for a path of this length, 8 GB for a tenfold one.
MAX_PATH = 16 << 10


def clean(name: bytes) -> bytes:
    """Return the path inside the root that `name` stands for: `b"./usr//bin/"` → `b"usr/bin"`, `b"./"` → `b""`.

    A leading "/" is dropped, as GNU tar does. Raises UnsafeEntry for a ".." component, even a harmless one such as
    `a/../b` (no builder writes it, and dropping it would silently rename the entry), for a NUL byte, and for a path of
    more than MAX_PATH bytes.
    """
    # The common case by far, and the only one that pays for speed: nothing to do.
    if (
        name
        and b"//" not in name
        and b"/." not in name
        and b"\0" not in name
        and name[0] != 0x2F
        and name[-1] != 0x2F
        and len(name) <= MAX_PATH
        and (name[0] != 0x2E or not (name.startswith((b"./", b"../")) or name in (b".", b"..")))
    ):
        return name
    if b"\0" in name:
        raise UnsafeEntry(name, "a NUL byte in the name")
    parts = [part for part in name.split(b"/") if part and part != b"."]
    if b".." in parts:
        raise UnsafeEntry(name, "'..' in the name")
    path = b"/".join(parts)
    if len(path) > MAX_PATH:
        raise UnsafeEntry(name, f"a path of more than {MAX_PATH} bytes")
    return path


def split(path: bytes) -> tuple[bytes, bytes]:
    """Return parent directory and last component of a clean path other than the root."""
    parent, _, name = path.rpartition(b"/")
    return parent, name


def join(parent: bytes, name: bytes) -> bytes:
    """Return the clean path of `name` in the directory `parent`."""
    return parent + b"/" + name if parent else name


def order(path: bytes) -> bytes:
    """Return what sorts clean paths as a scan gives them: a directory's subtree before its next sibling."""
    return path.replace(b"/", b"\0")


def ancestors(path: bytes) -> list[bytes]:
    """Return all directories above a clean path, nearest first, the root (`b""`) last; nothing for the root."""
    found = []
    while path:
        path = path.rpartition(b"/")[0]
        found.append(path)
    return found
