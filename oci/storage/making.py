"""Unpacking the layers of an image that a store lacks: in parallel, all of them or none, and durable before they count.

The order of events is told in layers.py. A layer that needs those below it waits for them when all else of it is done;
they were begun before it, so nobody waits for what hasn't been begun.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from oci.changeset.removal import DIRECTORY, remove_tree
from oci.drivers.layer_folder import write_layer_folder
from oci.errors import UnpackError
from oci.layout.blobs import WatchedBlobs
from oci.linux.sync import sync_file_system
from oci.storage.folders import make_locked
from oci.storage.layer_folders import COMPLETE, LayerFolder, Wanted, possible_ids
from oci.streams.atomic import fsync_dir
from oci.streams.together import Stop, Stopped, together

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.image.layer import Layer
    from oci.storage.layer_folders import LayerFolders
    from oci.streams.progress import Progress

__all__ = ["make_layers"]

WORKERS = 2  # layers unpacked at once; each keeps one processor busy and a bit of another

_INHERITED = ("system.posix_acl_default", "system.posix_acl_access")


class _Postponed(Exception):  # noqa: N818 - no error: it is made in another round
    """The layer needs one below it that comes twice in the image, and isn't made in this round."""


class _Work:
    """One layer that is being made; `reached`: its folder is right only above these lower layers."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.over = threading.Event()
        self.made = self.reached = False
        self.name = ""  # of the temporary folder
        self.fd = -1  # which holds its lock
        self.size = self.entries = 0

    @property
    def id(self) -> str:
        return possible_ids(self.wanted.diff_id, self.wanted.chain_id)[self.reached]


class _Round:
    """Some layers, made together."""

    def __init__(self, layers: LayerFolders, wanted: Sequence[Wanted], found: Sequence[LayerFolder | None]) -> None:
        self._layers, self._wanted, self._found = layers, wanted, found
        self.root = os.open(layers.root, DIRECTORY)
        self.works: dict[int, _Work] = {}
        self._by_diff_id: dict[str, _Work] = {}
        self._stop = Stop()
        self._warn: Callable[[str], object] | None = None

    def run(self, numbers: Sequence[int], blobs: WatchedBlobs | None, warn: Callable[[str], object] | None) -> None:
        """Unpack the layers of these numbers; the first error ends all."""
        self._warn = warn
        for number in numbers:
            work = self.works[number] = _Work(self._wanted[number])
            self._by_diff_id[str(work.wanted.diff_id)] = work
        form, rootless = self._layers.form, self._layers.rootless

        def make(number: int) -> None:
            work = self.works[number]
            try:
                layer = work.wanted.layer if blobs is None else work.wanted.layer.replace(blobs=blobs)
                with self._temporary(work) as fd, suppress(_Postponed):
                    work.reached = write_layer_folder(
                        _Watched(layer, self._stop),
                        fd,
                        form=form,
                        parents=lambda: self._parents(number),
                        rootless=rootless,
                        warn=self._tell,
                    )
                    work.made = True
            except UnpackError as error:
                error.said_of(f"layer {work.wanted.diff_id}")
                raise
            finally:
                work.over.set()

        together(make, numbers, workers=WORKERS, stop=self._stop, abort=lambda: None)

    def _tell(self, line: str) -> None:
        if self._warn is not None:
            self._warn(line)

    @contextmanager
    def _temporary(self, work: _Work) -> Iterator[int]:
        """Make a locked folder, and in it the tree's root; gives that open."""
        path, work.fd = make_locked(self._layers.root)
        work.name = os.path.basename(path)
        os.mkdir("fs", 0o700, dir_fd=work.fd)
        fd = os.open("fs", DIRECTORY, dir_fd=work.fd)
        try:
            # What the store's folder hands down must not reach the image's files: default ACLs, and its group.
            for acl in _INHERITED:
                with suppress(OSError):
                    os.removexattr(fd, acl)
            os.fchown(fd, -1, os.getegid())
            os.fchmod(fd, 0o700)
            yield fd
        finally:
            os.close(fd)

    def _parents(self, number: int) -> list[str]:
        """The trees below a layer, when all of them are finished."""
        paths = []
        for below in range(number):
            there = self._found[below]
            if there is not None:
                paths.append(there.path)
                continue
            work = self.works.get(below) or self._by_diff_id[str(self._wanted[below].diff_id)]
            work.over.wait()
            if not work.made:
                raise Stopped
            if work.reached and below not in self.works:
                raise _Postponed
            paths.append(f"{self._layers.root}/{work.name}/fs")
        return paths

    # When all are unpacked

    def keep(self) -> None:
        """Make them durable and give them their names."""
        made = [work for work in self.works.values() if work.made]
        self._sync(made)
        for work in made:
            self._mark(work)
        for work in made:
            with suppress(FileNotFoundError):
                os.stat(work.id, dir_fd=self.root, follow_symlinks=False)
                self._layers.clear(work.id)  # what was not whole, or its row would have been found
            os.rename(work.name, work.id, src_dir_fd=self.root, dst_dir_fd=self.root)
            work.name = ""
        fsync_dir(self._layers.root)
        self._layers.add_rows([(work.id, self._facts(work)) for work in made])

    def _sync(self, made: Sequence[_Work]) -> None:
        """Bring the file system's dirty pages to the disk, and count meanwhile what was made."""
        failure: list[OSError] = []

        def sync() -> None:
            try:
                sync_file_system(self.root)
            except OSError as error:
                failure.append(error)

        thread = threading.Thread(target=sync)
        thread.start()
        try:
            for work in made:
                work.size, work.entries = self._layers.count(f"{self._layers.root}/{work.name}/fs")
        finally:
            thread.join()
        if failure:
            raise failure[0]

    def _facts(self, work: _Work) -> dict[str, object]:
        chain_id = str(work.wanted.chain_id) if work.reached else None
        return {
            "diff_id": str(work.wanted.diff_id),
            "chain_id": chain_id,
            "size": work.size,
            "entries": work.entries,
        }

    def _mark(self, work: _Work) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(COMPLETE, flags, 0o600, dir_fd=work.fd)
        try:
            os.write(fd, json.dumps(self._facts(work)).encode() + b"\n")
            os.fsync(fd)
        finally:
            os.close(fd)
        os.fsync(work.fd)

    def close(self) -> None:
        """Remove what has no name yet, and let go of all locks."""
        for work in self.works.values():
            if work.name:
                with suppress(OSError):
                    remove_tree(os.fsencode(work.name), dir_fd=self.root)
            if work.fd >= 0:
                os.close(work.fd)
        os.close(self.root)


class _Watched:
    """A layer whose reading ends when another one has failed."""

    def __init__(self, layer: Layer, stop: Stop) -> None:
        self._layer, self._stop = layer, stop

    @contextmanager
    def open(self) -> Iterator[Iterator[bytes]]:
        with self._layer.open() as chunks, self._stop.watching(chunks) as watched:
            yield watched


def make_layers(
    layers: LayerFolders,
    wanted: Sequence[Wanted],
    found: Sequence[LayerFolder | None],
    numbers: Sequence[int],
    *,
    progress: Progress | None = None,
    warn: Callable[[str], object] | None = None,
) -> None:
    """Make the layers of these numbers, each another one; `found` are the folders of those that are there.

    One that needs a layer which comes twice, and isn't among them, may be left for another call.
    """
    blobs = None
    if progress is not None:
        some = [wanted[number].layer for number in numbers]
        blobs = WatchedBlobs(some[0].blobs, progress, sum(layer.descriptor.size for layer in some))
    work = _Round(layers, wanted, found)
    try:
        work.run(numbers, blobs, warn)
        work.keep()
    finally:
        work.close()
