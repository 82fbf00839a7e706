"""`copy`: every container has a copy of all its files. No mounts and no rights are needed; it works anywhere.

The price is time and space: both grow with the image, unless the file system can share blocks. What a container
changed is found by comparing its tree with the layers. When the copy was finished is noted in a file, and the kernel's
own time of change (st_ctime, which no program sets) tells what hasn't been touched since: only of what has are bytes
and extended attributes read. Modes, owners, sizes and times are always compared, so that a clock that was set back
hides nothing that shows in them.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from oci.drivers.copying import copy_tree
from oci.drivers.delta import Written, files_size
from oci.drivers.driver import Form
from oci.drivers.marks import NoMarks
from oci.drivers.snapshot import Snapshot
from oci.drivers.writable import Teller, remove_folders
from oci.errors import DriverError
from oci.lazily import json

__all__ = ["Copy"]

NOTE = "tree.json"
MAX_NOTE = 4096  # bytes of it; ours has some 60
_TICK = 0.001  # seconds; the kernel's clock for files goes on every 1 to 10 ms
_TICKS = 1000


class Copy(Teller):
    """Copies of trees; `form` is that of the layers."""

    name = "copy"

    def __init__(self, form: Form) -> None:
        self.form: Form = form

    def prepare(self, snapshot: Snapshot) -> None:
        """See Driver."""
        try:
            os.mkdir(snapshot.merged, 0o700)
            os.mkdir(snapshot.tree, 0o755)
            if not snapshot.lowers:
                os.chmod(snapshot.tree, 0o755)
            copy_tree(snapshot.lowers, self.form, snapshot.tree, scaffold=snapshot.scaffold is not None)
            _note(snapshot)
        except OSError as error:
            where = f" ({os.fsdecode(error.filename)})" if error.filename else ""
            raise DriverError(self.name, f"can't copy to {snapshot.tree}: {error.strerror}{where}") from error

    def mount(self, snapshot: Snapshot, *, read_only: bool = False, target: str | None = None) -> str:
        """See Driver. Without rights to mount the tree is where it lies, which is what is returned then."""
        from oci.linux import mounts

        place = target or snapshot.merged
        try:
            mounts.bind(snapshot.tree, place, read_only=read_only)
        except OSError as error:
            if error.errno == errno.EPERM and target is None and not read_only:
                return snapshot.tree
            raise DriverError(self.name, f"can't show {snapshot.tree} at {place}: {error.strerror}") from error
        return place

    def unmount(self, snapshot: Snapshot, *, target: str | None = None) -> None:
        """See Driver."""
        from oci.linux import mounts

        place = target or snapshot.merged
        try:
            mounts.unmount(place)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOENT, errno.EPERM):  # nothing is mounted there, or can be
                return
            raise DriverError(self.name, f"can't unmount {place}: {error.strerror}") from error

    @contextmanager
    def root(self, snapshot: Snapshot, *, writable: bool = False) -> Iterator[int]:
        """See Driver. The tree is a plain directory, and the descriptor is writable whatever was asked for."""
        try:
            fd = os.open(snapshot.tree, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise DriverError(self.name, f"can't open {snapshot.tree}: {error.strerror}") from error
        try:
            yield fd
        finally:
            os.close(fd)

    def _written(self, snapshot: Snapshot) -> Written:
        made = _made(snapshot)
        return Written(
            snapshot,
            snapshot.tree,
            NoMarks(),
            self.form,
            links_kept=True,
            settled=lambda status: status.st_ctime_ns < made,
        )

    def size(self, snapshot: Snapshot) -> int:
        """See Driver. The whole tree is the container's own, so it counts whole (shared blocks too)."""
        return files_size(snapshot.tree)

    def remove(self, snapshot: Snapshot) -> None:
        """See Driver."""
        remove_folders(snapshot, ("tree", NOTE, "merged"), self.name)


def _note(snapshot: Snapshot) -> None:
    """Note that the copy is complete, in a file whose time of change is later than that of everything copied."""
    path = os.path.join(snapshot.folder, NOTE)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        tree = os.stat(snapshot.tree)
        os.write(fd, json.dumps({"device": tree.st_dev, "inode": tree.st_ino}).encode())
        begun = os.fstat(fd).st_ctime_ns
        for _ in range(_TICKS):
            if os.fstat(fd).st_ctime_ns > begun:
                return
            time.sleep(_TICK)
            os.utime(fd)
    finally:
        os.close(fd)


def _made(snapshot: Snapshot) -> int:
    """When the copy was finished; 0 when that isn't known, as of a store that was itself copied with all its times."""
    try:
        fd = os.open(os.path.join(snapshot.folder, NOTE), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    try:
        note = json.loads(os.read(fd, MAX_NOTE))
        tree = os.stat(snapshot.tree)
        same = note == {"device": tree.st_dev, "inode": tree.st_ino}
        return os.fstat(fd).st_ctime_ns if same else 0
    except (ValueError, FileNotFoundError):
        return 0
    finally:
        os.close(fd)
