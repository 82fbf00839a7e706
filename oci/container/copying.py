"""`cp`: files between this machine and a container, running or not, and tar archives in and out.

What SRC and DEST mean is docker's (the reference of `docker container cp`):

==============  =============================  =====================================================================
SRC is          DEST                           then
==============  =============================  =====================================================================
a file          isn't there                    is what the file is called from now on
a file          isn't there, ends with `/`     error: the directory must be there
a file          is a file                      is replaced
a file          is a directory                 gets the file in it, under its own name
a directory     isn't there                    is made, with what is in SRC
a directory     is a file                      error
a directory     is a directory                 gets SRC in it; where SRC ends with `/.`, what is in SRC
==============  =============================  =====================================================================

The directory above DEST must be there. A symbolic link that SRC names is copied as one, unless `follow`; one that DEST
names is followed. What ends with `/` is meant as a directory. Links in a container are resolved in it (inside.py).

**Owners**: root's in the container, the caller's on this machine; with `archive` those of the source, as numbers. A tar
archive says its owners itself, and keeps them. **Set-id bits** would lend somebody else's rights after a change of
owner, so they go then; on this machine with file capabilities, whoever the owner is, unless `archive` asks for all of
it: what a container made must not become a way to root here. Devices are never made on this machine. The directory DEST
itself, if it was there, keeps its attributes.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager

from oci.changeset.paths import join, split
from oci.changeset.scan import Data, Scan
from oci.changeset.write import write_layer
from oci.container.archive import plain
from oci.container.extract import Folders, HostFolders, InsideFolders, extract
from oci.container.inside import Inside, Place
from oci.errors import DestinationError, NotFound, SourceError, show
from oci.linux.idmaps import single_owner
from oci.tar import BLOCK, CHAR, DIR, FILE, Entry, TarReader

__all__ = ["copy_in", "copy_out", "tar_in", "tar_out"]

Warn = Callable[[str], None]
Items = Iterator[tuple[Entry, Data]]

_SET_ID = stat.S_ISUID | stat.S_ISGID
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def copy_in(
    source: str,
    inside: Inside,
    dest: bytes,
    *,
    archive: bool = False,
    follow: bool = False,
    warn: Warn | None = None,
) -> None:
    """Copy a file or directory of this machine into a container.

    SourceError where SRC can't be read, DestinationError where DEST can't be that, NotFound where nothing is above it,
    WrongState where the container may not be written.
    """
    path = os.fsencode(source)
    with _host_source(path, follow) as (at, directory), inside.locate(dest) as place:
        into, prefix = place.real, _base(path)
        if _takes_name(place.status, _wants_directory(dest), directory, f"{inside.where}:{show(dest)}"):
            into, prefix = split(place.real)
        place.must_be_writable(inside.where)
        entries = Scan(
            path,
            at=at,
            dest=prefix,
            root=bool(prefix),
            live=True,
            data=True,
            owner="keep",
            mtime="exact",
            warn=_telling(warn),
        )
        made = (_owned(entry, data, archive, 0, 0) for entry, data in entries)
        extract(made, InsideFolders(inside, into), rootless=single_owner(), warn=warn)


def copy_out(
    inside: Inside,
    source: bytes,
    dest: str,
    *,
    archive: bool = False,
    follow: bool = False,
    warn: Warn | None = None,
) -> None:
    """Copy a file or directory out of a container; errors as for `copy_in`."""
    with inside.locate(source, follow=follow or _wants_directory(source)) as place:
        _must_be_source(inside, source, place)
        with _host_destination(dest, place.is_directory, _base(source)) as (folders, prefix):
            uid, gid = os.geteuid(), os.getegid()
            found = _scan(inside, place, prefix, warn=warn)
            extract(_harmless(found, archive, uid, gid, warn), folders, rootless=single_owner(), warn=warn)


def tar_out(
    inside: Inside,
    source: bytes,
    write: Callable[[bytes | memoryview], object],
    *,
    follow: bool = False,
    warn: Warn | None = None,
) -> None:
    """Write a file or directory of a container as a tar archive, under its own name; `/.`: what is in it."""
    with inside.locate(source, follow=follow or _wants_directory(source)) as place:
        _must_be_source(inside, source, place)
        write_layer(plain(_scan(inside, place, _base(source), warn=warn, root=True)), write)


def tar_in(chunks: Iterable[bytes], inside: Inside, dest: bytes, *, warn: Warn | None = None) -> None:
    """Unpack a tar archive in a directory of a container, which must be there.

    The archive is anybody's: TarError, UnsafeEntry for a name that leads out of DEST. Links that are in the container
    already are followed within it.
    """
    with inside.locate(dest) as place:
        if place.status is None or not place.is_directory:
            raise DestinationError(
                f"{inside.where}:{show(dest)}", "a tar archive is unpacked in a directory that is there"
            )
        place.must_be_writable(inside.where)
        real = place.real
    reader = TarReader(chunks)
    entries = ((entry, reader.data() if entry.kind == FILE else ()) for entry in reader)
    extract(entries, InsideFolders(inside, real), rootless=single_owner(), warn=warn)


# SRC and DEST


def _wants_directory(path: bytes) -> bool:
    return path.endswith((b"/", b"/.", b"/..")) or path in (b"", b".", b"..")


def _base(path: bytes) -> bytes:
    """The name under which SRC arrives in a directory; empty where what is in it does: `/.`, the root, `.` and `..`."""
    name = path.rstrip(b"/").rpartition(b"/")[2]
    return b"" if name in (b"", b".", b"..") else name


def _takes_name(status: os.stat_result | None, wants_directory: bool, directory: bool, shown: str) -> bool:
    """The table at the top: whether SRC becomes DEST itself, rather than something in the directory DEST."""
    if status is None:
        if wants_directory and not directory:
            raise DestinationError(shown, "the directory must be there")
        return True
    if stat.S_ISDIR(status.st_mode):
        return False
    if directory:
        raise DestinationError(shown, "is no directory, and a directory can't be copied to a file")
    if wants_directory:
        raise DestinationError(shown, "is no directory")
    return True


@contextmanager
def _host_source(path: bytes, follow: bool) -> Iterator[tuple[tuple[int, bytes], bool]]:
    """What SRC on this machine is: an open directory and a name in it, and whether that is a directory."""
    try:
        if follow or _wants_directory(path):
            status = os.stat(path)
            path = os.path.realpath(path)
        else:
            status = os.lstat(path)
        directory = stat.S_ISDIR(status.st_mode)
        folder, name = (path, b".") if directory else os.path.split(path.rstrip(b"/"))
        fd = os.open(folder or b".", _FOLDER)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise SourceError(path, reason[:1].lower() + reason[1:]) from error
    try:
        yield (fd, name), directory
    finally:
        os.close(fd)


@contextmanager
def _host_destination(dest: str, directory: bool, base: bytes) -> Iterator[tuple[Folders, bytes]]:
    """Where DEST on this machine is; links that its user's path goes over are followed, one to nothing too."""
    path = os.fsencode(dest)
    try:
        try:
            status: os.stat_result | None = os.stat(path)
        except FileNotFoundError:
            status = None
        folder, prefix = path, base
        if _takes_name(status, _wants_directory(path), directory, dest):
            folder, prefix = os.path.split(os.path.realpath(path.rstrip(b"/")))
        fd = os.open(folder or b".", _FOLDER)
    except (OSError, ValueError) as error:
        if isinstance(error, FileNotFoundError):
            raise DestinationError(dest, "the directory above it must be there") from error
        raise DestinationError(dest, getattr(error, "strerror", None) or str(error)) from error
    try:
        yield HostFolders(fd, os.fsdecode(folder)), prefix
    finally:
        os.close(fd)


