"""The entries of one layer: valid, safe, and meaning the same to every tool (image-spec v1.1.1 layer.md).

An entry is an error when a careful unpacker refuses it, a warning when tools treat it differently or when it has been
the means of an attack (CVE-2019-14271, CVE-2021-30465 and their kin) without being wrong by itself. What an entry hits
in *lower* layers is no matter here: a layer is judged by itself.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator

from oci.changeset import paths, whiteout
from oci.errors import UnsafeEntry, show
from oci.layout.finding import MAX_ALIKE, Finding
from oci.tar import CHAR, DIR, HARDLINK, SYMLINK, Entry

__all__ = ["EntryCheck", "Seen"]

MAX_NAME = 255  # bytes; NAME_MAX of every file system that images are unpacked to
MAX_DEPTH_NAMES = 4095  # bytes; PATH_MAX without its NUL


class Seen:
    """A set of byte strings in 16 bytes each: open addressing over 64-bit hashes.

    A million names in a `set` take over 120 MB; this keeps `verify` flat. Python's hash of bytes is SipHash with a
    random key, so the odds of calling a million different names equal are one in thirty million, and can't be raised.
    """

    def __init__(self) -> None:
        self._slots = array("q", bytes(8 << 10))
        self._mask = (1 << 10) - 1
        self._count = 0

    def add(self, name: bytes) -> bool:
        """Remember `name`; False if it was there already."""
        key = hash(name) or 1
        slots, mask = self._slots, self._mask
        at = key & mask
        while found := slots[at]:
            if found == key:
                return False
            at = (at + 1) & mask
        slots[at] = key
        self._count += 1
        if self._count * 2 > mask:
            self._grow()
        return True

    def _grow(self) -> None:
        old = self._slots
        self._mask = mask = (self._mask << 1) | 1
        self._slots = slots = array("q", bytes((mask + 1) * 8))
        for key in old:
            if key:
                at = key & mask
                while slots[at]:
                    at = (at + 1) & mask
                slots[at] = key


class EntryCheck:
    """Collects the faults of one layer's entries; `check` is called for each, in order."""

    def __init__(self, layer: str) -> None:
        self._layer = layer
        self._seen = Seen()
        self._escapes: dict[bytes, bytes] = {}  # symlinks of this layer whose target, taken literally, leaves the root
        self._parent: bytes | None = None
        self._counts: dict[tuple[str, str], int] = {}
        self._findings: list[Finding] = []

    def check(self, entry: Entry) -> None:
        """Judge one entry. Runs for every file of every image, so the usual case is a handful of tests."""
        name, kind = entry.name, entry.kind
        try:
            path = paths.clean(name)
        except UnsafeEntry as error:
            self._add(error.name, f"{error.reason}; refuse this layer", error=True)
            return
        if not self._seen.add(path):
            self._add_duplicate(name)
        if name[:1] == b"/":
            self._add(name, "the name is absolute; ocikit drops the leading slash, careless tools write to the host")
        if b".wh." in path:
            self._check_whiteout(name, path)
        if len(path) > MAX_NAME:
            self._check_length(name, path)
        slash = path.rfind(b"/")
        parent = path[:slash] if slash > 0 else b""
        if parent != self._parent:  # entries of one directory stand together, so this is rare
            self._parent = parent
            if self._escapes:
                self._check_parents(name, parent)
        if kind == SYMLINK:
            if _leaves_root(entry.linkname, path):
                self._escapes[path] = entry.linkname
                self._parent = None  # the very next entry may be below it
        elif kind == HARDLINK:
            self._check_hard_link(entry, path)
        elif kind == CHAR and entry.devmajor == 0 and entry.devminor == 0:
            self._add(name, "the device 0/0 is how overlayfs marks a deleted file: it would hide what lies below")
        if not path and kind != DIR:
            self._add(name, "replaces the root directory by something else; refuse this layer", error=True)
        if entry.xattrs:
            self._check_xattrs(name, entry.xattrs)

    def findings(self) -> Iterator[Finding]:
        """What was found, and how much more there was of each kind."""
        yield from self._findings
        for (code, severity), count in self._counts.items():
            if count > MAX_ALIKE:
                make = Finding.error if severity == "error" else Finding.warning
                more = f"and {count - MAX_ALIKE} more entries like the {MAX_ALIKE} above"
                yield make(code, f"layer {self._layer}", more)

    def _add(self, name: bytes, message: str, *, error: bool = False, code: str = "unsafe-entry") -> None:
        severity = "error" if error else "warning"
        count = self._counts[code, severity] = self._counts.get((code, severity), 0) + 1
        if count <= MAX_ALIKE:
            make = Finding.error if error else Finding.warning
            self._findings.append(make(code, f"layer {self._layer} entry {show(name)}", message))

    def _add_duplicate(self, name: bytes) -> None:
        message = "the layer has an entry of this path already; the last one counts here, tools may differ"
        self._add(name, message, code="duplicate-entry")

    def _check_whiteout(self, name: bytes, path: bytes) -> None:
        try:
            whiteout.classify(path)
        except UnsafeEntry as error:
            self._add(name, f"{error.reason}; refuse this layer", error=True)

    def _check_length(self, name: bytes, path: bytes) -> None:
        if any(len(part) > MAX_NAME for part in path.split(b"/")):
            self._add(name, f"a part of the name is longer than {MAX_NAME} bytes, which no common file system takes")
        elif len(path) > MAX_DEPTH_NAMES:
            self._add(name, f"the path is longer than {MAX_DEPTH_NAMES} bytes, which many tools can't open")

    def _check_parents(self, name: bytes, parent: bytes) -> None:
        while parent:
            target = self._escapes.get(parent)
            if target is not None:
                where = f"{show(parent)!r} is a link to {show(target)!r} in this layer"
                self._add(name, f"lies below a link that leads out: {where}; careless tools write to the host")
                return
            parent = parent.rpartition(b"/")[0]

    def _check_hard_link(self, entry: Entry, path: bytes) -> None:
        try:
            target = paths.clean(entry.linkname)
        except UnsafeEntry as error:
            message = f"a hard link to {show(entry.linkname)!r}, which is outside the root ({error.reason})"
            self._add(entry.name, f"{message}; refuse this layer", error=True)
            return
        if not target:
            self._add(entry.name, "a hard link to the root directory, which can't be made", error=True)
        elif target == path:
            self._add(entry.name, "a hard link to itself, which can't be made unless a lower layer has the file")

    def _check_xattrs(self, name: bytes, xattrs: dict[bytes, bytes]) -> None:
        for key in xattrs:
            if key.startswith((b"trusted.overlay.", b"user.overlay.")):
                self._add(name, f"has the attribute {show(key)!r}, which overlayfs takes as an order; it is left out")


def _leaves_root(target: bytes, path: bytes) -> bool:
    """Whether a link's target, followed without regard to the image's root, may lead out of it."""
    if target[:1] == b"/":
        return True
    if b".." not in target:
        return False
    level = path.count(b"/")
    for part in target.split(b"/"):
        if part == b"..":
            level -= 1
            if level < 0:
                return True
        elif part not in (b"", b"."):
            level += 1
    return False
