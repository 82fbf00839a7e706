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

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

from oci.errors import OciError, StoreError
from oci.spec.digest import Digest
from oci.storage.layer_folders import COMPLETE, LayerFolder, LayerFolders, Wanted, layer_names
from oci.storage.place import LOCK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.image.image import Image
    from oci.layout.blobs import BlobReader
    from oci.spec.descriptor import Descriptor
    from oci.storage.containers import Containers
    from oci.storage.place import Place
    from oci.streams.progress import Progress

__all__ = ["LayerFolder", "Layers"]


class Layers(LayerFolders):
    """The layers of one store."""

    def __init__(self, place: Place, containers: Containers) -> None:
        super().__init__(place)
        self._containers = containers

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
        with self._place.shared():
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
        rows = self.rows({layer_id for one in wanted for layer_id in one.ids})
        found: list[LayerFolder | None] = []
        for one in wanted:
            folder = next((rows[layer_id] for layer_id in one.ids if layer_id in rows), None)
            if folder is not None and not os.path.lexists(f"{self.root}/{folder.id}/{COMPLETE}"):
                folder = None  # its folder is gone, or was never whole
            if folder is None and adopt:
                folder = self._adopted(one)
            found.append(folder)
        return found

    def _adopted(self, one: Wanted) -> LayerFolder | None:
        for layer_id in one.ids:
            said = self.read_complete(layer_id)
            if said is not None:
                self.add_rows([(layer_id, said)])
                return self.folder(layer_id, said["diff_id"], said["size"])
        return None

    # Who makes them

    @contextmanager
    def _making(self, diff_ids: Iterable[Digest]) -> Iterator[None]:
        """Keep other makers of these layers out; a layer's byte in the lock file is told by its digest."""
        import struct

        fd = os.open(f"{self._place.root}/{LOCK}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            for at in sorted({int(diff_id.encoded[:15], 16) + 1 for diff_id in diff_ids}):
                fcntl.fcntl(fd, fcntl.F_OFD_SETLKW, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, at, 1, 0))
            yield
        finally:
            os.close(fd)

    # Who needs which

    def possible_ids(self, blobs: BlobReader, manifests: Iterable[Descriptor]) -> set[str]:
        """The ids that the layers of these images have, or would have; what can't be read is left out."""
        from oci.image.image import Image

        found: set[str] = set()
        for manifest in manifests:
            with suppress(OciError):
                config = Image.load(blobs, manifest).config.model
                found.update(name for pair in layer_names(config) for name in pair)
        return found

    def needed_ids(self) -> set[str]:
        """The layers that an image in `images/` or a container needs.

        StoreError when that can't be told, because a document of an image that is stored can't be read.
        """
        from oci.layout.blobs import is_at_hand
        from oci.layout.documents import read_config, read_manifest
        from oci.layout.walk import walk
        from oci.spec import media_types

        layout = self._place.images
        needed = self._containers.layer_ids()
        try:
            for entry in layout.index().model.manifests:
                for descriptor in walk(layout.blobs, entry):
                    if not media_types.is_manifest(descriptor.media_type) or not is_at_hand(layout.blobs, descriptor):
                        continue
                    config = read_manifest(layout.blobs, descriptor).model.config
                    if not media_types.is_config(config.media_type) or not is_at_hand(layout.blobs, config):
                        continue
                    model = read_config(layout.blobs, config, media_type=config.media_type).model
                    needed.update(name for pair in layer_names(model) for name in pair)
        except OciError as error:
            raise StoreError(self._place.root, f"it can't be told which layers are needed: {error}") from error
        return needed
