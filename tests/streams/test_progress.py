"""Counting: every byte of a thing once, however often it is read."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from oci.streams.progress import Meter


def test_what_is_read_again_is_not_counted_again() -> None:
    heard: list[tuple[int, int | None, str]] = []
    share = Meter(lambda *told: heard.append(told), 6).share("layer")
    first = share.counted([b"ab", b"cd", b"ef"])
    next(first)
    next(first)
    next(first)  # four bytes are dealt with; then the connection is cut
    assert list(share.counted([b"abc", b"def"])) == [b"abc", b"def"]
    share.complete(6)
    assert [done for done, _, _ in heard] == [0, 2, 4, 4, 6]


def test_what_was_not_read_at_all_is_completed() -> None:
    heard: list[int] = []
    meter = Meter(lambda done, _total, _what: heard.append(done), 9)
    meter.share("a").complete(5)
    assert list(meter.share("b").counted([b"abcd"])) == [b"abcd"]
    assert heard == [5, 5, 9]


class Rich:
    """A progress that hears of each blob."""

    def __init__(self) -> None:
        self.whole: list[tuple[int, int | None, str]] = []
        self.blobs: list[tuple[str, int | None, int | None]] = []

    def __call__(self, done: int, total: int | None, what: str) -> None:
        self.whole.append((done, total, what))

    def blob(self, what: str, done: int | None, size: int | None) -> None:
        self.blobs.append((what, done, size))


def test_who_asks_for_it_is_told_of_each_blob_from_its_beginning_to_its_end() -> None:
    rich = Rich()
    meter = Meter(rich, 7)
    with meter.share("a", 4) as a, meter.share("b", 3) as b:
        first, second = a.counted([b"12", b"34"]), b.counted([b"567"])
        next(first)
        next(second)
        assert list(first) == [b"34"]
        assert list(second) == []
    assert rich.blobs == [
        ("a", 0, 4),
        ("b", 0, 3),
        ("a", 2, 4),
        ("a", 4, 4),
        ("b", 3, 3),
        ("b", None, 3),
        ("a", None, 4),
    ]
    assert rich.whole == [(0, 7, "a"), (0, 7, "b"), (2, 7, "a"), (4, 7, "a"), (7, 7, "b")]


def test_a_blob_that_is_read_again_goes_on_where_it_was() -> None:
    rich = Rich()
    with Meter(rich, 6).share("layer", 6) as share:
        first = share.counted([b"ab", b"cd", b"ef"])
        for _ in range(3):
            next(first)
        assert list(share.counted([b"abc", b"def"])) == [b"abc", b"def"]
        share.complete(6)
    assert [done for _, done, _ in rich.blobs] == [0, 2, 4, 4, 6, None]


def test_a_blob_that_failed_is_under_way_no_more() -> None:
    rich = Rich()

    def cut_off() -> Iterator[bytes]:
        yield b"ab"
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"), Meter(rich).share("layer") as share:
        list(share.counted(cut_off()))
    assert rich.blobs == [("layer", 0, None), ("layer", 2, None), ("layer", None, None)]


def test_a_blob_that_is_there_already_counts_and_is_never_begun() -> None:
    rich = Rich()
    with Meter(rich, 5).share("a", 5) as share:
        share.complete(5)
    assert rich.blobs == []
    assert rich.whole == [(5, 5, "a")]
