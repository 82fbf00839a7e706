"""Patterns that leave paths of a source directory out of a layer.

The grammar is that of `.dockerignore` without negation: a pattern is matched against the whole path below the source
directory, `*` and `?` never match a "/", `[a-z]` and `[^a-z]` are one character, `**` is any number of directories
(none, too), a backslash takes the next character literally. A leading or trailing "/" changes nothing. What matches
is left out with everything below it: `*.pyc` is about the top directory only, `**/*.pyc` about every one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from oci.errors import InvalidInput, show
from oci.lazily import re

__all__ = ["excluder"]


def excluder(patterns: Iterable[str | bytes]) -> Callable[[bytes], object] | None:
    """One test for all patterns: path below the source → truthy when it is left out; None without patterns."""
    expressions = [_translate(pattern) for pattern in map(os.fsencode, patterns)]
    if not expressions:
        return None
    return re.compile(b"|".join(expressions), re.DOTALL).fullmatch


def _translate(pattern: bytes) -> bytes:
    parts = [part for part in pattern.split(b"/") if part not in (b"", b".")]
    if pattern.startswith(b"!"):
        raise InvalidInput(f"exclude pattern {show(pattern)!r}: negation with '!' is not known here")
    if not parts or b".." in parts:
        raise InvalidInput(f"exclude pattern {show(pattern)!r} names nothing below the source")
    out = []
    for position, part in enumerate(parts):
        last = position == len(parts) - 1
        if part == b"**":
            out.append(b".+" if last else b"(?:[^/]+/)*")
        else:
            out.append(_translate_name(part, pattern) + (b"" if last else b"/"))
    return b"(?:" + b"".join(out) + b")"


def _translate_name(part: bytes, pattern: bytes) -> bytes:
    out, at = [], 0
    while at < len(part):
        char = part[at : at + 1]
        at += 1
        if char == b"*":
            while part[at : at + 1] == b"*":  # "a**" inside a name is "a*"
                at += 1
            out.append(b"[^/]*")
        elif char == b"?":
            out.append(b"[^/]")
        elif char == b"\\" and at < len(part):
            out.append(re.escape(part[at : at + 1]))
            at += 1
        elif char == b"[":
            end = part.find(b"]", at + 2 if part[at : at + 1] in (b"^", b"!") else at + 1)
            if end < 0:
                raise InvalidInput(f"exclude pattern {show(pattern)!r}: '[' without its ']'")
            out.append(_translate_set(part[at:end], pattern))
            at = end + 1
        else:
            out.append(re.escape(char))
    return b"".join(out)


def _translate_set(inside: bytes, pattern: bytes) -> bytes:
    negated = inside[:1] in (b"^", b"!")
    members = re.sub(rb"([\\\[\]^&~|])", rb"\\\1", inside[negated:])
    expression = b"(?!/)[" + (b"^" if negated else b"") + members + b"]"
    try:
        re.compile(expression)
    except re.error as error:
        raise InvalidInput(f"exclude pattern {show(pattern)!r}: {error}") from None
    return expression
