"""An iterator in a thread: the same items, the same exceptions, a bounded distance, and no thread left behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from oci.streams.background import background


@pytest.fixture(autouse=True)
def no_thread_is_left_behind() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def test_items_come_in_order_and_the_end_stays_the_end() -> None:
    with background(range(1000), depth=3) as items:
        assert list(items) == list(range(1000))
        assert list(items) == []


def test_the_source_runs_in_another_thread() -> None:
    def source() -> Iterator[threading.Thread]:
        yield threading.current_thread()

    with background(source()) as items:
        assert next(items) is not threading.current_thread()


def test_an_exception_comes_after_the_items_before_it() -> None:
    def source() -> Iterator[int]:
        yield 1
        yield 2
        raise KeyError("three")

    got = []
    with background(source()) as items, pytest.raises(KeyError, match="three"):  # noqa: PT012
        for item in items:
            got.append(item)
    assert got == [1, 2]


def test_what_cannot_be_iterated_fails_at_the_first_item() -> None:
    with background(5) as items, pytest.raises(TypeError):  # type: ignore[arg-type]
        next(items)


def test_the_source_is_never_further_ahead_than_depth() -> None:
    made = 0

    def source() -> Iterator[int]:
        nonlocal made
        for number in range(100):
            made = number + 1
            yield number

    with background(source(), depth=4) as items:
        for taken in range(1, 20):
            next(items)
            time.sleep(0.001)
            assert made <= taken + 4 + 1  # depth in the queue, one in the hand


def test_leaving_early_closes_the_source_in_its_own_thread() -> None:
    closed_by: list[threading.Thread] = []

    def source() -> Iterator[int]:
        try:
            while True:
                yield 0
        finally:
            closed_by.append(threading.current_thread())

    with background(source(), depth=2) as items:
        next(items)
    assert len(closed_by) == 1
    assert closed_by[0] is not threading.current_thread()


def test_an_error_of_the_consumer_stops_the_thread() -> None:
    def consume() -> None:
        with background(iter(int, 1), depth=2) as items:
            next(items)
            raise ValueError("consumer")

    with pytest.raises(ValueError, match="consumer"):
        consume()


def test_closing_twice_or_before_the_first_item_is_harmless() -> None:
    stage = background(iter(int, 1), depth=1)
    stage.close()
    stage.close()
    assert list(stage) == []


def test_a_chain_stops_from_its_end() -> None:
    with background(iter(int, 1)) as first, background(first) as second, background(second) as third:
        assert next(third) == 0
