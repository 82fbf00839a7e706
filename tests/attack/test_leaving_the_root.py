"""Names, symbolic links and hard links that would lead out of the root. The arena checks the host files after each."""

from __future__ import annotations

import os

import pytest

from oci.errors import OciError, UnpackError, UnsafeEntry
from tests.support.arena import Arena
from tests.support.layers import char, directory, fifo, file, hardlink, member, symlink

EVIL = b"written by the image"

UPWARD = [
    b"../passwd",
    b"../../../../../../../../etc/ocikit-was-here",
    b"a/../../passwd",
    b"./../passwd",
    b"/../passwd",
    b"a/..",
    b"..",
    b"a/b/../../../passwd",
    b"../outside/secret",
    b"dest/../../passwd",
]


@pytest.mark.parametrize("name", UPWARD)
def test_a_name_that_goes_up_is_refused(ring: Arena, name: bytes) -> None:
    with pytest.raises(UnsafeEntry, match=r"'\.\.'"):
        ring.unpack(file(b"ok", b"1") + file(name, EVIL))
    assert not ring.dest.exists()


@pytest.mark.parametrize("kind", [b"1", b"2", b"5", b"6"])
def test_a_name_that_goes_up_is_refused_for_every_kind(ring: Arena, kind: bytes) -> None:
    with pytest.raises(UnsafeEntry):
        ring.unpack(file(b"ok", b"1") + member(b"../evil", kind, link=b"ok" if kind in b"12" else b""))


@pytest.mark.parametrize("target", [b"../passwd", b"../../etc/passwd", b"a/../../passwd"])
def test_a_hard_link_whose_target_goes_up_is_refused(ring: Arena, target: bytes) -> None:
    with pytest.raises(UnsafeEntry):
        ring.unpack(hardlink(b"link", target))


def test_an_absolute_name_lands_inside(ring: Arena) -> None:
    found = ring.unpack(file(os.fsencode(ring.path / "passwd"), EVIL) + file(b"//etc//shadow", EVIL))
    assert b"etc/shadow" in found
    assert ring.read(str(ring.path)[1:] + "/passwd") == EVIL


def test_an_absolute_hard_link_target_is_inside(ring: Arena) -> None:
    with pytest.raises(UnsafeEntry, match="not in the image"):
        ring.unpack(hardlink(b"link", os.fsencode(ring.path / "passwd")))


def links_out(ring: Arena) -> list[bytes]:
    return [
        b"../outside",
        os.fsencode(ring.path / "outside"),
        b"../../../../../../../.." + os.fsencode(ring.path / "outside"),
    ]


@pytest.mark.parametrize("number", range(3))
def test_writing_through_a_link_of_the_same_layer_stays_inside(ring: Arena, number: int) -> None:
    target = links_out(ring)[number]
    found = ring.unpack(symlink(b"out", target) + file(b"out/secret", EVIL) + directory(b"out/made"))
    assert found[b"out"]["target"] == target  # kept as it is
    inside = [name for name in found if name.endswith(b"outside/secret")]
    assert len(inside) == 1


@pytest.mark.parametrize("number", range(3))
def test_writing_below_a_link_of_a_lower_layer_replaces_it(ring: Arena, number: int) -> None:
    found = ring.unpack(symlink(b"out", links_out(ring)[number]), file(b"out/secret", EVIL))
    assert found[b"out"]["kind"] == "dir"
    assert ring.read("out/secret") == EVIL


def test_a_link_of_a_higher_layer_hides_what_is_below(ring: Arena) -> None:
    found = ring.unpack(file(b"out/secret", EVIL), symlink(b"out", b"../outside"))
    assert set(found) == {b".", b"out"}


def test_a_link_swapped_in_between_layers_is_not_followed(ring: Arena) -> None:
    found = ring.unpack(
        directory(b"out") + file(b"out/secret", EVIL),
        symlink(b"out", b"../outside"),
        file(b"out/folder/keep", EVIL),
    )
    assert ring.read("out/folder/keep") == EVIL
    assert b"out/secret" not in found


