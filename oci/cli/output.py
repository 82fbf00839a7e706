"""Results for people and for programs: tables, sizes, JSON; printable whatever an image holds."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from oci.lazily import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")


def printable(text: str) -> str:
    """The text with everything a terminal could obey (escapes, line breaks, direction marks) spelt out."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)


def short_id(digest: str) -> str:
    """The twelve first digits of a digest, as tables have it."""
    return digest.partition(":")[2][:12]


def size(count: int | None) -> str:
    """A number of bytes to read at a glance, in decimal units as registries and docker show them: 4.2 MB."""
    if count is None:
        return "-"
    value, unit = float(count), 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    if unit == 0:
        return f"{count} B"
    return f"{value:.0f} {_UNITS[unit]}" if value >= 99.95 else f"{value:.1f} {_UNITS[unit]}"


def when(created: str | None) -> str:
    """An RFC 3339 time without its fraction and offset sign: 2024-05-01 12:00:00."""
    if not created:
        return "-"
    text = printable(created)
    day, _, rest = text.partition("T")
    return f"{day} {rest[:8]}" if len(rest) >= 8 and rest.endswith(("Z", "+00:00")) else text


def short(digest: object, length: int = 12) -> str:
    """A digest cut for a table: sha256:0123456789ab."""
    algorithm, _, encoded = str(digest).partition(":")
    return f"{algorithm}:{encoded[:length]}" if encoded else str(digest)


def cut(text: str, width: int) -> str:
    """At most `width` characters, the rest told by an ellipsis."""
    return text if len(text) <= width else text[: max(width - 1, 0)] + "…"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> None:
    """Print rows in aligned columns; those in `right` (numbers) end on the right, the last is never padded."""
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(len(column) for column in columns) for columns in zip(header, *cells, strict=True)]
    lines = []
    for row in [list(header), *cells]:
        last = len(row) - 1
        padded = [
            cell.rjust(widths[i]) if i in right else cell if i == last else cell.ljust(widths[i])
            for i, cell in enumerate(row)
        ]
        lines.append("  ".join(padded).rstrip())
    print("\n".join(lines))


def facts(pairs: Sequence[tuple[str, str | None]]) -> None:
    """Print `Name:  value` lines, aligned; pairs without a value are left out."""
    shown = [(name, value) for name, value in pairs if value is not None]
    width = max((len(name) for name, _ in shown), default=0) + 1
    for name, value in shown:
        print(f"{name + ':':<{width}}  {printable(value)}")


def document(value: Any) -> None:
    """Print one JSON document, UTF-8 whatever the locale, keys in the order given."""
    try:
        data = json.dumps(value, indent=2, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # a path whose bytes are not UTF-8 came as lone surrogates: JSON spells them \udcXX
        data = json.dumps(value, indent=2).encode()
    raw(data + b"\n")


def raw(data: bytes) -> None:
    """Write bytes to stdout exactly as they are."""
    sys.stdout.flush()
    buffer = getattr(sys.stdout, "buffer", None)
    if buffer is None:  # stdout was replaced by something for text only
        sys.stdout.write(data.decode("utf-8", "backslashreplace"))
        return
    buffer.write(data)
    buffer.flush()
