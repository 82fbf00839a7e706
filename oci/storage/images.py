"""Images of the store by their names, IDs and digests; taking and removing names, and images with their last name.

A name in the store is a whole one as Docker fills it in (`docker.io/library/app:latest`): the `ref.name` of an entry in
`images/index.json`. What a user writes is looked for in this order:

1. NAME[:TAG]: that very name, `latest` where no tag is written;
2. NAME[:TAG]@DIGEST: an entry of that repository with that digest, or with it in its index; the tag says nothing;
3. hexadecimal digits, with or without `sha256:`: the image whose ID (the digest of its config) begins so, else the one
   whose manifest or index does. Several images: InvalidReference says which.

An entry may be an index of several images: it is one thing for `tag` and `remove`, and narrowed by platform for `find`.
An image that nothing names but a container needs stays as an untagged entry.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress

from oci.errors import InUse, InvalidReference, LayoutError, OciError, RefNotFound, StoreError
from oci.layout import refs
from oci.layout.blobs import is_at_hand
from oci.layout.documents import read_manifest
from oci.layout.walk import walk
from oci.spec import media_types
from oci.spec.descriptor import Descriptor
from oci.spec.digest import Digest
from oci.spec.record import Record
from oci.spec.reference import (
    ArchiveRef,
    DockerArchiveRef,
    LayoutRef,
    Reference,
    RegistryRef,
    StoreRef,
    familiar,
    is_repository,
    parse_name,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.image.image import Image
    from oci.layout.layout import Layout
    from oci.spec.index import Index
    from oci.spec.platform import Platform
    from oci.storage.store import Store

__all__ = ["Removed", "StoredImage", "find", "keep", "name_for", "names", "remove", "tag", "untag"]

MIN_PREFIX = 2  # hexadecimal digits
MAX_CANDIDATES = 10  # told of those that a prefix could mean

_HEX = "0123456789abcdef"


class StoredImage(Record):
    """An image that was found: by which name (None: by its ID), its ID, its manifest's descriptor, its documents."""

    name: str | None
    id: Digest
    descriptor: Descriptor
    image: Image


class Removed(Record, kw_only=False):
    """One thing that is gone: a name, an image, a blob or a layer's folder, with its bytes on disk, about."""

    kind: str  # "name", "image", "blob", "layer"
    what: str
    size: int = 0

    def __str__(self) -> str:
        return f"{'untagged' if self.kind == 'name' else 'deleted'}: {self.what}"


class _Match(Record):
    """An entry of index.json that a text means, and what in it: the entry itself, or a manifest below it."""

    name: str | None
    entry: Descriptor
    wanted: Descriptor


def names(store: Store) -> tuple[tuple[str | None, Descriptor], ...]:
    """Every entry of the store's index: its whole name (None: untagged) and descriptor, which may be an index's."""
    return tuple((refs.name_of(entry), entry) for entry in store.images.index().model.manifests)


def find(store: Store, text: str, platform: Platform | None = None) -> StoredImage:
    """The image that a user means by `text`: a name with or without tag, name@digest, an ID, a digest, or a prefix.

    Of an index it is the image for `platform`; with None the only one of it that is here. RefNotFound, InvalidReference
    (no name at all, or a prefix of several), NoMatchingPlatform, and what reading the documents raises.
    """
    from oci.image.image import Image

    layout = store.images
    match = _look_up(layout, text, platform, store.root)
    wanted = match.wanted
    if media_types.is_index(wanted.media_type):
        if platform is not None:
            wanted = refs.narrow(wanted, layout.blobs, platform, where=text)
        elif len(here := _manifests_at_hand(layout, wanted)) == 1:
            wanted = here[0]
    image = Image.load(layout.blobs, wanted)
    plain = refs.untagged(wanted)
    return StoredImage(name=match.name, id=image.manifest.model.config.digest, descriptor=plain, image=image)


# Looking up


def _look_up(layout: Layout, text: str, platform: Platform | None, where: str) -> _Match:
    index = layout.index().model
    digits = text.removeprefix("sha256:")
    may_be_id = MIN_PREFIX <= len(digits) <= 64 and not digits.strip(_HEX)
    try:
        reference = StoreRef(text).normalized
    except InvalidReference:
        if not may_be_id:
            raise
        reference = None
    if reference is not None:
        found = (
            _by_digest(layout, index, reference) if reference.digest else _by_name(layout, index, reference, platform)
        )
        if found is not None:
            return found
    if may_be_id and (found := _by_id(layout, index, text, digits)) is not None:
        return found
    there = [name for name in (refs.name_of(entry) for entry in index.manifests) if name is not None]
    raise RefNotFound(text, f"the store {where}", [familiar(name) for name in dict.fromkeys(there)])


