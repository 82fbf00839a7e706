"""The rules for a layout's files (image-spec v1.1.1 image-layout.md): what must be there, and what doesn't belong.

Works on a directory or an archive as found, however damaged: the caller gives the files, this module judges them. What
the documents in them say is checked elsewhere (`oci.verification`).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Literal, Protocol

from oci.errors import show
from oci.layout.finding import Finding
from oci.spec.digest import is_digest
from oci.streams.atomic import TEMPORARY

if TYPE_CHECKING:
    from oci.layout.tar_files import TarFiles

__all__ = ["ArchiveFiles", "DirectoryFiles", "FileKind", "LayoutFiles", "check_files", "check_marker"]

FileKind = Literal["file", "dir", "other"]

LAYOUT_VERSION = "1.0.0"
# What other tools put beside the specification's files: `docker save` writes a layout that is also its old format.
SERVE_FOLDER = ".ocikit-serve"  # uploads on their way in, and which blob was pushed to which repository (`serving`)
KNOWN_EXTRAS = frozenset({"manifest.json", "repositories", SERVE_FOLDER})


class LayoutFiles(Protocol):
    """The files of a layout as found."""

    def paths(self) -> Iterable[tuple[str, FileKind]]:
        """What is at the top, in `blobs/` and in its folders, as paths from the layout's top, in a stable order."""
        ...

    def read(self, path: str, limit: int) -> bytes:
        """Read a small file, at most `limit` + 1 bytes of it; an OSError or OciError if it can't be."""
        ...


class DirectoryFiles:
    """The files of a layout that is a directory."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._root = os.fspath(root)

    def paths(self) -> Iterator[tuple[str, FileKind]]:
        for name, kind in _listed(self._root):
            yield name, kind
        if os.path.isdir(f"{self._root}/blobs"):
            for algorithm, kind in _listed(f"{self._root}/blobs"):
                yield f"blobs/{algorithm}", kind
                if kind == "dir":
                    for name, inner in _listed(f"{self._root}/blobs/{algorithm}"):
                        yield f"blobs/{algorithm}/{name}", inner

    def read(self, path: str, limit: int) -> bytes:
        # O_NONBLOCK: a FIFO of that name must not hang the reader.
        fd = os.open(f"{self._root}/{path}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise OSError(f"{path} is not a regular file")
            with open(fd, "rb", closefd=False) as file:
                return file.read(limit + 1)
        finally:
            os.close(fd)


class ArchiveFiles:
    """The files of a layout that is one tar file; its folders are those that the names of its members imply."""

    def __init__(self, tar: TarFiles) -> None:
        self._tar = tar

    def paths(self) -> Iterator[tuple[str, FileKind]]:
        found: dict[str, FileKind] = {"blobs": "dir"}
        for name in self._tar:
            parts = name.split("/")
            # What lies deeper than blobs are is told of by its folder.
            deep = 3 if parts[0] == "blobs" else 1
            found["/".join(parts[:deep])] = "dir" if len(parts) > deep else "file" if name in self._tar else "other"
            if len(parts) == 3 and deep == 3:
                found["/".join(parts[:2])] = "dir"
        yield from sorted(found.items())

    def read(self, path: str, limit: int) -> bytes:
        taken = bytearray()
        with self._tar.open(path) as chunks:
            for chunk in chunks:
                taken += chunk
                if len(taken) > limit:
                    break
        return bytes(taken[: limit + 1])


def _listed(path: str) -> list[tuple[str, FileKind]]:
    # Links are followed: build systems fill layouts with links into their caches, and the digests are checked anyway.
    found: list[tuple[str, FileKind]] = []
    with os.scandir(path) as entries:
        for entry in entries:
            try:
                kind: FileKind = "dir" if entry.is_dir() else "file" if entry.is_file() else "other"
            except OSError:  # links in a circle
                kind = "other"
            found.append((entry.name, kind))
    return sorted(found)


def check_files(kinds: Mapping[str, FileKind]) -> Iterator[Finding]:
    """Faults of a layout's files (path → kind): missing ones, ones of the wrong kind, ones that don't belong."""
    yield from _required(kinds)
    for path, kind in kinds.items():
        yield from _judged(path, kind)


def _required(kinds: Mapping[str, FileKind]) -> Iterator[Finding]:
    for path, wanted in (("oci-layout", "file"), ("index.json", "file"), ("blobs", "dir")):
        kind = kinds.get(path)
        noun = "directory" if wanted == "dir" else "file"
        if kind is None:
            yield Finding.error(
                "layout-file", path, f"missing; every image layout has this {noun}; is this an image layout?"
            )
        elif kind != wanted:
            yield Finding.error("layout-file", path, f"must be a {noun}; replace what is there")


def _judged(path: str, kind: FileKind) -> Iterator[Finding]:
    match path.split("/"):
        case ["oci-layout" | "index.json" | "blobs"]:
            return
        case [name] if name in KNOWN_EXTRAS:
            return
        case [name] if name.startswith(TEMPORARY):
            yield Finding.warning("foreign-file", path, "left behind by a writer that was stopped; gc removes it")
        case [_]:
            yield Finding.warning("foreign-file", path, "is no part of an image layout; tools ignore it; delete it?")
        case [_, algorithm]:
            if kind != "dir" or not _is_digest(algorithm, None):
                yield Finding.warning(
                    "foreign-file", path, "is not a folder named for a digest algorithm, so nothing can refer to it"
                )
        case [_, algorithm, encoded]:
            if not _is_digest(algorithm, encoded):
                yield Finding.warning("foreign-file", path, "its name is not a digest, so nothing can refer to it")
            elif kind != "file":
                yield Finding.error("layout-file", path, "has the name of a blob but is not a regular file; replace it")


def _is_digest(algorithm: str, encoded: str | None) -> bool:
    # For the folder any well-formed algorithm will do; one that isn't known has no fixed length to get wrong.
    return is_digest(f"{algorithm}+name:x" if encoded is None else f"{algorithm}:{encoded}")


def check_marker(value: object) -> Iterator[Finding]:
    """Faults of the parsed `oci-layout` file (image-layout.md#oci-layout-file)."""
    if not isinstance(value, dict):
        yield Finding.error(
            "layout-version", "oci-layout", 'must be a JSON object such as {"imageLayoutVersion":"1.0.0"}'
        )
        return
    version = value.get("imageLayoutVersion")
    if version is None:
        yield Finding.error("layout-version", "oci-layout", 'has no imageLayoutVersion; write "1.0.0" there')
    elif version != LAYOUT_VERSION:
        said = show(version) if isinstance(version, str) else "not text"
        yield Finding.error(
            "layout-version",
            "oci-layout /imageLayoutVersion",
            f"the version is {said}; the only one that is known is {LAYOUT_VERSION}",
        )
