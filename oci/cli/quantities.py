"""Numbers as docker's options have them: bytes with a unit, durations, processors; one line when they are none."""

from __future__ import annotations

from oci.cli.failures import UsageError
from oci.errors import show
from oci.lazily import re

__all__ = ["byte_count", "decimal", "seconds", "whole"]

_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_BYTES = r"([0-9]+)(?:\.([0-9]+))? ?([bkmgtp]?)(?:i?b)?"
_LARGEST = (1 << 63) - 1  # the kernel's


def byte_count(said: str, text: str) -> int:
    """512m, 1.5g, 64k, 1024: units are powers of 1024, as docker has them here."""
    found = re.fullmatch(_BYTES, text, re.IGNORECASE)
    if found is None:
        raise UsageError(f"{said} {show(text)!r}: expected bytes, with k, m or g where wanted, such as 512m")
    unit: int = _UNITS[found[3].lower()]
    digits = found[2] or ""
    value = int(found[1]) * unit + int(digits or "0") * unit // int("1" + "0" * len(digits))
    if value > _LARGEST:
        raise UsageError(f"{said} {show(text)!r}: larger than can be said to the kernel")
    return value


def whole(said: str, text: str, *, least: int = 0, most: int = _LARGEST) -> int:
    """A whole number within bounds."""
    if re.fullmatch(r"-?[0-9]{1,19}", text) is None or not least <= int(text) <= most:
        upper = "" if most == _LARGEST else f" to {most}"
        raise UsageError(f"{said} {show(text)!r}: expected a whole number from {least}{upper}")
    return int(text)


def decimal(said: str, text: str) -> float:
    """A number above 0 such as 1.5."""
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?|\.[0-9]{1,9}", text) is None or float(text) == 0:
        raise UsageError(f"{said} {show(text)!r}: expected a number above 0, such as 1.5")
    return float(text)


_DURATION = r"(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9]+(?:\.[0-9]+)?)s)?"


def seconds(said: str, text: str) -> float:
    """10, 90s, 5m, 1h30m → seconds."""
    if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?", text):
        return float(text)
    found = re.fullmatch(_DURATION, text)
    if found is None or not text:
        raise UsageError(f"{said} {show(text)!r}: expected seconds, or a duration such as 1h30m")
    return int(found[1] or 0) * 3600 + int(found[2] or 0) * 60 + float(found[3] or 0)
