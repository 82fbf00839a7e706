"""Titles, archives and links of artifacts that would write outside the directory they are pulled to.

The arena checks after each that the host files beside the directory are untouched, as root and as an ordinary user.
What oras and oras-py had wrong: GHSA-8xwf-rjm4-xvhv (a symbolic link in the directory), GHSA-m37j-52j7-pjw7 (links of
an earlier entry of the archive).
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from oci.artifact.pull import pull
from oci.errors import DestinationError, DiffIdMismatch, DigestMismatch, LimitExceeded, OciError, UnsafeEntry
from tests.support import layers as tars
from tests.support import rawtar
from tests.support.arena import Arena
from tests.support.artifacts import CONTENT, TITLE, One, artifact, file, folder
from tests.support.users import as_user

EVIL = b"written by the artifact"


def pull_to(ring: Arena, *parts: One, **options: object) -> None:
    """Pull an artifact of these parts to the arena's `dest`, as its user."""
    source, found = artifact(*parts)

    def work() -> None:
        pull(source, found, str(ring.dest), **options)  # type: ignore[arg-type]

    if ring.rootless and os.geteuid() == 0:
        as_user(work)
    else:
        work()


def prepared(ring: Arena) -> Path:
    """The destination, made beforehand and its user's."""
    ring.dest.mkdir()
    return ring.dest


def given(ring: Arena, *paths: Path) -> None:
    """Hand what a test made over to the arena's user."""
    if ring.rootless and os.geteuid() == 0:
        for path in (ring.dest, *paths):
            os.chown(path, 65534, 65534, follow_symlinks=False)


def left(ring: Arena) -> list[str]:
    return sorted(str(path.relative_to(ring.dest)) for path in ring.dest.rglob("*"))


OUTWARD = [
    "../passwd",
    "../outside/secret",
    "a/../../passwd",
    "a/..",
    "..",
    "../",
    "./../passwd",
    "dest/../../passwd",
    "../../../../../../../../etc/ocikit-was-here",
    "/etc/ocikit-was-here",
    "//etc/ocikit-was-here",
    "/",
]
BROKEN = ["", "a\0b", "\0", "a\nb", "a\x1b[2Jb", "a\x7fb", "a\x85b", "a" * 256, "a/" * 101 + "b", "ab/" * 1400 + "c"]


@pytest.mark.parametrize("title", OUTWARD)
@pytest.mark.parametrize("made", [file, lambda title, data: folder(title, {"x": data})], ids=["file", "folder"])
def test_a_title_that_leads_out_is_refused(ring: Arena, title: str, made: object) -> None:
    with pytest.raises(UnsafeEntry):
        pull_to(ring, file("ok"), made(title, EVIL))  # type: ignore[operator]
    assert not ring.dest.exists()


@pytest.mark.parametrize("title", BROKEN[1:], ids=range(len(BROKEN) - 1))
def test_a_title_that_no_file_can_have_is_refused(ring: Arena, title: str) -> None:
    with pytest.raises(UnsafeEntry):
        pull_to(ring, file("ok"), file(title, EVIL))
    assert not ring.dest.exists()


def test_an_empty_title_is_none(ring: Arena) -> None:
    pull_to(ring, file("ok"), file("", EVIL))
    assert left(ring) == ["ok"]


@pytest.mark.parametrize("title", ["./a//b/./c", "a/b/c/", "a/./b/c"])
def test_dots_and_doubled_slashes_mean_nothing(ring: Arena, title: str) -> None:
    pull_to(ring, file(title, b"1"))
    assert (ring.dest / "a/b/c").read_bytes() == b"1"


@pytest.mark.parametrize("title", [".", "./", "././."])
def test_a_file_in_place_of_the_directory_itself_is_refused(ring: Arena, title: str) -> None:
    with pytest.raises(UnsafeEntry, match="in place of the directory"):
        pull_to(ring, file(title, EVIL))
    assert not ring.dest.exists()


