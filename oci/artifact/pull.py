"""Pulling the files of an artifact into a directory, all of them or none.

What is to be written where is decided first (plan.py); then everything is fetched into a scratch directory inside the
target and verified there; only then do the files get their names (place.py). So a wrong digest, an unsafe archive or a
cut connection leaves the target as it was.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from oci.artifact.describe import Artifact, read_artifact
from oci.artifact.folder import unpack_folder
from oci.artifact.place import Target, open_target
from oci.artifact.plan import Item, Unpacking, plan
from oci.changeset.removal import DIRECTORY
from oci.layout.blobs import open_content
from oci.spec.descriptor import Descriptor
from oci.spec.record import Record
from oci.streams.progress import Meter, Progress
from oci.streams.together import Stop, together
from oci.streams.verify import verified
from oci.transports.base import ImageSource, Warn

__all__ = ["Pulled", "pull"]

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Pulled(Record):
    """What was written: the items, and the layers that have no title and hence no file."""

    artifact: Artifact
    items: tuple[Item, ...]
    untitled: tuple[Descriptor, ...]


def pull(
    source: ImageSource,
    descriptor: Descriptor,
    directory: str,
    *,
    include: Sequence[str] = (),
    unpacking: Unpacking = "annotated",
    force: bool = False,
    progress: Progress | None = None,
    warn: Warn | None = None,
) -> Pulled:
    """Write the files of the manifest `descriptor` into `directory`, which is made if it isn't there.

    `include` are shell patterns for titles; `force` replaces what is there. Raises UnsafeEntry for a title that leads
    out of the directory, DestinationError for a name that is taken, and what reading and unpacking raise.
    """
    artifact = read_artifact(source, descriptor)
    plan(artifact, include=include, unpacking=unpacking)  # refuse before a directory is made
    with open_target(directory) as target:
        items = plan(artifact, include=include, unpacking=unpacking, folds_case=target.folds_case())
        for item in items:
            target.check(item, force=force)
        _Fetch(source, target, Meter(progress, sum(_size(item) for item in items)), warn).all(items)
        for number, item in enumerate(items):
            target.place(item, _waiting(number), force=force)
    untitled = tuple(content.descriptor for content in artifact.contents if content.title is None)
    return Pulled(artifact=artifact, items=items, untitled=untitled)


def _size(item: Item) -> int:
    return item.content.descriptor.size


def _waiting(number: int) -> bytes:
    """The name in the scratch directory under which an item waits."""
    return b"%d" % number


class _Fetch:
    """Brings items into the scratch directory, several at once where the source gains by that."""

    def __init__(self, source: ImageSource, target: Target, meter: Meter, warn: Warn | None) -> None:
        self._source, self._target, self._meter, self._warn = source, target, meter, warn
        self._stop = Stop()

    def all(self, items: Sequence[Item]) -> None:
        together(
            self._one,
            list(enumerate(items)),
            workers=self._source.parallel,
            stop=self._stop,
            abort=self._source.abort,
        )

    def _one(self, numbered: tuple[int, Item]) -> None:
        number, item = numbered
        self._stop.check()
        if item.folder:
            self._folder(_waiting(number), item)
        else:
            self._file(_waiting(number), item.content.descriptor, item.title)

    def _file(self, name: bytes, blob: Descriptor, title: str) -> None:
        with open_content(self._source, blob) as chunks, self._watched(chunks, title, blob.size) as watched:
            fd = os.open(name, _NEW_FILE, 0o666, dir_fd=self._target.scratch_fd)
            try:
                for chunk in verified(watched, blob.digest, blob.size):
                    view = memoryview(chunk)
                    while view:  # a full disk gives a short write first, and the error at the next
                        view = view[os.write(fd, view) :]
            finally:
                os.close(fd)

    def _folder(self, name: bytes, item: Item) -> None:
        content = item.content
        os.mkdir(name, 0o700, dir_fd=self._target.scratch_fd)
        root = os.open(name, DIRECTORY, dir_fd=self._target.scratch_fd)
        try:
            unpack_folder(
                self._source,
                content.descriptor,
                root,
                prefix=b"/".join(item.names),
                content=content.digest_of_tar,
                watch=lambda chunks: self._watched(chunks, item.title, _size(item)),
                warn=self._teller(item.title),
            )
        finally:
            os.close(root)

    def _teller(self, title: str) -> Callable[[str], None] | None:
        warn = self._warn
        if warn is None:
            return None
        tell = warn

        def said(text: str) -> None:
            tell(f"{title}: {text}")

        return said

    @contextmanager
    def _watched(self, chunks: Iterator[bytes], what: str, size: int) -> Iterator[Iterator[bytes]]:
        """Count a blob's bytes, and let their reading be stopped."""
        with self._meter.share(what, size) as share, self._stop.watching(share.counted(chunks)) as watched:
            yield watched
