"""A second, slow opinion on what an image's layers show: each a tree of its own, stacked as overlayfs stacks them.

Written from image-spec layer.md and the kernel's overlayfs text alone, bottom-up and with whole trees in memory, so
that it shares no idea with the unpacker, which goes top-down and keeps none.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import strategies as st

from tests.support.layers import directory, file, hardlink, symlink

HOPS = 40


class Refused(Exception):  # noqa: N818 - not an error of the program
    """The layers hold something that nothing can be made of."""


class Unclear(Exception):  # noqa: N818
    """A layer of several replaces a directory that it has made itself: invalid, and not worth an exact answer.

    What the layer put into that directory may have merged with a higher layer's, and stays there.
    """


@dataclass
class Node:
    """`kind` is "dir", "file" or "symlink"; `content` a file's bytes or a link's target; `mode` None: only implied."""

    kind: str
    content: bytes = b""
    mode: int | None = None


@dataclass(frozen=True)
class Op:
    """One member of a layer: kind "dir", "file", "symlink", "hardlink", "whiteout" (of `path`) or "opaque"."""

    kind: str
    path: bytes
    content: bytes = b""
    mode: int = 0o755


Tree = dict[bytes, Node]


@dataclass
class Layer:
    """A layer as a tree of its own, and what it deletes."""

    nodes: Tree = field(default_factory=lambda: {b"": Node("dir")})
    whiteouts: set[bytes] = field(default_factory=set)
    opaque: set[bytes] = field(default_factory=set)
    replaced: bool = False


def stack(layers: list[list[Op]]) -> Tree:
    """The merged tree of these layers, the bottom one first."""
    built: list[Layer] = []
    for ops in layers:
        built.append(_build(ops, built))
        if built[-1].replaced and len(layers) > 1:
            raise Unclear
    return _merge(built)


def _build(ops: list[Op], below: list[Layer]) -> Layer:
    layer = Layer()
    waiting: list[tuple[bytes, bytes]] = []
    for op in ops:
        if op.kind == "opaque":
            layer.opaque.add(_directory(layer, op.path))
            continue
        parent, _, name = op.path.rpartition(b"/")
        path = _join(_directory(layer, parent), name)
        if op.kind == "whiteout":
            layer.whiteouts.add(path)
            continue
        there = layer.nodes.get(path)
        if op.kind == "dir":
            if there is None or there.kind != "dir":
                layer.nodes[path] = Node("dir")
            layer.nodes[path].mode = op.mode
            continue
        if op.kind == "hardlink":
            link_parent, _, link_name = op.content.rpartition(b"/")
            target = _join(_directory(layer, link_parent, make=False) or link_parent, link_name)
            source = layer.nodes.get(target)
            if target == path and source is not None:
                continue
            if target.startswith(path + b"/"):
                raise Refused(path)
            _remove(layer, path)
            if source is not None and source.kind == "dir":
                raise Refused(path)
            layer.nodes[path] = source or Node("file", b"?")
            waiting = [pair for pair in waiting if pair[0] != path]
            if source is None or target in [pair[0] for pair in waiting]:
                waiting.append((path, target))
            continue
        _remove(layer, path)
        waiting = [pair for pair in waiting if pair[0] != path and not pair[0].startswith(path + b"/")]
        layer.nodes[path] = Node(op.kind, op.content, op.mode)
    targets = dict(waiting)
    lower = _merge(below) if below else {}
    for path, target in waiting:
        if path not in layer.nodes or layer.nodes[path].kind == "dir":
            continue
        seen = {path}
        while target in targets and target in layer.nodes:
            if target in seen:
                raise Refused(path)
            seen.add(target)
            target = targets[target]
        source = layer.nodes.get(target) or lower.get(target)
        if source is None or source.kind == "dir":
            raise Refused(path)
        layer.nodes[path] = source
    return layer


def _remove(layer: Layer, path: bytes) -> None:
    if path in layer.nodes and layer.nodes[path].kind == "dir":
        layer.replaced = True
    for stale in [known for known in layer.nodes if known == path or known.startswith(path + b"/")]:
        del layer.nodes[stale]


def _directory(layer: Layer, path: bytes, *, make: bool = True) -> bytes:
    """Walk to a directory of the layer's own tree as its own root would, making what is missing."""
    at = b""
    todo = path.split(b"/")
    hops = 0
    while todo:
        name = todo.pop(0)
        if name in (b"", b"."):
            continue
        if name == b"..":
            at = at.rpartition(b"/")[0]
            continue
        step = _join(at, name)
        node = layer.nodes.get(step)
        if node is not None and node.kind == "symlink":
            hops += 1
            if hops > HOPS:
                raise Refused(path)
            todo = node.content.split(b"/") + todo
            if node.content.startswith(b"/"):
                at = b""
            continue
        if node is None or node.kind != "dir":
            if not make:
                return b""
            layer.nodes[step] = Node("dir")
        at = step
    return at


