"""What is in a volume, on its way in and out: one tar each way, all of it or nothing.

Kept: names of any bytes, types, modes, owners, times to the nanosecond, hard links, extended attributes and ACLs (all
but those that speak to one host, oci/changeset/ownership.py), holes of sparse files, devices where they may be made.
Sockets can't be kept. The same data gives the same tar: entries in byte order, headers spelt in one way.

A tar is written by the code that applies layers, into a new folder beside the data (`.tmp-…`) that gets its name by
rename(2) when everything in it is on the disk; so no crash leaves half of it, and no name or link in it leads out.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

from oci.changeset.apply import apply_archive
from oci.changeset.ownership import xattr_kept
from oci.changeset.removal import DIRECTORY, remove_tree
from oci.changeset.scan import Data, Scan
from oci.errors import show
from oci.streams.atomic import TEMPORARY
from oci.tar import END, Entry, encode, padding
from oci.tar.writer import encode_sparse

__all__ = [
    "archive",
    "filled",
    "image_content",
    "is_empty",
    "locked",
    "put",
    "remove_folder",
    "settle",
    "sweep_folders",
]

BATCH = 256 << 10  # bytes that are handed on as one piece

DATA = "data"
OLD = "data.old"  # the data for the moment in which it has no name, where two names can't be exchanged in one step

Warn = Callable[[str], object]


def archive(folder: str, *, live: bool, warn: Warn | None = None) -> Iterator[bytes]:
    """The tar of a volume's data; `live` while containers may be writing to it (see scan.py)."""

    def tell(path: bytes, sentence: str) -> None:
        if warn is not None:
            warn(f"{show(path)} {sentence}")

    yield from _tar(Scan(folder, owner="keep", mtime="exact", warn=tell, data=True, live=live))


def image_content(fd: int) -> Iterator[bytes]:
    """The tar of what an image has in an open directory; what the driver noted for overlayfs in it is none of it."""
    yield from _tar(_without_marks(Scan("image", at=(fd, b"."), owner="keep", mtime="exact", data=True)))


def _without_marks(entries: Iterable[tuple[Entry, Data]]) -> Iterator[tuple[Entry, Data]]:
    for entry, data in entries:
        if entry.xattrs:
            entry.xattrs = {name: value for name, value in entry.xattrs.items() if xattr_kept(name)} or None
        yield entry, data


def _tar(entries: Iterable[tuple[Entry, Data]]) -> Iterator[bytes]:
    pending: list[bytes] = []
    length = 0
    for entry, data in entries:
        header = encode(entry) if entry.sparse is None else encode_sparse(entry)
        pending.append(header)
        length += len(header)
        for piece in data:
            pending.append(bytes(piece))  # its buffer is filled anew for the next one
            length += len(piece)
            if length >= BATCH:
                yield b"".join(pending)
                pending.clear()
                length = 0
        pending.append(padding(entry.stored_size))
    pending.append(END)
    yield b"".join(pending)


@contextmanager
def new_folder(parent: str) -> Iterator[str]:
    """A new folder in `parent` under a temporary name, locked; removed unless it has been renamed by the end."""
    path, fd = _make_locked(parent)
    try:
        yield path
    finally:
        remove_folder(path)
        os.close(fd)


def _make_locked(parent: str) -> tuple[str, int]:
    while True:
        path = f"{parent}/{TEMPORARY}{os.urandom(8).hex()}"
        os.mkdir(path, 0o700)
        try:
            fd = os.open(path, DIRECTORY)
        except FileNotFoundError:  # somebody took it for a leftover before it was locked
            continue
        fcntl.flock(fd, fcntl.LOCK_EX)
        if os.fstat(fd).st_nlink:
            return path, fd
        os.close(fd)


@contextmanager
def filled(
    parent: str, chunks: Iterable[bytes], *, rootless: bool, warn: Callable[[str], None] | None
) -> Iterator[str]:
    """A new folder in `parent` with what a tar holds, on the disk; removed unless it has been renamed by the end."""
    with new_folder(parent) as path:
        fd = os.open(path, DIRECTORY)
        try:
            apply_archive(chunks, fd, rootless=rootless, warn=warn)
            sync_tree(fd)
        finally:
            os.close(fd)
        yield path


def remove_folder(path: str) -> None:
    """Remove a folder with all that is in it; no error when it isn't there."""
    parent, _, name = path.rpartition("/")
    fd = os.open(parent, DIRECTORY)
    try:
        with suppress(FileNotFoundError):
            remove_tree(os.fsencode(name), dir_fd=fd)
    finally:
        os.close(fd)


def sync_tree(fd: int) -> None:
    """Bring all of a tree to the disk: one wait, where an fsync of each file would be as many as there are files."""
    from oci.linux.sync import sync_file_system

    sync_file_system(fd)


def put(folder: str, made: str) -> None:
    """Give a filled folder the place of a volume's data, whatever is there; that goes."""
    from oci.linux.files import exchange

    fd = os.open(folder, DIRECTORY)
    try:
        name = os.path.basename(made)
        if exchange(fd, name, fd, DATA):
            os.fsync(fd)
            return  # what was there has the temporary name now, and goes with it
        os.rename(DATA, OLD, src_dir_fd=fd, dst_dir_fd=fd)
        os.rename(name, DATA, src_dir_fd=fd, dst_dir_fd=fd)
        os.fsync(fd)
    finally:
        os.close(fd)
    remove_folder(f"{folder}/{OLD}")


def is_empty(folder: str) -> bool:
    """Whether nothing is in a folder."""
    with os.scandir(folder) as entries:
        return next(entries, None) is None


@contextmanager
def locked(folder: str, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock of one volume's folder; what killed processes left in it is removed first.

    FileNotFoundError when it isn't there, or was removed while we waited; BlockingIOError with wait=False when somebody
    has the lock.
    """
    fd = os.open(folder, DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        if not os.path.samestat(os.fstat(fd), os.stat(folder, follow_symlinks=False)):
            raise FileNotFoundError(errno.ENOENT, "is another one now", folder)
        settle(folder)
        yield
    finally:
        os.close(fd)


def settle(folder: str) -> None:
    """Remove what killed processes left in a volume's folder, whose lock is held; put back what they took away."""
    if os.path.lexists(f"{folder}/{OLD}"):
        if os.path.lexists(f"{folder}/{DATA}"):
            remove_folder(f"{folder}/{OLD}")
        else:
            os.rename(f"{folder}/{OLD}", f"{folder}/{DATA}")
    sweep_folders(folder)


def sweep_folders(parent: str, *, dry_run: bool = False) -> list[str]:
    """Remove the folders `.tmp-…` in `parent` whose makers are dead (nobody has their lock); gives their paths."""
    found: list[str] = []
    try:
        names = sorted(os.listdir(parent))
    except FileNotFoundError:
        return found
    for name in names:
        if not name.startswith(TEMPORARY):
            continue
        path = f"{parent}/{name}"
        try:
            fd = os.open(path, DIRECTORY)
        except OSError:  # a file, or gone
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found.append(path)
            if not dry_run:
                remove_folder(path)
        except BlockingIOError:
            continue
        finally:
            os.close(fd)
    return found