def _by_name(layout: Layout, index: Index, reference: RegistryRef, platform: Platform | None) -> _Match | None:
    name = reference.name
    named = [entry for entry in index.manifests if refs.name_of(entry) == name]
    if not named:
        return None
    entry = named[0]
    if len(named) > 1:  # a plain layout may list one name for each platform; we never do
        entry = refs.resolve(index, layout.blobs, where=str(layout), name=name)
        if platform is not None and not media_types.is_index(entry.media_type):
            entry = refs.resolve(index, layout.blobs, where=str(layout), name=name, platform=platform)
    return _Match(name=name, entry=entry, wanted=entry)


def _by_digest(layout: Layout, index: Index, reference: RegistryRef) -> _Match | None:
    named = []
    for entry in index.manifests:
        name = refs.name_of(entry)
        if name is None:
            continue
        with suppress(InvalidReference):
            known = parse_name(name)
            if (known.registry, known.repository) == (reference.registry, reference.repository):
                named.append((name, entry))
    # The very name first: of two tags of one image the one that was written.
    named.sort(key=lambda pair: pair[0] != reference.name)
    for name, entry in named:
        if entry.digest == reference.digest:
            return _Match(name=name, entry=entry, wanted=entry)
    for name, entry in named:
        for below in _manifests_at_hand(layout, entry):
            if below.digest == reference.digest:
                return _Match(name=name, entry=entry, wanted=below)
    return None


def _by_id(layout: Layout, index: Index, text: str, digits: str) -> _Match | None:
    """Images by their ID, else by the digest of a manifest or index; a damaged image is not found by its ID."""
    by_config: dict[str, _Match] = {}
    by_document: dict[str, _Match] = {}
    for entry in index.manifests:
        if entry.digest.encoded.startswith(digits):
            by_document.setdefault(str(entry.digest), _Match(name=None, entry=entry, wanted=entry))
        for manifest in _manifests_at_hand(layout, entry):
            match = _Match(name=None, entry=entry, wanted=manifest)
            if manifest.digest.encoded.startswith(digits):
                by_document.setdefault(str(manifest.digest), match)
            with suppress(OciError):
                config = read_manifest(layout.blobs, manifest).model.config
                if config.digest.encoded.startswith(digits):
                    by_config.setdefault(str(config.digest), match)
    for found in (by_config, by_document):
        if len(found) > 1:
            listed = ", ".join(sorted(found)[:MAX_CANDIDATES])
            raise InvalidReference(text, f"could be any of {listed}; give more digits")
        if found:
            return next(iter(found.values()))
    return None


def _manifests_at_hand(layout: Layout, entry: Descriptor) -> list[Descriptor]:
    """The images of an entry that are stored here; of an image, itself."""
    if not media_types.is_index(entry.media_type):
        return [entry] if is_at_hand(layout.blobs, entry) else []
    found: list[Descriptor] = []
    with suppress(OciError):
        for descriptor in walk(layout.blobs, entry):
            if not media_types.is_manifest(descriptor.media_type) or refs.beside_images(descriptor):
                continue
            if is_at_hand(layout.blobs, descriptor):
                found.append(descriptor)
    return found


# Names


def name_for(reference: Reference) -> str:
    """The whole name under which `pull` keeps what a reference names.

    `docker://` and plain names: as Docker fills them in; with a tag and a digest, the tag. A layout's or archive's tag
    that is an image name with a "/" or ":" is taken for one, else NAME:TAG with the name of the folder or file.
    """
    if isinstance(reference, StoreRef):
        normalized = reference.normalized
        if normalized is None:
            raise InvalidReference(reference.name, "an image ID is no name; write NAME[:TAG]")
        reference = normalized
    if isinstance(reference, RegistryRef):
        if reference.tag is not None:
            return reference.replace(digest=None).name
        return reference.name
    if isinstance(reference, DockerArchiveRef):
        text = reference.name
        if text is None:
            raise InvalidReference(
                str(reference), "which name shall it have in the store? Write docker-archive:FILE:NAME"
            )
        return parse_name(text).name
    return _name_of_file(reference)


def _name_of_file(reference: LayoutRef | ArchiveRef) -> str:
    tag = reference.tag
    if tag is not None and ("/" in tag or ":" in tag):
        return parse_name(tag, str(reference)).name
    stem = os.path.basename(os.path.abspath(reference.path)).removesuffix(".tar").lower()
    if not is_repository(stem):
        raise InvalidReference(
            str(reference), f"{stem!r} can't be an image's name in the store; copy it under another one"
        )
    return parse_name(f"{stem}:{tag}" if tag else stem, str(reference)).name


def tag(store: Store, text: str, name: str) -> str:
    """Give what `text` names another name; the whole name that it has now. An image that had it stays, untagged."""
    reference = parse_name(name)
    if reference.digest is not None:
        raise InvalidReference(name, "a new name is NAME[:TAG], without a digest")
    with store.shared():
        entry = _look_up(store.images, text, None, store.root).entry
        with store.images.edit_index() as edit:
            before = [old for old in edit.index.manifests if refs.name_of(old) == reference.name]
            edit.index = refs.with_tag(edit.index, reference.name, entry)
            for old in before:
                edit.index = refs.with_entry(edit.index, old)
    return reference.name