def test_a_directory_swapped_for_a_link_within_a_layer_is_not_followed(ring: Arena) -> None:
    found = ring.unpack(
        directory(b"out") + file(b"out/one", b"1") + symlink(b"out", b"../outside") + file(b"out/secret", EVIL)
    )
    assert found[b"out"]["kind"] == "symlink"
    assert ring.read("outside/secret") == EVIL


def test_a_link_swapped_for_a_directory_within_a_layer_is_gone(ring: Arena) -> None:
    found = ring.unpack(symlink(b"out", b"../outside") + directory(b"out") + file(b"out/secret", EVIL))
    assert found[b"out"]["kind"] == "dir"
    assert ring.read("out/secret") == EVIL


def test_a_swap_back_and_forth_ends_with_the_last(ring: Arena) -> None:
    swap = directory(b"out") + symlink(b"out", b"../outside")
    found = ring.unpack(swap * 20 + directory(b"out") + file(b"out/secret", EVIL))
    assert found[b"out"]["kind"] == "dir"


def test_a_file_over_a_link_replaces_the_link(ring: Arena) -> None:
    ring.unpack(symlink(b"secret", b"../outside/secret") + file(b"secret", EVIL))
    assert ring.read("secret") == EVIL


def test_a_file_over_a_link_of_a_lower_layer_replaces_the_link(ring: Arena) -> None:
    ring.unpack(symlink(b"secret", os.fsencode(ring.path / "outside/secret")), file(b"secret", EVIL))
    assert ring.read("secret") == EVIL


def test_a_chain_of_links_that_leads_out_stays_inside(ring: Arena) -> None:
    found = ring.unpack(
        symlink(b"a", b"b")
        + symlink(b"b", b"c/d")
        + directory(b"c")
        + symlink(b"c/d", b"../../..")
        + file(b"a/outside/secret", EVIL)
    )
    assert ring.read("outside/secret") == EVIL
    assert found[b"a"]["kind"] == "symlink"


def test_a_link_to_the_root_directory_means_this_root(ring: Arena) -> None:
    ring.unpack(symlink(b"top", b"/") + file(b"top/etc/passwd", EVIL) + symlink(b"up", b"..") + file(b"up/x", EVIL))
    assert ring.read("etc/passwd") == EVIL
    assert ring.read("x") == EVIL


@pytest.mark.parametrize(
    "target", [b"/proc/self/root", b"/proc/self/cwd", b"/proc/1/root/tmp", b"/dev/fd/3", b"/proc/self/fd/3"]
)
def test_magic_links_mean_nothing(ring: Arena, target: bytes) -> None:
    ring.unpack(symlink(b"magic", target) + file(b"magic/passwd", EVIL))
    assert ring.read(os.fsdecode(target[1:] + b"/passwd")) == EVIL


@pytest.mark.parametrize("count", [2, 50])
def test_a_loop_of_links_is_refused(ring: Arena, count: int) -> None:
    ring_of_links = b"".join(symlink(b"l%d" % n, b"l%d" % ((n + 1) % count)) for n in range(count))
    with pytest.raises(UnsafeEntry, match="symbolic links"):
        ring.unpack(ring_of_links + file(b"l0/x", EVIL))


def test_a_link_to_itself_is_kept_but_not_followed(ring: Arena) -> None:
    assert ring.unpack(symlink(b"me", b"me"))[b"me"]["target"] == b"me"
    with pytest.raises(UnsafeEntry, match="symbolic links"):
        ring.unpack(symlink(b"me", b"me") + file(b"me/x"), force=True)


def test_links_that_multiply_end_at_the_limit(ring: Arena) -> None:
    # Each leads twice over the one before: 2^30 steps without a limit.
    bomb = symlink(b"l0", b"d") + directory(b"d")
    bomb += b"".join(symlink(b"l%d" % n, b"l%d/../l%d" % (n - 1, n - 1)) for n in range(1, 30))
    with pytest.raises(UnsafeEntry, match="symbolic links"):
        ring.unpack(bomb + file(b"l29/x"))


