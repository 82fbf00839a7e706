"""What drivers share: what they tell of a container; an upper directory's folders, its attributes, and their end."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from oci.changeset.removal import DIRECTORY, remove_tree
from oci.drivers.marks import NOT_COPIED
from oci.drivers.roots import root_of
from oci.drivers.snapshot import Snapshot
from oci.errors import DriverError, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.changeset.scan import Data, MTime, Owner
    from oci.drivers.delta import Written
    from oci.drivers.driver import Change
    from oci.tar.entry import Entry

__all__ = ["Teller", "copy_attributes", "copy_xattrs", "lowers_of", "make_upper", "remove_folders"]

EMPTY = "empty"  # a layer without anything, for an image without layers


class Teller:
    """What a driver tells of a container, once it has said what was written, and how that is marked."""

    def _written(self, snapshot: Snapshot) -> Written:
        raise NotImplementedError

    def changes(self, snapshot: Snapshot) -> Iterator[Change]:
        """See Driver."""
        return self._written(snapshot).changes()

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
        """See Driver."""
        return self._written(snapshot).delta(
            owner=owner, mtime=mtime, clamp_mtime=clamp_mtime, exclude=exclude, warn=warn
        )


def make_upper(snapshot: Snapshot, driver: str) -> None:
    """Make upper/, work/ and merged/; upper/ gets the attributes of the root directory below it, which it now is."""
    try:
        for name in ("work", "merged", "upper"):
            os.mkdir(os.path.join(snapshot.folder, name), 0o700)
        if not snapshot.lowers:
            os.mkdir(os.path.join(snapshot.folder, EMPTY), 0o755)
            os.chmod(snapshot.upper, 0o755)
            return
        copy_attributes(root_of(snapshot.layers) or snapshot.lowers[-1], snapshot.upper)
    except OSError as error:
        raise DriverError(driver, f"can't prepare {snapshot.folder}: {error.strerror}") from error


def copy_attributes(source: str | int, target: str | bytes) -> None:
    """Give a directory of ours the owner, mode, extended attributes and times of another (a path or a descriptor)."""
    status = os.stat(source) if isinstance(source, int) else os.stat(source, follow_symlinks=False)
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), source)
    with suppress(PermissionError):  # an ordinary user's belong to him anyway
        os.chown(target, status.st_uid, status.st_gid)
    copy_xattrs(source, target)
    os.chmod(target, stat.S_IMODE(status.st_mode))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


def copy_xattrs(source: str | int, target: str | bytes | int) -> None:
    """The extended attributes alone, as far as they may be set there, and the file system of the target has them."""
    for name in os.listxattr(source):
        if name.startswith(NOT_COPIED):
            continue
        try:
            os.setxattr(target, name, os.getxattr(source, name))
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EACCES, errno.EOPNOTSUPP):
                raise OSError(error.errno, f"extended attribute {show(name)}: {error.strerror}") from error


def lowers_of(snapshot: Snapshot) -> list[str]:
    """The read-only layers for a mount, the top one first; never none."""
    return list(reversed(snapshot.lowers)) or [os.path.join(snapshot.folder, EMPTY)]


def remove_folders(snapshot: Snapshot, names: tuple[str, ...], driver: str) -> None:
    """Remove these of the folder, with all that is in them; what is not there is no error."""
    try:
        folder = os.open(snapshot.folder, DIRECTORY)
    except FileNotFoundError:
        return
    try:
        for name in names:
            with suppress(FileNotFoundError):
                remove_tree(os.fsencode(name), dir_fd=folder)
    except OSError as error:
        raise DriverError(driver, f"can't remove {snapshot.folder}: {error.strerror}") from error
    finally:
        os.close(folder)
