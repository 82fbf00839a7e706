"""Layer folders that are not what their rows, or their tars, say.

======================  ======================================================================  =====================
`layer-leftover`        `layers/.tmp-…` of a killed command: half unpacked, or half removed     removed
`layer-without-folder`  a row whose folder is gone                                              row removed; unpacked
                                                                                                when it is needed
`layer-without-row`     a whole folder that no row knows: a crash came between the two          has a row again
`layer-incomplete`      a folder without the mark that says that all of it is on the disk, or   removed; if a container
                        whose mark is another layer's                                           stands on it, unpacked
                                                                                                again, or else kept
`layer-altered`         a folder with another number of names or bytes than it had (always),    unpacked again, if the
                        or that is not what the layer's tar says (`--deep`)                     blob is good, and no
                                                                                                container runs on it
======================  ======================================================================  =====================
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from oci.errors import OciError, show
from oci.layout.walk import walk
from oci.spec import media_types
from oci.spec.digest import Digest
from oci.spec.record import Record
from oci.storage.finding import Finding, Mend, UnmendedError
from oci.storage.folders import new_folder, remove_folder, temporary_name
from oci.storage.layer_folders import layer_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.image.image import Image
    from oci.image.layer import Layer
    from oci.storage.store import Store
    from oci.streams.progress import Progress

__all__ = ["MENDS", "find", "find_altered", "find_leftovers", "image_of"]

MAX_SHOWN = 3  # differences of one layer that a message names
_ID = re.compile("(chain-)?[0-9a-f]{64,128}")


def find(store: Store) -> Iterator[Finding]:
    """Hold folders, what they say of themselves, and rows against each other."""
    yield from find_leftovers(store)
    root = f"{store.root}/layers"
    query = "SELECT id, diff_id, chain_id, size, entries FROM layers"
    rows = {name: said for name, *said in store.state.all(query)}
    names = {name for name in os.listdir(root) if _ID.fullmatch(name)}
    for name in sorted(rows.keys() - names):
        yield _finding("layer-without-folder", name, "its folder is gone")
    for name in sorted(names):
        said = store.layers.read_complete(name)
        if said is None:
            yield _finding("layer-incomplete", name, "has no mark that says that it is whole")
        elif name not in rows:
            yield _finding("layer-without-row", name, "a whole folder that the store has no row for")
        elif rows[name] != [said["diff_id"], said["chain_id"], said["size"], said["entries"]]:
            yield _finding("layer-incomplete", name, "its mark says something else than its row")
        elif (found := store.layers.count(store.layers.path(name))) != (said["size"], said["entries"]):
            message = f"has {found[1]} names with {found[0]} bytes, it had {said['entries']} with {said['size']}"
            yield _finding("layer-altered", name, message)


def find_leftovers(store: Store) -> Iterator[Finding]:
    """Folders that nobody is unpacking into any more."""
    for name in store.layers.sweep(dry_run=True):
        yield Finding(code="layer-leftover", where=f"layers/{name}", message="left by a killed command", subject=name)


def _finding(code: str, name: str, message: str) -> Finding:
    return Finding(code=code, where=f"layers/{name[:18]}", message=message, subject=name)


# Against the tars


class Origin(Record):
    """Where a layer comes from: an image that has it, and its place in it."""

    image: Image
    number: int

    @property
    def layer(self) -> Layer:
        """The layer itself."""
        return self.image.layers[self.number]


def find_altered(store: Store, read: set[Digest], *, progress: Progress | None = None) -> Iterator[Finding]:
    """Hold every layer folder against the tar in `images/`; blobs that proved good are added to `read`.

    A layer of which no image is there any more can't be held against anything, nor one whose blob is damaged.
    """
    known = origins(store)
    rows = [(name, size) for name, size in store.state.all("SELECT id, size FROM layers ORDER BY made, id")]
    total, done = sum(size for _, size in rows), 0
    for name, size in rows:
        origin = known.get(name)
        if origin is not None and os.path.isdir(store.layers.path(name)):
            try:
                differing = _differences(store, name, origin)
                read.add(origin.layer.descriptor.digest)
            except OciError:  # the blob's fault, which is found where blobs are read
                differing = []
            if differing:
                more = f" and {len(differing) - MAX_SHOWN} more" if len(differing) > MAX_SHOWN else ""
                shown = ", ".join(f"/{show(path)} {what}" for path, what in differing[:MAX_SHOWN])
                yield _finding("layer-altered", name, f"is not what its tar says: {shown}{more}")
        done += size
        if progress is not None:
            progress(done, total, f"layer {name[:18]}")


def _differences(store: Store, name: str, origin: Origin) -> list[tuple[bytes, str]]:
    from oci.drivers.layer_compare import differences

    with _scratch(store) as scratch:
        return list(
            differences(
                origin.layer,
                store.layers.path(name),
                scratch,
                form=store.layers.form,
                parents=_parents(store, origin),
                rootless=store.layers.rootless,
            )
        )


def _parents(store: Store, origin: Origin) -> list[str]:
    """The folders of the layers below."""
    names = layer_names(origin.image.config.model)[: origin.number]
    paths = [[store.layers.path(name) for name in pair] for pair in names]
    return [next((path for path in pair if os.path.isdir(path)), pair[0]) for pair in paths]


@contextmanager
def _scratch(store: Store) -> Iterator[str]:
    with new_folder(f"{store.root}/layers") as path:
        os.mkdir(f"{path}/fs", 0o700)
        yield f"{path}/fs"


def origins(store: Store) -> dict[str, Origin]:
    """For every name that a layer's folder can have, an image that has the layer."""
    found: dict[str, Origin] = {}
    for image in images(store):
        for number, pair in enumerate(layer_names(image.config.model)):
            for name in pair if number < len(image.manifest.model.layers) else ():
                found.setdefault(name, Origin(image=image, number=number))
    return found