# Hard links.


def test_a_hard_link_through_a_link_that_leads_out_stays_inside(ring: Arena) -> None:
    with pytest.raises(UnsafeEntry, match="not in the image"):
        ring.unpack(symlink(b"out", b"../outside") + hardlink(b"link", b"out/secret"))


def test_a_hard_link_through_a_link_of_a_lower_layer_stays_inside(ring: Arena) -> None:
    with pytest.raises(UnsafeEntry, match="not in the image"):
        ring.unpack(symlink(b"out", b"../outside"), hardlink(b"link", b"out/secret"))


def test_a_hard_link_to_a_link_is_the_link_itself(ring: Arena) -> None:
    found = ring.unpack(symlink(b"out", b"../outside/secret") + hardlink(b"link", b"out"))
    assert found[b"link"]["kind"] == "symlink"


def test_writing_to_a_hard_link_to_a_link_replaces_the_name(ring: Arena) -> None:
    ring.unpack(symlink(b"out", b"../outside/secret") + hardlink(b"link", b"out") + file(b"link", EVIL))
    assert ring.read("link") == EVIL


def test_writing_to_a_hard_link_does_not_reach_its_other_names(ring: Arena) -> None:
    ring.unpack(file(b"a", b"first") + hardlink(b"b", b"a") + file(b"b", EVIL))
    assert (ring.read("a"), ring.read("b")) == (b"first", EVIL)


def test_writing_to_a_hard_link_of_a_lower_layer_does_not_reach_its_other_names(ring: Arena) -> None:
    ring.unpack(file(b"a", b"first") + hardlink(b"b", b"a"), file(b"b", EVIL))
    assert (ring.read("a"), ring.read("b")) == (b"first", EVIL)


def test_a_hard_link_made_again_as_a_file_after_waiting_does_not_reach_the_target(ring: Arena) -> None:
    ring.unpack(file(b"a", b"first"), hardlink(b"b", b"a") + file(b"b", EVIL))
    assert (ring.read("a"), ring.read("b")) == (b"first", EVIL)


@pytest.mark.parametrize("below", [True, False])
def test_a_hard_link_to_a_directory_is_refused(ring: Arena, below: bool) -> None:
    layers = [directory(b"d"), hardlink(b"e", b"d")] if below else [directory(b"d") + hardlink(b"e", b"d")]
    with pytest.raises(UnsafeEntry, match="directory"):
        ring.unpack(*layers)


@pytest.mark.parametrize("target", [b"/", b".", b"./"])
def test_a_hard_link_to_the_root_is_refused(ring: Arena, target: bytes) -> None:
    with pytest.raises(UnsafeEntry, match="root directory"):
        ring.unpack(hardlink(b"e", target))


def test_hard_links_in_a_circle_are_refused(ring: Arena) -> None:
    for links in (hardlink(b"a", b"a"), hardlink(b"a", b"b") + hardlink(b"b", b"a")):
        with pytest.raises(UnsafeEntry, match=r"itself|not in the image"):
            ring.unpack(links)


def test_a_long_chain_of_waiting_hard_links_is_followed(ring: Arena) -> None:
    chain = b"".join(hardlink(b"l%05d" % n, b"l%05d" % (n + 1)) for n in range(400))
    found = ring.unpack(file(b"l00400", b"end"), chain)
    assert len(found[b"l00000"]["linked"]) == 401  # type: ignore[arg-type]


def test_a_hard_link_to_what_lies_below_it_is_refused(ring: Arena) -> None:
    with pytest.raises(UnsafeEntry, match="below itself"):
        ring.unpack(directory(b"a") + file(b"a/b", b"1") + hardlink(b"a", b"a/b"))


# Attributes, marks and special files.


def test_a_directory_entry_at_a_link_does_not_change_what_it_leads_to(ring: Arena) -> None:
    found = ring.unpack(symlink(b"out", b"../outside") + directory(b"out", 0o777, mtime=b"5"))
    assert found[b"out"]["mode"] == 0o777


