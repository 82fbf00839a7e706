"""Two directories → the changeset that makes the second out of the first (image-spec v1.1.1 layer.md#change-types).

An entry is in the changeset when it is new, when its type, attributes or bytes differ, or when it has to be told anew
to keep hard links right; a whiteout when it is gone. What is below a directory that is gone, or that is a directory no
longer, is covered by that one whiteout or entry. Opaque marks are never written: they say nothing that whiteouts don't.

Hard links: a group of names for one file is told in full (the first name as a file, the others as links) as soon as one
of them changed, or as the grouping did; so no link ever depends on what an extractor does across layers.

Bytes are compared, always, unless `trust_times` says that equal size and equal modification time mean equal bytes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator

from oci.changeset.paths import order
from oci.changeset.scan import Data, MTime, Owner, Scan
from oci.errors import UnsafeEntry
from oci.spec.record import Record, field
from oci.tar.entry import DIR, FILE, Entry

__all__ = ["Changes", "Links", "compare", "find_changes", "tell"]

Source = str | bytes | os.PathLike[str] | os.PathLike[bytes]
Inode = tuple[int, int]


class Changes(Record):
    """Paths that differ: `changed` are in the new tree, `deleted` in the old one (only the top of what is gone)."""

    added: set[bytes] = field(default_factory=set)
    modified: set[bytes] = field(default_factory=set)
    deleted: list[bytes] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.added or self.modified or self.deleted)


def compare(
    old: Source,
    new: Source,
    *,
    owner: Owner = "auto",
    mtime: MTime = "whole",
    clamp_mtime: int | None = None,
    exclude: Iterable[str | bytes] = (),
    trust_times: bool = False,
    warn: Callable[[bytes, str], object] | None = None,
) -> Iterator[tuple[Entry, Data]]:
    """The changeset from `old` to `new`, in the order of a scan; rules for attributes as in scan.py, for both trees."""
    exclude = tuple(exclude)

    def scan(source: Source, **options: object) -> Scan:
        return Scan(source, owner=owner, mtime=mtime, clamp_mtime=clamp_mtime, exclude=exclude, **options)  # type: ignore[arg-type]

    changes = find_changes(
        scan(old, hard_links=False, small=0), scan(new, hard_links=False, small=0, warn=warn), trust_times=trust_times
    )
    yield from tell(changes, lambda within: scan(new, within=within))


def tell(changes: Changes, scan: Callable[[Callable[[bytes], bool]], Scan]) -> Iterator[tuple[Entry, Data]]:
    """The entries of these changes, in the order of a scan, with a whiteout for each path that is gone.

    `scan` makes a scan of the new tree, narrowed to the paths for which the test that it is given says so.
    """
    told = changes.added | changes.modified
    needed = _with_parents(told)
    whiteouts = iter(changes.deleted)
    gone = next(whiteouts, None)
    for entry, data in scan(needed.__contains__) if told else ():
        if entry.name not in told:
            continue
        while gone is not None and order(gone) < order(entry.name):
            yield _whiteout(gone), ()
            gone = next(whiteouts, None)
        yield entry, data
    while gone is not None:
        yield _whiteout(gone), ()
        gone = next(whiteouts, None)


def find_changes(old: Scan, new: Scan, *, trust_times: bool = False) -> Changes:
    """Walk two trees in step (scans with hard_links=False and small=0), reading data only of files that look alike."""
    changes, links = Changes(), Links()
    left, right = _Side(old), _Side(new)
    try:
        while left.entry is not None or right.entry is not None:
            if right.entry is None or (left.entry is not None and left.key < right.key):
                assert left.entry is not None  # for the type checker: one of the two is there
                changes.deleted.append(left.entry.name)
                if left.entry.kind is DIR:
                    old.skip()
                left.step()
            elif left.entry is None or right.key < left.key:
                changes.added.add(right.entry.name)
                links.note(right.entry.name, None, new.inode)
                right.step()
            else:
                if not _alike(left, right, trust_times=trust_times):
                    changes.modified.add(right.entry.name)
                links.note(right.entry.name, old.inode, new.inode)
                if left.entry.kind is DIR and right.entry.kind is not DIR:
                    old.skip()
                left.step()
                right.step()
    finally:
        left.close()
        right.close()
    links.complete(changes)
    return changes


class _Side:
    """One of the two walks, standing at an entry (None behind the last)."""

    def __init__(self, scan: Scan) -> None:
        self._items = iter(scan)
        self.entry: Entry | None = None
        self.data: Data = ()
        self.key = b""
        self.step()

    def step(self) -> None:
        item = next(self._items, None)
        if item is None:
            self.entry = None
        else:
            self.entry, self.data = item
            self.key = order(self.entry.name)

    def close(self) -> None:
        close = getattr(self._items, "close", None)
        if close is not None:
            close()


def _alike(left: _Side, right: _Side, *, trust_times: bool) -> bool:
    a, b = left.entry, right.entry
    if a is None or b is None:
        return False
    if (
        a.kind != b.kind
        or a.mode != b.mode
        or a.uid != b.uid
        or a.gid != b.gid
        or a.size != b.size
        or a.mtime_ns != b.mtime_ns
        or a.linkname != b.linkname
        or a.devmajor != b.devmajor
        or a.devminor != b.devminor
        or (a.xattrs or {}) != (b.xattrs or {})
    ):
        return False
    return a.kind is not FILE or trust_times or _same_bytes(left.data, right.data)


def _same_bytes(a: Data, b: Data) -> bool:
    """Whether two streams of the same length are equal, however they are cut into pieces."""
    rest_a, rest_b = memoryview(b""), memoryview(b"")
    pieces_a, pieces_b = iter(a), iter(b)
    while True:
        rest_a = rest_a or memoryview(next(pieces_a, b""))
        rest_b = rest_b or memoryview(next(pieces_b, b""))
        length = min(len(rest_a), len(rest_b))
        if not length:
            return len(rest_a) == len(rest_b)
        if rest_a[:length] != rest_b[:length]:
            return False
        rest_a, rest_b = rest_a[length:], rest_b[length:]


class Links:
    """Which names are one file, before and after; only names of files that have several are remembered."""

    def __init__(self) -> None:
        self._before: dict[Inode, list[bytes]] = {}
        self._after: dict[Inode, list[bytes]] = {}
        self._was: dict[bytes, Inode] = {}
        self._is: dict[bytes, Inode] = {}

    def note(self, path: bytes, before: Inode | None, after: Inode | None) -> None:
        if before is not None:
            self._was[path] = before
            self._before.setdefault(before, []).append(path)
        if after is not None:
            self._is[path] = after
            self._after.setdefault(after, []).append(path)

    def complete(self, changes: Changes) -> None:
        """Add to the modified paths those that have to be told because of their links."""
        for group in self._after.values():
            if len(group) > 1:
                inodes = {self._was.get(path) for path in group}
                if len(inodes) > 1 or None in inodes or any(p in changes.added or p in changes.modified for p in group):
                    self._tell(group, changes)
        for group in self._before.values():
            kept = [path for path in group if path not in changes.modified]
            if len({self._is.get(path, path) for path in kept}) > 1:
                for path in kept:
                    inode = self._is.get(path)
                    self._tell([path] if inode is None else self._after[inode], changes)

    @staticmethod
    def _tell(group: list[bytes], changes: Changes) -> None:
        changes.modified.update(path for path in group if path not in changes.added)


def _with_parents(paths: Iterable[bytes]) -> set[bytes]:
    needed = set(paths)
    for path in tuple(needed):
        while (path := path.rpartition(b"/")[0]) and path not in needed:
            needed.add(path)
    return needed


def _whiteout(path: bytes) -> Entry:
    parent, slash, name = path.rpartition(b"/")
    if name.startswith(b".wh."):
        raise UnsafeEntry(path, "a layer can't delete a file of this name: it is a whiteout's")
    return Entry(parent + slash + b".wh." + name, FILE, mode=0)