def images(store: Store) -> Iterator[Image]:
    """Every image that is stored and can be read."""
    from oci.image.image import Image

    seen: set[Digest] = set()
    blobs = store.images.blobs
    try:
        entries = store.images.index().model.manifests
    except OciError:
        return
    for entry in entries:
        try:
            for found in walk(blobs, entry):
                if media_types.is_manifest(found.media_type) and found.digest not in seen and blobs.has(found.digest):
                    seen.add(found.digest)
                    image = Image.load(blobs, found)
                    if len(image.layers) == len(image.config.model.diff_ids):
                        yield image
        except OciError:  # an artifact, or damaged: that is found where blobs are read
            continue


def image_of(store: Store, manifest: str) -> Image | None:
    """The image of that manifest (a digest), if it is stored and can be read."""
    return next((image for image in images(store) if str(image.descriptor.digest) == manifest), None)


# Mending


def _sweep(store: Store, finding: Finding) -> str:
    store.layers.sweep()
    if os.path.lexists(f"{store.root}/layers/{finding.subject}"):
        raise UnmendedError("somebody is working on it")
    return "removed"


def _drop_row(store: Store, finding: Finding) -> str:
    if os.path.lexists(f"{store.root}/layers/{finding.subject}"):
        raise UnmendedError("its folder is there again")
    store.layers.clear(finding.subject)
    return "its row was removed; the layer is unpacked again when it is needed"


def _adopt(store: Store, finding: Finding) -> str:
    said = store.layers.read_complete(finding.subject)
    if said is None:
        raise UnmendedError("it is not whole")
    store.layers.add_rows([(finding.subject, said)])
    return "has a row again"


def _drop_incomplete(store: Store, finding: Finding) -> str:
    name = finding.subject
    if name in store.containers.layer_ids():
        origin = origins(store).get(name)
        if origin is None:
            raise UnmendedError("kept: a container stands on it, and its image is not here to unpack it again")
        return _replace(store, name, origin.image)
    store.layers.clear(name)
    return "removed; the layer is unpacked again when it is needed"


def _unpack_again(store: Store, finding: Finding) -> str:
    name = finding.subject
    origin = origins(store).get(name)
    if origin is None:
        raise UnmendedError("no image here has it any more; remove the containers that stand on it")
    running = [row.name for row in store.containers.list() if name in row.layers and row.status == "running"]
    if running:
        raise UnmendedError(f"stop the containers first that run on it: {', '.join(running)}")
    try:
        with origin.layer.open() as chunks:
            for _ in chunks:
                pass
    except OciError as error:
        raise UnmendedError(f"its blob is no better: {error}") from None
    return _replace(store, name, origin.image)


def _replace(store: Store, name: str, image: Image) -> str:
    """Put a folder aside, unpack its layer again, and remove the old one; or put it back."""
    place = f"{store.root}/layers/{name}"
    aside = f"{store.root}/layers/{temporary_name()}"
    fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)  # or it would be taken for a leftover meanwhile
        os.rename(place, aside)
        with store.state.transaction() as db:
            db.run("DELETE FROM layers WHERE id = ?", (name,))
        try:
            store.layers.ensure(image, warn=store.warn)
            if not os.path.isdir(place):
                raise UnmendedError("its image has no such layer any more")
        except BaseException:
            if not os.path.lexists(place):
                os.rename(aside, place)
            raise
        remove_folder(aside)
    finally:
        os.close(fd)
    return "was unpacked again"


MENDS: dict[str, Mend] = {
    "layer-leftover": _sweep,
    "layer-without-folder": _drop_row,
    "layer-without-row": _adopt,
    "layer-incomplete": _drop_incomplete,
    "layer-altered": _unpack_again,
}
