"""What is wrong with a store: everything that crashes, disks and people can do to it, found by looking.

The parts are in the modules `faults_*`, each with the table of its codes; docs/store.md has them all, with what
`repair` does about each.

Others may be making and removing things meanwhile, and what is half made looks like what a crash has left. So whatever
is found at first sight is looked for once more under the store's exclusive lock, when nobody is making anything; a
sound store is checked without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from oci.storage import faults_containers, faults_host, faults_images, faults_layers, faults_volumes
from oci.storage.finding import Finding
from oci.storage.state import DATABASE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.spec.digest import Digest
    from oci.storage.store import Store
    from oci.streams.progress import Progress

__all__ = ["CODES", "Finding", "check", "leftovers"]

CODES = (
    "database-damaged",
    "index-damaged",
    "index-entry-without-blob",
    "blob-missing",
    "blob-altered",
    "blob-leftover",
    "layer-leftover",
    "layer-without-folder",
    "layer-without-row",
    "layer-incomplete",
    "layer-altered",
    "volume-without-row",
    "volume-without-folder",
    "volume-leftover",
    "stale-mount",
    "container-dead",
    "container-unsupervised",
    "container-half-removed",
    "container-half-made",
    "container-without-folder",
    "container-without-row",
    "container-without-layer",
    "container-without-image",
    "stale-runtime-state",
    "run-leftover",
    "stale-cgroup",
)
"""All codes, in the order in which they are found and mended: what others stand on comes first."""


def check(store: Store, *, deep: bool = False, progress: Progress | None = None) -> Iterator[Finding]:
    """Look at everything in a store; `deep` reads every blob, and every layer's files against its tar."""
    faults = store.state.check()
    if faults:  # nothing that it says can be relied on
        yield Finding(code="database-damaged", where=DATABASE, message=faults[0])
        return
    first = list(_shallow(store))
    if first:
        with store.exclusive():
            first = list(_shallow(store))
    yield from first
    if not deep:
        return
    known = {(finding.code, finding.where) for finding in first}
    read: set[Digest] = set()
    for finding in faults_layers.find_altered(store, read, progress=progress):
        yield from _unless(known, finding)
    for finding in faults_images.find(store, deep=True, verified_already=lambda: read):
        yield from _unless(known, finding)


def _unless(known: set[tuple[str, str]], finding: Finding) -> Iterator[Finding]:
    key = (finding.code, finding.where)
    if key not in known:
        known.add(key)
        yield finding


def _shallow(store: Store) -> Iterator[Finding]:
    finders: tuple[Callable[[Store], Iterator[Finding]], ...] = (
        faults_images.find,
        faults_layers.find,
        faults_volumes.find,
        faults_host.find,
        faults_containers.find,
    )
    for find in finders:
        yield from sorted(find(store), key=lambda finding: CODES.index(finding.code))


def leftovers(store: Store) -> list[Finding]:
    """What killed commands left that is of no use to anybody; what living ones are making is none of it."""
    finders = (
        faults_images.find_leftovers,
        faults_layers.find_leftovers,
        faults_volumes.find_leftovers,
        faults_host.find_leftovers,
    )
    return [finding for find in finders for finding in find(store)]
