"""An image out of a container: its image, and one more layer of what the container wrote.

The layer is the driver's delta alone, so the work is that of the change, whatever the image's size. Nothing that is
mounted gets into it: volumes, binds, mount points made for them. Who owns what is told by the ids inside.

The config is the image's with what the container was asked to be, as docker has it: a variable given to `run` is a
variable of the new image, the command it was given is its Cmd. Then come the changes: Dockerfile instructions.

One history entry tells of all: `created_by` is the container's command. A container that has written nothing gives an
image of the same layers, with an entry that is marked empty. The image is as new as the newest file in the layer, and
never older than its base; so the same state gives the same digest on any day.

A container that runs is paused while it is read, where its runtime can do that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain

from oci.container.runtimes import runtime_of
from oci.errors import RuntimeFailed, WrongState, show
from oci.image.builder import ImageBuilder
from oci.image.edit import edit_config
from oci.spec import rfc3339
from oci.spec.config import History, ImageConfig
from oci.spec.document import Document

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from oci.changeset.scan import Data
    from oci.container.container import Container
    from oci.image.image import Image
    from oci.layout.blobs import BlobStore
    from oci.runtime.settings import RunSettings
    from oci.streams.compression_write import Written
    from oci.streams.progress import Progress
    from oci.tar import Entry

__all__ = ["commit", "image_of", "settled_config"]


def commit(
    container: Container,
    base: Image,
    blobs: BlobStore,
    *,
    changes: Sequence[str] = (),
    author: str | None = None,
    message: str | None = None,
    created: int | str | None = None,
    clamp_mtime: int | None = None,
    compression: Written = "gzip",
    level: int | None = None,
    pause: bool = True,
    progress: Progress | None = None,
    warn: Callable[[str], None] | None = None,
) -> Image:
    """The new image over `base` (the container's), what is new in `blobs`; `changes` are Dockerfile instructions.

    InvalidInput for a wrong instruction, before anything is read; SourceError for a file that changes while it is read;
    WrongState for a container that is being removed.
    """
    config = settled_config(base.config.model, container.settings)
    created_by = " ".join(config.run.cmd or ())
    if changes:
        from oci.container.instructions import apply_changes

        config = apply_changes(config, changes)
    if author is not None:
        config = edit_config(config, author=author)
    builder = ImageBuilder(
        blobs,
        base.replace(config=Document.of(config, media_type=base.config.media_type)),
        created=created,
        clamp_mtime=clamp_mtime,
        compression=compression,
        level=level,
        progress=progress,
    )

    def told(path: bytes, reason: str) -> None:
        if warn is not None:
            warn(f"{show(path)} {reason}")

    with _still(container, pause, warn):
        entries = container.driver.delta(container.snapshot, owner="keep", clamp_mtime=clamp_mtime, warn=told)
        first = next(entries, None)
        if first is None:
            builder.note(History(created_by=created_by, comment=message, author=author))
        else:
            newest = _Newest()
            builder.add_entries(
                newest.watch(chain((first,), entries)), created_by=created_by, comment=message, author=author
            )
            if created is None and _is_older(newest.time, base.config.model.created):
                builder.configure(created=base.config.model.created)
    return builder.finish()


def image_of(container: Container) -> Image:
    """The image that a container was made from, read from its store. Raises RefNotFound, BlobNotFound, …"""
    from oci.storage.images import find

    return find(container.store, container.row.manifest).image


def settled_config(config: ImageConfig, settings: RunSettings) -> ImageConfig:
    """The image's config with what the container was asked to be, as far as that is an image's to say."""
    edit: dict[str, Any] = {}
    if settings.env:
        edit["env"] = dict(settings.env)
    if settings.entrypoint is not None:
        edit["entrypoint"] = settings.entrypoint or None
        edit["cmd"] = settings.args or None
    elif settings.args:
        edit["cmd"] = settings.args
    if settings.labels:
        edit["labels"] = settings.labels
    for name, value in (("user", settings.user), ("workdir", settings.workdir), ("stop_signal", settings.stop_signal)):
        if value:
            edit[name] = value
    if settings.stop_timeout is not None:
        edit["stop_timeout"] = settings.stop_timeout
    if settings.publish:
        edit["ports"] = [f"{port.container_port}/{port.protocol}" for port in settings.publish]
    return edit_config(config, **edit)


class _Newest:
    """The latest time among the entries that pass; whiteouts have none."""

    def __init__(self) -> None:
        self.time = 0

    def watch(self, entries: Iterator[tuple[Entry, Data]]) -> Iterator[tuple[Entry, Data]]:
        for entry, data in entries:
            self.time = max(self.time, entry.mtime_ns)
            yield entry, data


def _is_older(time: int, created: str | None) -> bool:
    return created is not None and time < rfc3339.parse(created)


@contextmanager
def _still(container: Container, pause: bool, warn: Callable[[str], None] | None) -> Iterator[None]:
    """See to it that nothing is written meanwhile, or say that it may be."""
    container.refresh()
    if not container.supervised:
        with container.store.containers.lock(container.id):
            container.refresh()
            if container.row.status == "removing":
                raise WrongState(container.name, "removing", "what it wrote is going already")
            if not container.supervised:
                yield
                return
    paused = pause and _pause(container, warn)
    try:
        yield
    finally:
        if paused:
            runtime_of(container).resume(container.id)


def _pause(container: Container, warn: Callable[[str], None] | None) -> bool:
    runtime = runtime_of(container)
    state = runtime.state(container.id)
    if state is not None and state.status == "paused":  # by somebody who wants it to stay so
        return False
    try:
        runtime.pause(container.id)
    except RuntimeFailed as error:
        if warn is not None:
            warn(f"{container.name} goes on running while it is read, for it can't be paused: {error}")
        return False
    return True
