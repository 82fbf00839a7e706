"""One fault that a check found: a code, how bad it is, the place, and a sentence.

Checks that look for every fault hand out findings; code that needs the first fault only raises an `OciError` instead.
A finding's texts are printable one-liners, because names in them come from images that may be hostile.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from oci.errors import show

__all__ = ["ERROR", "MAX_ALIKE", "WARNING", "Finding", "Severity", "limited"]

Severity = Literal["error", "warning"]
ERROR: Severity = "error"
WARNING: Severity = "warning"

# A layer of a million bad names must not become a million lines: what is beyond this is counted, not listed.
MAX_ALIKE = 100


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault: `code` is stable and kebab-case, `where` names file, blob, JSON pointer or layer entry."""

    code: str
    severity: Severity
    where: str
    message: str

    def to_json(self) -> dict[str, str]:
        """The finding as the `problems` of `verify --json` list it."""
        return {"code": self.code, "severity": self.severity, "where": self.where, "message": self.message}

    @classmethod
    def error(cls, code: str, where: str, message: str) -> Finding:
        """A fault that makes what was checked wrong."""
        return cls(code, ERROR, printable(where), printable(message))

    @classmethod
    def warning(cls, code: str, where: str, message: str) -> Finding:
        """Something odd that the specs allow, or that consumers are known to live with."""
        return cls(code, WARNING, printable(where), printable(message))


def printable(text: str) -> str:
    """`text` as one printable line of bounded length (messages may hold up to eight shown names)."""
    if len(text) <= 200:
        return show(text)
    line = "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)
    return line if len(line) <= 1600 else f"{line[:1500]}…({len(line)} characters)"


def limited(findings: Iterable[Finding], where: str, limit: int = MAX_ALIKE) -> Iterator[Finding]:
    """At most `limit` findings of each code and severity; then one that says how many more there are at `where`."""
    seen: dict[tuple[str, Severity], int] = {}
    for finding in findings:
        kind = (finding.code, finding.severity)
        seen[kind] = seen.get(kind, 0) + 1
        if seen[kind] <= limit:
            yield finding
    for (code, severity), count in seen.items():
        if count > limit:
            yield Finding(code, severity, printable(where), f"and {count - limit} more like the {limit} above")