def _merge(layers: list[Layer]) -> Tree:
    """Look at every name as overlayfs would: from the top, until something ends the search."""
    out: Tree = {}
    _merge_directory(b"", list(reversed(layers)), out)
    return out


def _merge_directory(path: bytes, layers: list[Layer], out: Tree) -> None:
    """`layers` are those that have the directory, the top one first."""
    modes = [layer.nodes[path].mode for layer in layers if layer.nodes[path].mode is not None]
    out[path] = Node("dir", mode=modes[0] if modes else None)
    showing = []
    for layer in layers:
        showing.append(layer)
        if path in layer.opaque:
            break
    names = {
        known[len(path) + 1 if path else 0 :]
        for layer in showing
        for known in layer.nodes
        if known and known.rpartition(b"/")[0] == path
    }
    for name in names:
        child = _join(path, name)
        having: list[Layer] = []
        for layer in showing:
            node = layer.nodes.get(child)
            if node is not None:
                if node.kind != "dir":
                    if not having:
                        out[child] = node
                    break
                having.append(layer)
            if child in layer.whiteouts:
                break
        if having:
            _merge_directory(child, having, out)


def _join(parent: bytes, name: bytes) -> bytes:
    return parent + b"/" + name if parent else name


# Random ones

NAMES = [b"a", b"b", b"c"]


def paths() -> st.SearchStrategy[bytes]:
    return st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map(b"/".join)


def targets() -> st.SearchStrategy[bytes]:
    return st.sampled_from(
        [b"a", b"b", b"c", b"a/b", b"b/c", b"/c/a", b"..", b"../b", b"../../a", b"/", b".", b"c/../b"]
    )


def ops() -> st.SearchStrategy[Op]:
    return st.one_of(
        st.builds(Op, st.just("file"), paths(), st.binary(min_size=1, max_size=3)),
        st.builds(Op, st.just("dir"), paths(), st.just(b""), st.sampled_from([0o755, 0o700, 0o711])),
        st.builds(Op, st.just("symlink"), paths(), targets()),
        st.builds(Op, st.just("hardlink"), paths(), paths()),
        st.builds(Op, st.just("whiteout"), paths()),
        st.builds(Op, st.just("opaque"), st.one_of(paths(), st.just(b""))),
    )


def images(max_layers: int = 4) -> st.SearchStrategy[list[list[Op]]]:
    return st.lists(st.lists(ops(), max_size=6), min_size=1, max_size=max_layers)


def members(layer: list[Op]) -> bytes:
    out = b""
    for op in layer:
        parent, slash, name = op.path.rpartition(b"/")
        if op.kind == "file":
            out += file(op.path, op.content)
        elif op.kind == "dir":
            out += directory(op.path + b"/", op.mode)
        elif op.kind == "symlink":
            out += symlink(op.path, op.content)
        elif op.kind == "hardlink":
            out += hardlink(op.path, op.content)
        elif op.kind == "whiteout":
            out += file(parent + slash + b".wh." + name)
        else:
            out += file((op.path + b"/" if op.path else b"") + b".wh..wh..opq")
    return out


def plain(tree: dict[bytes, Node]) -> dict[bytes, tuple[str, bytes, int | None]]:
    return {
        path: (node.kind, node.content, (node.mode or 0o755) if node.kind == "dir" and path else None)
        for path, node in tree.items()
    }
