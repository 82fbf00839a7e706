"""What a layout is to its readers, whether a directory or an archive (image-spec v1.1.1 image-layout.md).

`LayoutReader` is the interface that `Layout` and `Archive` share; beside it the names that the spec gives the files.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod

from oci.errors import InvalidDocument, LayoutError, show
from oci.layout import refs
from oci.layout.blobs import BlobReader
from oci.spec import media_types
from oci.spec.document import Document
from oci.spec.index import Index
from oci.spec.layout_header import VERSION, LayoutHeader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

    from oci.spec.descriptor import Descriptor
    from oci.spec.digest import Digest
    from oci.spec.platform import Platform

__all__ = ["INDEX_FILE", "LAYOUT_FILE", "LayoutReader", "blob_name", "check_marker", "empty_index"]

LAYOUT_FILE = "oci-layout"
INDEX_FILE = "index.json"


def blob_name(digest: Digest) -> str:
    """Give the name of a blob's file; a digest's grammar leaves no room for '..' or further slashes."""
    return f"blobs/{digest.algorithm}/{digest.encoded}"


def check_marker(raw: bytes, where: str) -> None:
    """Check the bytes of `oci-layout`; LayoutError for a version that is not known."""
    try:
        version = LayoutHeader.parse(raw).version
    except InvalidDocument as error:
        raise LayoutError(where, f"is not an image layout: {error}") from None
    if version != VERSION:
        raise LayoutError(where, f"its layout version {show(version)!r} is not known; this can read {VERSION}")


def empty_index() -> Document[Index]:
    """Give the index.json of a layout that holds nothing."""
    return Document.of(Index(manifests=(), media_type=media_types.INDEX))


class LayoutReader(ABC):
    """An index.json and the store of blobs beside it; closed by `close` or a `with` block."""

    blobs: BlobReader

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._where = os.fspath(path)

    @property
    def path(self) -> Path:
        """Where it is on this machine."""
        from pathlib import Path  # not at start-up: three milliseconds for something seldom asked

        return Path(self._where)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._where!r})"

    def __str__(self) -> str:
        return self._where

    @abstractmethod
    def index(self) -> Document[Index]:
        """Read index.json as it is now."""

    def resolve(
        self,
        name: str | None = None,
        digest: Digest | None = None,
        platform: Platform | None = None,
        *,
        warn: refs.Warn | None = None,
    ) -> Descriptor:
        """Find an image by tag, by digest, or the only one; with `platform`, narrow an index. See `refs`."""
        return refs.resolve(
            self.index().model, self.blobs, where=self._where, name=name, digest=digest, platform=platform, warn=warn
        )

    def tags(self) -> dict[str, Descriptor]:
        """Give every tag with its entry, in the order of index.json."""
        return refs.tagged(self.index().model)

    @abstractmethod
    def close(self) -> None:
        """Let go of what is held open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
