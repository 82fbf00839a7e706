"""The rules of the shadow one by one; tests/unpack/test_stacking.py holds them against overlayfs as a whole."""

from __future__ import annotations

from oci.changeset.shadow import Shadow


def layer(
    shadow: Shadow, *entries: tuple[str, bytes], whiteouts: tuple[bytes, ...] = (), opaque: tuple[bytes, ...] = ()
) -> list[bytes]:
    """Visit a layer; return the paths that show."""
    shadow.begin_layer()
    shown = []
    for path in whiteouts:
        shadow.whiteout(path)
    for path in opaque:
        shadow.opaque(path)
    for kind, path in entries:
        if shadow.visible(path, kind):
            shadow.add(path, kind)
            shown.append(path)
    shadow.end_layer()
    return shown


def test_a_file_hides_its_path_and_all_below() -> None:
    shadow = Shadow()
    layer(shadow, ("file", b"a"))
    assert layer(shadow, ("dir", b"a"), ("file", b"a/b"), ("file", b"ab")) == [b"ab"]


def test_a_whiteout_reaches_lower_layers_only() -> None:
    shadow = Shadow()
    assert layer(shadow, ("file", b"a/b"), whiteouts=(b"a/b", b"c")) == [b"a/b"]
    assert layer(shadow, ("file", b"a/b"), ("file", b"c"), ("file", b"c/d"), ("file", b"a/c")) == [b"a/c"]


def test_an_opaque_mark_keeps_the_directory_and_hides_its_content() -> None:
    shadow = Shadow()
    assert layer(shadow, ("file", b"a/new"), opaque=(b"a",)) == [b"a/new"]
    assert layer(shadow, ("dir", b"a"), ("file", b"a/old"), ("file", b"a/b/c"), ("file", b"b")) == [b"a", b"b"]


def test_an_opaque_root_hides_all() -> None:
    shadow = Shadow()
    layer(shadow, opaque=(b"",))
    assert layer(shadow, ("file", b"a"), ("dir", b"")) == [b""]


def test_a_directory_over_a_file_ends_the_merge() -> None:
    shadow = Shadow()
    layer(shadow, ("file", b"a/top"))
    assert layer(shadow, ("file", b"a")) == []
    assert layer(shadow, ("dir", b"a"), ("file", b"a/bottom")) == []


def test_the_topmost_entry_gives_a_directory_its_attributes() -> None:
    shadow = Shadow()
    layer(shadow, ("file", b"a/b/c"))  # implies a and a/b
    assert layer(shadow, ("dir", b"a")) == [b"a"]
    assert layer(shadow, ("dir", b"a"), ("dir", b"a/b")) == [b"a/b"]


def test_marks_below_hidden_paths_still_count() -> None:
    shadow = Shadow()
    layer(shadow, ("file", b"x"), whiteouts=(b"a/b",))
    layer(shadow, whiteouts=(b"a/b/c", b"a/d"))
    assert layer(shadow, ("file", b"a/d"), ("file", b"a/e")) == [b"a/e"]


def test_of_two_entries_of_one_layer_the_later_counts() -> None:
    shadow = Shadow()
    layer(shadow, ("file", b"a"), ("dir", b"a"))
    assert layer(shadow, ("file", b"a/b")) == [b"a/b"]
    shadow = Shadow()
    layer(shadow, ("dir", b"a"), ("file", b"a"))
    assert layer(shadow, ("file", b"a/b")) == []


def test_what_was_forgotten_hides_nothing() -> None:
    shadow = Shadow()
    shadow.begin_layer()
    shadow.add(b"a/b", "file")
    shadow.forget(b"a/b")
    shadow.end_layer()
    assert layer(shadow, ("file", b"a/b")) == [b"a/b"]


def test_the_bottom_layer_leaves_no_record() -> None:
    shadow = Shadow()
    shadow.begin_layer(bottom=True)
    for number in range(1000):
        assert shadow.visible(b"d/%d" % number, "file")
        shadow.add(b"d/%d" % number, "file")
    shadow.whiteout(b"x")
    assert not shadow._own_names
    assert not shadow._own_whiteouts
