"""Times of documents: RFC 3339 section 5.6 text to and from nanoseconds since 1970-01-01T00:00:00Z.

Written here because `datetime` stops at microseconds, has no second 60, and would cost start-up time.
"""

from __future__ import annotations

from oci.lazily import re

NANOSECONDS = 1_000_000_000

_DAY = 86_400
# RFC 3339 section 5.6 lets "T" and "Z" be lower case. [0-9] and not \d: \d takes other scripts' digits too.
_GRAMMAR = (
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)
_MONTH_LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def parse(text: str) -> int:
    """Nanoseconds since the epoch; digits of the fraction behind the ninth are cut off.

    Raises ValueError with the reason. A second of 60 is taken where a leap second can be (the end of June or December,
    UTC) and gives the first nanosecond after it.
    """
    parts = _plain(text)
    if parts is None:
        match = re.fullmatch(_GRAMMAR, text)
        if match is None:
            raise ValueError("expected a time as RFC 3339 writes it, such as 2024-05-01T12:00:00Z")
        parts = match.groups(default="")
    year, month, day, hour, minute, second = (int(part) for part in parts[:6])
    fraction = int((parts[6] or "0")[:9].ljust(9, "0"))
    if not 1 <= month <= 12:
        raise ValueError(f"there is no month {month}")
    if not 1 <= day <= _month_length(year, month):
        raise ValueError(f"{year:04}-{month:02} has no day {day}")
    if hour > 23 or minute > 59 or second > 60:
        raise ValueError("hours end at 23, minutes at 59, seconds at 59")
    offset = 0
    if parts[7]:
        offset_hours, offset_minutes = int(parts[8]), int(parts[9])
        if offset_hours > 23 or offset_minutes > 59:
            raise ValueError("the offset from UTC ends at 23:59")
        offset = (offset_hours * 60 + offset_minutes) * (-60 if parts[7] == "-" else 60)
    seconds = _days(year, month, day) * _DAY + hour * 3600 + minute * 60 + second - offset
    if second == 60:
        if not _after_leap_second(seconds):
            raise ValueError("second 60 is only at the end of June or December, UTC")
        fraction = 0
    return seconds * NANOSECONDS + fraction


def _plain(text: str) -> tuple[str, ...] | None:
    """The parts of a time in UTC as nearly all are written, without a regular expression; None: it takes one."""
    if text[4:5] + text[7:8] + text[10:11] + text[13:14] + text[16:17] + text[-1:] != "--T::Z" or len(text) < 20:
        return None
    parts = text[:4], text[5:7], text[8:10], text[11:13], text[14:16], text[17:19]
    fraction = text[19:-1]
    digits = "".join(parts) + (fraction[1:] or "0")
    if not (digits.isascii() and digits.isdigit()) or fraction[:1] not in ("", ".") or fraction == ".":
        return None
    return *parts, fraction[1:], "", "", ""


def format(nanoseconds: int) -> str:  # noqa: A001 - read as rfc3339.format
    """The time in UTC, with as many digits of the fraction as are not zero, at most nine.

    Raises ValueError for a year that four digits can't say.
    """
    seconds, fraction = divmod(nanoseconds, NANOSECONDS)
    days, rest = divmod(seconds, _DAY)
    year, month, day = _date(days)
    if not 0 <= year <= 9999:
        raise ValueError(f"the year {year} can't be written in four digits")
    tail = f".{fraction:09}".rstrip("0") if fraction else ""
    return f"{year:04}-{month:02}-{day:02}T{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}{tail}Z"


def _month_length(year: int, month: int) -> int:
    leap = month == 2 and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return _MONTH_LENGTHS[month - 1] + leap


def _after_leap_second(seconds: int) -> bool:
    days, rest = divmod(seconds, _DAY)
    return rest == 0 and _date(days)[1:] in ((7, 1), (1, 1))


def _days(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 (proleptic Gregorian), with years counted from March so that 29 February is last."""
    year -= month <= 2
    era, year_of_era = divmod(year, 400)
    day_of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return era * 146_097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719_468


def _date(days: int) -> tuple[int, int, int]:
    """The inverse of `_days`."""
    era, day_of_era = divmod(days + 719_468, 146_097)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_from_march = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * month_from_march + 2) // 5 + 1
    month = month_from_march + 3 if month_from_march < 10 else month_from_march - 9
    return era * 400 + year_of_era + (month <= 2), month, day
