"""Several blobs at once: what the first error, and an interrupt, do to the others."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from oci.streams.together import Stop, Stopped, together


class Waiting(Iterator[bytes]):
    """Chunks from a network on which nothing comes: only `abort` ends the wait."""

    def __init__(self) -> None:
        self.begun, self._over = threading.Event(), threading.Event()

    def __next__(self) -> bytes:
        self.begun.set()
        assert self._over.wait(10)
        raise ConnectionError("ended from outside")

    def abort(self) -> None:
        self._over.set()


def test_one_worker_works_in_this_thread_and_in_order() -> None:
    seen: list[tuple[int, int]] = []
    together(
        lambda item: seen.append((item, threading.get_ident())), [1, 2, 3], workers=1, stop=Stop(), abort=lambda: None
    )
    assert seen == [(item, threading.get_ident()) for item in (1, 2, 3)]


def test_the_first_error_ends_a_read_that_waits_for_a_network_and_is_the_one_that_is_raised() -> None:
    stop, network = Stop(), Waiting()

    def work(item: str) -> None:
        if item == "bad":
            assert network.begun.wait(10)
            raise ValueError("the reason")
        with stop.watching(network) as chunks:
            next(chunks)

    with pytest.raises(ValueError, match="the reason"):
        together(work, ["waits", "bad"], workers=2, stop=stop, abort=lambda: pytest.fail("only for interrupts"))


def test_what_was_told_to_stop_gives_no_further_chunk() -> None:
    stop = Stop()
    with stop.watching(iter((b"one", b"two"))) as chunks:
        assert next(chunks) == b"one"
        stop.say()
        with pytest.raises(Stopped):
            next(chunks)


def test_an_interrupt_stops_and_aborts(monkeypatch: pytest.MonkeyPatch) -> None:
    import concurrent.futures

    stop, network, aborted = Stop(), Waiting(), threading.Event()

    def interrupted(*_: object, **__: object) -> None:
        assert network.begun.wait(10)
        raise KeyboardInterrupt

    def work(_: int) -> None:
        with stop.watching(network) as chunks:
            next(chunks)

    monkeypatch.setattr(concurrent.futures, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        together(work, [1, 2], workers=2, stop=stop, abort=aborted.set)
    assert aborted.is_set()
