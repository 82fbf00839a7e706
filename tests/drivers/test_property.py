"""Random things done to random images: overlay, copy and a model of plain dictionaries tell the same.

The model knows nothing of whiteouts in upper directories or of copies: it keeps the image's tree and the container's,
and compares them. Files have no hard links in the layers here; there drivers rightly differ (docs/drivers.md).
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from dataclasses import dataclass, field

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oci.changeset.apply import apply_layers
from oci.changeset.scan import Scan
from oci.changeset.write import write_layer
from oci.drivers.copy import Copy
from oci.drivers.driver import Driver, Form
from oci.drivers.overlay import Overlay
from oci.drivers.snapshot import Snapshot
from oci.linux import namespaces
from tests.support.driver_cases import move
from tests.support.driver_image import BASE
from tests.support.driver_kit import Tar, facts, told
from tests.support.namespaces import need_overlay, rootless
from tests.support.trees import differences
from tests.support.users import in_child

NAMES = (b"a", b"b", b"c")


@dataclass
class Node:
    """A file, directory or link of the model; two names of one file are one object."""

    kind: str
    mode: int = 0o755
    content: bytes = b""
    children: dict[bytes, Node] = field(default_factory=dict)

    def same(self, other: Node) -> bool:
        return (self.kind, self.mode, self.content) == (other.kind, other.mode, other.content)

    def copy(self) -> Node:
        return Node(self.kind, self.mode, self.content, {name: child.copy() for name, child in self.children.items()})


@dataclass(frozen=True)
class Op:
    what: str
    path: tuple[bytes, ...]
    other: tuple[bytes, ...] = (b"a",)
    content: bytes = b""
    mode: int = 0o755


paths = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map(tuple)
contents = st.sampled_from([b"", b"1", b"2", b"22"])
modes = st.sampled_from([0o755, 0o700, 0o644, 0o4711])
layer_ops = st.builds(
    Op, st.sampled_from(["file", "dir", "link", "whiteout", "opaque"]), paths, content=contents, mode=modes
)
done_ops = st.builds(
    Op,
    st.sampled_from(["file", "append", "dir", "link", "remove", "chmod", "move", "hardlink", "remake"]),
    paths,
    paths,
    contents,
    modes,
)
images = st.lists(st.lists(layer_ops, max_size=6), min_size=1, max_size=3)


# Layers, on disk and in the model


def parent_of(root: Node, path: tuple[bytes, ...]) -> Node | None:
    for name in path[:-1]:
        found = root.children.get(name)
        if found is None or found.kind != "dir":
            return None
        root = found
    return root


def make_layer(folder: str, ops: list[Op], form: Form, merged: Node) -> None:
    """A layer of these, the first of each name counting; the model is merged as the rules of layers say."""
    os.mkdir(folder)
    os.chmod(folder, 0o755)
    own = Node("dir")
    marks: list[Op] = []
    for op in ops:
        at, place = own, os.fsencode(folder)
        for name in op.path[:-1]:  # what is on the way is made
            at = at.children.setdefault(name, Node("dir"))
            place += b"/" + name
            if at.kind != "dir":
                break
            if not os.path.isdir(place):
                os.mkdir(place, 0o755)
        last = op.path[-1]
        if at.kind != "dir" or last in at.children:
            continue
        target = place + b"/" + last
        if op.what == "whiteout":
            os.mknod(target, stat.S_IFCHR, 0)
            os.setxattr(place, f"{form}.overlay.origin", b"")  # as layer_folder.py does, or they may be listed
            at.children[last] = Node("whiteout")
        elif op.what == "link":
            os.symlink(b"to" + op.content, target)
            at.children[last] = Node("link", 0o777, b"to" + op.content)
        elif op.what == "file":
            with open(target, "wb") as file:
                file.write(op.content)
            os.chmod(target, op.mode)
            at.children[last] = Node("file", op.mode, op.content)
        else:
            os.mkdir(target)
            os.chmod(target, op.mode)
            at.children[last] = Node("dir", op.mode)
            if op.what == "opaque":
                os.setxattr(target, f"{form}.overlay.opaque", b"y")
                marks.append(op)
    for op in marks:
        parent = parent_of(merged, op.path)
        if parent is not None and op.path[-1] in parent.children:
            parent.children[op.path[-1]].children.clear()
    merge(merged, own)
    for place, folders, names in os.walk(os.fsencode(folder), topdown=False):
        for name in (*names, *folders):
            os.utime(place + b"/" + name, ns=(BASE, BASE), follow_symlinks=False)
    os.utime(folder, ns=(BASE, BASE))


def merge(below: Node, above: Node) -> None:
    for name, node in above.children.items():
        known = below.children.get(name)
        if node.kind == "whiteout":
            below.children.pop(name, None)
        elif node.kind == "dir" and known is not None and known.kind == "dir":
            known.mode = node.mode
            merge(known, node)
        else:
            below.children[name] = without_whiteouts(node)


def without_whiteouts(node: Node) -> Node:
    kept = {name: without_whiteouts(child) for name, child in node.children.items() if child.kind != "whiteout"}
    return Node(node.kind, node.mode, node.content, kept)


# What is done, on disk and in the model; what can't be done isn't


def do(root: bytes, tree: Node, op: Op) -> None:
    parent = parent_of(tree, op.path)
    if parent is None:
        return
    name, target = op.path[-1], root + b"/" + b"/".join(op.path)
    there = parent.children.get(name)
    if op.what in ("file", "append"):
        if there is not None and there.kind != "file":
            return
        with open(target, "ab" if op.what == "append" else "wb") as file:
            file.write(op.content)
        if there is None:
            os.chmod(target, 0o644)
            parent.children[name] = Node("file", 0o644, op.content)
        else:
            there.content = there.content + op.content if op.what == "append" else op.content
            if there.mode & 0o4000:  # writing may take it away: set again, so that all agree
                os.chmod(target, there.mode)
    elif op.what == "dir" and there is None:
        os.mkdir(target)
        os.chmod(target, op.mode)
        parent.children[name] = Node("dir", op.mode)
    elif op.what == "link" and there is None:
        os.symlink(op.content or b"x", target)
        parent.children[name] = Node("link", 0o777, op.content or b"x")
    elif op.what == "remove" and there is not None:
        remove(target, there)
        del parent.children[name]
    elif op.what == "remake" and there is not None and there.kind == "dir":
        remove(target, there)
        os.mkdir(target)
        os.chmod(target, op.mode)
        parent.children[name] = Node("dir", op.mode)
    elif op.what == "chmod" and there is not None and there.kind != "link":
        os.chmod(target, op.mode)
        there.mode = op.mode
    elif op.what in ("move", "hardlink") and there is not None:
        new_parent = parent_of(tree, op.other)
        if new_parent is None or op.other[: len(op.path)] == op.path or op.other[-1] in new_parent.children:
            return
        new = root + b"/" + b"/".join(op.other)
        if op.what == "move":
            move(target, new)
            del parent.children[name]
        elif there.kind == "file":
            os.link(target, new)
        else:
            return
        new_parent.children[op.other[-1]] = there


def remove(target: bytes, node: Node) -> None:
    if node.kind == "dir":
        shutil.rmtree(target)
    else:
        os.unlink(target)


def expected(before: Node, now: Node, path: bytes = b"") -> list[tuple[bytes, str]]:
    found = []
    for name in sorted(before.children.keys() | now.children.keys()):
        old, new = before.children.get(name), now.children.get(name)
        here = path + b"/" + name if path else name
        if new is None:
            found.append((here, "deleted"))
            continue
        if old is None:
            found.append((here, "added"))
        elif not old.same(new):
            found.append((here, "modified"))
        if new.kind == "dir":
            found += expected(old if old is not None and old.kind == "dir" else Node("dir"), new, here)
    return found


# The property


@given(image=images, ops=st.lists(done_ops, max_size=12))
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck), database=None)
def check(form: Form, image: list[list[Op]], ops: list[Op]) -> None:
    with tempfile.TemporaryDirectory(prefix="ocikit-property-") as top:
        base = Node("dir")
        layers = []
        for number, layer in enumerate(image):
            layers.append(f"{top}/{number}")
            make_layer(layers[-1], layer, form, base)
        answers = []
        drivers: list[Driver] = [Overlay(form), Copy(form)]
        for driver in drivers:
            os.mkdir(f"{top}/{driver.name}")
            answers.append(run(driver, Snapshot(folder=f"{top}/{driver.name}", layers=tuple(layers)), base, ops, form))
        assert answers[0] == answers[1]


def run(driver: Driver, at: Snapshot, base: Node, ops: list[Op], form: Form) -> list[tuple[object, ...]]:
    driver.prepare(at)
    root = driver.mount(at)
    try:
        tar = bytearray()
        write_layer(Scan(root, owner="keep", mtime="exact"), tar.extend)
        tree = base.copy()
        for op in ops:
            do(os.fsencode(root), tree, op)
        changes = [(change.path, change.kind) for change in driver.changes(at)]
        assert changes == expected(base, tree), driver.name
        layer, said = told(driver, at, [])
        os.mkdir(f"{at.folder}/dest")
        fd = os.open(f"{at.folder}/dest", os.O_RDONLY | os.O_DIRECTORY)
        try:
            apply_layers([Tar(bytes(tar)), Tar(layer)], fd, rootless=form == "user")
        finally:
            os.close(fd)
    finally:
        driver.unmount(at)
    applied = facts(f"{at.folder}/dest", False)
    with driver.root(at) as fd:
        assert differences(facts(f"/proc/self/fd/{fd}", False), applied) == [], driver.name
    return said


def test_random_changes_as_root() -> None:
    need_overlay()

    def work() -> None:
        os.umask(0o022)
        namespaces.unshare_mounts()
        check("trusted")

    in_child(work)


def test_random_changes_in_a_user_namespace() -> None:
    def work() -> None:
        os.umask(0o022)
        check("user")

    rootless(work, ranges=False)
