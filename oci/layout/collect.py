"""gc: remove what nothing names any more, and never anything that might still be named.

The rule: a blob stays when it is reachable from an entry of `index.json` — through indexes, manifests, configs, layers
and subjects. A referrer (signature, SBOM) is listed in `index.json`, or in an index there, like any image; it stays as
long as it is listed, and keeps its subject. Blobs of a media type we don't know stay, and what looks like a descriptor
inside them is followed, so that documents of tomorrow don't lose their parts.

A document that is reachable and stored but can't be read (damaged, or not to be parsed) stops everything: nothing is
deleted. One that isn't stored is nothing to follow (sparse indexes are allowed).

Writers hold a shared lock on `blobs/` from their first write until index.json names what they wrote (`directory`); gc
takes it exclusively and gives up when it can't, so blobs in flight are safe. Tools that lock nothing, such as skopeo,
are safe only with `keep_newer_than`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import ExitStack

from oci.errors import InvalidDigest, LayoutError, OciError
from oci.layout.blobs import is_at_hand
from oci.layout.directory import flocked
from oci.layout.documents import MAX_DOCUMENT, read_bytes
from oci.layout.layout import Layout
from oci.layout.walk import is_document, walk
from oci.spec import media_types
from oci.spec.descriptor import Descriptor
from oci.spec.digest import Digest
from oci.spec.record import Record
from oci.streams.atomic import sweep

__all__ = ["Collected", "gc", "reachable"]


class Collected(Record):
    """What gc removed, or would remove: blobs with their sizes, and paths of leftover temporary files."""

    blobs: tuple[tuple[Digest, int], ...]
    temporary: tuple[str, ...]

    @property
    def size(self) -> int:
        """Bytes of all blobs together."""
        return sum(size for _, size in self.blobs)


def gc(
    layout: Layout,
    *,
    dry_run: bool = False,
    keep_newer_than: float | None = None,
    only: AbstractSet[Digest] | None = None,
) -> Collected:
    """Remove unreachable blobs and leftover temporary files of a layout; with dry_run, only say which.

    `keep_newer_than` is a time (seconds since the epoch): blobs changed after it stay. With `only`, no other blobs are
    removed than these, and no temporary files. LayoutError when another process is writing, or when a reachable
    document can't be read.
    """
    root = str(layout)
    for folder in (f"{root}/blobs", *(f"{root}/blobs/{name}" for name in ("sha256", "sha512"))):
        # Somebody else's blobs, which this index.json knows nothing of: reading them is right, deleting them isn't.
        if os.path.islink(folder):
            raise LayoutError(folder, "is a link to a folder that others may use; nothing was removed")
    with ExitStack() as locks:
        if not dry_run:
            layout.close()
            _lock(locks, root)
        kept = reachable(layout)
        doomed = []
        for digest in layout.blobs.digests():
            size = layout.blobs.size(digest)
            if digest in kept or size is None or (only is not None and digest not in only):
                continue
            if keep_newer_than is not None and os.lstat(layout.blobs.blob_path(digest)).st_mtime > keep_newer_than:
                continue
            doomed.append((digest, size))
        if not dry_run:
            for digest, _ in doomed:
                layout.blobs.delete(digest)
        swept = sweep(root, dry_run=dry_run) if only is None else ()
        return Collected(blobs=tuple(doomed), temporary=tuple(swept))


def _lock(locks: ExitStack, root: str) -> None:
    # The index's lock first, as a writer takes them; its holders are done in a moment, so waiting is right.
    locks.enter_context(flocked(root))
    try:
        if os.path.isdir(f"{root}/blobs"):
            locks.enter_context(flocked(f"{root}/blobs", wait=False))
    except BlockingIOError:
        raise LayoutError(root, "another process is writing to it; nothing was removed, try again later") from None


def reachable(layout: Layout) -> set[Digest]:
    """Give the digests that index.json leads to, stored or not; LayoutError when a document can't be read."""
    found: set[Digest] = set()
    looked_at: set[tuple[Digest, str]] = set()  # one digest may be named with several media types
    index = layout.index().model
    pending = [*index.manifests, *((index.subject,) if index.subject is not None else ())]
    try:
        while pending:
            entry = pending.pop()
            if (entry.digest, entry.media_type) in looked_at:
                continue
            for descriptor in walk(layout.blobs, entry, subjects=True):
                found.add(descriptor.digest)
                looked_at.add((descriptor.digest, descriptor.media_type))
                if not _is_known(descriptor) and is_at_hand(layout.blobs, descriptor):
                    pending += _looks_like_descriptors(layout, descriptor)
    except OciError as error:
        raise LayoutError(str(layout), f"nothing was removed, because a document can't be followed: {error}") from error
    return found


def _is_known(descriptor: Descriptor) -> bool:
    kind = descriptor.media_type
    return is_document(descriptor) or media_types.is_config(kind) or media_types.is_layer(kind)


def _looks_like_descriptors(layout: Layout, descriptor: Descriptor) -> Iterator[Descriptor]:
    """Give what an unknown blob refers to, if it is JSON at all."""
    if descriptor.size > MAX_DOCUMENT:
        return
    raw = read_bytes(layout.blobs, descriptor)
    if not raw.lstrip().startswith(b"{"):
        return
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, list):
            stack += item
        elif isinstance(item, dict):
            stack += item.values()
            kind, name, size = item.get("mediaType"), item.get("digest"), item.get("size")
            if isinstance(name, str) and isinstance(size, int) and size >= 0:
                try:
                    digest = Digest.parse(name)
                except InvalidDigest:
                    continue
                kind = kind if isinstance(kind, str) else "application/octet-stream"
                yield Descriptor(media_type=kind, digest=digest, size=size)
