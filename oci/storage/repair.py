"""Mending what `check` found, without ever losing data of a container or a volume.

Everything happens under the store's exclusive lock, in the order in which faults stand on each other (a mount below a
folder before the folder, a layer before the container above it). Each mend looks again before it does anything, so
that mending twice, or after somebody else, does nothing; and after a kill in its middle it can be begun anew.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from oci.errors import OciError
from oci.spec.record import Record
from oci.storage import faults_containers, faults_host, faults_images, faults_layers, faults_volumes
from oci.storage.check import CODES, Finding, check
from oci.storage.finding import Mend, UnmendedError
from oci.storage.state import DATABASE, DamagedDatabase, set_aside

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.storage.store import Store
    from oci.streams.progress import Progress

__all__ = ["Repair", "check_and_repair", "opened", "repair"]

MENDS: dict[str, Mend] = {
    **faults_images.MENDS,
    **faults_layers.MENDS,
    **faults_volumes.MENDS,
    **faults_host.MENDS,
    **faults_containers.MENDS,
}
MAX_ROUNDS = 4  # a folder, its layer, the container above it; one more that finds nothing
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


def check_and_repair(store: Store, *, deep: bool = False, progress: Progress | None = None) -> tuple[Repair, ...]:
    """Check, mend, and look again, until nothing new is found: one mend may uncover what another is for."""
    answers = list(repair(store, check(store, deep=deep, progress=progress)))
    for _ in range(MAX_ROUNDS):
        known = {(answer.finding.code, answer.finding.where) for answer in answers if not answer.done}
        new = [finding for finding in check(store) if (finding.code, finding.where) not in known]
        if not new:
            break
        answers += repair(store, new)
    return tuple(answers)


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


@contextmanager
def opened(
    opener: Callable[[], AbstractContextManager[Store]], *, mend: bool
) -> Iterator[tuple[Store | None, tuple[Repair, ...]]]:
    """Open a store whose database may be damaged; with `mend`, in place of such a one a new one is made.

    Gives the store (None where it can't be opened), and what was found and done. The damaged file is kept beside. What
    lies in the store gets rows again by `check_and_repair`: layers and volumes all of them, while containers can't be
    told without their rows, so what they wrote is put into `lost/`.
    """
    with ExitStack() as stack:
        store = None
        try:
            store = stack.enter_context(opener())
            faults, path = store.state.check(), store.state.path
        except DamagedDatabase as error:
            faults, path = [error.reason], error.where
        if not faults:
            yield store, ()
            return
        finding = Finding(code="database-damaged", where=DATABASE, message=faults[0])
        if not mend:
            yield None, (Repair(finding=finding, done=False, message="not asked for"),)
            return
        stack.close()
        kept = set_aside(os.path.dirname(path))
        open(path, "xb").close()  # so that it is still known for a store
        os.chmod(path, 0o600)
        store = stack.enter_context(opener())
        yield store, (Repair(finding=finding, done=True, message=f"a new one was made; the old one is {kept}"),)