@pytest.mark.parametrize(
    "title", [".hidden", "...", "..a", "a..", "~", "-rf", "$(reboot)", "a:b", "C:\\x", "..\\x", "ä/ö"]
)
def test_names_that_only_look_odd_are_names(ring: Arena, title: str) -> None:
    pull_to(ring, file(title, b"1"))
    assert (ring.dest / title).read_bytes() == b"1"
    assert len([path for path in ring.dest.rglob("*") if path.is_file()]) == 1


def test_names_of_our_own_scratch_directories_are_refused(ring: Arena) -> None:
    with pytest.raises(UnsafeEntry, match="reserved"):
        pull_to(ring, file(".pull.ocikit-01234567/x", EVIL))


# Links that are there already, or come with the artifact


def test_a_symbolic_link_in_the_directory_is_not_followed(ring: Arena) -> None:
    link = prepared(ring) / "out"
    link.symlink_to("../outside")
    given(ring, link)
    for force in (False, True):
        with pytest.raises(DestinationError, match="not followed"):
            pull_to(ring, file("fine"), file("out/secret", EVIL), force=force)
        with pytest.raises(DestinationError, match="not followed"):
            pull_to(ring, folder("out/folder", {"out/folder/keep": EVIL}), force=force)
    assert left(ring) == ["out"]


@pytest.mark.parametrize("target", ["../passwd", "../outside", "../nowhere"])
def test_a_symbolic_link_with_the_files_own_name_is_kept_or_replaced_never_followed(ring: Arena, target: str) -> None:
    link = prepared(ring) / "report"
    link.symlink_to(target)
    given(ring, link)
    with pytest.raises(DestinationError, match="exists already"):
        pull_to(ring, file("report", EVIL))
    assert os.readlink(link) == target
    pull_to(ring, file("report", b"new"), force=True)
    assert not link.is_symlink()
    assert link.read_bytes() == b"new"


def test_a_symbolic_link_with_the_folders_own_name_is_never_followed(ring: Arena) -> None:
    link = prepared(ring) / "docs"
    link.symlink_to("../outside/folder")
    given(ring, link)
    for force in (False, True):
        with pytest.raises(DestinationError):
            pull_to(ring, folder("docs", {"docs/keep": EVIL}), force=force)


def test_a_link_out_of_an_unpacked_folder_is_refused(ring: Arena) -> None:
    out = os.fspath(ring.path / "outside")
    for target in ("../../outside", "..", "../..", out, "/etc/passwd", "sub/../../.."):
        with pytest.raises(UnsafeEntry, match="leads out"):
            pull_to(ring, folder("docs", {"docs/sub/": None, "docs/out": ("symlink", target)}))
        assert not ring.dest.exists()


def test_a_link_that_leads_out_by_way_of_another_is_refused(ring: Arena) -> None:
    # x/up is the folder itself, so `by` leads above it, although its own words stay inside.
    entries = {"d/x/": None, "d/by": ("symlink", "x/up/.."), "d/x/up": ("symlink", "..")}
    with pytest.raises(UnsafeEntry, match="leads out"):
        pull_to(ring, folder("d", entries))
    assert not ring.dest.exists()


def test_links_inside_are_kept(ring: Arena) -> None:
    entries = {
        "d/a/": None, "d/a/file": b"1", "d/l": ("symlink", "a/file"), "d/a/up": ("symlink", "../l"),
        "d/loop": ("symlink", "loop"),
        "d/nowhere": ("symlink", "not/there"), "d/here": ("symlink", "."),
    }  # fmt: skip
    pull_to(ring, folder("d", entries))
    assert (ring.dest / "d/a/up").read_bytes() == b"1"


def test_what_lies_below_a_link_of_the_archive_is_refused(ring: Arena) -> None:
    entries = [("d/a/", None), ("d/l", ("symlink", "a")), ("d/l/x", EVIL)]
    with pytest.raises(UnsafeEntry, match="below a symbolic link"):
        pull_to(ring, folder("d", entries))
    assert not ring.dest.exists()