def test_a_directory_entry_at_a_link_of_a_lower_layer_does_not_change_what_it_leads_to(ring: Arena) -> None:
    found = ring.unpack(symlink(b"out", b"../outside"), directory(b"out", 0o777))
    assert found[b"out"]["kind"] == "dir"


def test_a_directory_that_becomes_a_link_does_not_hand_its_attributes_on(ring: Arena) -> None:
    found = ring.unpack(directory(b"d", 0o777, mtime=b"7") + directory(b"e", 0o700) + symlink(b"d", b"e"))
    assert found[b"e"]["mode"] == 0o700
    assert found[b"d"]["kind"] == "symlink"


@pytest.mark.parametrize(
    "mark", [b"out/.wh.secret", b"out/.wh..wh..opq", b"out/folder/.wh..wh..opq", b"out/folder/.wh.keep"]
)
@pytest.mark.parametrize("same", [True, False])
def test_a_mark_behind_a_link_deletes_nothing_outside(ring: Arena, mark: bytes, same: bool) -> None:
    link = symlink(b"out", b"../outside")
    ring.unpack(*([link + file(mark)] if same else [link, file(mark)]))


@pytest.mark.parametrize(
    "mark", [b".wh.", b".wh..", b".wh...", b"a/.wh.", b"a/.wh..", b"a/.wh...", b".wh..wh.x", b".wh.a/b"]
)
def test_a_mark_that_would_delete_a_directory_itself_is_refused(ring: Arena, mark: bytes) -> None:
    with pytest.raises(UnsafeEntry):
        ring.unpack(file(b"a/b", b"1"), file(mark))


def test_an_opaque_mark_on_the_root_hides_all_below(ring: Arena) -> None:
    assert set(ring.unpack(file(b"a/b", b"1"), file(b".wh..wh..opq") + file(b"c"))) == {b".", b"c"}


@pytest.mark.parametrize("kind", [b"0", b"1", b"2", b"3", b"4", b"6"])
@pytest.mark.parametrize("name", [b".", b"./", b"/", b"./."])
def test_the_root_can_be_nothing_but_a_directory(ring: Arena, kind: bytes, name: bytes) -> None:
    with pytest.raises(OciError):
        ring.unpack(
            file(b"x", b"1") + member(name, kind, b"" if kind != b"0" else EVIL, link=b"x" if kind in b"12" else b"")
        )


def test_a_fifo_in_the_way_is_not_opened(ring: Arena) -> None:
    ring.unpack(fifo(b"pipe") + file(b"pipe", EVIL) + fifo(b"other") + file(b"other/x", EVIL))
    assert ring.read("pipe") == EVIL
    assert ring.read("other/x") == EVIL


def test_a_fifo_of_a_lower_layer_is_not_opened(ring: Arena) -> None:
    ring.unpack(fifo(b"pipe"), file(b"pipe", EVIL), hardlink(b"more", b"pipe"))
    assert ring.read("more") == EVIL


def test_a_hard_link_to_a_fifo_waits_without_opening_it(ring: Arena) -> None:
    found = ring.unpack(fifo(b"pipe", mode=0o600), hardlink(b"more", b"pipe") + file(b".wh.pipe"))
    assert found[b"more"]["kind"] == "fifo"


def test_a_device_in_the_way_is_not_written_to(ring: Arena) -> None:
    ring.unpack(char(b"null") + file(b"null", EVIL) + char(b"dir") + file(b"dir/x", EVIL))
    assert ring.read("null") == EVIL
    assert ring.read("dir/x") == EVIL


def test_overlayfs_whiteouts_are_left_out(ring: Arena) -> None:
    found = ring.unpack(file(b"a", b"1"), char(b"a", 0, 0))
    assert b"a" not in found
    assert "0:0" in ring.warnings[0]


def test_a_device_number_beyond_the_kernels_is_refused(ring: Arena) -> None:
    if ring.rootless:
        pytest.skip("devices are left out for ordinary users")
    with pytest.raises((UnsafeEntry, UnpackError)):
        ring.unpack(char(b"dev", 2097151, 2097151))
