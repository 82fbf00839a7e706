"""A directory as one layer of an artifact: tar+gzip as oras has it, and the way back.

The names in the tar begin with the layer's title (`docs/index.html` in the layer `docs`), hard links are files of their
own, and all belongs to root: that is what oras can unpack. Times are one time for all, so that the same files give the
same digest in any checkout. On the way back what is in the tar is written anew for the engine that unpacks layers
(changeset/apply.py), and there it loses what no file of an artifact needs: its prefix, owners, setuid and write
permission for others, extended attributes, devices. Links that lead out of the directory are refused: who opens one
later would leave it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from oci.changeset.apply import apply_layers
from oci.changeset.limits import Budget, Hops, check_target
from oci.changeset.paths import clean
from oci.changeset.scan import Data, Scan
from oci.changeset.whiteout import PREFIX
from oci.changeset.write import write_layer
from oci.errors import CorruptStream, LimitExceeded, TarError, UnsafeEntry
from oci.image.tar_source import MAX_HOLES
from oci.layout.blobs import BlobReader, BlobWriter, open_content
from oci.spec.descriptor import Descriptor
from oci.spec.digest import Digest
from oci.streams.chunks import abort
from oci.streams.layer_reader import LayerReader
from oci.streams.layer_writer import LayerSummary, LayerWriter
from oci.tar import DIR, END, FILE, HARDLINK, SYMLINK, Entry, TarReader, encode, expand, padding

__all__ = ["pack_folder", "unpack_folder"]

MAX_REMEMBERED = 256 << 20  # bytes for the names of one directory: two million files

_KINDS = (FILE, DIR, SYMLINK, HARDLINK)

Warn = Callable[[bytes, str], object]
Watch = Callable[[Iterator[bytes]], AbstractContextManager[Iterator[bytes]]]
"""Puts something between a blob's bytes and who reads them."""


def pack_folder(path: str, title: str, blob: BlobWriter, *, mtime_ns: int, warn: Warn | None = None) -> LayerSummary:
    """Write a directory into a blob, as the directory `title` ("." for what is in it alone)."""
    prefix = b"" if title == "." else clean(title.encode())
    scan = Scan(path, dest=prefix, owner=(0, 0), mtime=mtime_ns, hard_links=False, root=bool(prefix), warn=warn)
    with LayerWriter(blob.write, "gzip", commit=blob.commit) as writer:
        write_layer(_ordinary(scan, len(prefix), warn), writer.write)
        return writer.finish()


def _ordinary(scan: Iterable[tuple[Entry, Data]], prefix: int, warn: Warn | None) -> Iterator[tuple[Entry, Data]]:
    """What oras takes of a directory: files, folders and symbolic links, without extended attributes."""
    for entry, data in scan:
        if entry.kind in _KINDS:
            entry.xattrs = None
            if entry.kind != SYMLINK:
                entry.mode &= 0o755  # as `_mode` takes it; 0664 and 0644 is a matter of umasks only
            yield entry, data
        elif warn is not None:
            warn(entry.name[prefix:].lstrip(b"/"), f"is a {entry.kind}, which an artifact can't hold: left out")


def unpack_folder(
    blobs: BlobReader,
    layer: Descriptor,
    root_fd: int,
    *,
    prefix: bytes,
    content: Digest | None = None,
    watch: Watch | None = None,
    warn: Callable[[str], None] | None = None,
) -> None:
    """Unpack a layer's tar into the empty directory `root_fd`, without the `prefix` of its names.

    `content` is the digest of the tar, where the artifact says it. All is verified by the end, and the tree is of no
    use after any error: UnsafeEntry, UnpackError, VerificationError, CorruptStream, TarError, LimitExceeded.
    """
    apply_layers([_Folder(blobs, layer, prefix, content, watch, warn)], root_fd, rootless=True, warn=warn)


class _Folder:
    """The layer as the engine reads it: `open` gives tar bytes of what is taken from it."""

    def __init__(
        self,
        blobs: BlobReader,
        layer: Descriptor,
        prefix: bytes,
        content: Digest | None,
        watch: Watch | None,
        warn: Callable[[str], None] | None,
    ) -> None:
        self._blobs, self._layer, self._content = blobs, layer, content
        self._prefix, self._watch, self._warn = prefix, watch, warn

    @contextmanager
    def open(self) -> Iterator[Iterator[bytes]]:
        layer = self._layer
        try:
            with (
                open_content(self._blobs, layer) as chunks,
                (self._watch or nullcontext)(chunks) as blob,
                LayerReader(
                    blob, digest=layer.digest, size=layer.size, diff_id=self._content, layer=str(layer.digest)
                ) as tar,
            ):
                yield _TarBytes(_rewritten(_taken(tar, self._prefix, self._warn)), tar)
        except (CorruptStream, TarError, UnsafeEntry) as error:
            error.said_of(f"layer {layer.digest}")
            raise


class _TarBytes(Iterator[bytes]):
    """Chunks made from other chunks; no generator, so that `abort` gets through to them."""

    def __init__(self, made: Iterator[bytes], origin: Iterator[bytes]) -> None:
        self._made, self._origin = made, origin

    def __next__(self) -> bytes:
        return next(self._made)

    def abort(self) -> None:
        abort(self._origin)