def test_a_file_in_a_folder_that_is_unpacked_is_refused_before_anything_is_fetched(ring: Arena) -> None:
    # The folder could hold a link in that place.
    parts = folder("d", {"d/l": ("symlink", ".")}), file("d/l/x", EVIL)
    for order in (parts, parts[::-1]):
        with pytest.raises(UnsafeEntry, match="lies in 'd'"):
            pull_to(ring, *order)
    with pytest.raises(UnsafeEntry, match="lies in 'd'"):
        pull_to(ring, file("d", b"1"), file("d/x", EVIL))
    with pytest.raises(UnsafeEntry, match=r"lies in '\.'"):
        pull_to(ring, folder(".", {"l": ("symlink", ".")}), file("l/x", EVIL))
    assert not ring.dest.exists()


def test_a_hard_link_to_a_symbolic_link_or_to_nothing_is_refused(ring: Arena) -> None:
    for entries in (
        [("d/a/", None), ("d/a/l", ("symlink", "../f")), ("d/h", ("hardlink", "d/a/l"))],
        [("d/h", ("hardlink", "d/later")), ("d/later", ("symlink", ".."))],
        [("d/h", ("hardlink", "outside/secret"))],
        [("d/h", ("hardlink", "../outside/secret"))],
        [("d/h", ("hardlink", os.fspath(ring.path / "outside/secret")))],
        [("d/s", ("symlink", "a")), ("d/a/", None), ("d/a/f", b"1"), ("d/h", ("hardlink", "d/s/f"))],
    ):
        with pytest.raises(UnsafeEntry):
            pull_to(ring, folder("d", entries))
        assert not ring.dest.exists()


# Archives


@pytest.mark.parametrize(
    "name", ["../passwd", "d/../../passwd", "other/x", "dd/x", "/etc/passwd", "x", "d/.wh.x", "d/.wh..wh..opq"]
)
def test_an_entry_outside_its_folder_or_with_a_reserved_name_is_refused(ring: Arena, name: str) -> None:
    with pytest.raises(UnsafeEntry):
        pull_to(ring, file("ok"), folder("d", {"d/fine": b"1", name: EVIL}))
    assert not ring.dest.exists()


def test_a_file_in_place_of_the_folder_is_refused(ring: Arena) -> None:
    for what in (b"1", ("symlink", "../outside"), ("hardlink", "d/x")):
        with pytest.raises(UnsafeEntry):
            pull_to(ring, folder("d", {"d": what}))
    assert not ring.dest.exists()


def test_rights_owners_attributes_and_devices_do_not_come_along(ring: Arena) -> None:
    members = (
        tars.member(b"d/", b"5", mode=0o7777, uid=1234, gid=1234)
        + tars.member(
            b"d/s", b"0", b"1", mode=0o6777, uid=1234, gid=1234, xattrs={b"user.x": b"1", b"security.capability": b"x"}
        )
        + tars.member(b"d/null", b"3", device=(1, 3), mode=0o666)
        + tars.member(b"d/pipe", b"6")
        + tars.member(b"d/closed/", b"5", mode=0)
        + tars.member(b"d/closed/f", b"0", b"2", mode=0)
    )
    source, found = artifact(folder("d", members + rawtar.END))
    told: list[str] = []

    def work() -> list[str]:
        pull(source, found, str(ring.dest), warn=told.append)
        return told

    told = as_user(work) if ring.rootless and os.geteuid() == 0 else work()
    assert told == ["d: 2 devices and FIFOs of the archive left out"]
    status = (ring.dest / "d/s").stat()
    assert status.st_mode & 0o7777 == 0o755
    assert status.st_uid == ring.dest.stat().st_uid
    assert os.listxattr(ring.dest / "d/s") == []
    assert (ring.dest / "d").stat().st_mode & 0o7777 == 0o755
    assert (ring.dest / "d/closed/f").read_bytes() == b"2"
    assert left(ring) == ["d", "d/closed", "d/closed/f", "d/s"]


# Bytes


