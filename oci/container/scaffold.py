"""The scaffold: `init/`, a small read-only layer of a container's own, with the mount points that its image lacks.

A runtime makes what it mounts on, in the container's writable layer; then `diff` and `commit` would tell of a /dev or
an /etc/hosts that nobody wrote. So it is all there before: in `init/`, below the writable layer and above the image's,
and of no interest to either. Where the image has everything, there is none. A directory of the image on the way to
something missing stands there again, for the topmost one's attributes are those that overlayfs shows.

Modes are docker's: 0755 for all that is made, but for the place of a tmpfs: runtimes give the tmpfs its mode.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Sequence

from oci.drivers.folders import Folders
from oci.drivers.lower import Lower, LowerDirectory, LowerName
from oci.drivers.marks import KernelMarks
from oci.drivers.writable import copy_attributes
from oci.errors import InvalidInput, LimitExceeded, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.drivers.driver import Form
    from oci.runtime.mount_points import MountPoint

__all__ = ["MAX_LINKS", "make_scaffold"]

MAX_LINKS = 40  # symbolic links of the image in one path, as the kernel has it
MAX_MADE = 5000  # files and directories that mount points may need
_MODE = 0o755

Names = tuple[bytes, ...]


def make_scaffold(folder: str, layers: Sequence[str], form: Form, points: Iterable[MountPoint]) -> bool:
    """Make `folder` with what these mount points need and the layers (bottom first) lack; False if that's nothing.

    Raises InvalidInput for a mount point that the image has as something else, or that is too long;
    LimitExceeded for mount points that need very many directories.
    """
    with Folders(layers) as folders:
        view = _View(folders, form)
        scaffold = _Scaffold(folder, view)
        for point in points:
            try:
                scaffold.add(point)
            except OSError as error:
                if error.errno != errno.ENAMETOOLONG:
                    raise
                said = f"{point.purpose} {show(point.path)}"
                raise InvalidInput(f"{said}: a name in it, or all of it, is too long") from None
        return scaffold.made


class _View:
    """What the image's layers show together, asked for one name at a time."""

    def __init__(self, folders: Folders, form: Form) -> None:
        self.folders = folders
        self._lower = Lower(folders, KernelMarks(form), scaffold=False)
        self._directories: dict[Names, LowerDirectory] = {(): self._lower.root()}
        self._found: dict[Names, LowerName | None] = {}

    def find(self, place: Names) -> LowerName | None:
        """What is at a place whose parent is a directory; None when there is nothing."""
        if place not in self._found:
            parent = self._directories.get(place[:-1])
            found = self._lower.list(parent, only=[place[-1]]).get(place[-1]) if parent is not None else None
            self._found[place] = found
            if parent is not None and found is not None and found.is_directory:
                self._directories[place] = self._lower.enter(parent, place[-1], found)
        return self._found[place]

    def link(self, place: Names) -> bytes | None:
        """Where a symbolic link leads; None of what is none."""
        found = self.find(place)
        if found is None or not stat.S_ISLNK(found.status.st_mode):
            return None
        parent = self.folders.fd(found.layer, b"/".join(place[:-1]))
        return os.readlink(place[-1], dir_fd=parent)

    def topmost(self, place: Names) -> int | None:
        """A descriptor of the directory whose attributes count, to be used at once; None when no layer has it."""
        directory = self._directories[place]
        if not directory.layers:
            return None
        return self.folders.fd(self._lower.attributes_layer(directory), directory.path)

    def settle(self, path: bytes) -> Names:
        """The place that a path leads to, by the image's links, never out of its root."""
        names: list[bytes] = []
        left = _plain(path)[::-1]
        links = 0
        while left:
            name = left.pop()
            if name in (b"", b"."):
                continue
            if name == b"..":
                del names[-1:]
                continue
            target = self.link((*names, name)) if self._is_directory(tuple(names)) else None
            if target is None:
                names.append(name)
                continue
            links += 1
            if links > MAX_LINKS:
                raise InvalidInput(f"{show(path)}: more than {MAX_LINKS} symbolic links in the image")
            if target.startswith(b"/"):
                names.clear()
            left += target.split(b"/")[::-1]
        return tuple(names)

    def _is_directory(self, place: Names) -> bool:
        if not place:
            return True
        found = self.find(place)
        return found is not None and found.is_directory


class _Scaffold:
    """The folder being made."""

    def __init__(self, folder: str, view: _View) -> None:
        self._folder = os.fsencode(folder)
        self._view = view
        self._own: dict[Names, bool] = {}  # what the scaffold has: True: a directory
        self.made = False

    def add(self, point: MountPoint) -> None:
        """See to it that `point` is there, in the image or here."""
        place = self._view.settle(os.fsencode(point.path))
        wanted = point.kind == "dir"
        for depth in range(1, len(place) + 1):
            here, last = place[:depth], depth == len(place)
            directory = wanted or not last
            if here in self._own:
                self._expect(point, here, self._own[here], directory)
                continue
            found = self._view.find(here)
            if found is not None:
                self._expect(point, here, found.is_directory, directory)
                continue
            self._stand_on(here[:-1])
            self._make(here, directory, point.mode if last else _MODE)

    def _expect(self, point: MountPoint, place: Names, is_directory: bool, wanted: bool) -> None:
        if is_directory == wanted:
            return
        there, needed = ("a directory", "a file") if is_directory else ("no directory", "a directory")
        shown = show(b"/" + b"/".join(place))
        raise InvalidInput(f"{point.purpose} {show(point.path)}: {shown} is {there} in the image, {needed} is needed")

    def _path(self, place: Names) -> bytes:
        return b"/".join((self._folder, *place))

    def _stand_on(self, place: Names) -> None:
        """The directories down to `place`, as the image has them."""
        if place in self._own:
            return
        for depth in range(len(place) + 1):
            here = place[:depth]
            if here in self._own:
                continue
            os.mkdir(self._path(here), _MODE)
            os.chmod(self._path(here), _MODE)
            source = self._view.topmost(here)
            if source is not None:
                copy_attributes(source, self._path(here))
            self._own[here] = self.made = True

    def _make(self, place: Names, directory: bool, mode: int) -> None:
        if len(self._own) >= MAX_MADE:
            raise LimitExceeded("files and directories for the mount points of a container", MAX_MADE)
        path = self._path(place)
        times = os.stat(self._path(place[:-1]))
        if directory:
            os.mkdir(path, mode)
        else:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode))
        os.chmod(path, mode)
        os.utime(self._path(place[:-1]), ns=(times.st_atime_ns, times.st_mtime_ns))
        self._own[place] = directory


def _plain(path: bytes) -> list[bytes]:
    """The names of a path; `..` takes the one before it away, whatever that may be in the image."""
    names: list[bytes] = []
    for name in path.split(b"/"):
        if name == b"..":
            del names[-1:]
        elif name not in (b"", b"."):
            names.append(name)
    return names
