"""Is a layer's folder still what its tar says? Every name, attribute and byte, with one reading of each side.

What a tar means on disk is written down once, in layer_folder.py, and it isn't little: whiteouts, opaque directories,
links into lower layers, names that lead over links. So nothing of it is told here a second time. The layer is written
again into a scratch folder, by the same code, except that a file gets no content: only the length and the digest of
what it would have. Then both trees are walked in step.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator

from oci.changeset.apply import LayerSource
from oci.changeset.nodes import DataSource
from oci.changeset.paths import order
from oci.changeset.scan import Data, Scan
from oci.drivers.driver import Form
from oci.drivers.layer_folder import FolderMaker, Parents, write_layer_folder
from oci.tar import CHAR, FILE, Entry, expand

__all__ = ["differences"]

_ATTRIBUTES = (
    ("kind", "type"),
    ("mode", "mode"),
    ("uid", "owner"),
    ("gid", "group"),
    ("mtime_ns", "modification time"),
    ("linkname", "target"),
    ("devmajor", "device number"),
    ("devminor", "device number"),
)


class _Witness(FolderMaker):
    """Makes files that say what would be in them: `LENGTH DIGEST`."""

    def file(self, dir_fd: int, name: bytes, entry: Entry, source: DataSource) -> None:
        digest = hashlib.sha256()
        if entry.size:
            for piece in expand(entry.sparse, entry.size, source.data()):
                digest.update(piece)
        said = _said(entry.size, digest.digest())
        witness = entry.replace(size=len(said), stored_size=len(said), sparse=None)
        super().file(dir_fd, name, witness, _Bytes(said))


class _Bytes:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def data(self) -> Iterator[memoryview]:
        yield memoryview(self._data)


def _said(size: int, digest: bytes) -> bytes:
    return b"%d %s" % (size, digest.hex().encode())


def differences(
    layer: LayerSource,
    folder: str,
    scratch: str,
    *,
    form: Form,
    parents: Parents | None,
    rootless: bool,
    told: Callable[[int], object] | None = None,
) -> Iterator[tuple[bytes, str]]:
    """What differs between a layer's folder and its tar: (path, what of it), in the order of a scan.

    `scratch` is an empty directory in the same file system, for the caller to remove. `told` gets the bytes of the
    folder's files as they are read. Errors of reading and unpacking the layer propagate (a damaged blob).
    """
    fd = os.open(scratch, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        write_layer_folder(layer, fd, form=form, parents=parents, rootless=rootless, maker=_Witness)
    finally:
        os.close(fd)
    wanted, found = _entries(scratch), _entries(folder)
    left, right = next(wanted, None), next(found, None)
    while left is not None or right is not None:
        if right is None or (left is not None and order(left[0].name) < order(right[0].name)):
            assert left is not None  # for the type checker: one of the two is there
            yield left[0].name, "is missing"
            left = next(wanted, None)
        elif left is None or order(right[0].name) < order(left[0].name):
            yield right[0].name, "is not in the layer"
            right = next(found, None)
        else:
            for what in _compare(left, right, told):
                yield right[0].name, what
            left, right = next(wanted, None), next(found, None)


def _entries(folder: str) -> Iterator[tuple[Entry, Data]]:
    return iter(Scan(folder, owner="keep", mtime="exact", data=True))


def _compare(
    wanted: tuple[Entry, Data], found: tuple[Entry, Data], told: Callable[[int], object] | None
) -> Iterator[str]:
    a, b = wanted[0], found[0]
    differing = dict.fromkeys(word for name, word in _ATTRIBUTES if getattr(a, name) != getattr(b, name))
    if a.kind == CHAR and not a.devmajor and not a.devminor:
        differing.pop("modification time", None)  # a whiteout has that of its making
    if (a.xattrs or {}) != (b.xattrs or {}):
        differing["extended attributes"] = None
    if a.kind == b.kind == FILE:
        said = b"".join(map(bytes, wanted[1]))
        size, _, expected = said.partition(b" ")
        if int(size) != b.size:
            differing["size"] = None
        else:
            digest = hashlib.sha256()
            for piece in expand(b.sparse, b.size, found[1]):
                digest.update(piece)
            if digest.hexdigest().encode() != expected:
                differing["content"] = None
        if told is not None:
            told(b.size)
    if differing:
        yield f"another {', '.join(differing)}"
