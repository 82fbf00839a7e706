"""Mending what `check` found, without ever losing data of a container or a volume."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from oci.spec.record import Record

if TYPE_CHECKING:
    from oci.storage.check import Finding
    from oci.storage.store import Store

__all__ = ["Repair", "repair"]


class Repair(Record):
    """What became of one finding: `done`, and a sentence that says what was done, or why not."""

    finding: Finding
    done: bool
    message: str


def repair(
    store: Store, findings: Iterable[Finding], *, warn: Callable[[str], None] | None = None
) -> tuple[Repair, ...]:
    """Mend what can be mended, under the store's exclusive lock."""
    raise NotImplementedError
