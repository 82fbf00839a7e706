"""What the layers below a layer show together, asked by path: for the little that a layer can't say by itself.

No link is followed here: whoever asks does, for the links may be his own layer's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from oci.changeset.limits import Budget
from oci.changeset.ownership import xattr_kept
from oci.changeset.paths import split
from oci.changeset.scan import Data, Scan
from oci.drivers.driver import Form
from oci.drivers.folders import Folders
from oci.drivers.lower import Lower, LowerDirectory, LowerName
from oci.drivers.marks import KernelMarks
from oci.drivers.roots import root_of
from oci.tar import Entry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

__all__ = ["Below"]


class Below:
    """What the lower layers show together, asked by path; no link is followed."""

    def __init__(self, parents: Sequence[str], form: Form, budget: Budget) -> None:
        self._folders = Folders(parents)
        self._lower = Lower(self._folders, KernelMarks(form), scaffold=False)
        self._known: dict[bytes, LowerDirectory | None] = {b"": self._lower.root()}
        self._budget = budget

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._folders.close()

    def find(self, path: bytes) -> LowerName | None:
        """What is at a path."""
        parent, name = split(path)
        directory = self._directory(parent)
        return None if directory is None else self._lower.list(directory, only=(name,)).get(name)

    def _directory(self, path: bytes) -> LowerDirectory | None:
        known, missing = self._known, []
        while path not in known:
            self._budget.take(len(path) + 400)
            missing.append(path)
            path = split(path)[0]
        at = known[path]
        for path in reversed(missing):
            at = known[path] = self._enter(at, split(path)[1])
        return at

    def _enter(self, parent: LowerDirectory | None, name: bytes) -> LowerDirectory | None:
        if parent is None:
            return None
        found = self._lower.list(parent, only=(name,)).get(name)
        return self._lower.enter(parent, name, found) if found is not None and found.is_directory else None

    def read(self, path: bytes, found: LowerName) -> Iterator[tuple[Entry, Data]]:
        """The one entry of a file, link or device; nothing for what can't be in an image."""
        parent, name = split(path)
        return self._scan((self._folders.fd(found.layer, parent), name), path)

    def read_directory(self, path: bytes) -> Entry | None:
        """The entry of a directory; None for anything else."""
        found = self.find(path)
        if found is None or not found.is_directory:
            return None
        return self._directory_entry(self._folders.fd(found.layer, path), path)

    def read_root(self) -> Entry | None:
        """The entry of the root directory; None where no layer names it."""
        named = root_of(self._folders.roots)
        if named is None:
            return None
        return self._directory_entry(self._folders.fd(self._folders.roots.index(named), b""), b"")

    def _directory_entry(self, fd: int, path: bytes) -> Entry:
        entry, _ = next(self._scan((fd, b"."), path))
        entry.name = path
        return entry

    def read_link(self, path: bytes, found: LowerName) -> bytes:
        """The target of a symbolic link."""
        parent, name = split(path)
        return os.readlink(name, dir_fd=self._folders.fd(found.layer, parent))

    def _scan(self, at: tuple[int, bytes], path: bytes) -> Iterator[tuple[Entry, Data]]:
        scan = Scan(path, at=at, owner="keep", mtime="exact", hard_links=False, data=True)
        for entry, data in scan:
            scan.skip()
            if entry.xattrs:  # the marks of that folder are none of this one
                entry.xattrs = {key: value for key, value in entry.xattrs.items() if xattr_kept(key)}
            yield entry, data
