"""What a registry warns its users of, in `Warning` headers (distribution-spec v1.1.1 spec.md#warnings).

A warning is told, and nothing is done about it. Only the registry's own are: the code 299 and the agent `-` (RFC 7234
section 5.5); others come from caches on the way. The words are a stranger's, so they are short, and told once each.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence

from oci.errors import show

__all__ = ["MAX_TOLD", "MAX_WARNING", "Heard", "parse_warnings"]

MAX_WARNING = 4096  # characters of all Warning headers of one answer: what the spec lets a registry send
MAX_TOLD = 20  # warnings that are told; real registries have one or two

_TEXT = r'"((?:[^"\\]|\\.)*)"'
_WARNING = re.compile(rf'[ \t]*([^ \t,"]+) ([^ \t,"]+) {_TEXT}(?: {_TEXT})?[ \t]*(?:,|$)')


def parse_warnings(values: Sequence[str]) -> Iterator[str]:
    """Give the words of each warning of the registry's own. What can't be read ends the header that it is in."""
    left = MAX_WARNING
    for value in values:
        left -= len(value)
        if left < 0:
            return
        at = 0
        while (found := _WARNING.match(value, at)) is not None and at < len(value):
            at = found.end()
            code, agent, text = found[1], found[2], re.sub(r"\\(.)", r"\1", found[3])
            if (code, agent) == ("299", "-") and text.strip():
                yield _decoded(" ".join(text.split()))


def _decoded(text: str) -> str:
    """A header is read as Latin-1; most that isn't ASCII is UTF-8."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text


class Heard:
    """What was told already: for one client, or shared by all of a command. Threads may share it."""

    def __init__(self) -> None:
        self._told: set[str] = set()
        self._lock = threading.Lock()

    def new(self, host: str, text: str) -> str | None:
        """Give the line to tell; None for one that was told, and after MAX_TOLD of them."""
        line = f"{host} warns: {show(text)}"
        with self._lock:
            if line in self._told or len(self._told) >= MAX_TOLD:
                return None
            self._told.add(line)
        return line