def test_bytes_that_are_not_what_the_manifest_says_leave_nothing(ring: Arena) -> None:
    import hashlib

    source, found = artifact(file("a", b"1"), file("b", b"12345"))
    blobs = source.blobs._blobs  # type: ignore[attr-defined]
    wrong = next(name for name in blobs if name.encoded == hashlib.sha256(b"12345").hexdigest())
    blobs[wrong] = b"54321"

    def work() -> None:
        pull(source, found, str(ring.dest))

    with pytest.raises(DigestMismatch):
        as_user(work) if ring.rootless and os.geteuid() == 0 else work()
    assert not ring.dest.exists()


def test_an_archive_that_is_not_what_its_annotation_says_leaves_nothing(ring: Arena) -> None:
    with pytest.raises(DiffIdMismatch):
        pull_to(ring, file("a"), folder("d", {"d/x": b"1"}, **{CONTENT: "sha256:" + "0" * 64}))
    with pytest.raises(OciError, match="digest"):
        pull_to(ring, file("a"), folder("d", {"d/x": b"1"}, **{CONTENT: "what?"}))
    with pytest.raises(OciError):
        pull_to(ring, file("a"), One(b"no archive at all", annotations=folder("d", {}).annotations))
    assert not ring.dest.exists()


def test_a_directory_that_was_there_stays_as_it_was_when_a_pull_fails(ring: Arena) -> None:
    kept = prepared(ring) / "kept"
    kept.write_bytes(b"mine")
    given(ring, kept)
    with pytest.raises(UnsafeEntry):
        pull_to(ring, file("new"), folder("d", {"d/l": ("symlink", "/")}), force=True)
    assert left(ring) == ["kept"]


# Names that meet


def test_two_files_of_one_title_are_refused_and_one_file_twice_is_one(ring: Arena) -> None:
    for other in ("a", "./a", "a/"):
        with pytest.raises(UnsafeEntry, match="two different files"):
            pull_to(ring, file("a", b"1"), file(other, EVIL))
    assert not ring.dest.exists()
    pull_to(ring, file("a", b"1"), file("./a", b"1"))
    assert left(ring) == ["a"]


def test_names_that_differ_in_case_are_two_where_the_file_system_says_so(
    ring: Arena, monkeypatch: pytest.MonkeyPatch
) -> None:
    pull_to(ring, file("a", b"1"), file("A", b"2"))
    assert left(ring) == ["A", "a"]
    for path in ring.dest.iterdir():
        path.unlink()
    ring.dest.rmdir()
    monkeypatch.setattr("oci.artifact.place.Target.folds_case", lambda self: True)
    for parts in (
        (file("a", b"1"), file("A", EVIL)),
        (file("d/x", b"1"), file("D/y", EVIL)),
        (file("straße"), file("STRASSE", EVIL)),
    ):
        with pytest.raises(UnsafeEntry, match="only in case"):
            pull_to(ring, *parts)
    pull_to(ring, file("d/x", b"1"), file("d/y", b"2"))


def test_a_bomb_of_links_ends_in_bounded_time(ring: Arena) -> None:
    entries = [(f"d/l{number}", ("symlink", f"l{number + 1}/" * 20)) for number in range(300)]
    try:
        pull_to(ring, folder("d", entries))
    except (UnsafeEntry, LimitExceeded):
        assert not ring.dest.exists()


def test_titles_are_shown_on_one_line(ring: Arena) -> None:
    with pytest.raises(UnsafeEntry) as caught:
        pull_to(ring, One(EVIL, annotations={TITLE: "../a\nerror: fine\x1b[2J"}))
    assert str(caught.value).isprintable()


def test_titles_that_do_not_match_are_shown_short(ring: Arena) -> None:
    with pytest.raises(OciError) as caught:
        pull_to(
            ring, *(file(f"{number}{'/' + 'x' * 250}" * 12, b"%d" % number) for number in range(30)), include=("y",)
        )
    assert len(str(caught.value)) < 5000
