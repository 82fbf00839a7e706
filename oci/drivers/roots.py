"""The root directories of layers' folders: which one an image's root looks like, and which one hides all below it.

Most layers don't name their root directory, and overlayfs shows the topmost one's attributes. So a folder whose layer
doesn't name it is marked (layer_folder.py), and who makes a root above it asks here whose attributes it should have.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

__all__ = ["UNNAMED", "is_opaque", "root_of"]

UNNAMED = "overlay.ocikit.unnamed"
"""Attribute (behind `trusted.` or `user.`, as the store's form is) of a root that the layer doesn't name."""


def root_of(layers: Sequence[str]) -> str | None:
    """The tree (of an image's layers, bottom first) whose root is the image's; None where no layer names it."""
    return next((path for path in reversed(layers) if not _marked(path, UNNAMED)), None)


def is_opaque(path: str) -> bool:
    """Whether a layer's tree hides all that lower layers have."""
    return _marked(path, "overlay.opaque")


def _marked(path: str, name: str) -> bool:
    # In either namespace: neither ever gets from a layer into its folder.
    for namespace in ("trusted", "user"):
        try:
            if os.getxattr(path, f"{namespace}.{name}", follow_symlinks=False) == b"y":
                return True
        except OSError as error:
            if error.errno not in (errno.ENODATA, errno.EOPNOTSUPP, errno.EPERM):
                raise
    return False
