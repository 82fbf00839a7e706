"""Times by RFC 3339 section 5.6, exact to the nanosecond."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oci.spec import rfc3339

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.000000001Z", 1),
        ("1969-12-31T23:59:59.999999999Z", -1),
        ("1970-01-01t00:00:01z", 1_000_000_000),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1969-12-31T18:30:00-05:30", 0),
        ("1970-01-01T00:00:00-00:00", 0),
        ("2015-10-31T22:22:56.015925234Z", 1446330176015925234),
        ("0001-01-01T00:00:00Z", -62135596800 * 10**9),
        ("2016-12-31T23:59:60Z", 1483228800 * 10**9),
        ("2017-01-01T00:59:60.5+01:00", 1483228800 * 10**9),
        ("2000-02-29T00:00:00Z", 951782400 * 10**9),
        ("1970-01-01T00:00:00.1234567899999Z", 123456789),
    ],
)
def test_time_is_read_to_the_nanosecond(text: str, nanoseconds: int) -> None:
    assert rfc3339.parse(text) == nanoseconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2020-01-01",
        "2020-01-01T00:00:00",
        "2020-01-01 00:00:00Z",
        "2020-1-1T0:0:0Z",
        "2020-00-01T00:00:00Z",
        "2020-13-01T00:00:00Z",
        "2020-01-00T00:00:00Z",
        "2020-01-32T00:00:00Z",
        "2021-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2020-01-01T24:00:00Z",
        "2020-01-01T00:60:00Z",
        "2020-01-01T00:00:61Z",
        "2020-01-01T00:00:60Z",
        "2020-01-01T00:00:00.Z",
        "2020-01-01T00:00:00,5Z",
        "2020-01-01T00:00:00+24:00",
        "2020-01-01T00:00:00+00:60",
        "2020-01-01T00:00:00+0000",
        "2020-01-01T00:00:00Z\n",
        "٢٠٢٠-01-01T00:00:00Z",
        "+2020-01-01T00:00:00Z",
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|there is no|has no|end|second 60"):
        rfc3339.parse(text)


@given(st.datetimes(timezones=st.timezones()).filter(lambda d: 2 <= d.year <= 9997))
def test_agrees_with_datetime_for_every_day_and_zone(moment: datetime) -> None:
    if moment.utcoffset() is None or moment.utcoffset() % timedelta(minutes=1):  # type: ignore[operator]
        return
    exact = (moment - EPOCH) // timedelta(microseconds=1) * 1000
    assert rfc3339.parse(moment.isoformat()) == exact


@given(st.integers(rfc3339.parse("0000-01-01T00:00:00Z"), rfc3339.parse("9999-12-31T23:59:59.999999999Z")))
def test_format_is_the_inverse_of_parse(nanoseconds: int) -> None:
    assert rfc3339.parse(rfc3339.format(nanoseconds)) == nanoseconds


def test_format_drops_zeros_and_refuses_years_beyond_four_digits() -> None:
    assert rfc3339.format(0) == "1970-01-01T00:00:00Z"
    assert rfc3339.format(1_500_000_000) == "1970-01-01T00:00:01.5Z"
    with pytest.raises(ValueError, match="10000"):
        rfc3339.format(rfc3339.parse("9999-12-31T23:59:59Z") + 10**9)