def _must_be_source(inside: Inside, source: bytes, place: Place) -> None:
    shown = f"{inside.where}:{show(source)}"
    if place.status is None:
        raise NotFound(f"{shown}: no such file or directory in the container")
    if _wants_directory(source) and not place.is_directory:
        raise SourceError(shown, "is no directory")


# Entries


def _scan(inside: Inside, place: Place, prefix: bytes, *, warn: Warn | None, root: bool = False) -> Items:
    """What is at a place of a container, and in the volumes below it, under the path `prefix`."""
    mounts = [
        (real, real[len(place.real) + 1 :] if place.real else real) for real, _ in inside.mounts_below(place.real)
    ]
    hidden = {below for _, below in mounts}
    top = root or bool(prefix)
    yield from _one_scan(inside, place, prefix, hidden, warn, top)
    for real, below in mounts:
        with inside.locate(real) as mounted:
            inner = {path[len(below) + 1 :] for path in hidden if path.startswith(below + b"/")}
            yield from _one_scan(inside, mounted, join(prefix, below), inner, warn, True)


def _one_scan(
    inside: Inside, place: Place, dest: bytes, hidden: AbstractSet[bytes], warn: Warn | None, root: bool
) -> Items:
    shown = f"{inside.where}:/{os.fsdecode(place.real)}"
    return iter(
        Scan(
            shown,
            at=(place.directory, place.name),
            dest=dest,
            root=root,
            within=lambda path: path not in hidden,
            live=True,
            data=True,
            owner="keep",
            mtime="exact",
            warn=_telling(warn),
        )
    )


def _telling(warn: Warn | None) -> Callable[[bytes, str], object] | None:
    return None if warn is None else lambda path, reason: warn(f"{show(path)} {reason}")


def _owned(entry: Entry, data: Data, archive: bool, uid: int, gid: int) -> tuple[Entry, Data]:
    if not archive:
        if entry.uid != uid:
            entry.mode &= ~stat.S_ISUID
        if entry.gid != gid and entry.kind != DIR:  # a directory's says which group new files in it get
            entry.mode &= ~stat.S_ISGID
        entry.uid, entry.gid = uid, gid
    return entry, data


def _harmless(entries: Items, archive: bool, uid: int, gid: int, warn: Warn | None) -> Items:
    """What a container's files may be on this machine."""
    left_out = 0
    for entry, data in entries:
        if entry.kind in (CHAR, BLOCK):
            left_out += 1
            continue
        if not archive:
            entry.uid, entry.gid = uid, gid
            if entry.kind != DIR:
                entry.mode &= ~_SET_ID
            if entry.xattrs:
                entry.xattrs = {key: value for key, value in entry.xattrs.items() if key.startswith(b"user.")} or None
        yield entry, data
    if left_out and warn is not None:
        warn(f"left out {left_out} {'device' if left_out == 1 else 'devices'}, which a container must not put here")
