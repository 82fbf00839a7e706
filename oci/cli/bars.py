"""The lines that show how far something is: plain text, each of fewer columns than the terminal has.

What does not fit is left out, the least telling first, so that no line is ever wrapped. Names are of blobs and files:
a digest is cut behind its twelfth digit, and of a path that is too long the end is kept.
"""

from __future__ import annotations

from collections.abc import Sequence

from oci.cli.output import printable, size
from oci.lazily import re

WIDTH = 20  # of the bar of the whole
SMALL = 10  # of a blob's
LONGEST_NAME = 30  # columns of a name, where there is room for it

_DIGEST = r"(?:[a-z]+ )?([a-z0-9.+_-]+:)([0-9a-f]{12})[0-9a-f]{20,}"

Blob = tuple[str, int, int | None]  # its name, the bytes done, the bytes in all if they are known


def whole(label: str, done: int, total: int, seconds: float, columns: int) -> str:
    """The line of the whole job after so many seconds; a `total` of 0 is one that nobody knows."""
    room = columns - 1  # a full line would make some terminals begin a new one
    # A long label, such as a reference, leaves room for the percentage.
    parts = [_head(label, room - 6) if total and room >= 20 else label]
    if total:
        share = min(done / total, 1.0)
        parts.append(f"{share:4.0%}")
        amount = f"{size(min(done, total))} of {size(total)}"
    else:
        amount = size(done) if done else ""
    if amount:
        parts.append(amount)
        if seconds >= 1:
            parts.append(f"{size(int(done / seconds))}/s")
    parts.append(f"{seconds:.0f} s")
    while len(parts) > 1 and width("  ".join(parts)) > room:
        parts.pop()
    if total and len(parts) > 1 and width("  ".join(parts)) + WIDTH + 4 <= room:
        parts.insert(1, _bar(share, WIDTH))
    return _head("  ".join(parts), room)


def each(blobs: Sequence[Blob], columns: int) -> list[str]:
    """A line for each blob, their columns aligned."""
    room = columns - 1
    # Digits alone where there is no room for more beside the percentage.
    names = [_short(name, bare=room < 26) for name, _, _ in blobs]
    most = max(min(LONGEST_NAME, room - 6), 0)
    names = [_tail(name, most) for name in names]
    column = max(map(width, names), default=0)
    padded = [name + " " * (column - width(name)) for name in names]
    return [_blob(name, done, total, room) for name, (_, done, total) in zip(padded, blobs, strict=True)]


def _blob(name: str, done: int, total: int | None, room: int) -> str:
    if not total:
        amount = size(done) if done else ""
        ways: tuple[tuple[str, ...], ...] = ((name, amount), (name,))
    else:
        share = min(done / total, 1.0)
        bar, percent = _bar(share, SMALL), f"{share:4.0%}"
        amount = f"{size(min(done, total))} of {size(total)}"
        ways = ((name, bar, percent, amount), (name, bar, percent), (name, percent), (name,))
    for way in ways:
        line = "  ".join(part for part in way if part)
        if width(line) <= room:
            return line.rstrip()
    return _head(name, room).rstrip()


def _bar(share: float, length: int) -> str:
    filled = int(share * length)
    return f"[{'#' * filled}{'.' * (length - filled)}]"


def _short(name: str, *, bare: bool) -> str:
    found = re.fullmatch(_DIGEST, name)
    if found is None:
        return printable(name)
    return found[2] if bare else found[1] + found[2]


def width(text: str) -> int:
    """How many columns a text takes on a terminal, or fewer than this."""
    if text.isascii():
        return len(text)
    from unicodedata import east_asian_width

    return sum(2 if east_asian_width(character) in "WFA" else 1 for character in text)


def _head(text: str, room: int) -> str:
    """The beginning of a text, as much as there is room for."""
    while width(text) > room and text:
        text = text[:room] if len(text) > room else text[:-1]
    return text


def _tail(text: str, room: int) -> str:
    """The end of a text, as much as there is room for."""
    if width(text) <= room:
        return text
    while text and width(text) + 2 > room:
        text = text[1:]
    return ".." + text if text else ""
