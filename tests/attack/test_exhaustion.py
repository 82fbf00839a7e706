"""Names and trees beyond what system calls take, and attributes that give away more than they should."""

from __future__ import annotations

import os
import stat

import pytest

from oci.errors import OciError, UnpackError, UnsafeEntry
from tests.support.arena import Arena
from tests.support.layers import directory, file, hardlink, image_of, symlink


def test_a_name_as_long_as_the_file_system_takes(ring: Arena) -> None:
    found = ring.unpack(file(b"n" * 255, b"1") + directory(b"d" * 255) + symlink(b"s" * 255, b"t" * 4000))
    assert {b"n" * 255, b"d" * 255, b"s" * 255} < set(found)


@pytest.mark.parametrize("what", ["file", "directory", "symlink", "parent", "whiteout", "target"])
def test_a_name_longer_than_that_is_refused(ring: Arena, what: str) -> None:
    long = b"n" * 256
    layer = {
        "file": file(long, b"1"),
        "directory": directory(long),
        "symlink": symlink(long, b"x"),
        "parent": file(long + b"/x", b"1"),
        "whiteout": file(long + b"/.wh.x"),
        "target": symlink(b"x", b"t" * 4096),
    }[what]
    with pytest.raises(UnpackError, match="too long"):
        ring.unpack(layer)
    assert not ring.dest.exists()


def test_names_of_any_bytes_survive(ring: Arena) -> None:
    names = [
        b"\xff\xfe",
        b"new\nline",
        b"tab\t",
        b"\x1b[31m",
        b"sp ace",
        b"caf\xc3\xa9",
        b"-rf",
        b"*",
        b"\\",
        bytes(range(1, 47)),
    ]
    found = ring.unpack(b"".join(file(name, b"1") for name in names))
    assert set(names) < set(found)


def test_messages_keep_to_one_printable_line(ring: Arena) -> None:
    with pytest.raises(UnsafeEntry) as caught:
        ring.unpack(file(b"x\n\x1b[2Jerror: all is well/../../y", b"1"))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("levels", [5000])
def test_thousands_of_levels(ring: Arena, levels: int) -> None:
    path = b"/".join([b"d"] * levels)
    members = file(path + b"/leaf", b"deep") + symlink(path + b"/link", b"leaf") + hardlink(b"top", path + b"/leaf")
    ring.unpack_image(image_of(members), look=False)
    fd = os.open(ring.dest, os.O_RDONLY)
    for _ in range(levels):
        inner = os.open("d", os.O_RDONLY | os.O_NOFOLLOW, dir_fd=fd)
        os.close(fd)
        fd = inner
    assert sorted(os.listdir(fd)) == ["leaf", "link"]
    assert stat.S_IMODE(os.fstat(fd).st_mode) == 0o755
    os.close(fd)
    assert ring.read("top") == b"deep"
    # And away with them, by a run that replaces them.
    assert set(ring.unpack(file(b"x", b"1"), force=True)) == {b".", b"x"}


def test_thousands_of_levels_are_removed_when_it_fails(ring: Arena) -> None:
    path = b"/".join([b"d"] * 1200)
    with pytest.raises(UnsafeEntry):
        ring.unpack(directory(path, 0) + file(b"../x"))
    assert not ring.dest.exists()


def test_thousands_of_levels_give_way_to_a_file(ring: Arena) -> None:
    path = b"/".join([b"d"] * 1200)
    ring.unpack(file(path, b"deep") + file(b"d", b"flat"))
    assert ring.read("d") == b"flat"


def test_jumping_between_more_directories_than_may_be_open(ring: Arena) -> None:
    members = b"".join(file(b"d%d/f%d" % (n % 300, n), b"%d" % n) for n in range(1500))
    found = ring.unpack(members)
    assert len(found) == 1 + 300 + 1500


def test_a_link_to_a_far_directory_while_many_are_open(ring: Arena) -> None:
    far = b"/".join([b"x"] * 200)
    found = ring.unpack(
        file(far + b"/f", b"1") + file(b"a/first", b"1") + hardlink(b"a/link", far + b"/f") + file(b"a/z", b"2")
    )
    assert b"a/z" in found
    assert found[b"a/link"]["linked"] == (b"a/link", far + b"/f") or len(found[b"a/link"]["linked"]) == 2  # type: ignore[arg-type]


