"""Whiteout marks: the names in a layer that delete something of the layers below it.

image-spec v1.1.1 layer.md#whiteouts and #opaque-whiteout. A mark is recognised by its name alone; what kind of entry
carries the name plays no part. Names that begin with `.wh.` and are no proper mark can't be written as files either
("it is not possible to create a filesystem which has a file or directory with a name beginning with .wh."), so they
are refused; only what AUFS left in old images is passed over, with everything below it.
"""

from __future__ import annotations

from oci.changeset.paths import join
from oci.errors import UnsafeEntry
from oci.typed import Literal

__all__ = ["META_PREFIX", "OPAQUE", "PREFIX", "Mark", "classify"]

PREFIX = b".wh."
META_PREFIX = b".wh..wh."
OPAQUE = b".wh..wh..opq"

# What AUFS keeps in the root of a branch: hard links of deleted names, its lock, orphans. Old `docker save` files
# have them in layers.
AUFS_LEFTOVERS = frozenset({b".wh..wh.plnk", b".wh..wh.aufs", b".wh..wh.orph"})

Mark = (
    tuple[Literal["whiteout"], bytes]  # the path that is deleted, with all below it
    | tuple[Literal["opaque"], bytes]  # the directory whose lower content is deleted
    | tuple[Literal["skip"], bytes]  # an AUFS leftover; the path itself
)


def classify(path: bytes) -> Mark | None:
    """Return what mark the clean `path` is, or None for an ordinary entry.

    Raises UnsafeEntry for `.wh.`, `.wh..` and `.wh...` (they would delete a directory itself or leave it), for marks of
    reserved names, and for names below a component with the reserved prefix.
    """
    if PREFIX not in path:
        return None
    parent, _, name = path.rpartition(b"/")
    if PREFIX in parent:
        for component in parent.split(b"/"):
            if component in AUFS_LEFTOVERS:
                return "skip", path
            if component.startswith(PREFIX):
                raise UnsafeEntry(
                    path, f"the prefix {PREFIX.decode()} is reserved for whiteouts; no directory can have it"
                )
    if not name.startswith(PREFIX):
        return None
    if name == OPAQUE:
        return "opaque", parent
    if name in AUFS_LEFTOVERS:
        return "skip", path
    target = name[len(PREFIX) :]
    if target in (b"", b".", b".."):
        raise UnsafeEntry(path, "a whiteout without a name to delete")
    if target.startswith(PREFIX):
        raise UnsafeEntry(path, "a whiteout of a reserved name, which no layer can hold")
    return "whiteout", join(parent, target)
