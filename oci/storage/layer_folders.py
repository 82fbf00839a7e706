"""The folders in `layers/` and their rows: what is there, whether it is whole, how one goes.

layers.py says what a layer's folder is and in which order it comes to be.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress

from oci.errors import OciError, StoreError
from oci.spec.digest import Digest
from oci.spec.quick_json import loads
from oci.spec.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from oci.drivers.driver import Form
    from oci.image.layer import Layer
    from oci.spec.config import ImageConfig
    from oci.storage.place import Place

__all__ = ["COMPLETE", "LayerFolder", "LayerFolders", "Wanted", "layer_names", "possible_ids"]

COMPLETE = "complete"  # beside fs/: written last, when all else is on disk
MAX_COMPLETE = 4096  # bytes of the file; it has some 300
CHAIN = "chain-"

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class LayerFolder(Record):
    """One unpacked layer; `path` is its tree, `size` the bytes of its files."""

    id: str
    diff_id: Digest
    path: str
    size: int


class Wanted(Record):
    """A layer at its place in an image."""

    layer: Layer
    diff_id: Digest
    chain_id: Digest

    @property
    def ids(self) -> tuple[str, str]:
        return possible_ids(self.diff_id, self.chain_id)


def possible_ids(diff_id: Digest, chain_id: Digest) -> tuple[str, str]:
    """The two names that a layer's folder may have: for every place, or above these lower layers only."""
    return diff_id.encoded, CHAIN + chain_id.encoded


def layer_names(config: ImageConfig) -> tuple[tuple[str, str], ...]:
    """The two names that the folder of each layer of an image may have, bottom first."""
    return tuple(possible_ids(*pair) for pair in zip(config.diff_ids, config.chain_ids(), strict=True))


