"""The merged plan: what every path comes from, against the slow second opinion and against what is unpacked."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings

from oci.changeset.merge import Plan, merge
from oci.errors import UnsafeEntry
from oci.unpack.rootfs import unpack
from tests.support.layers import TarImage, TarLayer, directory, fifo, file, hardlink, symlink
from tests.support.stacking import Node, Op, Refused, Unclear, images, members, plain, stack
from tests.support.trees import snapshot


def plan_of(*layers: bytes, changes: bool = False) -> Plan:
    return merge([TarLayer(layer) for layer in layers], changes=changes)


def listed(plan: Plan) -> list[tuple[bytes, str, int]]:
    return [(one.path, one.kind, one.layer) for one in plan]


def told(plan: Plan, layer: int) -> list[tuple[bytes, str]]:
    return [(change.path, change.change) for change in plan.changes[layer]]


def test_each_path_is_the_topmost_layers() -> None:
    plan = plan_of(directory(b"a/") + file(b"a/x", b"1") + file(b"a/y", b"2"), file(b"a/x", b"33"))
    assert listed(plan) == [(b"", "dir", 0), (b"a", "dir", 0), (b"a/x", "file", 1), (b"a/y", "file", 0)]


def test_the_plan_says_where_the_data_is() -> None:
    layer = TarLayer(directory(b"a/") + file(b"a/x", b"hello"))
    found = merge([layer]).find(b"/a/x")
    assert found is not None
    entry = found.entry
    assert layer.tar[entry.data_offset :][: entry.stored_size] == b"hello"


def test_names_come_in_byte_order_a_directory_before_its_next_sibling() -> None:
    plan = plan_of(file(b"a-b") + file(b"a/c") + file(b"a.d") + file(b"\xff") + file(b"Z"))
    assert [one.path for one in plan] == [b"", b"Z", b"a", b"a/c", b"a-b", b"a.d", b"\xff"]


def test_a_whiteout_reaches_lower_layers_only() -> None:
    plan = plan_of(file(b"d/x", b"1") + file(b"d/y"), file(b"d/x", b"2") + file(b"d/.wh.x") + file(b"d/.wh.y"))
    assert listed(plan) == [(b"", "dir", 0), (b"d", "dir", 0), (b"d/x", "file", 1)]


def test_a_directory_nobody_named_is_0755_of_1970() -> None:
    found = plan_of(file(b"d/x")).find(b"d")
    assert found is not None
    assert (found.entry.mode, found.entry.uid, found.entry.mtime_ns) == (0o755, 0, 0)


def test_a_directory_only_implied_above_keeps_the_attributes_from_below() -> None:
    found = plan_of(directory(b"d/", 0o1777), file(b"d/x")).find(b"d")
    assert found is not None
    assert (found.entry.mode, found.layer) == (0o1777, 0)


def test_a_hard_link_into_a_lower_layer_is_that_file() -> None:
    plan = plan_of(file(b"a", b"data"), hardlink(b"b", b"a"), file(b"a", b"new"))
    a, b = plan.find(b"a"), plan.find(b"b")
    assert a is not None
    assert b is not None
    assert (a.layer, b.layer, b.kind, b.entry.size) == (2, 0, "file", 4)


def test_hard_links_are_told_by_their_first_name() -> None:
    plan = plan_of(file(b"m") + hardlink(b"b", b"m") + hardlink(b"z", b"b"), hardlink(b"a", b"m"))
    assert [(one.path, one.first) for one in plan if one.path] == [
        (b"a", None),
        (b"b", b"a"),
        (b"m", b"a"),
        (b"z", b"a"),
    ]


def test_a_hard_link_to_a_file_that_the_same_layer_deletes_works() -> None:
    plan = plan_of(file(b"a", b"data"), hardlink(b"b", b"a") + file(b".wh.a"))
    assert [one.path for one in plan] == [b"", b"b"]


def test_a_hard_link_to_a_link_that_comes_later_is_followed() -> None:
    plan = plan_of(file(b"x"), hardlink(b"a", b"b") + hardlink(b"b", b"c") + hardlink(b"c", b"x"))
    assert [one.layer for one in plan if one.path] == [0, 0, 0, 0]


@pytest.mark.parametrize("target", [b"nowhere", b"d", b"/", b"b"])
def test_a_hard_link_to_nothing_or_a_directory_is_refused(target: bytes) -> None:
    with pytest.raises(UnsafeEntry, match="hard link"):
        plan_of(directory(b"d/"), hardlink(b"b", target))


def test_a_hard_link_to_nothing_is_no_fault_where_a_higher_layer_hides_it() -> None:
    plan = plan_of(hardlink(b"a", b"nowhere"), file(b"a", b"1"))
    assert listed(plan) == [(b"", "dir", 0), (b"a", "file", 1)]


def test_a_path_below_a_symlink_of_the_same_layer_is_followed_inside_the_root() -> None:
    plan = plan_of(symlink(b"lib", b"../../usr/lib") + file(b"lib/x") + file(b"lib/.wh.y"))
    assert [one.path for one in plan] == [b"", b"lib", b"usr", b"usr/lib", b"usr/lib/x"]


def test_a_path_below_a_symlink_of_a_lower_layer_replaces_it() -> None:
    plan = plan_of(symlink(b"lib", b"usr/lib"), file(b"lib/x"))
    assert listed(plan) == [(b"", "dir", 0), (b"lib", "dir", 1), (b"lib/x", "file", 1)]


def test_symlinks_in_a_circle_are_refused() -> None:
    with pytest.raises(UnsafeEntry, match="symbolic links"):
        plan_of(symlink(b"a", b"b") + symlink(b"b", b"a") + file(b"a/x"))


def test_a_path_is_resolved_over_links_inside_the_root() -> None:
    plan = plan_of(
        symlink(b"lib", b"/usr/lib/") + file(b"usr/lib/x", b"1") + symlink(b"usr/lib/up", b"../../../..") + fifo(b"f")
    )
    for path in (b"lib/x", b"/lib/../lib/x", b"lib/up/usr/lib/x", b"./lib/./x"):
        found = plan.resolve(path)
        assert found is not None, path
        assert found.path == b"usr/lib/x"
    assert plan.resolve(b"lib/nothing") is None
    assert plan.resolve(b"f/") is None
    assert plan.resolve(b"f/.") is None
    assert plan.names(b"usr/lib") == [b"up", b"x"]
    assert plan.names(b"f") == []


def test_what_each_layer_changed_is_told() -> None:
    plan = plan_of(
        directory(b"d/") + file(b"d/x") + file(b"d/y") + file(b"gone/deep"),
        directory(b"d/") + file(b"d/x", b"1") + file(b"d/.wh.y") + file(b".wh.gone") + file(b".wh.never") + file(b"n"),
        directory(b"d/") + file(b"d/.wh..wh..opq") + file(b"d/z"),
        changes=True,
    )
    assert told(plan, 0) == [(b"d", "added"), (b"d/x", "added"), (b"d/y", "added"), (b"gone/deep", "added")]
    assert told(plan, 1) == [
        (b"d", "modified"),
        (b"d/x", "modified"),
        (b"d/y", "deleted"),
        (b"gone", "deleted"),
        (b"n", "added"),
    ]
    assert told(plan, 2) == [(b"d", "modified"), (b"d/x", "deleted"), (b"d/z", "added")]


def test_a_directory_deleted_and_made_again_loses_what_it_had() -> None:
    plan = plan_of(file(b"d/x") + file(b"d/y"), file(b".wh.d") + directory(b"d/", 0o700) + file(b"d/y"), changes=True)
    assert told(plan, 1) == [(b"d", "modified"), (b"d/x", "deleted"), (b"d/y", "modified")]
    assert [one.path for one in plan] == [b"", b"d", b"d/y"]


def test_a_tree_thousands_of_levels_deep_is_merged() -> None:
    deep = b"/".join([b"d"] * 3000)
    plan = plan_of(file(deep), file(deep + b"x"), changes=True)
    assert sum(1 for _ in plan) == 3002


def as_nodes(layers: list[TarLayer]) -> dict[bytes, Node]:
    found = {}
    for one in merge(layers):
        entry = one.entry
        if one.kind == "file":
            at = entry.data_offset
            found[one.path] = Node("file", layers[one.layer].tar[at : at + entry.stored_size])
        else:
            found[one.path] = Node(one.kind, entry.linkname, entry.mode if one.kind == "dir" else None)
    return found


@settings(max_examples=500)
@given(images())
def test_the_plan_is_what_the_stacked_layers_show(layers: list[list[Op]]) -> None:
    try:
        expected = stack(layers)
    except Unclear:
        return
    except Refused:
        with suppress(UnsafeEntry):
            plan_of(*map(members, layers), changes=True)
        return
    assert plain(as_nodes([TarLayer(members(layer)) for layer in layers])) == plain(expected)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(images())
@example([[], [Op("hardlink", b"a", b"b/a/a"), Op("file", b"b/a/a", b"x")]])  # a link that stands before its target
def test_the_plan_is_what_is_unpacked(tmp_path: Path, layers: list[list[Op]]) -> None:
    try:
        stack(layers)
    except (Refused, Unclear):
        return
    image = TarImage(*map(members, layers))
    unpack(image, tmp_path / "dest", force=True, rootless=os.geteuid() != 0)
    disk = snapshot(tmp_path / "dest", owners=False, xattrs=False)
    plan = {one.path or b".": one for one in merge(image.layers)}
    assert plan.keys() == disk.keys()
    groups: dict[bytes, list[bytes]] = {}
    for path, one in plan.items():
        facts = disk[path]
        assert facts["kind"] == one.kind
        assert facts["mtime_ns"] == one.entry.mtime_ns
        if one.kind == "dir":
            assert facts["mode"] == one.entry.mode
        else:
            groups.setdefault(one.first or path, []).append(path)
    for names in groups.values():
        expected = tuple(sorted(names)) if len(names) > 1 else None
        assert all(disk[name].get("linked") == expected for name in names)
