"""What a storage driver is, and the life of a container's tree in its hands.

A container sees one tree: the image's read-only layers, and on top what it has changed. A driver makes that tree. Three
do: `overlay` (the kernel's overlayfs), `fuse-overlayfs` (the same by a program, where the kernel refuses), `copy` (a
copy of all files, which works anywhere). docs/drivers.md says which does what.

::

    prepare   folders (or the copy) for a new container
    mount     the tree is at snapshot.merged, in this mount namespace only; for as long as the container runs
    unmount
    root      or: a descriptor of the tree for a moment, without a mount that anybody could find
    changes   what was added, modified, deleted since the image
    delta     the same as entries of one more layer, for a commit
    size      bytes of the writable layer
    remove    all that the driver made

Rules for all of them:

* **No mount outlives its processes.** What `mount` makes is in the caller's mount namespace; what `root` gives is gone
  with its descriptor.
* The layers are never written, whatever happens in the tree.
* Layers have one form on disk, the kernel's: a whiteout is a character device 0/0, a directory that hides all below
  it carries the extended attribute `overlay.opaque` = "y" in the namespace that `form` says (Linux
  Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories").
* `changes` and `delta` say the same after the same operations, whichever driver it is. They may be asked for while the
  container runs. What comes and goes meanwhile is nothing to `changes`; `delta` wants a tree that stands still, and a
  file that changes while it is read is a SourceError.
* The same tree must not be mounted twice for writing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager

from oci.drivers.snapshot import Snapshot
from oci.spec.record import Record
from oci.typed import Literal, Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.changeset.scan import Data, MTime, Owner
    from oci.tar.entry import Entry

__all__ = ["NAMES", "Change", "Driver", "Form", "Kind", "Support"]

Form = Literal["trusted", "user"]
"""The namespace of overlay's extended attributes: only root of the first user namespace can use `trusted.`."""

Kind = Literal["added", "modified", "deleted"]

NAMES = ("overlay", "fuse-overlayfs", "copy")
"""All drivers, the one to be preferred first."""


class Support(Record):
    """Whether a driver works at a place; `reason` says why not, or what was tried."""

    usable: bool
    reason: str


class Change(Record, kw_only=False):
    """One path that differs from the image; a path is relative to the root, `b""` the root directory itself."""

    path: bytes
    kind: Kind


class Driver(Protocol):
    """What makes a container's tree out of layers and a folder. Errors of its own are DriverErrors."""

    @property
    def name(self) -> str:
        """The name by which it is chosen."""

    @property
    def form(self) -> Form:
        """Which extended attributes mark opaque directories in layers."""

    def prepare(self, snapshot: Snapshot) -> None:
        """Make what the folder needs for a new container; the folder itself is there."""

    def mount(self, snapshot: Snapshot, *, read_only: bool = False, target: str | None = None) -> str:
        """Show the tree at `target` (`snapshot.merged` by default) in this mount namespace; the path of its root."""

    def unmount(self, snapshot: Snapshot, *, target: str | None = None) -> None:
        """Take the mount away; nothing happens where there is none."""

    def root(self, snapshot: Snapshot, *, writable: bool = False) -> AbstractContextManager[int]:
        """A descriptor of the tree's root directory for a moment, without a lasting mount.

        Not for a container that runs: its tree is mounted already, in its supervisor's mount namespace.
        """

    def changes(self, snapshot: Snapshot) -> Iterator[Change]:
        """What differs from the image, in the order of a scan; nothing for what was only read or written back equal."""

    def delta(
        self,
        snapshot: Snapshot,
        *,
        owner: Owner = "keep",
        mtime: MTime = "whole",
        clamp_mtime: int | None = None,
        exclude: Iterable[str | bytes] = (),
        warn: Callable[[bytes, str], object] | None = None,
    ) -> Iterator[tuple[Entry, Data]]:
        """The entries of a layer that makes this tree out of the image, whiteouts in the image's form."""

    def size(self, snapshot: Snapshot) -> int:
        """Bytes of the writable layer: the length of its files, each once, and 0 for all that isn't a file."""

    def remove(self, snapshot: Snapshot) -> None:
        """Remove what the driver made in the folder; not the folder."""
