"""One fault of a store, as the modules `faults_*` find and mend them.

Each of those modules is about one part of the store, and holds both: `find`, which looks, and `MENDS`, which says for
each code how it is mended. A code is stable, kebab-case, and described in docs/store.md.
"""

from __future__ import annotations

from collections.abc import Callable

from oci.spec.record import Record, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.storage.store import Store

__all__ = ["Finding", "Mend", "UnmendedError"]


class Finding(Record):
    """One fault: a stable kebab-case `code`, the place in the store, a sentence, and whether `repair` can mend it.

    `subject` is what the fault is about as a program wants it: an ID, a name, a digest, a path.
    """

    code: str
    where: str
    message: str
    repairable: bool = True
    subject: str = field(default="", hash=False)

    def to_json(self) -> dict[str, object]:
        """The finding as `store check --json` lists it."""
        return {"code": self.code, "where": self.where, "message": self.message, "repairable": self.repairable}


class UnmendedError(Exception):
    """What a mend raises when it finds that it can't, or must not; says why."""


Mend = Callable[["Store", Finding], str]
"""Mends a finding under the store's exclusive lock; gives a sentence that says what was done."""
