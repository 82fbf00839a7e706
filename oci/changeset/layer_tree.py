"""One layer as the directory tree it would be on its own: names and attributes, no data.

The rules are those by which the layer is applied (image-spec v1.1.1 layer.md; apply.py does the same on disk): entries
in the tar's order, of two entries of a path the later one counts, a path below a symbolic link of the same layer leads
where the link does, inside the root, a whiteout or opaque mark is about lower layers only, and directories that
something lies in are there without having been named.
"""

from __future__ import annotations

from collections.abc import Iterable

from oci.changeset.limits import Budget, Hops, check_target
from oci.changeset.paths import clean, join, split
from oci.changeset.whiteout import classify
from oci.errors import UnsafeEntry, show
from oci.tar import DIR, HARDLINK, SYMLINK, Entry, TarReader

__all__ = ["Inode", "LayerTree", "Node"]

_NODE = 700  # bytes that a name takes, about


class Inode:
    """What one or several names (hard links) stand for: an entry of one layer.

    `entry` None is a directory that nobody named; `fault` says why a hard link stands for nothing. Names of one file
    have one `key`.
    """

    __slots__ = ("entry", "fault", "key", "layer")

    def __init__(self, entry: Entry | None, layer: int) -> None:
        self.entry = entry
        self.layer = layer
        self.fault: UnsafeEntry | None = None
        self.key: object = self

    def become(self, other: Inode) -> None:
        """Stand for the same as another."""
        self.entry, self.layer, self.fault, self.key = other.entry, other.layer, other.fault, other.key


class Node:
    """A name in the tree. `children` is None for anything but a directory, `link` is what a hard link names."""

    __slots__ = ("children", "inode", "link", "opaque", "whiteouts")

    def __init__(self, inode: Inode, *, directory: bool, link: bytes | None = None) -> None:
        self.inode = inode
        self.link = link
        self.children: dict[bytes, Node] | None = {} if directory else None
        self.whiteouts: set[bytes] | None = None
        self.opaque = False

    def find(self, path: bytes) -> Node | None:
        """The node at a clean path below this one, symbolic links not followed."""
        node: Node | None = self
        for name in path.split(b"/") if path else ():
            if node is None or node.children is None:
                return None
            node = node.children.get(name)
        return node


class LayerTree:
    """The tree of one layer, filled by `read`; hard links whose target isn't in it wait in `unresolved`."""

    def __init__(self, layer: int, budget: Budget) -> None:
        self._layer = layer
        self._budget = budget
        self.root = Node(Inode(None, layer), directory=True)
        self.unresolved: list[tuple[Inode, bytes, bytes]] = []
        """(the link's inode, its path, the path that it wants), in the order of the tar."""
        self._parent: tuple[bytes, Node] = (b"", self.root)  # where the last name led; entries come grouped

    def read(self, chunks: Iterable[bytes]) -> LayerTree:
        """Take all entries of a tar; TarError, UnsafeEntry, and what `chunks` raises."""
        for entry in TarReader(chunks):
            path = clean(entry.name)
            mark = classify(path)
            if mark is not None:
                self._mark(mark[0], mark[1])
            elif path:
                self._add(path, entry)
            elif entry.kind == DIR:
                self.root.inode = Inode(entry, self._layer)
            else:
                raise UnsafeEntry(entry.name, f"a {entry.kind} in place of the root directory")
        return self

    def _mark(self, what: str, path: bytes) -> None:
        if what == "opaque":
            self._directory(path).opaque = True
        elif what == "whiteout":
            parent, name = split(path)
            node = self._directory(parent)
            self._budget.take(len(name) + 100)
            if node.whiteouts is None:
                node.whiteouts = set()
            node.whiteouts.add(name)

    def _add(self, path: bytes, entry: Entry) -> None:
        parent, name = split(path)
        self._budget.take(_NODE + len(path) + len(entry.linkname))
        if entry.xattrs:
            self._budget.take(sum(len(key) + len(value) for key, value in entry.xattrs.items()))
        if entry.kind == SYMLINK:
            check_target(path, entry.linkname)
        directory = self._directory(parent)
        children = directory.children
        if children is None:
            raise AssertionError("a directory without children")
        old = children.get(name)
        if entry.kind == DIR:
            if old is not None and old.children is not None:
                old.inode = Inode(entry, self._layer)
            else:
                self._replace(children, name, Node(Inode(entry, self._layer), directory=True), old)
        elif entry.kind == HARDLINK:
            self._link(children, name, path, entry, old)
        else:
            self._replace(children, name, Node(Inode(entry, self._layer), directory=False), old)

    def _replace(self, children: dict[bytes, Node], name: bytes, node: Node, old: Node | None) -> None:
        children[name] = node
        if old is not None:
            self._parent = (b"", self.root)  # what was remembered may have led over it

    def _link(self, children: dict[bytes, Node], name: bytes, path: bytes, entry: Entry, old: Node | None) -> None:
        wanted = clean(entry.linkname)
        parent, target_name = split(wanted)
        found = self._walk(parent, make=False)
        target = None
        if found is not None:
            directory, real = found
            wanted = join(real, target_name)
            if directory.children is not None:
                target = directory.children.get(target_name)
        if target is not None and target is old:
            return
        inode = Inode(entry, self._layer)
        if not wanted or (target is not None and target.children is not None):
            inode.fault = UnsafeEntry(path, f"a hard link to the directory {show(wanted or b'/')!r}")
        elif target is not None:
            inode = target.inode
        else:
            self.unresolved.append((inode, path, wanted))
        self._replace(children, name, Node(inode, directory=False, link=wanted), old)

    def _directory(self, path: bytes) -> Node:
        """The directory that a path leads to, made with all above it where it isn't there."""
        known, node = self._parent
        if path == known:
            return node
        found = self._walk(path, make=True)
        if found is None:
            raise AssertionError("a directory that was to be made")
        self._parent = (path, found[0])
        return found[0]

    def _walk(self, path: bytes, *, make: bool) -> tuple[Node, bytes] | None:
        """The directory at `path` and its real path, over symbolic links of this layer, inside the root."""
        above: list[tuple[Node, bytes]] = []  # the way from the root, to go back by ".."
        node, real = self.root, b""
        todo = path.split(b"/")[::-1] if path else []
        hops = Hops(path)
        while todo:
            name = todo.pop()
            if name in (b"", b"."):
                continue
            if name == b"..":  # only ever from a link's target
                if above:
                    node, real = above.pop()
                continue
            children = node.children
            if children is None:
                raise AssertionError("a directory without children")
            child = children.get(name)
            if child is not None and child.children is None:
                entry = child.inode.entry
                if entry is not None and entry.kind == SYMLINK:
                    names = hops.follow(entry.linkname)
                    if entry.linkname.startswith(b"/"):
                        node, real = self.root, b""
                        above.clear()
                    todo.extend(names[::-1])
                    continue
                if not make:
                    return None
                child = None  # a file, and now something below it: the later entry counts
            if child is None:
                if not make:
                    return None
                self._budget.take(_NODE)
                child = children[name] = Node(Inode(None, self._layer), directory=True)
            above.append((node, real))
            node, real = child, join(real, name)
        return node, real