def test_open_files_do_not_pile_up(ring: Arena) -> None:
    before = len(os.listdir("/proc/self/fd"))
    ring.unpack(b"".join(file(b"d%d/f" % n, b"x") for n in range(400)))
    assert len(os.listdir("/proc/self/fd")) == before
    with pytest.raises(UnsafeEntry):
        ring.unpack(b"".join(file(b"d%d/f" % n, b"x") for n in range(400)) + file(b"../x"), force=True)
    assert len(os.listdir("/proc/self/fd")) == before


def test_many_entries_for_one_name_keep_the_last(ring: Arena) -> None:
    members = b"".join(
        file(b"f", b"%d" % n) + directory(b"f") + file(b"f/%d" % n) + symlink(b"f", b"g") for n in range(100)
    )
    ring.unpack(members + file(b"f", b"last"))
    assert ring.read("f") == b"last"


def test_a_directory_that_loses_and_gets_back_its_content_hides_only_what_it_has(ring: Arena) -> None:
    found = ring.unpack(
        file(b"d/old", b"below") + file(b"d/kept", b"below"),
        file(b"d/old", b"1") + file(b"d", b"2") + directory(b"d") + file(b"d/new", b"3"),
    )
    assert {b"d/old", b"d/kept", b"d/new"} < set(found)
    assert ring.read("d/old") == b"below"


def test_setuid_files_stay_out_of_reach_until_they_are_right(ring: Arena) -> None:
    found = ring.unpack(
        file(b"su", b"#!", mode=0o4755, uid=0) + file(b"sg", b"#!", mode=0o2755) + directory(b"t", 0o1777)
    )
    assert (found[b"su"]["mode"], found[b"sg"]["mode"], found[b"t"]["mode"]) == (0o4755, 0o2755, 0o1777)


def test_setuid_survives_another_owner(ring: Arena) -> None:
    found = ring.unpack(file(b"su", b"#!", mode=0o6755, uid=12, gid=34))
    assert found[b"su"]["mode"] == 0o6755


def test_a_setgid_directory_hands_nothing_down(ring: Arena) -> None:
    found = ring.unpack(
        directory(b"d", 0o2775, gid=50) + directory(b"d/sub") + file(b"d/sub/f", b"1") + file(b"d/f", b"1")
    )
    assert found[b"d"]["mode"] == 0o2775
    assert found[b"d/sub"]["mode"] == 0o755
    if not ring.rootless:
        assert found[b"d"]["owner"] == (0, 50)
        assert found[b"d/sub"]["owner"] == found[b"d/f"]["owner"] == found[b"d/sub/f"]["owner"] == (0, 0)


@pytest.mark.parametrize(
    "name",
    [
        b"trusted.overlay.opaque",
        b"trusted.overlay.redirect",
        b"trusted.overlay.metacopy",
        b"user.overlay.opaque",
        b"user.overlay.whiteout",
        b"security.selinux",
        b"security.ima",
        b"security.evm",
        b"system.nfs4_acl",
        b"user.rootlesscontainers",
    ],
)
def test_attributes_that_speak_to_the_host_are_left_out(ring: Arena, name: bytes) -> None:
    xattrs = {name: b"y", b"user.kept": b"1"}
    found = ring.unpack(file(b"f", b"1", xattrs=xattrs) + directory(b"d", xattrs=xattrs))
    for path in (b"f", b"d"):
        assert found[path].get("xattrs") == {"user.kept": b"1"}
    assert any(name.decode() in line for line in ring.warnings)


@pytest.mark.parametrize("name", [b"user." + b"n" * 300, b"nonsense", b"user."])
def test_attributes_that_cannot_be_are_one_clear_error_or_warning(ring: Arena, name: bytes) -> None:
    try:
        ring.unpack(file(b"f", b"1", xattrs={name: b"y"}))
    except OciError as error:
        ring.warnings = [str(error)]
    assert ring.warnings
    assert ring.warnings[0].isprintable()


def test_an_owner_that_no_file_can_have_is_refused(ring: Arena) -> None:
    with pytest.raises(OciError):
        ring.unpack(file(b"f", b"1", uid=0xFFFFFFFF))


@pytest.mark.parametrize("mtime", [b"-1", b"-99999999999", b"9" * 18, b"1.999999999", b"-0.5"])
def test_times_far_away_are_taken_or_refused_clearly(ring: Arena, mtime: bytes) -> None:
    try:
        found = ring.unpack(
            file(b"f", b"1", mtime=mtime) + directory(b"d", mtime=mtime) + symlink(b"s", b"f", mtime=mtime)
        )
    except OciError:
        pass
    else:
        assert found[b"f"]["mtime_ns"] == found[b"d"]["mtime_ns"] == found[b"s"]["mtime_ns"]