def untag(store: Store, name: str) -> None:
    """Take a name away; the image stays, if need be as an entry without a name. RefNotFound."""
    with store.shared():
        match = _look_up(store.images, name, None, store.root)
        if match.name is None:
            raise InvalidReference(name, "is an image's ID, not one of its names")
        _drop_names(store.images, match.entry.digest, {match.name}, keep_entry=True)


def keep(store: Store, descriptor: Descriptor) -> None:
    """See to it that an image stays: an untagged entry of the index, unless an entry leads to it already."""
    for entry in store.images.index().model.manifests:
        if entry.digest == descriptor.digest or any(m.digest == descriptor.digest for m in _below(store.images, entry)):
            return
    store.images.add(refs.untagged(descriptor))


def _below(layout: Layout, entry: Descriptor) -> list[Descriptor]:
    return _manifests_at_hand(layout, entry) if media_types.is_index(entry.media_type) else []


def _drop_names(layout: Layout, digest: Digest, gone: set[str | None], *, keep_entry: bool) -> None:
    with layout.edit_index() as edit:
        entries = [e for e in edit.index.manifests if e.digest == digest]
        kept = tuple(e for e in edit.index.manifests if e.digest != digest or refs.name_of(e) not in gone)
        edit.index = edit.index.replace(manifests=kept)
        if keep_entry and entries:
            edit.index = refs.with_entry(edit.index, entries[0])


# Removing


def remove(store: Store, text: str, *, force: bool = False) -> tuple[Removed, ...]:
    """Take a name away, and with the last one the image, its blobs and layer folders that nothing else needs.

    By an ID: all its names, where it has several only with `force`. An image that containers use is not removed: InUse
    tells which; with `force` it loses its names and stays for them. RefNotFound.
    """
    with store.exclusive():
        layout = store.images
        match = _look_up(layout, text, None, store.root)
        digest = match.entry.digest
        held = {refs.name_of(entry) for entry in layout.index().model.manifests if entry.digest == digest} - {None}
        taken: set[str | None] = {match.name} if match.name is not None else held
        if match.name is None and len(held) > 1 and not force:
            hint = "remove one of these names, or all with --force"
            raise InUse(f"image {text}", sorted(familiar(name) for name in held if name), hint=hint)
        lost = [Removed("name", name) for name in sorted(name for name in taken if name)]
        if held - taken:
            _drop_names(layout, digest, taken, keep_entry=False)
            return tuple(lost)
        users = _users(store, match.entry)
        if users:
            if not force or not taken:
                hint = "remove them first" + ("" if force else ", or use --force to take only the name away")
                raise InUse(f"image {text}", users, hint=hint)
            _drop_names(layout, digest, taken, keep_entry=True)
            return tuple(lost)
        return (*lost, *_remove_entry(store, match.entry))


def _users(store: Store, entry: Descriptor) -> tuple[str, ...]:
    """The containers that need this entry, because no other has their image."""
    layout = store.images
    own = {str(manifest.digest) for manifest in _manifests_at_hand(layout, entry)}
    for other in layout.index().model.manifests:
        if other.digest != entry.digest:
            own -= {str(manifest.digest) for manifest in _manifests_at_hand(layout, other)}
    return store.containers.using_manifest(sorted(own))


def _remove_entry(store: Store, entry: Descriptor) -> Iterator[Removed]:
    from oci.layout.collect import gc

    layout = store.images
    blobs = [*_reachable(layout, entry)]
    layers = store.layers.possible_ids(layout.blobs, _manifests_at_hand(layout, entry))
    images = [_image_id(layout, manifest) for manifest in _manifests_at_hand(layout, entry)]
    _drop_names(layout, entry.digest, {refs.name_of(e) for e in layout.index().model.manifests}, keep_entry=False)
    yield from (Removed("image", image) for image in dict.fromkeys(images))
    try:
        needed = store.layers.needed_ids()
        collected = gc(layout, only={blob.digest for blob in blobs})
    except (LayoutError, StoreError) as error:
        if store.warn is not None:
            store.warn(f"the image is gone, its blobs and layers stay for now: {error}")
        return
    yield from (Removed("blob", str(digest), size) for digest, size in collected.blobs)
    yield from (Removed("layer", folder.id, folder.size) for folder in store.layers.remove(layers - needed))


def _reachable(layout: Layout, entry: Descriptor) -> Iterable[Descriptor]:
    """What an entry leads to, as far as it can be read."""
    found = [entry]
    with suppress(OciError):
        for descriptor in walk(layout.blobs, entry):
            found.append(descriptor)
    return found


def _image_id(layout: Layout, manifest: Descriptor) -> str:
    with suppress(OciError):
        return str(read_manifest(layout.blobs, manifest).model.config.digest)
    return str(manifest.digest)
