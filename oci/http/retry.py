"""Which failures may be tried again, and when.

Tried again is what may pass by itself, of requests that do no harm when they happen twice (RFC 9110 section 9.2.2).
A server's own word on when counts more than ours: `Retry-After`, in seconds or as a date, which is read against the
answer's own `Date` because our clock is another. Waiting is bounded: a registry that says "come back tomorrow" is told
to the user instead.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable

__all__ = ["MAX_PAUSE", "MAX_WAIT", "Backoff", "is_idempotent", "may_pass", "retry_after"]

MAX_PAUSE = 120  # seconds of one wait that a server may ask for; longer ones are quotas, and the user's to know of
MAX_WAIT = 300  # seconds of all waits for one request: what a person or a CI job takes for hung is not much longer
FIRST = 0.5  # seconds before the second try, at most; then twice as long each time
LONGEST = 30.0  # seconds, where the server names no time

_PASSING = frozenset((408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 530))


def may_pass(status: int) -> bool:
    """Say whether an answer is of the kind that goes away: too busy, restarting, a gateway without its server."""
    return status in _PASSING


def is_idempotent(method: str) -> bool:
    """Say whether a request may happen twice. (A PUT may; one that ends an upload is told apart by its caller.)"""
    return method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS")


class Backoff:
    """The waits of one request: `attempts` tries in all, exponential with jitter, bounded in sum."""

    def __init__(self, attempts: int, sleep: Callable[[float], object]) -> None:
        self._left, self._sleep = attempts - 1, sleep
        self._next, self._waited = FIRST, 0.0
        self.tried = 1

    def pause(self, asked: float | None = None) -> float | None:
        """Give how long to wait before the next try, by the server's word or ours; None when there is to be none."""
        if self._left <= 0:
            return None
        # Half of the wait is left to chance: clients that failed together must not come back together.
        wait = self._next * (0.5 + os.urandom(1)[0] / 510)
        if asked is not None:
            if asked > MAX_PAUSE:
                return None
            wait = max(wait, asked)
        return wait if self._waited + wait <= MAX_WAIT else None

    def wait(self, seconds: float) -> None:
        """Wait, and count the try that follows."""
        self._left -= 1
        self.tried += 1
        self._waited += seconds
        self._next = min(self._next * 2, LONGEST)
        self._sleep(seconds)

    def go_on(self) -> bool:
        """Wait before the next try, if there is to be one."""
        seconds = self.pause()
        if seconds is None:
            return False
        self.wait(seconds)
        return True


def retry_after(value: str | None, date: str | None) -> float | None:
    """Read Retry-After (RFC 9110 section 10.2.3) in seconds from the answer on; None where it says nothing usable."""
    if value is None:
        return None
    text = value.strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return float(text)
    then, now = _seconds(text), _seconds(date or "")
    if then is None or now is None:
        return None
    return max(0.0, float(then - now))


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DATE = re.compile(r"[A-Z][a-z]{2}, ([0-9]{2}) ([A-Z][a-z]{2}) ([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) GMT")


def _seconds(text: str) -> int | None:
    """Read an IMF-fixdate (RFC 9110 section 5.6.7), the one form that is sent; in seconds since some fixed day."""
    found = _DATE.fullmatch(text.strip())
    if found is None or found[2] not in _MONTHS:
        return None
    day, month, year = int(found[1]), _MONTHS.index(found[2]) + 1, int(found[3])
    # Days of the proleptic Gregorian calendar; the year begins in March, so that a leap day is its last.
    if month < 3:
        year, month = year - 1, month + 12
    days = 365 * year + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5 + day
    return ((days * 24 + int(found[4])) * 60 + int(found[5])) * 60 + int(found[6])
