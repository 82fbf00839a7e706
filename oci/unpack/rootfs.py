"""Unpacking an image: its merged root filesystem in a directory, all of it or nothing.

The tree is made in a directory beside the destination, `.NAME.ocikit-XXXXXXXX`, and renamed when everything in it is
right and every digest has been checked; until then the destination is as it was. The maker holds a lock (flock) on that
directory: what a killed run left has no lock, and the next run for the same destination removes it.

Nothing is fsynced: a rename is atomic for every process on the machine, an image can be unpacked again, and waiting for
the disk would take longer than the work. Who needs the tree to survive a power cut calls sync(1) afterwards.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from oci.changeset.apply import LayerSource, apply_layers
from oci.changeset.removal import DIRECTORY
from oci.errors import DestinationError
from oci.linux import files
from oci.unpack.scratch import OLD, clear_leftovers, discard, scratch_directory

__all__ = ["UnpackableImage", "unpack"]


class UnpackableImage(Protocol):
    """What `unpack` needs of an image."""

    @property
    def layers(self) -> Sequence[LayerSource]:
        """The layers, the bottom one first."""


def unpack(
    image: UnpackableImage,
    dest: str | os.PathLike[str],
    *,
    force: bool = False,
    rootless: bool | None = None,
    map_root: bool = False,
    warn: Callable[[str], None] | None = None,
) -> Path:
    """Unpack the merged root filesystem of `image` to `dest`, which must be empty or absent; return its real path.

    `force` replaces a directory with content, in one step where the system can. `rootless` is chosen by who calls
    when None: an ordinary user can't set owners, so all files are his, owners are noted in `user.rootlesscontainers`,
    and devices are left out. `map_root` does the same for root. `warn` gets one line for each kind of thing left out.
    To be told how far it is, give it `image.watched(progress)`.

    Raises DestinationError for an unusable `dest`, UnsafeEntry and UnpackError for entries, and whatever reading the
    layers raises (VerificationError, CorruptStream, TarError); `dest` is then as it was before.
    """
    if rootless is None:
        rootless = os.geteuid() != 0
    parent, name = _locate(os.fsencode(dest))
    try:
        parent_fd = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise DestinationError(os.fsdecode(dest), f"its folder {_reason(error)}") from error
    try:
        where = os.fsdecode(os.path.join(parent, name))
        _check(parent_fd, name, where, force)
        clear_leftovers(parent_fd, name)
        with scratch_directory(parent_fd, name, where) as (scratch, root_fd):
            apply_layers(image.layers, root_fd, rootless=rootless or map_root, warn=warn)
            _put(parent_fd, scratch, name, where, force)
    finally:
        os.close(parent_fd)
    return Path(where)


def _locate(dest: bytes) -> tuple[bytes, bytes]:
    """Return the folder and the name that `dest` leads to, over symbolic links."""
    shown = os.fsdecode(dest)
    if not dest:
        raise DestinationError(shown, "an empty name")
    stripped = dest.rstrip(b"/") or b"/"
    folder = os.path.dirname(stripped) or b"."
    try:
        # The kernel's word on links first: in folders like /tmp it refuses to follow those that others put there
        # (fs.protected_symlinks), where realpath, which reads them, follows any.
        os.stat(folder)
    except PermissionError as error:
        raise DestinationError(shown, f"its folder {_reason(error)}") from error
    except OSError:
        pass  # realpath's business, and said where the folder is opened
    if os.path.islink(stripped) and not os.path.exists(stripped):
        raise DestinationError(shown, "a symbolic link to something that isn't there")
    real = os.path.realpath(stripped)
    parent, name = os.path.split(real)
    if not name:
        raise DestinationError(shown, "the root directory can't be replaced; name a folder in it")
    return parent, name


def _check(parent_fd: int, name: bytes, where: str, force: bool) -> None:
    """Refuse early what the rename would refuse in the end."""
    try:
        fd = os.open(name, DIRECTORY, dir_fd=parent_fd)
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise DestinationError(where, "exists and is not a directory") from None
    except PermissionError as error:
        raise DestinationError(where, _reason(error)) from error
    try:
        if not force:
            with os.scandir(fd) as entries:
                if next(entries, None) is not None:
                    raise DestinationError(where, "is not empty; choose another folder, or replace it with --force")
        if os.fstat(fd).st_dev != os.fstat(parent_fd).st_dev:
            raise DestinationError(where, "is a mount point, which can't be replaced; name a folder in it")
    finally:
        os.close(fd)


def _put(parent_fd: int, scratch: bytes, name: bytes, where: str, force: bool) -> None:
    """Give the finished tree its name."""
    try:
        os.rename(scratch, name, src_dir_fd=parent_fd, dst_dir_fd=parent_fd)
        return
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise DestinationError(where, _reason(error)) from error
        if not force:
            raise DestinationError(where, "was filled by another program meanwhile") from None
    # The former tree takes the scratch name, and is removed like it.
    if not files.exchange(parent_fd, scratch, parent_fd, name):
        old = scratch + OLD
        os.rename(name, old, src_dir_fd=parent_fd, dst_dir_fd=parent_fd)
        os.rename(scratch, name, src_dir_fd=parent_fd, dst_dir_fd=parent_fd)
        scratch = old
    discard(parent_fd, scratch)


def _reason(error: OSError) -> str:
    return {
        errno.ENOENT: "doesn't exist; make it first",
        errno.ENOTDIR: "is not a directory",
        errno.EACCES: "may not be entered by this user",
        errno.EPERM: "may not be changed by this user",
        errno.EBUSY: "is in use as a mount point; name a folder in it",
    }.get(error.errno or 0, error.strerror or str(error))
