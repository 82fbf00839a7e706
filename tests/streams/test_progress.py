"""Counting: every byte of a thing once, however often it is read."""

from __future__ import annotations

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
    assert list(meter.counted([b"abcd"], "b")) == [b"abcd"]
    assert heard == [5, 5, 9]