class LayerFolders:
    """The layer folders of one store."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self.root = f"{place.root}/layers"

    def path(self, layer_id: str) -> str:
        """The tree of the layer of that id, there or not."""
        return self._place.layer_path(layer_id)

    @property
    def rootless(self) -> bool:
        """Whether all files of layers belong to one user, with the owners that they should have noted."""
        from oci.linux.idmaps import single_owner

        return single_owner()

    @property
    def form(self) -> Form:
        """In which namespace of attributes layers mark opaque directories: one for the whole store."""
        known = self._place.state.fact("form")
        if known is None:
            known = self._place.state.settle_fact("form", _usable_form(self.root))
        return "trusted" if known == "trusted" else "user"

    # What is there

    def rows(self, ids: Iterable[str]) -> dict[str, LayerFolder]:
        known: dict[str, LayerFolder] = {}
        some = list(ids)
        for at in range(0, len(some), 500):  # SQLite takes a bounded number of values
            part = some[at : at + 500]
            query = f"SELECT id, diff_id, size FROM layers WHERE id IN ({','.join('?' * len(part))})"
            for row in self._place.state.all(query, part):
                known[row[0]] = self.folder(*row)
        return known

    def folder(self, layer_id: str, diff_id: str, size: int) -> LayerFolder:
        return LayerFolder(id=layer_id, diff_id=Digest.parse(diff_id), path=self.path(layer_id), size=size)

    def read_complete(self, layer_id: str) -> dict[str, Any] | None:
        """What a whole folder says of itself: diff_id, chain_id, size; None where there is no whole one of that id."""
        try:
            fd = os.open(
                f"{self.root}/{layer_id}/{COMPLETE}", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            )
        except (FileNotFoundError, NotADirectoryError):
            return None
        with open(fd, "rb") as file:
            raw = file.read(MAX_COMPLETE)
        try:
            said = loads(raw.decode())
            diff_id, chain_id = Digest.parse(said["diff_id"]), said["chain_id"]
            size, entries = int(said["size"]), int(said["entries"])
            if chain_id is not None:
                chain_id = str(Digest.parse(chain_id))
        except (ValueError, KeyError, TypeError, OciError):
            return None
        right = CHAIN + Digest.parse(chain_id).encoded if chain_id is not None else diff_id.encoded
        if right != layer_id or not os.path.isdir(self.path(layer_id)):
            return None
        return {"diff_id": str(diff_id), "chain_id": chain_id, "size": size, "entries": entries}

    def add_rows(self, layers: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Make whole folders known: their ids, and what they say of themselves (`read_complete`)."""
        columns = ("diff_id", "chain_id", "size", "entries")
        made = self._place.clock()
        with self._place.state.transaction() as db:
            db.run_many(
                f"INSERT OR REPLACE INTO layers (id, made, {', '.join(columns)}) VALUES (?, ?, ?, ?, ?, ?)",
                [(layer_id, made, *(said[column] for column in columns)) for layer_id, said in layers],
            )

    @staticmethod
    def count(path: str) -> tuple[int, int]:
        """Bytes of the regular files in a tree, those with several names once, and the number of names in it.

        What no path leads to (one longer than PATH_MAX, or closed to its own owner) isn't counted, now or later.
        """
        size = names = 0
        several: set[tuple[int, int]] = set()
        pending = [os.fsencode(path)]
        while pending:
            with suppress(OSError), os.scandir(pending.pop()) as entries:
                for entry in entries:
                    names += 1
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    elif entry.is_file(follow_symlinks=False):
                        status = entry.stat(follow_symlinks=False)
                        if status.st_nlink > 1:
                            if (status.st_dev, status.st_ino) in several:
                                continue
                            several.add((status.st_dev, status.st_ino))
                        size += status.st_size
        return size, names

    # Removing

    def sweep(self, *, dry_run: bool = False) -> list[str]:
        """Remove what makers that died left in `layers/`; the names. What a living one holds is locked, and stays."""
        from oci.storage.folders import sweep_folders

        return [os.path.basename(path) for path in sweep_folders(self.root, dry_run=dry_run)]

    def clear(self, layer_id: str) -> None:
        """Take a folder's name away and remove it, with no row of it left: what was not whole, or nobody needs."""
        from oci.changeset.removal import remove_tree
        from oci.storage.folders import temporary_name

        with self._place.state.transaction() as db:
            db.run("DELETE FROM layers WHERE id = ?", (layer_id,))
        gone = temporary_name()
        root = os.open(self.root, _DIRECTORY)
        try:
            with suppress(FileNotFoundError), _locked(layer_id, root):
                # Under its new name it is a leftover, whatever happens to us.
                os.rename(layer_id, gone, src_dir_fd=root, dst_dir_fd=root)
                remove_tree(os.fsencode(gone), dir_fd=root)
        finally:
            os.close(root)

    def remove(self, ids: Iterable[str]) -> tuple[LayerFolder, ...]:
        """Remove layers that nobody needs, under `Store.exclusive`; those that were there."""
        known = self.rows(ids)
        for layer_id in sorted(known):
            self.clear(layer_id)
        return tuple(known[layer_id] for layer_id in sorted(known))


@contextmanager
def _locked(name: str, dir_fd: int) -> Iterator[None]:
    """Hold the lock of a folder in `layers/`; BlockingIOError when its maker lives."""
    fd = os.open(name, _DIRECTORY, dir_fd=dir_fd)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(fd)


def _usable_form(folder: str) -> str:
    """Try which extended attributes may be set here; StoreError when none, for then nothing can be stacked."""
    from oci.storage.folders import temporary_name

    probe = f"{folder}/{temporary_name()}"
    os.mkdir(probe, 0o700)
    refused = ""
    try:
        for form in ("trusted", "user"):
            try:
                os.setxattr(probe, f"{form}.overlay.opaque", b"y")
            except OSError as error:
                if error.errno not in (errno.EPERM, errno.EACCES, errno.ENOTSUP):
                    raise
                refused = error.strerror or str(error)
            else:
                return form
    finally:
        os.rmdir(probe)
    raise StoreError(folder, f"this file system takes no extended attributes ({refused}); choose another with --root")