def _rewritten(entries: Iterator[tuple[Entry, Data]]) -> Iterator[bytes]:
    """The tar bytes of entries that the engine is to see."""
    for entry, data in entries:
        yield encode(entry)
        for piece in data:
            yield bytes(piece)
        if entry.kind == FILE:
            yield padding(entry.size)
    yield END


def _taken(chunks: Iterable[bytes], prefix: bytes, warn: Callable[[str], None] | None) -> Iterator[tuple[Entry, Data]]:
    """The entries of a tar that belong in the directory, with what is kept of their attributes."""
    links = _Links()
    holes = left_out = 0
    reader = TarReader(chunks)
    for entry in reader:
        path = _inside(entry.name, prefix)
        if entry.kind not in _KINDS:
            left_out += 1
            continue
        if not path:
            if entry.kind != DIR:
                raise UnsafeEntry(entry.name, f"a {entry.kind} in place of the directory itself")
            continue  # its attributes are those of any directory made here
        if any(name.startswith(PREFIX) for name in path.split(b"/")):
            raise UnsafeEntry(entry.name, f"no file can have a name with the prefix {PREFIX.decode()}")
        links.check_parent(path, entry.name)
        made = Entry(path, entry.kind, mode=_mode(entry), mtime_ns=entry.mtime_ns)
        data: Data = ()
        if entry.kind == FILE:
            holes += entry.size - entry.stored_size
            if holes > MAX_HOLES:
                raise LimitExceeded("bytes of holes in the sparse files of an archive", MAX_HOLES)
            made.size = made.stored_size = entry.size
            data = expand(entry.sparse, entry.size, reader.data())
        elif entry.kind == SYMLINK:
            made.linkname = entry.linkname
        elif entry.kind == HARDLINK:
            made.linkname = _inside(entry.linkname, prefix)
        links.note(made)
        yield made, data
    links.check()
    if left_out and warn is not None:
        warn(f"{left_out} {'device or FIFO' if left_out == 1 else 'devices and FIFOs'} of the archive left out")


def _inside(name: bytes, prefix: bytes) -> bytes:
    """The clean path of a name below the layer's title. UnsafeEntry for one that lies elsewhere."""
    path = clean(name)
    if not prefix or path == prefix:
        return path if not prefix else b""
    if not path.startswith(prefix + b"/"):
        raise UnsafeEntry(name, f"does not lie in {prefix.decode('utf-8', 'backslashreplace')!r}, the layer's title")
    return path[len(prefix) + 1 :]


def _mode(entry: Entry) -> int:
    """Permissions of the archive's, but nothing that lends rights: no setuid, no write permission for others."""
    return entry.mode & 0o755 | (0o700 if entry.kind == DIR else 0o600)


class _Links:
    """The links of a directory: nothing lies below a symbolic one, none of those leads out, hard ones are to files.

    Where a symbolic link leads is found out in memory, from all links by path, once they are all known: one may lead
    out by way of another that comes later.
    """

    def __init__(self) -> None:
        self._targets: dict[bytes, bytes] = {}
        self._files: set[int] = set()  # hashes of their paths: this is all the memory that a large tree costs
        self._budget = Budget("bytes for the names of a directory's files and links", MAX_REMEMBERED)
        self._parent = b""  # the one that was checked last

    def check_parent(self, path: bytes, name: bytes) -> None:
        """Refuse what lies below a symbolic link."""
        parent = path.rpartition(b"/")[0]
        if parent == self._parent or not self._targets:
            return
        at = parent.find(b"/")
        while at >= 0:
            if parent[:at] in self._targets:
                raise UnsafeEntry(name, "lies below a symbolic link")
            at = parent.find(b"/", at + 1)
        if parent in self._targets:
            raise UnsafeEntry(name, "lies below a symbolic link")
        self._parent = parent

    def note(self, entry: Entry) -> None:
        """Remember an entry that is about to be made."""
        path = entry.name
        if entry.kind == HARDLINK:
            self.check_parent(entry.linkname, path)
            if hash(entry.linkname) not in self._files:
                # To a symbolic link it would be another one, which leads somewhere else from its own place.
                raise UnsafeEntry(path, "a hard link to what is no file before it in the archive")
        if entry.kind == SYMLINK:
            check_target(path, entry.linkname)
            self._budget.take(len(path) + len(entry.linkname) + 200)
            self._targets[path] = entry.linkname
            self._parent = b""
        else:
            self._targets.pop(path, None)
        if entry.kind in (FILE, HARDLINK):
            self._budget.take(100)
            self._files.add(hash(path))
        else:
            self._files.discard(hash(path))

    def check(self) -> None:
        for path in self._targets:
            self._follow(path)

    def _follow(self, path: bytes) -> None:
        hops = Hops(path)
        place = path.split(b"/")
        todo: list[bytes] = [place.pop()]
        while todo:
            name = todo.pop()
            if name in (b"", b"."):
                continue
            if name == b"..":
                if not place:
                    raise UnsafeEntry(path, "a symbolic link that leads out of the directory")
                place.pop()
                continue
            target = self._targets.get(b"/".join((*place, name)))
            if target is None:
                place.append(name)
                continue
            if target.startswith(b"/"):
                raise UnsafeEntry(path, "a symbolic link with an absolute target leads out of the directory")
            try:
                todo.extend(reversed(hops.follow(target)))
            except UnsafeEntry:
                return  # too many links: the kernel doesn't follow it either
