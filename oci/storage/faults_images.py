"""Images in `images/`: entries, documents and blobs that are missing or not what their digests say.

============================  ================================================================  =====================
`index-damaged`               index.json can't be read                                          no
`index-entry-without-blob`    an entry of index.json whose manifest or index is not there       entry removed
`blob-missing`                a config or layer that an image names is not there                no; pull it again
`blob-altered`                a blob that is not what its digest or descriptor says: its size   removed, so that a
                              always, its bytes with `--deep` (documents are always read)       pull fetches it anew
`blob-leftover`               a temporary file of a killed command                              removed
============================  ================================================================  =====================

An index may name images that are not stored (image-spec v1.1.1 image-layout.md#blobs): a pull of one platform leaves
it so, and it is no fault. What nothing names is no fault either; `prune` removes it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet

from oci.errors import OciError
from oci.layout import refs
from oci.layout.blobs import is_at_hand
from oci.layout.documents import read_document
from oci.layout.walk import children, is_document
from oci.spec.descriptor import Descriptor
from oci.spec.digest import Digest
from oci.spec.index import Index
from oci.storage.finding import Finding, Mend, UnmendedError
from oci.streams.atomic import sweep
from oci.streams.verify import verified

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.layout.layout import Layout
    from oci.storage.store import Store

__all__ = ["MENDS", "find", "find_leftovers"]

MAX_DOCUMENTS = 1_000_000  # looked at in one check; each takes about 1 KiB


def find(
    store: Store,
    *,
    deep: bool = False,
    verified_already: Callable[[], AbstractSet[Digest]] = frozenset,
) -> Iterator[Finding]:
    """Follow every entry of index.json; `deep` reads all blobs, but those that were read by others meanwhile."""
    layout = store.images
    yield from find_leftovers(store)
    try:
        entries = layout.index().model.manifests
    except OciError as error:
        yield Finding(code="index-damaged", where="images/index.json", message=str(error), repairable=False)
        return
    bad: set[Digest] = set()
    for entry in entries:
        name = refs.name_of(entry) or "an image without a name"
        if not is_at_hand(layout.blobs, entry):
            message = f"{name}: its manifest is not there; pull it again"
            yield Finding(
                code="index-entry-without-blob", where=str(entry.digest), message=message, subject=str(entry.digest)
            )
            continue
        yield from _follow(layout, entry, name, bad)
    if deep:
        yield from _read_all(layout, bad | verified_already())


def find_leftovers(store: Store) -> Iterator[Finding]:
    """Temporary files whose writers are dead."""
    for path in sweep(str(store.images), dry_run=True):
        where = os.path.relpath(path, store.root)
        yield Finding(code="blob-leftover", where=where, message="left by a killed command", subject=path)


def _follow(layout: Layout, entry: Descriptor, name: str, seen: set[Digest]) -> Iterator[Finding]:
    """What is wrong with all that an entry leads to, each digest once; `seen` takes those with a fault."""
    looked_at: set[Digest] = set()
    pending = [(entry, False)]
    while pending and len(looked_at) < MAX_DOCUMENTS:
        descriptor, optional = pending.pop()
        digest = descriptor.digest
        if digest in looked_at or digest in seen:
            continue
        looked_at.add(digest)
        size = layout.blobs.size(digest)
        if size is None:
            if descriptor.data is None and not optional:
                seen.add(digest)
                yield _fault("blob-missing", digest, f"{name}: is not there; pull it again", repairable=False)
        elif size != descriptor.size:
            seen.add(digest)
            yield _fault("blob-altered", digest, f"{name}: has {size} bytes, its descriptor says {descriptor.size}")
        elif is_document(descriptor):
            try:
                model = read_document(layout.blobs, descriptor).model
            except OciError as error:
                seen.add(digest)
                yield _fault("blob-altered", digest, f"{name}: {error}")
                continue
            pending += [(child, isinstance(model, Index)) for child in children(model)]


def _read_all(layout: Layout, known: AbstractSet[Digest]) -> Iterator[Finding]:
    """Hash every stored blob that nobody has looked through yet."""
    for digest in layout.blobs.digests():
        size = layout.blobs.size(digest)
        if digest in known or size is None:
            continue
        try:
            with layout.blobs.open_raw(Descriptor(media_type="", digest=digest, size=size)) as chunks:
                for _ in verified(chunks, digest, size):
                    pass
        except (OciError, OSError) as error:
            yield _fault("blob-altered", digest, str(error))


def _fault(code: str, digest: Digest, message: str, *, repairable: bool = True) -> Finding:
    return Finding(code=code, where=str(digest), message=message, repairable=repairable, subject=str(digest))


# Mending


def _drop_entry(store: Store, finding: Finding) -> str:
    digest = Digest.parse(finding.subject)
    with store.images.edit_index() as edit:
        gone = [e for e in edit.index.manifests if e.digest == digest and not is_at_hand(store.images.blobs, e)]
        edit.index = edit.index.replace(manifests=tuple(e for e in edit.index.manifests if e not in gone))
    names = ", ".join(name for name in map(refs.name_of, gone) if name)
    return f"the entry was removed{f' ({names})' if names else ''}"


def _drop_blob(store: Store, finding: Finding) -> str:
    layout, digest = store.images, Digest.parse(finding.subject)
    layout.blobs.delete(digest)
    users = sorted(
        {refs.name_of(entry) or "an image without a name" for entry, named in _named(layout) if digest in named}
    )
    if users:
        raise UnmendedError(f"the damaged blob was removed; pull {', '.join(users)} again for a good one")
    return "removed; no image needs it"


def _named(layout: Layout) -> Iterator[tuple[Descriptor, set[Digest]]]:
    """Every entry with the digests that it leads to, as far as documents can be read."""
    for entry in layout.index().model.manifests:
        named: set[Digest] = set()
        pending = [entry]
        while pending and len(named) < MAX_DOCUMENTS:
            descriptor = pending.pop()
            if descriptor.digest in named:
                continue
            named.add(descriptor.digest)
            if is_document(descriptor) and is_at_hand(layout.blobs, descriptor):
                try:
                    pending += children(read_document(layout.blobs, descriptor).model)
                except OciError:
                    continue
        yield entry, named


def _sweep(store: Store, finding: Finding) -> str:
    sweep(str(store.images))
    if os.path.lexists(finding.subject):
        raise UnmendedError("somebody is writing it")
    return "removed"


MENDS: dict[str, Mend] = {
    "index-entry-without-blob": _drop_entry,
    "blob-altered": _drop_blob,
    "blob-leftover": _sweep,
}
