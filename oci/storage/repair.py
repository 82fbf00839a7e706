"""Mending what `check` found, without ever losing data of a container or a volume.

Everything happens under the store's exclusive lock, in the order in which faults stand on each other (a mount below a
folder before the folder, a layer before the container above it). Each mend looks again before it does anything, so
that mending twice, or after somebody else, does nothing; and after a kill in its middle it can be begun anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from oci.errors import OciError
from oci.spec.record import Record
from oci.storage import faults_containers, faults_host, faults_images, faults_layers, faults_volumes
from oci.storage.check import CODES, Finding
from oci.storage.finding import Mend, UnmendedError

if TYPE_CHECKING:
    from oci.storage.store import Store

__all__ = ["Repair", "repair"]

MENDS: dict[str, Mend] = {
    **faults_images.MENDS,
    **faults_layers.MENDS,
    **faults_volumes.MENDS,
    **faults_host.MENDS,
    **faults_containers.MENDS,
}
_HOST_FIRST = ("stale-mount",)


class Repair(Record):
    """What became of one finding: `done`, and a sentence that says what was done, or why not."""

    finding: Finding
    done: bool
    message: str

    def to_json(self) -> dict[str, object]:
        """The finding as `store check --repair --json` lists it."""
        return {**self.finding.to_json(), "repaired": self.done, "repair": self.message}


def repair(store: Store, findings: Iterable[Finding]) -> tuple[Repair, ...]:
    """Mend what can be mended; one answer for each finding, in the order in which they were dealt with."""
    done = []
    with store.exclusive():
        for finding in sorted(findings, key=_order):
            done.append(_mend(store, finding))
    return tuple(done)


def _order(finding: Finding) -> tuple[bool, int]:
    return finding.code not in _HOST_FIRST, CODES.index(finding.code)


def _mend(store: Store, finding: Finding) -> Repair:
    mend = MENDS.get(finding.code) if finding.repairable else None
    if mend is None:
        return Repair(finding=finding, done=False, message="can't be mended by itself")
    try:
        message = mend(store, finding)
    except UnmendedError as reason:
        return Repair(finding=finding, done=False, message=str(reason))
    except (OciError, OSError) as error:
        return Repair(finding=finding, done=False, message=f"failed: {error}")
    return Repair(finding=finding, done=True, message=message)
