"""Differences → what `changes` and `delta` say of a container, the same for every driver.

`changes` is for people: nothing for what was only read, or written back as it was (same attributes, same bytes), even
if a copy-up or the writing has left another time on it; nothing for a directory in which only the names changed.

`delta` is for a layer, and a layer has to give the same tree again: times count, to what the layer will keep of them.
Opaque directories are told as whiteouts of what is gone, so that the layer is the same whether a directory was emptied
file by file or removed and made again. Names of one file are told together (changeset/compare.py).

Hard links to files of the layers are no more than the driver makes of them. The copy driver keeps them. overlayfs gives
a file that it copies up an identity of its own, so its other names stay what they were in the layer; where a file was
opened for writing and no more, that has changed nothing, and nothing is told.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator

from oci.changeset.compare import Changes, Links, tell
from oci.changeset.exclude import excluder
from oci.changeset.scan import Data, MTime, Owner, Scan
from oci.drivers.differences import Times, Walk
from oci.drivers.driver import Change, Form
from oci.drivers.folders import Folders
from oci.drivers.lower import Lower
from oci.drivers.marks import KernelMarks, Marks, is_whiteout_device
from oci.drivers.snapshot import Snapshot
from oci.errors import SourceError
from oci.tar.entry import CHAR, Entry

__all__ = ["Written", "files_size"]


class Written:
    """What a container wrote: a directory, read by `marks`, against the layers of its snapshot (of `form`).

    `links_kept` says that the directory shows the hard links that there are, so that one that is missing was broken by
    the container. `folder_times` False says that a copy-up leaves its time on the directory that it is made in: there
    a directory's time is only told where a name in it came or went. `settled` as in differences.py.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        source: str,
        marks: Marks,
        form: Form,
        *,
        links_kept: bool = False,
        folder_times: bool = True,
        settled: Callable[[os.stat_result], bool] = lambda _status: False,
    ) -> None:
        self._snapshot, self._source, self._marks, self._form = snapshot, source, marks, form
        self._links_kept, self._folder_times, self._settled = links_kept, folder_times, settled

    def changes(self) -> Iterator[Change]:
        """What a person is told, in the order of a scan; of a container at work what is there when it is looked at."""
        with Folders([self._source]) as upper, Folders(self._snapshot.lowers) as lowers:
            for difference in self._walk(upper, lowers, live=True):
                kind = difference.kind
                if kind == "added" or kind == "modified" or kind == "deleted":
                    yield Change(difference.path, kind)

    def delta(
        self,
        *,
        owner: Owner = "keep",
        mtime: MTime = "whole",
        clamp_mtime: int | None = None,
        exclude: Iterable[str | bytes] = (),
        warn: Callable[[bytes, str], object] | None = None,
    ) -> Iterator[tuple[Entry, Data]]:
        """The entries of a layer, with whiteouts; what they say of a file is as scan.py has it.

        An ordinary user outside a namespace has all files himself: kept, they are root's and those that are noted.
        """
        exclude = tuple(exclude)
        if owner == "keep" and os.geteuid():
            owner = "auto"
        changes, links = Changes(), Links()
        timed: set[bytes] = set()  # directories whose time may be a copy-up's
        with Folders([self._source]) as upper, Folders(self._snapshot.lowers) as lowers:
            walk = self._walk(
                upper,
                lowers,
                times=_times(mtime, clamp_mtime),
                owner=not isinstance(owner, tuple),
                leave_out=excluder(exclude),
                warn=warn,
            )
            for difference in walk:
                path, kind = difference.path, difference.kind
                if kind == "times" and difference.directory and not self._folder_times:
                    timed.add(path)
                    continue
                if path and (parent := path.rpartition(b"/")[0]) in timed and kind in ("added", "deleted"):
                    timed.remove(parent)
                    changes.modified.add(parent)
                if kind == "deleted":
                    changes.deleted.append(path)
                    continue
                if kind == "added":
                    changes.added.add(path)
                elif kind != "same":
                    changes.modified.add(path)
                if difference.after is not None or (self._links_kept and difference.before is not None):
                    links.note(path, difference.before, difference.after)
        links.complete(changes)

        def scan(within: Callable[[bytes], bool]) -> Scan:
            return Scan(self._source, owner=owner, mtime=mtime, clamp_mtime=clamp_mtime, exclude=exclude, within=within)

        for entry, data in tell(changes, scan):
            if entry.kind is CHAR and not entry.devmajor and not entry.devminor:
                raise SourceError(os.path.join(self._source, os.fsdecode(entry.name)), "was removed while it was read")
            yield entry, data

    def _walk(
        self,
        upper: Folders,
        lowers: Folders,
        *,
        times: Times = lambda _mtime: 0,
        owner: bool = True,
        leave_out: Callable[[bytes], object] | None = None,
        warn: Callable[[bytes, str], object] | None = None,
        live: bool = False,
    ) -> Walk:
        lower = Lower(lowers, KernelMarks(self._form), scaffold=self._snapshot.scaffold is not None)
        return Walk(
            upper,
            self._marks,
            lower,
            times=times,
            owner=owner,
            settled=self._settled,
            leave_out=leave_out,
            warn=warn,
            live=live,
        )


def _times(mtime: MTime, clamp: int | None) -> Times:
    """What of a modification time a layer keeps that is written with these options (scan.py has the same rule)."""
    if isinstance(mtime, int):
        return lambda _mtime: 0
    whole = mtime == "whole"

    def kept(nanoseconds: int) -> int:
        if whole:
            nanoseconds -= nanoseconds % 1_000_000_000
        return nanoseconds if clamp is None else min(nanoseconds, clamp)

    return kept


def files_size(source: str) -> int:
    """Bytes of all files and links below a directory, as they say themselves (holes too), each counted once.

    Directories count nothing: their size is the file system's affair, and an untouched container has 0. Whiteouts
    neither. 0 where there is no such directory.
    """
    if not os.path.isdir(source):
        return 0
    total = 0
    seen: set[tuple[int, int]] = set()
    pending = [b""]
    with Folders([source]) as folders:
        while pending:
            path = pending.pop()
            for name, status in _statuses(folders, path):
                kind = stat.S_IFMT(status.st_mode)
                if kind == stat.S_IFDIR:
                    pending.append(path + b"/" + name if path else name)
                elif not is_whiteout_device(status):
                    if status.st_nlink > 1:
                        if (status.st_dev, status.st_ino) in seen:
                            continue
                        seen.add((status.st_dev, status.st_ino))
                    total += status.st_size
    return total


def _statuses(folders: Folders, path: bytes) -> Iterator[tuple[bytes, os.stat_result]]:
    try:
        fd = folders.fd(0, path)
    except SourceError:
        return  # gone meanwhile: the container is at work
    for name in map(os.fsencode, os.listdir(fd)):
        try:
            yield name, os.stat(name, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            continue
