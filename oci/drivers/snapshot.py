"""Where a container's files lie: the layers below, and the folder that holds what it writes.

::

    containers/<id>/
      init/      the scaffold: mount points that the image lacks, one more read-only layer on top of the image's
      upper/     what the container wrote, in the driver's form (overlay, fuse-overlayfs)
      work/      the kernel's own
      merged/    where the tree is mounted, in the mount namespace of whoever mounts it
      tree/      the whole tree (copy)
      tree.json  what the copy driver notes about it

A snapshot is a value: it says where things are, not that they are there.
"""

from __future__ import annotations

import os

from oci.spec.record import Record

__all__ = ["Snapshot"]


class Snapshot(Record):
    """One container's folder, and what it stands on.

    `layers` are the trees of the image's layers (…/layers/<id>/fs), the bottom one first; `scaffold` is a further one
    on top of them that belongs to this container alone and never to its image.
    """

    folder: str
    layers: tuple[str, ...] = ()
    scaffold: str | None = None

    @property
    def upper(self) -> str:
        """The writable layer, of drivers that have one."""
        return os.path.join(self.folder, "upper")

    @property
    def work(self) -> str:
        """What overlayfs needs beside it."""
        return os.path.join(self.folder, "work")

    @property
    def merged(self) -> str:
        """Where the tree is mounted."""
        return os.path.join(self.folder, "merged")

    @property
    def tree(self) -> str:
        """The whole tree, of the copy driver."""
        return os.path.join(self.folder, "tree")

    @property
    def lowers(self) -> tuple[str, ...]:
        """All that is only read, the bottom one first: the layers, and the scaffold."""
        return self.layers if self.scaffold is None else (*self.layers, self.scaffold)
