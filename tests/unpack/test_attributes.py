"""What an unpacked entry has: type, mode, owner, times, extended attributes, holes; as root and as an ordinary user."""

from __future__ import annotations

import os
import struct

import pytest

from oci.changeset.ownership import note_rootless_owner, read_rootless_owner
from oci.errors import UnpackError
from tests.support import rawtar
from tests.support.arena import Arena
from tests.support.layers import block, char, directory, fifo, file, hardlink, symlink

CAPABILITY = struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0)  # cap_net_raw, effective; revision 2


@pytest.mark.skipif(os.geteuid() != 0, reason="looks at files that their owner may not read")
def test_modes_are_kept_whatever_the_umask(ring: Arena) -> None:
    modes = [0, 0o400, 0o444, 0o600, 0o644, 0o755, 0o777, 0o1777, 0o2755, 0o4755, 0o6711, 0o7777]
    members = b"".join(file(b"f%o" % mode, b"1", mode=mode) + directory(b"d%o" % mode, mode) for mode in modes)
    for umask in (0o22, 0o77, 0o777, 0):
        old = os.umask(umask)
        try:
            found = ring.unpack(members, force=True)
        finally:
            os.umask(old)
        for mode in modes:
            assert found[b"f%o" % mode]["mode"] == mode
            assert found[b"d%o" % mode]["mode"] == mode


def test_times_are_kept_to_the_nanosecond(ring: Arena) -> None:
    time = b"1234567890.123456789"
    members = directory(b"d", mtime=time) + file(b"d/f", b"1", mtime=time) + symlink(b"d/s", b"f", mtime=time)
    found = ring.unpack(directory(b".", mtime=time) + members + fifo(b"d/p", mtime=time))
    for path in (b".", b"d", b"d/f", b"d/s", b"d/p"):
        assert found[path]["mtime_ns"] == 1234567890123456789


def test_times_of_a_directory_outlast_what_higher_layers_put_in(ring: Arena) -> None:
    found = ring.unpack(directory(b"d", mtime=b"77") + file(b"d/a", b"1"), file(b"d/b", b"2"))
    assert found[b"d"]["mtime_ns"] == 77 * 10**9


def test_directories_that_no_layer_names_are_the_same_everywhere(ring: Arena) -> None:
    found = ring.unpack(file(b"a/b/c", b"1"))
    for path in (b".", b"a", b"a/b"):
        assert found[path]["mode"] == 0o755
        assert found[path]["mtime_ns"] == 0


def test_a_directory_takes_the_attributes_of_the_topmost_layer_that_names_it(ring: Arena) -> None:
    found = ring.unpack(directory(b"d", 0o700, mtime=b"1"), directory(b"d", 0o711, mtime=b"2"), file(b"d/x", b"1"))
    assert (found[b"d"]["mode"], found[b"d"]["mtime_ns"]) == (0o711, 2 * 10**9)


@pytest.mark.skipif(os.geteuid() != 0, reason="looks at files that their owner may not read")
def test_directories_that_keep_their_owner_out_are_filled_all_the_same(ring: Arena) -> None:
    members = directory(b"d", 0) + directory(b"d/e", 0o500) + file(b"d/e/f", b"1", mode=0) + directory(b".", 0o555)
    found = ring.unpack(members, file(b"d/e/g", b"2"))
    assert [found[path]["mode"] for path in (b".", b"d", b"d/e", b"d/e/f")] == [0o555, 0, 0o500, 0]
    assert set(ring.unpack(file(b"x", b"1"), force=True)) == {b".", b"x"}  # and are removed again


def test_owners_are_set_by_root_and_noted_by_others(ring: Arena) -> None:
    found = ring.unpack(
        file(b"f", b"1", uid=12, gid=34, mode=0o400)
        + directory(b"d", 0o500, uid=0, gid=34)
        + symlink(b"s", b"f", uid=12, gid=34)
        + file(b"r", b"1")
        + file(b"big", b"1", uid=4_000_000_000, gid=3_000_000_000)
    )
    if not ring.rootless:
        assert [found[path]["owner"] for path in (b"f", b"d", b"s", b"r")] == [(12, 34), (0, 34), (12, 34), (0, 0)]
        assert found[b"big"]["owner"] == (4_000_000_000, 3_000_000_000)
        return
    assert len({found[path]["owner"] for path in found}) == 1
    for path, owner in ((b"f", (12, 34)), (b"d", (None, 34)), (b"big", (4_000_000_000, 3_000_000_000))):
        value = os.getxattr(os.path.join(os.fsencode(ring.dest), path), "user.rootlesscontainers")
        assert read_rootless_owner(value) == owner
    assert not found[b"r"].get("xattrs")


def test_map_root_notes_owners_for_root_too(ring: Arena) -> None:
    found = ring.unpack(file(b"f", b"1", uid=12, gid=34) + char(b"null"), map_root=True)
    assert found[b"f"]["owner"] == found[b"."]["owner"]
    assert b"null" not in found
    assert os.getxattr(ring.dest / "f", "user.rootlesscontainers") == note_rootless_owner(12, 34)


def test_the_note_is_the_message_that_umoci_writes() -> None:
    assert note_rootless_owner(0, 0) is None
    assert note_rootless_owner(1000, 100) == b"\x08\xe8\x07\x10\x64"
    assert note_rootless_owner(0, 1) == b"\x08\xff\xff\xff\xff\x0f\x10\x01"
    assert read_rootless_owner(b"") == (0, 0)
    for bad in (b"\x08", b"\x0a\x01a", b"\xff" * 12):
        with pytest.raises(ValueError, match="rootlesscontainers"):
            read_rootless_owner(bad)


