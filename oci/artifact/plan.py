"""Which files of an artifact are pulled to which paths, decided and checked before anything is fetched or written."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Literal

from oci.artifact.describe import Artifact, Content
from oci.artifact.names import FOLDER_TYPE, title_path
from oci.errors import NotFound, UnsafeEntry, show
from oci.spec.record import Record

__all__ = ["Item", "Unpacking", "plan"]

Unpacking = Literal["annotated", "always", "never"]
"""Which layers become directories: those that oras marked; also all of type tar+gzip (oras-py marks nothing); none."""


class Item(Record):
    """One file or directory to be: `path` are its names below the target, none for the target itself."""

    content: Content
    title: str
    path: tuple[str, ...]
    folder: bool

    @property
    def where(self) -> str:
        return "/".join(self.path) or "."

    @property
    def names(self) -> tuple[bytes, ...]:
        """The path as the file system is told it: UTF-8 in any locale."""
        return tuple(name.encode() for name in self.path)


def plan(
    artifact: Artifact, *, include: Sequence[str] = (), unpacking: Unpacking = "annotated", folds_case: bool = False
) -> tuple[Item, ...]:
    """Give what is to be pulled: contents with a title that matches one of the patterns `include` (if there are any).

    `folds_case` says that the target's file system takes `A` and `a` for one name. Raises UnsafeEntry for titles that
    lead out or meet each other, NotFound where there are files but none of them has a title, or matches.
    """
    items: dict[tuple[str, ...], Item] = {}
    for content in artifact.contents:
        if content.title is None:
            continue
        item = _item(content, content.title, unpacking)
        if include and not any(fnmatchcase(item.where, pattern) for pattern in include):
            continue
        known = items.setdefault(item.path, item)
        if (known.content.descriptor.digest, known.folder) != (content.descriptor.digest, item.folder):
            raise UnsafeEntry(content.title.encode(), "the title of two different files")
    _check_apart(items, folds_case=folds_case)
    if not items and artifact.contents:
        titles = sorted(content.title for content in artifact.contents if content.title is not None)
        if not titles:
            raise NotFound(
                f"{artifact.descriptor.digest}: none of its {len(artifact.contents)} layers has a title "
                "(org.opencontainers.image.title), so there is no file to pull"
            )
        raise NotFound(f"{artifact.descriptor.digest}: no title matches; there is: {', '.join(map(show, titles[:20]))}")
    return tuple(items.values())


def _item(content: Content, title: str, unpacking: Unpacking) -> Item:
    folder = unpacking != "never" and (
        content.folder or (unpacking == "always" and content.descriptor.media_type == FOLDER_TYPE)
    )
    path = title_path(title)
    if not path and not folder:
        raise UnsafeEntry(title.encode(), "a file in place of the directory itself")
    return Item(content=content, title=title, path=path, folder=folder)


def _check_apart(items: dict[tuple[str, ...], Item], *, folds_case: bool) -> None:
    """Refuse paths that meet: a file that is another one's folder, and what lies in a directory that is unpacked.

    The directory may hold anything, a symbolic link in that place among it.
    """
    folded: dict[tuple[str, ...], tuple[str, ...]] = {}
    for path, item in items.items():
        for length in range(len(path)):
            above = items.get(path[:length])
            if above is not None:
                kind = "directory" if above.folder else "file"
                raise UnsafeEntry(
                    item.title.encode(), f"lies in {show(above.where)!r}, which is a {kind} of the same artifact"
                )
    if folds_case:
        for path, item in items.items():
            key = tuple(name.casefold() for name in path)
            for length in range(1, len(key) + 1):
                other = folded.setdefault(key[:length], path[:length])
                if other != path[:length]:
                    raise UnsafeEntry(
                        item.title.encode(),
                        f"differs from {show('/'.join(other))!r} only in case, which is one name here",
                    )
