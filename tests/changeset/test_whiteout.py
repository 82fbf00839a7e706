from __future__ import annotations

import pytest

from oci.changeset.whiteout import classify
from oci.errors import UnsafeEntry


@pytest.mark.parametrize("path", [b"", b"a", b"a/b", b"a.wh.b", b"a/b.wh.c", b".wha", b"wh.x", b".w/h.x"])
def test_ordinary_names_are_no_marks(path: bytes) -> None:
    assert classify(path) is None


def test_a_whiteout_names_what_it_deletes() -> None:
    assert classify(b".wh.file1") == ("whiteout", b"file1")
    assert classify(b"a/.wh.file2") == ("whiteout", b"a/file2")
    assert classify(b"a/.wh..hidden") == ("whiteout", b"a/.hidden")
    assert classify(b"a/.wh....") == ("whiteout", b"a/...")


def test_an_opaque_mark_names_its_directory() -> None:
    assert classify(b"bin/.wh..wh..opq") == ("opaque", b"bin")
    assert classify(b".wh..wh..opq") == ("opaque", b"")


@pytest.mark.parametrize(
    "path",
    [
        b".wh..wh.plnk",
        b".wh..wh.aufs",
        b".wh..wh.orph",
        b".wh..wh.plnk/123.456",
        b".wh..wh.orph/a/.wh.b",
        b"a/.wh..wh.aufs",
    ],
)
def test_what_aufs_left_is_passed_over(path: bytes) -> None:
    assert classify(path) == ("skip", path)


@pytest.mark.parametrize(
    "path",
    [
        b".wh.",
        b".wh..",
        b".wh...",
        b"a/.wh.",
        b".wh..wh.",
        b".wh..wh.other",
        b".wh..wh..opq/file",
        b".wh..wh..wh.x",
        b"a/.wh.b/c",
        b".wh.b/.wh.c",
    ],
)
def test_reserved_names_are_refused(path: bytes) -> None:
    with pytest.raises(UnsafeEntry):
        classify(path)