def test_devices_are_made_by_root_and_left_out_by_others_with_one_warning(ring: Arena) -> None:
    found = ring.unpack(
        char(b"null", 1, 3, mode=0o666, uid=5) + block(b"loop", 7, 9) + hardlink(b"same", b"null") + file(b"x", b"1"),
        hardlink(b"upper", b"loop"),
    )
    if ring.rootless:
        assert set(found) == {b".", b"x"}
        assert len(ring.warnings) == 1
        assert "device" in ring.warnings[0]
        assert "1 more" in ring.warnings[0]
    else:
        assert (found[b"null"]["kind"], found[b"null"]["device"], found[b"null"]["mode"]) == ("char", (1, 3), 0o666)
        assert found[b"loop"]["device"] == found[b"upper"]["device"] == (7, 9)
        assert ring.warnings == []


def test_a_device_left_out_still_hides_what_is_below(ring: Arena) -> None:
    found = ring.unpack(file(b"a", b"1"), char(b"a"))
    assert found.get(b"a", {"kind": "char"})["kind"] == "char"


def test_a_capability_survives_the_change_of_owner(ring: Arena) -> None:
    found = ring.unpack(file(b"ping", b"#!", mode=0o755, uid=7, xattrs={b"security.capability": CAPABILITY}))
    if ring.rootless:
        assert "security.capability" not in (found[b"ping"].get("xattrs") or {})
        assert any("security.capability" in line for line in ring.warnings)
    else:
        assert os.getxattr(ring.dest / "ping", "security.capability") == CAPABILITY


def test_attributes_of_users_are_kept_on_files_that_nobody_may_write(ring: Arena) -> None:
    xattrs = {b"user.a": b"1", b"user.binary": b"\0\xff"}
    found = ring.unpack(file(b"f", b"1", mode=0o444, xattrs=xattrs) + directory(b"d", 0o555, xattrs=xattrs))
    for path in (b"f", b"d"):
        full = os.path.join(os.fsencode(ring.dest), path)
        assert os.getxattr(full, "user.binary") == b"\0\xff"
        assert os.getxattr(full, "user.a") == b"1"
    assert (found[b"f"]["mode"], found[b"d"]["mode"]) == (0o444, 0o555)


def test_a_sparse_file_keeps_its_holes(ring: Arena) -> None:
    size = 64 << 20
    records = [(b"GNU.sparse.size", b"%d" % size), (b"GNU.sparse.numblocks", b"2")]
    records.append((b"GNU.sparse.map", b"4096,5,%d,4" % (size - 4)))
    ring.unpack(rawtar.pax(*records) + file(b"hole", b"first" + b"last"))
    status = (ring.dest / "hole").stat()
    assert status.st_size == size
    assert status.st_blocks * 512 < 1 << 20
    with (ring.dest / "hole").open("rb") as content:
        content.seek(4096)
        assert content.read(6) == b"first\0"
        content.seek(-5, os.SEEK_END)
        assert content.read() == b"\0last"


def test_a_large_file_arrives_whole(ring: Arena) -> None:
    content = bytes(range(256)) * 12345
    ring.unpack(file(b"f", content))
    assert ring.read("f") == content


def test_names_of_one_file_stay_one_file(ring: Arena) -> None:
    found = ring.unpack(file(b"a", b"1") + hardlink(b"b", b"a") + hardlink(b"d/c", b"./b"))
    assert found[b"a"]["linked"] == found[b"d/c"]["linked"]
    assert len(found[b"a"]["linked"]) == 3  # type: ignore[arg-type]


def test_a_hard_link_to_a_lower_layers_file_is_that_file(ring: Arena) -> None:
    found = ring.unpack(file(b"d/a", b"1", mode=0o4711), file(b"x", b"2"), hardlink(b"b", b"d/a"))
    assert len(found[b"b"]["linked"]) == 2  # type: ignore[arg-type]
    assert found[b"b"]["mode"] == 0o4711


@pytest.mark.parametrize("upper", [file(b".wh.a"), file(b"a", b"new"), directory(b"a"), file(b"a/x", b"new")])
def test_a_hard_link_outlives_its_target(ring: Arena, upper: bytes) -> None:
    ring.unpack(file(b"a", b"old", mode=0o640) + hardlink(b"b", b"a") + hardlink(b"c", b"b"), upper)
    assert ring.read("b") == ring.read("c") == b"old"
    assert (ring.dest / "b").stat().st_ino == (ring.dest / "c").stat().st_ino


def test_a_hard_link_may_lead_to_what_its_own_layer_deletes(ring: Arena) -> None:
    found = ring.unpack(file(b"a", b"old"), file(b".wh.a") + hardlink(b"b", b"a"))
    assert ring.read("b") == b"old"
    assert b"a" not in found


def test_a_hard_link_may_not_lead_to_what_a_layer_between_deleted(ring: Arena) -> None:
    with pytest.raises(Exception, match="not in the image"):
        ring.unpack(file(b"a", b"old"), file(b".wh.a"), hardlink(b"b", b"a"))


def test_aufs_hard_links_find_their_file(ring: Arena) -> None:
    found = ring.unpack(
        directory(b".wh..wh.plnk") + file(b".wh..wh.plnk/12.34", b"content") + hardlink(b"f", b".wh..wh.plnk/12.34")
    )
    assert set(found) == {b".", b"f"}
    assert ring.read("f") == b"content"


def test_an_owner_that_a_user_namespace_lacks_is_explained() -> None:
    error = UnpackError(
        b"f", "its owner 5:5 can't be set (Invalid argument); unpack with --rootless or --map-root to note it"
    )
    assert "--rootless" in str(error)
