"""Containers that are not what their rows say, and folders without a row. What a container wrote is never lost here.

==========================  ===========================================================  =============================
`container-dead`            shown as running; neither it nor its supervisor lives        shown as exited, with what
                                                                                         exit.json says
`container-unsupervised`    it runs, its supervisor doesn't: no log, no exit status      killed, shown as exited
`container-half-removed`    its removal was interrupted                                  removed
`container-half-made`       its making was interrupted, before it could ever run         removed
`container-without-folder`  a row whose folder is gone                                   row removed
`container-without-row`     a folder that no row knows; not while something runs in it   removed; put into `lost/` if
                                                                                         anything was written in it
`container-without-layer`   a layer that it stands on is not there                       unpacked again, if an image in
                                                                                         the store has it
`container-without-image`   the documents of its image are gone                          no; pull the image again
==========================  ===========================================================  =============================

A container whose lock somebody holds is being worked on, and is passed over.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress

from oci.errors import ContainerNotFound, OciError
from oci.spec.digest import Digest
from oci.storage.containers import is_id
from oci.storage.ending import EXIT_FILE, Ending
from oci.storage.faults_host import unmount_below
from oci.storage.faults_layers import image_of
from oci.storage.finding import Finding, Mend, UnmendedError
from oci.storage.folders import remove_folder
from oci.storage.processes import kill_and_wait, processes_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.linux.process import Identity
    from oci.storage.containers import ContainerRow
    from oci.storage.store import Store

__all__ = ["LOST", "MENDS", "find", "remove_container_folder"]

LOST = "lost"  # the folder for what containers wrote that the store knows no more
_OF_A_RUN = (EXIT_FILE, "log.json", "bundle")  # in the folder of a container that was started


def find(store: Store) -> Iterator[Finding]:
    """Hold rows, folders, layers and living processes against each other."""
    root = f"{store.root}/containers"
    names = sorted(os.listdir(root))  # before the rows are read: a row comes before its folder
    rows = store.containers.list()
    layers = _whole_layers(store)
    for row in rows:
        finding = _look_at(store, row)
        if finding is not None:
            yield finding
        missing = [layer for layer in row.layers if layer not in layers]
        if missing:
            what = f"layer {missing[0][:19]}{f' and {len(missing) - 1} more' if len(missing) > 1 else ''}"
            yield _finding("container-without-layer", row, f"{what} below it is not there; what it wrote is kept")
        if row.manifest and not _has_blob(store, row.manifest):
            message = f"the manifest of its image is gone; pull {row.image_name or 'the image'} again"
            yield _finding("container-without-image", row, message, repairable=False)
    known = {row.id for row in rows}
    for name in names:
        if name not in known and is_id(name) and os.path.isdir(f"{root}/{name}"):
            with suppress(ContainerNotFound, BlockingIOError), store.containers.lock(name, wait=False):
                yield _orphan(store, name)  # one that is being made is locked


def _look_at(store: Store, row: ContainerRow) -> Finding | None:
    try:
        with store.containers.lock(row.id, wait=False):
            if row.status == "removing":
                return _finding("container-half-removed", row, "its removal was interrupted")
            if row.status == "running":
                return _living(row)
            if row.status == "created" and row.started is None and not _is_made(store, row):
                return _finding("container-half-made", row, "its making was interrupted; it never ran")
    except ContainerNotFound:
        if row.status == "running" and _alive(row.init):
            return _living(row)
        return _finding("container-without-folder", row, "its folder is gone, and with it what it wrote")
    except BlockingIOError:
        return None
    return None


def _living(row: ContainerRow) -> Finding | None:
    if _alive(row.supervisor):
        return None
    if _alive(row.init):
        return _finding("container-unsupervised", row, "it runs, but its supervisor is dead: nobody keeps its log")
    return _finding("container-dead", row, "is shown as running, but neither it nor its supervisor lives")


def _alive(identity: Identity | None) -> bool:
    return identity is not None and identity.alive()


def _is_made(store: Store, row: ContainerRow) -> bool:
    """Whether the driver has made what a container needs to be started."""
    snapshot = store.containers.snapshot(row)
    whole = (snapshot.tree,) if row.driver == "copy" else (snapshot.upper, snapshot.work)
    return all(os.path.isdir(path) for path in whole)


def _orphan(store: Store, name: str) -> Finding:
    busy = processes_of(store, name)
    message = "a folder that the store knows no container for"
    if busy:
        message += f"; processes of it are alive ({', '.join(map(str, busy[:3]))}): stop them first"
    return Finding(
        code="container-without-row",
        where=f"containers/{name[:12]}",
        message=message,
        repairable=not busy,
        subject=name,
    )


def _finding(code: str, row: ContainerRow, message: str, *, repairable: bool = True) -> Finding:
    return Finding(
        code=code,
        where=f"container {row.name} ({row.short_id})",
        message=message,
        repairable=repairable,
        subject=row.id,
    )


def _whole_layers(store: Store) -> set[str]:
    rows = store.state.all("SELECT id FROM layers")
    return {name for (name,) in rows if os.path.isdir(store.layers.path(name))}


def _has_blob(store: Store, digest: str) -> bool:
    try:
        return store.images.blobs.has(Digest.parse(digest))
    except OciError:
        return False


# Mending


def _note_end(store: Store, finding: Finding) -> str:
    row = store.containers.get(finding.subject)
    ending = Ending.read(store.containers.folder(row.id))
    if ending is None or ending.started != row.started:  # of a run before, or not whole
        ending = Ending(started=row.started, finished=row.finished or store.clock(), exit_code=None)
    code = ending.exit_code
    store.containers.update(
        row.id,
        status="exited",
        supervisor=None,
        init=None,
        finished=ending.finished,
        exit_code=code,
        error=None if code is not None else ending.reason or "nobody saw how it ended",
    )
    return f"is shown as exited{f' ({code})' if code is not None else ', without an exit status'}"


def _kill(store: Store, finding: Finding) -> str:
    row = store.containers.get(finding.subject)
    if row.init is not None and row.init.alive():
        kill_and_wait(row.init, signal.SIGKILL)
    store.containers.update(
        row.id,
        status="exited",
        supervisor=None,
        init=None,
        finished=store.clock(),
        exit_code=137,
        error="its supervisor was killed, and then it itself by store check --repair",
    )
    return "was killed, and is shown as exited (137)"


def _remove(store: Store, finding: Finding) -> str:
    row = store.containers.get(finding.subject)
    with suppress(ContainerNotFound), store.containers.lock(row.id, wait=False):
        remove_container_folder(store, row.id)
    store.containers.remove(row.id)
    return "removed"


def remove_container_folder(store: Store, container_id: str) -> None:
    """Remove a container's folder, after whatever is mounted below it: nothing is removed through a mount."""
    folder = store.containers.folder(container_id)
    unmount_below(folder)
    remove_folder(folder)


