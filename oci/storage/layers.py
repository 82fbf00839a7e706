"""Layers, unpacked once each: `layers/<id>/fs`, whatever images and containers use them.

The id is the diff_id's digits, or `chain-` and those of the chain id (image-spec v1.1.1 config.md#layer-chainid) for a
layer that can't be told without the ones below it (oci/drivers/layer_folder.py). So images share a layer's folder by
what is in it, and a folder of the second kind by what is in all of them.

A layer is made in `layers/.tmp-…`, locked by its maker (flock), and gets its name in this order, which a crash may end
anywhere: the files, verified; the whole file system's dirty pages (syncfs, once for all layers of an image: one wait
instead of ten thousand); the file `complete`, which says what it is; the rename; the row. So a folder with a name is
whole, one without a row is taken over, and one without a lock and a name is a leftover. From then on nothing in it is
ever opened for writing.

Two processes that need a layer at once: the second waits for the first and uses what it made. Who makes layers locks
the byte of each in `store.lock` (an open file description lock, fcntl(2)), lowest first, so that no two wait for each
other.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from oci.errors import OciError, StoreError
from oci.spec.digest import Digest
from oci.spec.record import Record

if TYPE_CHECKING:
    from oci.drivers.driver import Form
    from oci.image.image import Image
    from oci.image.layer import Layer
    from oci.layout.blobs import BlobReader
    from oci.spec.descriptor import Descriptor
    from oci.storage.store import Store
    from oci.streams.progress import Progress

__all__ = ["COMPLETE", "TEMPORARY", "LayerFolder", "Layers", "Wanted", "possible_ids"]

COMPLETE = "complete"  # beside fs/: written last, when all else is on disk
TEMPORARY = ".tmp-"
MAX_COMPLETE = 4096  # bytes of the file; it has some 200
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


class Layers:
    """The layer folders of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.root = f"{store.root}/layers"

    def path(self, layer_id: str) -> str:
        """The tree of the layer of that id, there or not."""
        return f"{self.root}/{layer_id}/fs"

    @property
    def rootless(self) -> bool:
        """Whether all files of layers belong to one user, with the owners that they should have noted."""
        if os.geteuid() != 0:
            return True
        from oci.linux import idmaps

        return idmaps.current().single

    @property
    def form(self) -> Form:
        """In which namespace of attributes layers mark opaque directories: one for the whole store."""
        known = self._store.state.fact("form")
        if known is None:
            known = self._store.state.settle_fact("form", _usable_form(self.root))
        return "trusted" if known == "trusted" else "user"

    def ensure(
        self, image: Image, *, progress: Progress | None = None, warn: Callable[[str], object] | None = None
    ) -> tuple[LayerFolder, ...]:
        """The folders of an image's layers, bottom first; those that are missing are unpacked, verified.

        Layers below one that hides all of them (an opaque root) are left out: overlayfs takes no notice of that. `warn`
        gets a line for each kind of thing left out. Raises what reading and unpacking layers raises (VerificationError,
        UnsafeEntry, UnpackError, …), naming the layer; nothing is left behind then, but layers that were whole before.
        """
        from oci.drivers.roots import is_opaque

        config = image.config.model
        wanted = [
            Wanted(layer=layer, diff_id=diff_id, chain_id=chain_id)
            for layer, diff_id, chain_id in zip(image.layers, config.diff_ids, config.chain_ids(), strict=True)
        ]
        with self._store.shared():
            found = self._present(wanted)
            if None in found:
                with self._making({one.diff_id for one, there in zip(wanted, found, strict=True) if there is None}):
                    self.sweep()
                    found = self._make_missing(wanted, progress, warn)
        folders = [folder for folder in found if folder is not None]
        opaque = [at for at, folder in enumerate(folders) if at and is_opaque(folder.path)]
        return tuple(folders[opaque[-1] :] if opaque else folders)

    def _make_missing(
        self, wanted: Sequence[Wanted], progress: Progress | None, warn: Callable[[str], object] | None
    ) -> list[LayerFolder | None]:
        from oci.storage.making import make_layers

        found = self._present(wanted, adopt=True)  # another process may have been faster
        # More than once only where an image has a layer twice, and it needs those below it.
        while None in found:
            missing: dict[Digest, int] = {}
            for at, folder in enumerate(found):
                if folder is None:
                    missing.setdefault(wanted[at].diff_id, at)
            make_layers(self, wanted, found, sorted(missing.values()), progress=progress, warn=warn)
            found = self._present(wanted)
        return found

    # What is there

    def _present(self, wanted: Sequence[Wanted], *, adopt: bool = False) -> list[LayerFolder | None]:
        """The folder of each, None where there is none; with `adopt`, whole folders without a row get it."""
        rows = self._rows({layer_id for one in wanted for layer_id in one.ids})
        found: list[LayerFolder | None] = []
        for one in wanted:
            folder = next((rows[layer_id] for layer_id in one.ids if layer_id in rows), None)
            if folder is not None and not os.path.lexists(f"{self.root}/{folder.id}/{COMPLETE}"):
                folder = None  # its folder is gone, or was never whole
            if folder is None and adopt:
                folder = self._adopted(one)
            found.append(folder)
        return found

    def _rows(self, ids: Iterable[str]) -> dict[str, LayerFolder]:
        known: dict[str, LayerFolder] = {}
        some = list(ids)
        for at in range(0, len(some), 500):  # SQLite takes a bounded number of values
            part = some[at : at + 500]
            query = f"SELECT id, diff_id, size FROM layers WHERE id IN ({','.join('?' * len(part))})"
            for row in self._store.state.all(query, part):
                known[row[0]] = self._folder(*row)
        return known

    def _folder(self, layer_id: str, diff_id: str, size: int) -> LayerFolder:
        return LayerFolder(id=layer_id, diff_id=Digest.parse(diff_id), path=self.path(layer_id), size=size)

    def _adopted(self, one: Wanted) -> LayerFolder | None:
        for layer_id in one.ids:
            said = self.read_complete(layer_id)
            if said is not None:
                self.add_rows([(layer_id, said)])
                return self._folder(layer_id, said["diff_id"], said["size"])
        return None

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
            said = json.loads(raw)
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
        made = self._store.clock()
        with self._store.state.transaction() as db:
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

    # Making and removing folders

    @contextmanager
    def _making(self, diff_ids: Iterable[Digest]) -> Iterator[None]:
        """Keep other makers of these layers out; a layer's byte in the lock file is told by its digest."""
        fd = os.open(f"{self._store.root}/store.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            for at in sorted({int(diff_id.encoded[:15], 16) + 1 for diff_id in diff_ids}):
                fcntl.fcntl(fd, fcntl.F_OFD_SETLKW, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, at, 1, 0))
            yield
        finally:
            os.close(fd)

    def sweep(self, *, dry_run: bool = False) -> list[str]:
        """Remove what makers that died left in `layers/`; the names. What a living one holds is locked, and stays."""
        from oci.changeset.removal import remove_tree

        swept = []
        root = os.open(self.root, _DIRECTORY)
        try:
            for name in sorted(os.listdir(root)):
                if not name.startswith(TEMPORARY):
                    continue
                with suppress(FileNotFoundError, NotADirectoryError, BlockingIOError), _locked(name, root):
                    swept.append(name)
                    if not dry_run:
                        remove_tree(os.fsencode(name), dir_fd=root)
        finally:
            os.close(root)
        return swept

    def clear(self, layer_id: str) -> None:
        """Take a folder's name away and remove it, with no row of it left: what was not whole, or nobody needs."""
        from oci.changeset.removal import remove_tree

        with self._store.state.transaction() as db:
            db.run("DELETE FROM layers WHERE id = ?", (layer_id,))
        gone = TEMPORARY + os.urandom(8).hex()
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
        known = self._rows(ids)
        for layer_id in sorted(known):
            self.clear(layer_id)
        return tuple(known[layer_id] for layer_id in sorted(known))

    # Who needs which

    def possible_ids(self, blobs: BlobReader, manifests: Iterable[Descriptor]) -> set[str]:
        """The ids that the layers of these images have, or would have; what can't be read is left out."""
        from oci.image.image import Image

        found: set[str] = set()
        for manifest in manifests:
            with suppress(OciError):
                config = Image.load(blobs, manifest).config.model
                for pair in zip(config.diff_ids, config.chain_ids(), strict=True):
                    found.update(possible_ids(*pair))
        return found

    def needed_ids(self) -> set[str]:
        """The layers that an image in `images/` or a container needs.

        StoreError when that can't be told, because a document of an image that is stored can't be read.
        """
        from oci.layout.blobs import is_at_hand
        from oci.layout.documents import read_config, read_manifest
        from oci.layout.walk import walk
        from oci.spec import media_types

        layout = self._store.images
        needed = self._store.containers.layer_ids()
        try:
            for entry in layout.index().model.manifests:
                for descriptor in walk(layout.blobs, entry):
                    if not media_types.is_manifest(descriptor.media_type) or not is_at_hand(layout.blobs, descriptor):
                        continue
                    config = read_manifest(layout.blobs, descriptor).model.config
                    if not media_types.is_config(config.media_type) or not is_at_hand(layout.blobs, config):
                        continue
                    model = read_config(layout.blobs, config, media_type=config.media_type).model
                    for pair in zip(model.diff_ids, model.chain_ids(), strict=True):
                        needed.update(possible_ids(*pair))
        except OciError as error:
            raise StoreError(self._store.root, f"it can't be told which layers are needed: {error}") from error
        return needed


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
    probe = f"{folder}/{TEMPORARY}{os.urandom(8).hex()}"
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
