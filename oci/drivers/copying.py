"""The layers' merged view → one whole tree of real files, for the copy driver.

Contents are shared with the layer where the file system can (FICLONE: Btrfs, XFS, bcachefs), else copied inside the
kernel, holes left out. What was one file with several names in a layer is one again; nothing is ever a hard link to
a layer's own file, for a write would go through it.

Attributes are set in the order in which none undoes another: content, owner, extended attributes, mode, time. An
ordinary user's layers hold his own files, with their owners noted in an extended attribute: it is copied as the rest.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator

from oci.drivers.driver import Form
from oci.drivers.folders import Folders, open_file
from oci.drivers.lower import Lower, LowerDirectory, LowerName
from oci.drivers.marks import KernelMarks
from oci.drivers.writable import copy_xattrs
from oci.linux import files

__all__ = ["copy_tree"]

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def copy_tree(layers: tuple[str, ...], form: Form, target: str, *, scaffold: bool) -> None:
    """Fill the empty directory `target` with what the layers (the bottom one first) show. OSErrors propagate."""
    if not layers:
        return
    with Folders(layers) as lowers, Folders([target]) as tree:
        lower = Lower(lowers, KernelMarks(form), scaffold=scaffold)
        _Copy(lower, tree).run()


class _Level:
    __slots__ = ("directory", "names")

    def __init__(self, directory: LowerDirectory, names: Iterator[tuple[bytes, LowerName]]) -> None:
        self.directory, self.names = directory, names


class _Copy:
    def __init__(self, lower: Lower, tree: Folders) -> None:
        self._lower, self._tree = lower, tree
        self._links: dict[tuple[int, int], bytes] = {}  # a layer's file of several names → where it is in the tree
        self._root = os.geteuid() == 0
        self._clones = True

    def run(self) -> None:
        levels = [self._level(self._lower.root())]
        while levels:
            level = levels[-1]
            for name, found in level.names:
                if found.is_directory:
                    os.mkdir(name, 0o700, dir_fd=self._tree.fd(0, level.directory.path))
                    levels.append(self._level(self._lower.enter(level.directory, name, found)))
                    break
                self._leaf(level.directory.path, name, found)
            else:
                self._finish(level.directory)
                levels.pop()

    def _level(self, directory: LowerDirectory) -> _Level:
        return _Level(directory, iter(sorted(self._lower.list(directory).items())))

    def _finish(self, directory: LowerDirectory) -> None:
        """Give a directory its attributes when everything is in it."""
        source = self._lower.folders.fd(self._lower.attributes_layer(directory), directory.path)
        target = self._tree.fd(0, directory.path)
        status = os.fstat(source)
        self._attributes(source, target, status)
        os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))

    def _leaf(self, parent: bytes, name: bytes, found: LowerName) -> None:
        status = found.status
        path = parent + b"/" + name if parent else name
        identity = (status.st_dev, status.st_ino)
        if status.st_nlink > 1 and (first := self._links.get(identity)) is not None:
            self._link(first, parent, name)
            return
        source, target = self._lower.folders.fd(found.layer, parent), self._tree.fd(0, parent)
        kind = stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFREG:
            self._file(source, target, name, status)
        elif kind == stat.S_IFLNK:
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
            self._owner(target, name, status)
        elif kind == stat.S_IFSOCK:
            return
        else:
            os.mknod(name, status.st_mode, status.st_rdev, dir_fd=target)
            self._owner(target, name, status)
            os.chmod(name, stat.S_IMODE(status.st_mode), dir_fd=target)  # no link: mknod has just made it
        if kind != stat.S_IFREG:
            os.utime(name, ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=target, follow_symlinks=False)
        if status.st_nlink > 1:
            self._links[identity] = path

    def _link(self, first: bytes, parent: bytes, name: bytes) -> None:
        first_parent, _, first_name = first.rpartition(b"/")
        source = os.dup(self._tree.fd(0, first_parent))  # it has to stay open while the other one is found
        try:
            target = self._tree.fd(0, parent)
            os.link(first_name, name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
        finally:
            os.close(source)

    def _file(self, source_dir: int, target_dir: int, name: bytes, status: os.stat_result) -> None:
        source = open_file(name, source_dir)
        try:
            target = os.open(name, _NEW_FILE, 0o600, dir_fd=target_dir)
            try:
                if status.st_size:
                    self._clones = self._clones and files.clone(source, target)  # a file system that can't never can
                    if not self._clones:
                        _copy_bytes(source, target, status)
                self._attributes(source, target, status)
                os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
            finally:
                os.close(target)
        finally:
            os.close(source)

    def _attributes(self, source: int, target: int, status: os.stat_result) -> None:
        if self._root:
            os.fchown(target, status.st_uid, status.st_gid)
        copy_xattrs(source, target)
        os.fchmod(target, stat.S_IMODE(status.st_mode))

    def _owner(self, target: int, name: bytes, status: os.stat_result) -> None:
        if self._root:
            os.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)


def _copy_bytes(source: int, target: int, status: os.stat_result) -> None:
    size = status.st_size
    if status.st_blocks * 512 >= size:
        files.copy_range(source, target, size)
        return
    os.ftruncate(target, size)
    at = 0
    while at < size:
        try:
            start = os.lseek(source, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole up to the end
                return
            raise
        end = os.lseek(source, start, os.SEEK_HOLE)
        os.lseek(source, start, os.SEEK_SET)
        os.lseek(target, start, os.SEEK_SET)
        files.copy_range(source, target, end - start)
        at = end
