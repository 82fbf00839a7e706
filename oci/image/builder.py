"""Making an image: layers on top of another image, or of nothing, and changes of the config.

Each layer is written in one pass: tar, diff_id, compression, blob digest, straight into the blob store. The config's
history gets one entry for each layer, and one marked `empty_layer` for each change of the config; so history, diff_ids
and layers always agree (image-spec v1.1.1 config.md#properties).

Reproducible: nothing here asks for the time or the machine. Where no time is given, the image was created at the latest
modification time in the layers that were added (a config alone: when its base was), so the same inputs give the same
digest on any day. Documents are in the family of the base: OCI's types, or Docker's schema 2.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext

from oci.changeset.paths import clean
from oci.changeset.scan import Data, MTime, Owner, Scan
from oci.changeset.write import write_layer
from oci.errors import InvalidInput, show
from oci.image.edit import KEEP, Keep, edit_annotations, edit_config, time_text
from oci.image.image import Image
from oci.image.tar_source import open_tar, tar_entries
from oci.layout.blobs import BlobReader, BlobStore, ChainBlobs
from oci.spec import media_types
from oci.spec.config import History, ImageConfig
from oci.spec.descriptor import Descriptor
from oci.spec.digest import Digest
from oci.spec.document import Document
from oci.spec.manifest import Manifest
from oci.spec.platform import Platform
from oci.streams.layer_writer import LayerWriter
from oci.streams.progress import Meter, Progress, Share

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

    from oci.streams.compression_write import Written
    from oci.tar import Entry

__all__ = ["ImageBuilder"]

Warn = Callable[[bytes, str], object]

_EMPTY_DIGEST = Digest.of(b"")
_FIRST_TIME = -62_167_219_200 * 10**9  # the years that RFC 3339 can say are 0000 …
_LAST_TIME = 253_402_300_799 * 10**9  # … to 9999; a tar can hold more


class _Step:
    """One history entry to be; its time may only be known at the end."""

    __slots__ = ("created_ns", "history")

    def __init__(self, history: History, created_ns: int | None) -> None:
        self.history, self.created_ns = history, created_ns


class ImageBuilder:
    """Collects layers and changes, writes layers at once, and documents on `finish`.

    `blobs` takes what is new; the base's own blobs stay where they are, and what `finish` gives reads them from there
    (copying is a matter of transports). `created` and `clamp_mtime` are nanoseconds since 1970 (or `created` RFC 3339
    text); with SOURCE_DATE_EPOCH, both are that. `platform` is the base's, else linux/amd64.
    `progress` is told of the tar bytes of each new layer.
    """

    def __init__(
        self,
        blobs: BlobStore,
        base: Image | None = None,
        *,
        platform: Platform | None = None,
        created: int | str | None = None,
        clamp_mtime: int | None = None,
        compression: Written = "gzip",
        level: int | None = None,
        threads: int = 2,
        progress: Progress | None = None,
    ) -> None:
        self._blobs = blobs
        self._base = base
        self._created = time_text(created)
        self._clamp = clamp_mtime
        self._compression, self._level, self._threads = compression, level, threads
        self._meter = Meter(progress) if progress is not None else None
        self._steps: list[_Step] = []
        self._newest: int | None = None
        if base is None:
            self._family = "oci"
            self._config = ImageConfig(platform=platform or Platform("linux", "amd64"), diff_ids=())
            self._manifest: Manifest | None = None
            self._layers: tuple[Descriptor, ...] = ()
        else:
            self._family = "docker" if media_types.is_docker(base.manifest.media_type) else "oci"
            self._config = base.config.model
            self._manifest = base.manifest.model
            self._layers = tuple(layer.descriptor for layer in base.layers)
            if platform is not None:
                self._config = edit_config(self._config, platform=platform)
        if self._family == "docker" and compression == "zstd":
            raise InvalidInput(
                "a Docker image (schema 2) can't be relied on to have zstd layers; "
                "convert it to OCI first, or compress with gzip"
            )

    # Layers

    def add_directory(
        self,
        path: str | os.PathLike[str],
        dest: str | bytes = b"",
        *,
        owner: Owner = "auto",
        mode: int | str | None = None,
        mtime: MTime = "whole",
        exclude: Iterable[str | bytes] = (),
        warn: Warn | None = None,
        created_by: str | None = None,
        comment: str | None = None,
    ) -> Self:
        """Add a layer of what is in a directory, at `dest` of the image; the rules are those of changeset/scan.py.

        The directory itself becomes `dest`, attributes included; but the image's root is never a source's: somebody's
        `mktemp -d` would close the image to all but root.
        """
        target = clean(os.fsencode(dest))
        entries = Scan(
            path,
            dest=target,
            owner=owner,
            mode=mode,
            mtime=mtime,
            clamp_mtime=self._clamp,
            exclude=exclude,
            warn=warn,
            root=bool(target),
        )
        history = History(created_by=created_by or _append_words(target), comment=comment)
        return self._write(entries, history, show(os.fsencode(path)))

    def add_tar(
        self,
        source: str | os.PathLike[str] | Iterable[bytes],
        dest: str | bytes = b"",
        *,
        owner: tuple[int, int] | None = None,
        mode: int | str | None = None,
        mtime: MTime = "whole",
        exclude: Iterable[str | bytes] = (),
        created_by: str | None = None,
        comment: str | None = None,
    ) -> Self:
        """Add a layer of what a tar archive holds (a path or chunks; plain, gzip, zstd, bzip2 or xz), at `dest`.

        The archive is written anew, so that the layer depends on what it says and not on who wrote it: see
        tar_source.py. Whiteouts in it are kept.
        """
        target = clean(os.fsencode(dest))
        with open_tar(source) as chunks:
            entries = tar_entries(
                chunks, dest=target, owner=owner, mode=mode, mtime=mtime, clamp_mtime=self._clamp, exclude=exclude
            )
            history = History(created_by=created_by or _append_words(target), comment=comment)
            where = show(os.fsencode(source)) if isinstance(source, (str, os.PathLike)) else "an archive"
            return self._write(entries, history, where)

    def add_entries(
        self,
        entries: Iterable[tuple[Entry, Data]],
        *,
        created_by: str | None = None,
        comment: str | None = None,
        author: str | None = None,
    ) -> Self:
        """Add a layer of entries as they are: a changeset from compare.py, or whatever else."""
        return self._write(entries, History(created_by=created_by, comment=comment, author=author), "a layer")

    def _write(self, entries: Iterable[tuple[Entry, Data]], history: History, what: str) -> Self:
        with (
            self._blobs.writer() as blob,
            LayerWriter(blob.write, self._compression, self._level, self._threads, commit=blob.commit) as writer,
            nullcontext() if self._meter is None else self._meter.share(what) as share,
        ):
            totals = write_layer(entries, writer.write if share is None else _shared(writer, share))
            summary = writer.finish()
        descriptor = Descriptor(
            media_type=media_types.layer_media_type(self._family, self._compression),
            digest=summary.digest,
            size=summary.size,
        )
        if totals.newest_ns is not None:
            self._newest = totals.newest_ns if self._newest is None else max(self._newest, totals.newest_ns)
        return self._add(descriptor, summary.diff_id, history, totals.newest_ns)

    def add_layer(self, descriptor: Descriptor, diff_id: Digest, *, history: History | None = None) -> Self:
        """Add a layer that is in the blob store already; `history` says how it came to be."""
        if not media_types.is_layer(descriptor.media_type):
            raise InvalidInput(f"media type {descriptor.media_type!r} is not one of a layer")
        history = history or History()
        return self._add(descriptor, diff_id, history.replace(empty_layer=False), None)

    def _add(self, descriptor: Descriptor, diff_id: Digest, history: History, created_ns: int | None) -> Self:
        self._layers = (*self._layers, descriptor)
        self._config = self._config.replace(diff_ids=(*self._config.diff_ids, diff_id))
        self._steps.append(_Step(history, created_ns))
        return self

    # Config

    def configure(
        self,
        *,
        annotations: Mapping[str, str | None] | Keep | None = KEEP,
        created_by: str | None = None,
        comment: str | None = None,
        **changes: Any,
    ) -> Self:
        """Change the config as edit.edit_config does, and the manifest's annotations; one history entry for all of it.

        A `created` among the changes is for the whole image, as the builder's own is.
        """
        if changes.get("created") is not None:  # None takes the base's time away, as for any field
            self._created = time_text(changes.pop("created"))
        config = edit_config(self._config, **changes)
        if annotations is not KEEP:
            self._manifest = edit_annotations(self._manifest or self._blank(), annotations)
        if config != self._config or created_by or comment:
            self._config = config
            words = created_by or f"ocikit config {' '.join(sorted(changes))}".rstrip()
            self._steps.append(_Step(History(created_by=words, comment=comment, empty_layer=True), None))
        return self

    def note(self, history: History) -> Self:
        """Add a history entry for a step that changed no file, marked `empty_layer`."""
        self._steps.append(_Step(history.replace(empty_layer=True), None))
        return self

    # The end

    def finish(self) -> Image:
        """Write config and manifest, and give the image; what was not changed is not encoded again."""
        config = self._config_document()
        self._blobs.put([config.raw])
        manifest = (self._manifest or self._blank()).replace(layers=self._layers)
        if self._base is not None and config.raw == self._base.config.raw:
            manifest = manifest.replace(config=self._base.manifest.model.config)
        else:
            manifest = manifest.replace(config=config.descriptor)
        document: Document[Manifest]
        if self._base is not None and manifest == self._base.manifest.model:
            document = self._base.manifest
        else:
            document = Document.of(manifest)
        self._blobs.put([document.raw])
        blobs: BlobReader = self._blobs
        if self._base is not None and self._base.blobs is not blobs:
            blobs = ChainBlobs(blobs, self._base.blobs)
        return Image(descriptor=document.descriptor, manifest=document, config=config, blobs=blobs)

    def _config_document(self) -> Document[ImageConfig]:
        base, config = self._base, self._config
        created = self._created
        if created is None and self._newest is not None:
            created = _time(self._newest)
        if created is not None:
            config = config.replace(created=created)
        if self._steps:
            config = config.replace(history=(*self._old_history(), *map(self._history, self._steps)))
        if base is not None and config == base.config.model:
            return base.config
        media_type = media_types.DOCKER_CONFIG if self._family == "docker" else media_types.CONFIG
        return Document.of(config, media_type=media_type if base is None else base.config.media_type)

    def _history(self, step: _Step) -> History:
        if self._created is not None or step.created_ns is None:
            created = self._created or (_time(self._newest) if self._newest is not None else self._config.created)
        else:
            created = _time(step.created_ns)
        return step.history if step.history.created else step.history.replace(created=created)

    def _old_history(self) -> tuple[History, ...]:
        """The base's history; where it tells of fewer layers than there are, the rest is said to be unknown."""
        if self._base is None:
            return ()
        history = self._base.config.model.history
        untold = len(self._base.config.model.diff_ids) - sum(not entry.empty_layer for entry in history)
        return (*history, *(History(comment="the base image has no history of this layer") for _ in range(untold)))

    def _blank(self) -> Manifest:
        config = Descriptor(media_type=media_types.CONFIG, digest=_EMPTY_DIGEST, size=0)  # replaced by `finish`
        return Manifest(config=config, layers=(), media_type=media_types.MANIFEST)


def _shared(writer: LayerWriter, share: Share) -> Callable[[bytes | memoryview], object]:
    """The writer's `write`, counted."""
    share.begin()

    def write(data: bytes | memoryview) -> None:
        writer.write(data)
        share.more(len(data))

    return write


def _append_words(target: bytes) -> str:
    """What the history says: never where the source was, which differs from machine to machine."""
    return f"ocikit append /{target.decode('utf-8', 'backslashreplace')}"


def _time(nanoseconds: int) -> str | None:
    return time_text(min(max(nanoseconds, _FIRST_TIME), _LAST_TIME))
