"""`overlay`: the kernel's overlayfs, by root, and by an ordinary user in a user namespace (Linux 5.11).

Options, and why (Linux Documentation/filesystems/overlayfs.rst):

* `index=off`: hard links are broken by a copy-up, as Docker and podman have it; with the index a layer could not be
  below two containers at a time, nor a container's files be moved.
* `metacopy=off`: a file that was copied up is all there. A change of mode copies the whole file, and in exchange
  the upper directory alone tells what a container wrote, and no layer can point at files by attributes.
* `redirect_dir=nofollow`: a directory of a layer that is renamed gives EXDEV, and is copied by mv(1) and its like. No
  redirect is ever obeyed: they lead across layers, wherever somebody who can write attributes wants.
* `xino=auto`: st_ino and st_dev stay the same through a copy-up where the file systems allow it.
* `userxattr` in a user namespace: marks are in `user.overlay.*`, for `trusted.*` belongs to the machine's root.
* `volatile` is not used: it leaves out syncs, and after a crash the upper directory must be thrown away. A container
  outlives crashes.
* `context=` (SELinux) is not given: `options` of the constructor is the place for it.

The kernel takes 500 layers in one mount (OVL_MAX_STACK). Of more, the lowest 500 are an overlay of their own below the
others, which is as deep as overlays may be nested: 998 in all, the scaffold and a container's own counted.

A mount without writing has no upper directory: what the container wrote is simply the topmost layer. So any number
of them may be made of one snapshot.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from oci.drivers.driver import Form
from oci.drivers.marks import KernelMarks
from oci.drivers.snapshot import Snapshot
from oci.drivers.writable import EMPTY, Teller, lowers_of, make_upper, remove_folders
from oci.errors import DriverError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.drivers.delta import Written

__all__ = ["Overlay"]

MAX_LOWERS = 500  # layers of one mount, as the kernel has it

_OPTIONS: Mapping[str, str | None] = {
    "index": "off",
    "metacopy": "off",
    "redirect_dir": "nofollow",
    "xino": "auto",
}


class Overlay(Teller):
    """Mounts of overlayfs; `form` "user" for user namespaces."""

    name = "overlay"

    def __init__(self, form: Form, *, options: Mapping[str, str | None] = {}) -> None:
        self.form: Form = form
        self._options = {**_OPTIONS, **({"userxattr": None} if form == "user" else {}), **options}

    def prepare(self, snapshot: Snapshot) -> None:
        """See Driver."""
        make_upper(snapshot, self.name)

    def mount(self, snapshot: Snapshot, *, read_only: bool = False, target: str | None = None) -> str:
        """See Driver."""
        target = target or snapshot.merged
        self._mount(snapshot, read_only, target)
        return target

    def unmount(self, snapshot: Snapshot, *, target: str | None = None) -> None:
        """See Driver."""
        from oci.linux import mounts

        try:
            mounts.unmount(target or snapshot.merged)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOENT):  # nothing is mounted there
                return
            raise DriverError(self.name, f"can't unmount {target or snapshot.merged}: {error.strerror}") from error

    @contextmanager
    def root(self, snapshot: Snapshot, *, writable: bool = False) -> Iterator[int]:
        """See Driver."""
        mounted = self._mount(snapshot, not writable, None)
        if mounted is None:
            raise AssertionError("a detached mount without a descriptor")
        try:
            fd = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=mounted)
            try:
                yield fd
            finally:
                os.close(fd)
        finally:
            os.close(mounted)

    def _mount(self, snapshot: Snapshot, read_only: bool, target: str | None) -> int | None:
        from oci.linux import fsmount

        lowers = lowers_of(snapshot)
        upper: str | None = snapshot.upper
        work: str | None = snapshot.work
        if read_only:
            lowers, upper, work = [snapshot.upper, *lowers], None, None
        held: list[int] = []
        try:
            while len(lowers) > MAX_LOWERS:
                fd = fsmount.overlay(lowers[-MAX_LOWERS:], None, None, options=self._options, target=None)
                if fd is None:
                    raise AssertionError("a detached mount without a descriptor")
                held.append(fd)
                lowers = [*lowers[:-MAX_LOWERS], f"/proc/self/fd/{fd}"]
            return fsmount.overlay(lowers, upper, work, options=self._options, target=target)
        except OSError as error:
            raise DriverError(self.name, _reason(error, snapshot)) from error
        finally:
            for fd in held:
                os.close(fd)

    def _written(self, snapshot: Snapshot) -> Written:
        from oci.drivers.delta import Written  # a container's start does without, and it costs as much as python's

        return Written(snapshot, snapshot.upper, KernelMarks(self.form), self.form)

    def size(self, snapshot: Snapshot) -> int:
        """See Driver."""
        from oci.drivers.delta import files_size

        return files_size(snapshot.upper)

    def remove(self, snapshot: Snapshot) -> None:
        """See Driver."""
        remove_folders(snapshot, ("upper", "work", "merged", EMPTY), self.name)


def _reason(error: OSError, snapshot: Snapshot) -> str:
    said = error.strerror or str(error)
    where = str(error.filename or snapshot.folder)
    return f"can't mount {snapshot.folder}: {said}" + (
        "" if where == snapshot.folder or where in said else f" ({where})"
    )
