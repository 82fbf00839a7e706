"""Small archives that would take memory or time without end: each has a bound, and a sentence when it is met."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from oci.changeset.merge import merge
from oci.errors import LimitExceeded, OciError, UnsafeEntry
from oci.verification.entries import EntryCheck
from tests.support.arena import Arena
from tests.support.layers import directory, file, hardlink, image_of, symlink


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Generous: what is tested for would take hours."""
    before = time.process_time()
    yield
    assert time.process_time() - before < seconds


def deep(levels: int, name: bytes = b"f") -> bytes:
    return b"d/" * levels + name


def both(ring: Arena, *layers: bytes) -> tuple[OciError, OciError]:
    """The error of unpacking, and that of listing."""
    with pytest.raises(OciError) as unpacked:
        ring.unpack(*layers)
    assert not ring.dest.exists()
    with pytest.raises(OciError) as listed:
        merge(image_of(*layers).layers)
    return unpacked.value, listed.value


@pytest.mark.parametrize(
    "member",
    [
        lambda path: file(path),
        lambda path: directory(path),
        lambda path: symlink(path, b"x"),
        lambda path: hardlink(b"h", path),
        lambda path: file(path + b"/.wh.x"),
        lambda path: file(path + b"/.wh..wh..opq"),
    ],
)
def test_a_path_with_hundreds_of_thousands_of_directories_is_refused(
    ring: Arena, member: Callable[[bytes], bytes]
) -> None:
    # Each of them is known by its own path: a header of 1 MiB would stand for 250 GB of names.
    with within(5):
        for error in both(ring, symlink(b"e", b"/etc") + member(deep(400_000))):
            assert isinstance(error, UnsafeEntry)
            assert "more than 16384 bytes" in str(error)


def test_verify_tells_of_such_a_path_and_goes_on() -> None:
    from io import BytesIO

    from oci.tar import TarReader

    check = EntryCheck("sha256:0")
    with within(5):
        for entry in TarReader(iter([BytesIO(symlink(b"e", b"/etc") + file(deep(400_000)) + bytes(1024)).read()])):
            check.check(entry)
    assert ["16384 bytes" in finding.message for finding in check.findings()] == [True]


def test_what_must_be_remembered_has_a_bound(ring: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oci.changeset.apply.MAX_MEMORY", 1 << 20)
    monkeypatch.setattr("oci.changeset.merge.MAX_MEMORY", 1 << 20)
    above = file(b"h", b"1")
    for layers in (
        [b"".join(file(b"%d/" % n + deep(800)) for n in range(3))],
        [directory(b"d" * 90) * 9000],
        [directory(b"d", xattrs={b"user.a": b"x" * 60000}) * 20],
        [b"".join(hardlink(b"l%d" % n, b"t" * 90) for n in range(9000))],
        [b"".join(file(b".wh.%d" % n + b"n" * 90) for n in range(9000)), file(b"x")][::-1],
        [b"".join(symlink(b"h/%d" % n, b"t" * 90) for n in range(9000)), above],
    ):
        for error in both(ring, *layers):
            assert isinstance(error, LimitExceeded), error


def test_marks_below_what_is_hidden_are_not_remembered(ring: Arena) -> None:
    marks = b"".join(file(b"h/%d/" % n + deep(2000, b".wh.x")) for n in range(30))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ring.unpack(file(b"bottom"), marks, file(b"h", b"1"))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10


def test_long_targets_of_links_are_not_walked_for_ever(ring: Arena) -> None:
    detour = b"x/../" * 700
    links = directory(b"x") + symlink(b"l0", b"x")
    links += b"".join(symlink(b"l%d" % n, detour + b"l%d" % (n - 1)) for n in range(1, 39))
    with within(5):
        for error in both(ring, links + b"".join(file(b"l38/%d/f" % n) for n in range(2000))):
            assert "symbolic links with more than" in str(error)


def test_a_hidden_link_may_not_be_longer_than_one_that_shows(ring: Arena) -> None:
    for error in both(ring, symlink(b"l", b"x/../" * 100_000) + file(b"l/f"), file(b".wh.l")):
        assert isinstance(error, UnsafeEntry)
        assert "4095" in str(error)


def test_chains_of_hard_links_are_followed_once(ring: Arena) -> None:
    count = 6000
    low = b"".join(hardlink(b"h/%d" % n, b"h/%d" % (n + 1)) for n in range(count)) + file(b"h/%d" % count, b"end")
    up = b"".join(hardlink(b"x/%d" % n, b"h/%d" % n) for n in range(count)) + file(b"h/.wh..wh..opq")
    with within(6):
        found = ring.unpack(low, up)
    assert len([name for name in found if name.startswith(b"x/")]) == count
    assert ring.read("x/0") == b"end"


def test_marks_above_many_wanted_files_are_noted_once(ring: Arena) -> None:
    count = 3000
    low = b"".join(file(b"d/%d" % n) for n in range(count))
    up = b"".join(hardlink(b"x/%d" % n, b"d/%d" % n) for n in range(count)) + file(b".wh.d") * count
    with within(6):
        found = ring.unpack(low, low, up)
    assert len([name for name in found if name.startswith(b"x/")]) == count


def test_a_mark_between_a_link_and_its_target_hides_it(ring: Arena) -> None:
    link = hardlink(b"x", b"a/b/c") + file(b".wh.a")
    for mark in (b"a/b/.wh.c", b"a/.wh.b", b".wh.a", b"a/b/.wh..wh..opq", b"a/.wh..wh..opq", b".wh..wh..opq"):
        with pytest.raises(UnsafeEntry, match="not in the image"):
            ring.unpack(file(b"a/b/c", b"1"), file(mark), link)
    with pytest.raises(UnsafeEntry, match="not in the image"):
        ring.unpack(file(b"a/b/c", b"1"), file(b"a/b"), link)
    ring.unpack(file(b"a/b/c", b"1"), file(b"a/b/.wh.d") + file(b"a/.wh.bb") + file(b"a/b!") + file(b"a/b0/c"), link)
    assert ring.read("x") == b"1"


@pytest.mark.parametrize("mtime", [b"-9223372036854775808.5", b"9223372036854775807.9", b"-9223372036854775808"])
def test_the_ends_of_time_are_taken_or_refused_for_directories_too(ring: Arena, mtime: bytes) -> None:
    with suppress(UnsafeEntry):  # anything else would be an internal error
        ring.unpack(directory(b"d", mtime=mtime))


def test_attributes_of_any_number_of_names_give_a_page_of_warnings(ring: Arena) -> None:
    ring.unpack(b"".join(file(b"f", xattrs={b"user.overlay.%d" % n: b"1"}) for n in range(500)))
    assert len(ring.warnings) == 51
    assert "450 more" in ring.warnings[-1]
