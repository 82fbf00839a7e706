"""`append` in one call: one layer for each source, on top of an image or of nothing.

A source is a directory or a tar archive (compressed or not) and where it goes in the image.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from oci.changeset.scan import MTime, Owner
from oci.errors import CorruptStream, InvalidInput, SourceError, TarError
from oci.image.builder import ImageBuilder, Warn
from oci.image.image import Image
from oci.layout.blobs import BlobStore
from oci.spec.record import Record
from oci.streams.progress import Progress

if TYPE_CHECKING:
    from oci.spec.platform import Platform
    from oci.streams.compression_write import Written

__all__ = ["Source", "append"]

_HEADER = 512  # bytes of the header that every archive begins with


class Source(Record):
    """Something to make a layer of: a directory or an archive on this machine, and its place in the image."""

    path: str
    dest: str = "/"

    @classmethod
    def parse(cls, text: str) -> Source:
        """Read `SOURCE[:DEST]`; a colon belongs to the name if a file of the whole name is there.

        InvalidInput for a DEST that isn't absolute.
        """
        path, colon, dest = text.rpartition(":")
        if not colon or os.path.lexists(text):
            return cls(path=text)
        if not dest.startswith("/") or not path:
            raise InvalidInput(f"{text!r} is not SOURCE[:DEST] with DEST an absolute path in the image")
        return cls(path=path, dest=dest)


def append(
    blobs: BlobStore,
    base: Image | None,
    sources: Iterable[Source],
    *,
    platform: Platform | None = None,
    owner: Owner | None = None,
    mode: int | str | None = None,
    mtime: MTime = "whole",
    clamp_mtime: int | None = None,
    exclude: Iterable[str] = (),
    created: int | str | None = None,
    created_by: str | None = None,
    comment: str | None = None,
    compression: Written = "gzip",
    level: int | None = None,
    threads: int = 2,
    progress: Progress | None = None,
    warn: Warn | None = None,
) -> Image:
    """An image with one more layer for each source, written into `blobs` (the base's own blobs aren't copied there).

    `owner` is by default "auto" for directories and the archive's own for archives; `"keep"` keeps a directory's too.
    See ImageBuilder for the rest.
    """
    builder = ImageBuilder(
        blobs,
        base,
        platform=platform,
        created=created,
        clamp_mtime=clamp_mtime,
        compression=compression,
        level=level,
        threads=threads,
        progress=progress,
    )
    exclude = tuple(exclude)
    for source in sources:
        _add(
            builder,
            source,
            owner,
            warn,
            {
                "mode": mode,
                "mtime": mtime,
                "exclude": exclude,
                "created_by": created_by,
                "comment": comment,
            },
        )
    return builder.finish()


def _add(
    builder: ImageBuilder, source: Source, owner: Owner | None, warn: Warn | None, settings: dict[str, Any]
) -> None:
    if not os.path.lexists(source.path):
        raise SourceError(source.path, "no such file or directory")
    if os.path.isdir(source.path):
        builder.add_directory(source.path, source.dest, owner=owner or "auto", warn=warn, **settings)
        return
    ids = owner if isinstance(owner, tuple) else None
    try:
        builder.add_tar(source.path, source.dest, owner=ids, **settings)
    except (TarError, CorruptStream) as error:  # of several sources, say which
        reason = str(error)
        if isinstance(error, TarError) and error.offset < _HEADER:  # it doesn't even begin as one
            reason = f"is neither a directory nor a tar archive ({reason})"
        raise SourceError(source.path, reason) from error