def _drop_row(store: Store, finding: Finding) -> str:
    if os.path.lexists(store.containers.folder(finding.subject)):
        raise UnmendedError("its folder is there again")
    store.containers.remove(finding.subject)
    return "its row was removed"


def _put_aside(store: Store, finding: Finding) -> str:
    name = finding.subject
    if processes_of(store, name):
        raise UnmendedError("processes of it are alive")
    if store.state.one("SELECT 1 FROM containers WHERE id = ?", (name,)) is not None:
        raise UnmendedError("it has a row again")
    folder = store.containers.folder(name)
    with store.containers.lock(name, wait=False):
        unmount_below(folder)
        if not _wrote_anything(folder):
            remove_folder(folder)
            return "removed; nothing had been written in it"
        os.makedirs(f"{store.root}/{LOST}", 0o700, exist_ok=True)
        place = f"{LOST}/{name}"
        while os.path.lexists(f"{store.root}/{place}"):
            place += "+"
        os.rename(folder, f"{store.root}/{place}")
    return f"moved to {place}, because of what was written in it"


def _wrote_anything(folder: str) -> bool:
    """Whether a writable layer holds anything; a tree of the copy driver does when it was started once."""
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(f"{folder}/upper") as entries:
        if next(entries, None) is not None:
            return True
    return os.path.isdir(f"{folder}/tree") and any(os.path.lexists(f"{folder}/{name}") for name in _OF_A_RUN)


def _unpack_again(store: Store, finding: Finding) -> str:
    row = store.containers.get(finding.subject)
    image = image_of(store, row.manifest)
    if image is None:
        raise UnmendedError(f"its image is not here; pull {row.image_name or 'it'} again")
    there = {folder.id for folder in store.layers.ensure(image, warn=store.warn)}
    if not set(row.layers) <= there:
        raise UnmendedError("its image has other layers by now")
    return "its layers were unpacked again"


MENDS: dict[str, Mend] = {
    "container-dead": _note_end,
    "container-unsupervised": _kill,
    "container-half-removed": _remove,
    "container-half-made": _remove,
    "container-without-folder": _drop_row,
    "container-without-row": _put_aside,
    "container-without-layer": _unpack_again,
}
