"""What overlay and fuse-overlayfs share: an upper directory, a work directory beside it, and their end."""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from oci.changeset.removal import DIRECTORY, remove_tree
from oci.drivers.roots import root_of
from oci.drivers.snapshot import Snapshot
from oci.errors import DriverError

__all__ = ["copy_attributes", "lowers_of", "make_upper", "remove_folders"]

EMPTY = "empty"  # a layer without anything, for an image without layers


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


def copy_attributes(source: str, target: str) -> None:
    """Give a directory of ours the owner, mode, extended attributes and times of another."""
    status = os.stat(source, follow_symlinks=False)
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(20, os.strerror(20), source)
    with suppress(PermissionError):  # an ordinary user's belong to him anyway
        os.chown(target, status.st_uid, status.st_gid)
    for name in os.listxattr(source):
        if not name.startswith(("trusted.overlay.", "user.overlay.", "user.fuseoverlayfs.", "security.selinux")):
            with suppress(PermissionError):
                os.setxattr(target, name, os.getxattr(source, name))
    os.chmod(target, stat.S_IMODE(status.st_mode))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


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
