"""The merged tree of a container as one tar: what it has of its image and its own writes, nothing that is mounted.

As `docker export` has it: no content of volumes and binds; where the image has files below a mount point, those. Other
than docker's, it has no mount points that the image lacks and nobody wrote to (/dev/console, an empty /etc/hosts): they
are ours, and an untouched container's tar is exactly its image's tree, the one that `ocikit unpack` makes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from oci.changeset.paths import ancestors, join
from oci.changeset.scan import Scan
from oci.changeset.write import write_layer
from oci.container.archive import plain
from oci.container.view import tree
from oci.errors import show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.container.container import Container
    from oci.drivers.lower import LowerDirectory

__all__ = ["export", "untouched_scaffold"]


def export(
    container: Container,
    write: Callable[[bytes | memoryview], object],
    *,
    warn: Callable[[str], None] | None = None,
) -> None:
    """Write the tar, in the order of a scan. A file is as long as it was when it was opened: the container may run."""

    def told(path: bytes, reason: str) -> None:
        if warn is not None:
            warn(f"{show(path)} {reason}")

    with tree(container) as fd:
        ours = untouched_scaffold(container)
        entries = Scan(
            container.name,
            at=(fd, b"."),
            within=lambda path: path not in ours,
            live=True,
            data=True,
            owner="keep",
            mtime="exact",
            warn=told,
        )
        write_layer(plain(entries), write)


def untouched_scaffold(container: Container) -> set[bytes]:
    """The mount points that were made for this container, and that it has done nothing with."""
    snapshot = container.snapshot
    if snapshot.scaffold is None or not os.path.isdir(snapshot.scaffold):
        return set()
    made = set(_not_in_image(container, snapshot.scaffold))
    if made:
        for change in container.driver.changes(snapshot):
            made.difference_update((change.path, *ancestors(change.path)))
    return made


def _not_in_image(container: Container, scaffold: str) -> Iterator[bytes]:
    """What the scaffold has and the image's layers together lack."""
    from oci.drivers.folders import Folders
    from oci.drivers.lower import Lower
    from oci.drivers.marks import KernelMarks

    root = os.fsencode(scaffold)
    with Folders(container.snapshot.layers) as folders:
        lower = Lower(folders, KernelMarks(container.driver.form), scaffold=False)
        todo: list[tuple[bytes, LowerDirectory | None]] = [(b"", lower.root())]
        while todo:
            path, directory = todo.pop()
            with os.scandir(join(root, path)) as listing:
                names = {item.name: item.is_dir(follow_symlinks=False) for item in listing}
            found = lower.list(directory, only=names) if directory is not None else {}
            for name, is_directory in names.items():
                here, below = join(path, name), found.get(name)
                if below is None:
                    yield here
                if is_directory:
                    inner = None
                    if directory is not None and below is not None and below.is_directory:
                        inner = lower.enter(directory, name, below)
                    todo.append((here, inner))
