"""What is wrong with a store: everything that crashes, disks and people can do to it, found by looking."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from oci.spec.record import Record

if TYPE_CHECKING:
    from oci.storage.store import Store

__all__ = ["Finding", "check"]


class Finding(Record):
    """One fault: a stable kebab-case `code`, the thing it is about, a sentence, and whether `repair` can mend it."""

    code: str
    where: str
    message: str
    repairable: bool = True


def check(store: Store, *, deep: bool = False) -> Iterator[Finding]:
    """Look at everything in a store; `deep` reads every blob, and every layer's files against its tar."""
    raise NotImplementedError
