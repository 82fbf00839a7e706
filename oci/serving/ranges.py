"""The byte ranges that requests name.

RFC 9110 section 14, and distribution-spec v1.1.1 spec.md#pushing-a-blob-in-chunks.
"""

from __future__ import annotations

import re

__all__ = ["MAX_POSITION", "byte_range", "content_range"]

MAX_POSITION = (1 << 63) - 1  # a position in a file: off_t

# A number that int() takes in no time: 19 digits hold every position.
_NUMBER = r"([0-9]{1,19})"


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Read `Range: bytes=…` for `size` bytes → offset and length; None where the whole is to be sent.

    A range that can't be satisfied gives a length of 0. What isn't one range of bytes (other units, several ranges, bad
    grammar) is ignored, as RFC 9110 section 14.2 lets a server do.
    """
    if header is None:
        return None
    match = re.fullmatch(rf"bytes=\s*(?:{_NUMBER}-{_NUMBER}?|-{_NUMBER})\s*", header)
    if match is None:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        length = min(int(suffix), size)
        return size - length, length
    start = int(first)
    end = int(last) if last is not None else MAX_POSITION
    if end < start:
        return 0, 0  # RFC 9110 section 14.1.1 calls it invalid; to say so helps more than to send everything
    return (start, min(end, size - 1) - start + 1) if start < size else (0, 0)


def content_range(header: str) -> tuple[int, int] | None:
    """Read an upload's `Content-Range: FIRST-LAST`, both inclusive → offset and length; None if it is no such thing.

    The form of RFC 9110, `bytes FIRST-LAST/SIZE`, is taken too: some clients send it.
    """
    match = re.fullmatch(rf"(?:bytes\s+)?{_NUMBER}-{_NUMBER}(?:/(?:[0-9]+|\*))?", header.strip())
    if match is None:
        return None
    first, last = int(match[1]), int(match[2])
    return (first, last - first + 1) if first <= last <= MAX_POSITION else None
