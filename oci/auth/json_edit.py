"""Changing one member of a JSON text and nothing else: the rest keeps its bytes, order, spaces and unknown fields.

Other programs' files are not ours to rewrite. The text is valid JSON already, without duplicate names (`wire.loads` has
read it); a result that would not read back as wanted is not given out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from oci.spec.record import Record

__all__ = ["edited"]

_DECODER = json.JSONDecoder()
_BLANKS = re.compile(r"[ \t\r\n]*")


class _Member(Record):
    """Where a member of an object stands in the text."""

    name: str
    start: int  # of its name's quote
    value: int
    end: int  # behind its value


def edited(text: str, path: Sequence[str], value: Mapping[str, Any] | None) -> str:
    """Give the text with the member at `path` (names of objects in objects) set to `value`, or without it (None)."""
    wanted = _with(json.loads(text), path, value)
    made = _edit(text, list(path), value)
    if made is None or json.loads(made) != wanted:  # an unheard-of layout: keep what it says, if not how
        made = json.dumps(wanted, indent="\t", ensure_ascii=False)
    return made


def _with(document: Any, path: Sequence[str], value: Mapping[str, Any] | None) -> Any:
    holder = document
    for name in path[:-1]:
        if value is None and not isinstance(holder.get(name), dict):
            return document
        if not isinstance(holder.get(name), dict):
            holder[name] = {}
        holder = holder[name]
    if value is None:
        holder.pop(path[-1], None)
    else:
        holder[path[-1]] = value
    return document


def _edit(text: str, path: list[str], value: Mapping[str, Any] | None) -> str | None:
    start = _skip(text, 0)
    for depth, name in enumerate(path, 1):
        if not text.startswith("{", start):
            return None
        members = _members(text, start)
        found = next((member for member in members if member.name == name), None)
        last = depth == len(path)
        if found is None or (not last and not text.startswith("{", found.value)):
            if value is None:
                return text
            inner: Any = value
            for outer in reversed(path[depth:]):
                inner = {outer: inner}
            if found is None:
                return _inserted(text, start, members, depth, name, inner)
            return (
                text[: found.value] + _written(inner, _indent(text, start, members, depth), depth) + text[found.end :]
            )
        if last:
            if value is None:
                return _removed(text, start, members, found)
            return (
                text[: found.value] + _written(value, _indent(text, start, members, depth), depth) + text[found.end :]
            )
        start = found.value
    return None


def _members(text: str, start: int) -> list[_Member]:
    """Find the members of the object that begins at `start`."""
    members = []
    place = _skip(text, start + 1)
    while text[place] != "}":
        begin = place
        name, place = _DECODER.raw_decode(text, place)
        place = _skip(text, _skip(text, place) + 1)  # the colon
        _, end = _DECODER.raw_decode(text, place)
        members.append(_Member(name=name, start=begin, value=place, end=end))
        place = _skip(text, end)
        if text[place] == ",":
            place = _skip(text, place + 1)
    return members


def _indent(text: str, start: int, members: list[_Member], depth: int) -> str | None:
    """What stands before each member of this object: a line break and blanks; None where all is on one line."""
    if members:
        before = text[_behind_comma(text, start, members) : members[-1].start]
        return before if "\n" in before else None
    return "\n" + "\t" * depth if "\n" in text or text.strip() == "{}" else None


def _behind_comma(text: str, start: int, members: list[_Member]) -> int:
    return _skip(text, members[-2].end) + 1 if len(members) > 1 else start + 1


def _written(value: Any, indent: str | None, depth: int) -> str:
    """Write a value as the text around it is written, `depth` objects deep."""
    if indent is None:
        return json.dumps(value, ensure_ascii=False)
    margin = indent.rpartition("\n")[2]
    lines = json.dumps(value, ensure_ascii=False, indent=margin[: len(margin) // depth] or "\t").split("\n")
    return f"\n{margin}".join(lines)


def _inserted(text: str, start: int, members: list[_Member], depth: int, name: str, value: Any) -> str:
    indent = _indent(text, start, members, depth)
    new = f"{json.dumps(name, ensure_ascii=False)}: {_written(value, indent, depth)}"
    if members:
        end = members[-1].end
        return text[:end] + "," + (indent if indent is not None else " ") + new + text[end:]
    close = _skip(text, start + 1)
    outside = "" if indent is None else "\n" + "\t" * (depth - 1)
    return text[: start + 1] + (indent or "") + new + outside + text[close:]


def _removed(text: str, start: int, members: list[_Member], found: _Member) -> str:
    number = members.index(found)
    if number > 0:
        return text[: members[number - 1].end] + text[found.end :]
    if len(members) > 1:
        return text[: found.start] + text[members[1].start :]
    return text[: start + 1] + text[_skip(text, found.end) :]


def _skip(text: str, place: int) -> int:
    match = _BLANKS.match(text, place)
    assert match is not None
    return match.end()
