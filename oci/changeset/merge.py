"""All layers of an image → one plan: every path of the merged tree, with the entry and the layer that it comes from.

The same rules as when the layers are applied to a disk (apply.py), in names only: each layer is a directory tree of its
own (layer_tree.py), and they are laid on each other as overlayfs would, from the bottom up. Nothing of a file's data is
kept; an entry says where in its layer's tar the data is. Memory is proportional to the names of all layers.

On request, the plan also says what each layer did to what lay below it (image-spec v1.1.1 layer.md#change-types).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from oci.changeset.layer_tree import Inode, LayerTree, Node
from oci.changeset.limits import Budget, Hops
from oci.changeset.links import LayerSource
from oci.changeset.paths import clean, join, order
from oci.errors import UnsafeEntry, show
from oci.tar import DIR, SYMLINK, Entry

__all__ = ["ADDED", "DELETED", "MODIFIED", "Change", "Plan", "Planned", "merge"]

ADDED, MODIFIED, DELETED = "added", "modified", "deleted"

MAX_MEMORY = 4 << 30  # bytes for the names of all layers; some five million of them


class Planned:
    """A path of the merged tree.

    `entry` is the tar entry with its attributes and, for a file, where its data is in layer `layer` (0 is the bottom
    one); its name is that in the archive, which is another than `path` for a hard link's further names. A directory
    that no layer named has an entry made up: 0755, root's, of 1970. `first` is the path of a hard link's first name in
    the order of the plan, None where this is it or the only one.
    """

    __slots__ = ("entry", "first", "layer", "path")

    def __init__(self, path: bytes, entry: Entry, layer: int, first: bytes | None) -> None:
        self.path, self.entry, self.layer, self.first = path, entry, layer, first

    @property
    def kind(self) -> str:
        """The kind of the entry (oci.tar); never a hard link."""
        return self.entry.kind

    def __repr__(self) -> str:
        return f"Planned({self.path!r}, {self.entry.kind}, layer={self.layer})"


class Change:
    """What a layer did to one path; `entry` is None for what it deleted, `link` is the target of a hard link."""

    __slots__ = ("change", "entry", "link", "path")

    def __init__(self, path: bytes, change: str, entry: Entry | None, link: bytes | None) -> None:
        self.path, self.change, self.entry, self.link = path, change, entry, link

    def __repr__(self) -> str:
        return f"Change({self.path!r}, {self.change})"


class Plan:
    """The merged tree. Iterating gives each path once: a directory before what is in it, names in byte order."""

    def __init__(self, root: Node, changes: tuple[tuple[Change, ...], ...] = ()) -> None:
        self._root = root
        self.changes = changes
        """For each layer, bottom first, what it changed, in the order of paths; empty unless it was asked for."""

    def __iter__(self) -> Iterator[Planned]:
        first: dict[object, bytes] = {}
        yield _planned(b"", self._root, None)
        stack = [(b"", iter(sorted((self._root.children or {}).items())))]
        while stack:
            parent, names = stack[-1]
            for name, node in names:
                path = join(parent, name)
                earlier = first.setdefault(node.inode.key, path) if node.children is None else path
                yield _planned(path, node, None if earlier == path else earlier)
                if node.children:
                    stack.append((path, iter(sorted(node.children.items()))))
                    break
            else:
                stack.pop()

    def find(self, path: bytes) -> Planned | None:
        """What is at a path, symbolic links not followed."""
        path = clean(path)
        node = self._root.find(path)
        return None if node is None else _planned(path, node, None)

    def resolve(self, path: bytes) -> Planned | None:
        """What a path leads to, over symbolic links, inside the root; None where that isn't there.

        UnsafeEntry for links in a circle, as ELOOP.
        """
        above: list[tuple[Node, bytes]] = []
        node, real = self._root, b""
        todo = path.split(b"/")[::-1]
        hops = Hops(path)
        while todo:
            name = todo.pop()
            if name in (b"", b"."):
                if todo or node.children is not None:
                    continue
                return None
            if name == b"..":
                if above:
                    node, real = above.pop()
                continue
            child = (node.children or {}).get(name)
            if child is None:
                return None
            entry = child.inode.entry
            if child.children is None and entry is not None and entry.kind == SYMLINK:
                names = hops.follow(entry.linkname)
                if entry.linkname.startswith(b"/"):
                    node, real = self._root, b""
                    above.clear()
                todo.extend(names[::-1])
                continue
            above.append((node, real))
            node, real = child, join(real, name)
        return _planned(real, node, None)

    def names(self, path: bytes) -> list[bytes]:
        """The names in a directory, sorted; none for anything else."""
        node = self._root.find(clean(path))
        return sorted(node.children or ()) if node is not None else []


def merge(layers: Sequence[LayerSource], *, changes: bool = False) -> Plan:
    """Merge layers, the bottom one first; with `changes`, `Plan.changes` says what each did.

    Raises what reading them raises (VerificationError, CorruptStream, TarError), and UnsafeEntry for an entry that is
    refused or a hard link, still there at the end, whose target the image doesn't have.
    """
    root = Node(Inode(None, 0), directory=True)
    budget = Budget("bytes for the names in all layers", MAX_MEMORY)
    told: list[tuple[Change, ...]] = []
    for number, layer in enumerate(layers):
        tree = LayerTree(number, budget)
        with layer.open() as chunks:
            tree.read(chunks)
        _resolve_links(tree, root)
        told.append(tuple(_changes(root, tree.root)) if changes else ())
        _lay_on(root, tree.root)
    _check(root)
    return Plan(root, tuple(told) if changes else ())


def _planned(path: bytes, node: Node, first: bytes | None) -> Planned:
    inode = node.inode
    entry = inode.entry if inode.entry is not None else Entry(path, DIR)
    return Planned(path, entry, inode.layer, first)


def _resolve_links(tree: LayerTree, lower: Node) -> None:
    """Give each waiting hard link what its target is: in the layer itself, else in the lower layers as they were."""
    waiting = {inode: wanted for inode, _, wanted in tree.unresolved}
    for inode, path, wanted in tree.unresolved:
        chain = {inode: None}
        target = tree.root.find(wanted)
        # Another link that waits: what it wants is what this one wants.
        while target is not None and (further := waiting.get(target.inode)) is not None and target.inode not in chain:
            chain[target.inode] = None
            wanted = further
            target = tree.root.find(wanted)
        if target is None or target.inode in chain:
            target = lower.find(wanted)
        resolved = Inode(None, 0)
        if target is None:
            resolved.fault = UnsafeEntry(path, f"a hard link to {show(wanted)!r}, which is not in the image")
        elif target.children is not None:
            resolved.fault = UnsafeEntry(path, f"a hard link to the directory {show(wanted)!r}")
        else:
            resolved = target.inode
        for link in chain:
            waiting.pop(link, None)
            link.become(resolved)


def _lay_on(lower: Node, own: Node) -> None:
    """Lay the tree of a layer on what is below it; both are used up."""
    stack = [(lower, own)]
    while stack:
        low, top = stack.pop()
        below, above = low.children, top.children
        if below is None or above is None:
            raise AssertionError("only directories are laid on each other")
        if top.inode.entry is not None:
            low.inode = top.inode
        if top.opaque:
            below.clear()
        for name in top.whiteouts or ():
            below.pop(name, None)
        for name, child in above.items():
            old = below.get(name)
            if child.children is not None and old is not None and old.children is not None:
                stack.append((old, child))
            else:
                below[name] = child


def _changes(lower: Node, own: Node) -> list[Change]:
    """What a layer does to what is below it, told before it is laid on; names that it only implies are not told."""
    found: list[Change] = []
    if own.inode.entry is not None:
        there = lower.inode.entry is not None or lower.children
        found.append(Change(b"", MODIFIED if there else ADDED, own.inode.entry, None))
    stack: list[tuple[bytes, Node | None, Node, bool]] = [(b"", lower, own, False)]
    while stack:
        path, low, top, cut = stack.pop()
        below = (low.children if low is not None else None) or {}
        above = top.children or {}
        cut = cut or top.opaque
        whiteouts = top.whiteouts or set()
        for name in below if cut else whiteouts & below.keys():
            if name not in above:
                found.append(Change(join(path, name), DELETED, None, None))
        for name, child in above.items():
            old = below.get(name)
            if child.inode.entry is not None:
                found.append(Change(join(path, name), MODIFIED if old else ADDED, child.inode.entry, child.link))
            if child.children is not None:
                stack.append((join(path, name), old, child, cut or name in whiteouts))
    found.sort(key=lambda change: order(change.path))
    return found


def _check(root: Node) -> None:
    """Raise for a hard link that shows and stands for nothing."""
    stack = [root]
    while stack:
        for node in (stack.pop().children or {}).values():
            if node.inode.fault is not None:
                raise node.inode.fault
            if node.children:
                stack.append(node)
