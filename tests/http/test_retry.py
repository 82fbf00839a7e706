"""Which failures are tried again, and when."""

from __future__ import annotations

import pytest

from oci.http.retry import LONGEST, MAX_PAUSE, MAX_WAIT, Backoff, is_idempotent, may_pass, retry_after


def waits(attempts: int) -> list[float]:
    slept: list[float] = []
    backoff = Backoff(attempts, slept.append)
    while (pause := backoff.pause()) is not None:
        backoff.wait(pause)
    return slept


def test_waits_grow_are_jittered_and_end_with_the_attempts() -> None:
    for _ in range(50):
        slept = waits(5)
        assert len(slept) == 4
        for wait, most in zip(slept, (0.5, 1, 2, 4), strict=True):
            assert most / 2 <= wait <= most
    assert len({tuple(waits(5)) for _ in range(20)}) > 1


def test_one_attempt_never_waits() -> None:
    assert waits(1) == []


def test_waits_are_bounded_one_by_one_and_in_sum() -> None:
    slept = waits(1000)
    assert max(slept) <= LONGEST
    assert MAX_WAIT - LONGEST <= sum(slept) <= MAX_WAIT


def test_a_server_that_names_a_time_is_waited_for_but_not_for_ever() -> None:
    backoff = Backoff(5, lambda _: None)
    assert backoff.pause(90.0) == 90.0
    assert backoff.pause(0.0) is not None
    assert backoff.pause(MAX_PAUSE + 1.0) is None
    for _ in range(2):
        backoff.wait(120.0)
    assert backoff.pause(90.0) is None  # the sum


DATE = "Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.mark.parametrize(
    ("value", "date", "seconds"),
    [
        (None, DATE, None),
        ("0", None, 0.0),
        (" 120 ", None, 120.0),
        ("1.5", None, None),
        ("-1", None, None),
        ("9" * 50, None, None),
        ("٣", None, None),
        (DATE, DATE, 0.0),
        ("Sun, 06 Nov 1994 08:50:07 GMT", DATE, 30.0),
        ("Mon, 07 Nov 1994 08:49:37 GMT", DATE, 86400.0),
        ("Sat, 05 Nov 1994 08:49:37 GMT", DATE, 0.0),  # past already
        ("Sun, 06 Nov 1994 08:50:07 GMT", None, None),  # against which clock?
        ("Sun, 06 Nov 1994 08:50:07 GMT", "now", None),
        ("Sunday, 06-Nov-94 08:49:37 GMT", DATE, None),
        ("Thu, 01 Mar 2096 00:00:00 GMT", "Tue, 28 Feb 2096 00:00:00 GMT", 2 * 86400.0),  # a leap day
        ("Sun, 01 Jan 2023 00:00:01 GMT", "Sat, 31 Dec 2022 23:59:59 GMT", 2.0),
        ("Sun, 06 Foo 1994 08:50:07 GMT", DATE, None),
    ],
)
def test_retry_after_is_seconds_or_a_date_by_the_servers_own_clock(
    value: str | None, date: str | None, seconds: float | None
) -> None:
    assert retry_after(value, date) == seconds


def test_what_may_pass_and_what_may_happen_twice() -> None:
    assert [s for s in (200, 400, 401, 403, 404, 408, 413, 429, 500, 501, 502, 503, 504, 505) if may_pass(s)] == [
        408, 429, 500, 502, 503, 504,
    ]  # fmt: skip
    assert [m for m in ("GET", "HEAD", "PUT", "DELETE", "POST", "PATCH") if is_idempotent(m)] == [
        "GET", "HEAD", "PUT", "DELETE",
    ]  # fmt: skip
