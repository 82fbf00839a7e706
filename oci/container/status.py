"""What state a container is really in: its row, held against the processes that live.

A row may be behind: a supervisor was killed, the machine was rebooted. It is put right when somebody looks (ps,
inspect, start, rm), never by a daemon.

=============================  ==========================================================================
the row says                   and that is put right when
=============================  ==========================================================================
running                        its supervisor is gone, and its first process too: exited, as exit.json has
                               it, else with no exit code and the reason
running                        its supervisor died before the program was started: as it was before
created, exited                the runtime has state of it, and nobody is just starting it: that goes
=============================  ==========================================================================

A container whose supervisor was killed but whose processes live is running, with nobody who keeps its log:
it can be stopped, killed and removed.
"""

from __future__ import annotations

import os
from contextlib import suppress

from oci.container.container import Container
from oci.container.runtimes import runtime_folder, runtime_knows
from oci.errors import ContainerNotFound, OciError
from oci.storage.ending import LOST, Ending
from oci.storage.state import FullDisk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.storage.containers import ContainerRow
    from oci.storage.store import Store

__all__ = ["is_running", "put_right", "reconcile", "status"]

REBOOTED = "the machine was restarted while it ran"
CUT_SHORT = "its start was interrupted"
SOCKETS = ("attach.sock", "console.sock", "pid")


def status(store: Store) -> tuple[Container, ...]:
    """All containers, oldest first, with their rows put right."""
    try:
        known = set(os.listdir(runtime_folder(store)))
    except FileNotFoundError:
        known = set()
    found = []
    for row in store.containers.list():
        container = Container(store, row)
        if _needs_a_look(row, row.id in known):
            try:
                reconcile(container)
                container.refresh()  # it may have been one that is removed at its end
            except ContainerNotFound:
                continue
        found.append(container)
    return tuple(found)


def is_running(container: Container) -> bool:
    """Whether it runs at this moment, as far as a look at its processes tells."""
    try:
        row = container.refresh()
    except ContainerNotFound:
        return False
    return row.status == "running" and (_lives(row, "supervisor") or _lives(row, "init"))


def reconcile(container: Container) -> Container:
    """Put the row of one container right; gives `container`, refreshed. One that is being worked on is left alone."""
    row = container.refresh()
    if _needs_a_look(row, runtime_knows(container)):
        with suppress(BlockingIOError), container.store.containers.lock(container.id, wait=False):
            put_right(container)
    return container


def put_right(container: Container) -> None:
    """The same by whoever has the container's lock."""
    row = container.refresh()
    if row.status == "running":
        _of_running(container, row)
    elif row.status in ("created", "exited") and runtime_knows(container) and not _lives(row, "supervisor"):
        _forget_runtime(container)


def _needs_a_look(row: ContainerRow, runtime_knows_it: bool) -> bool:
    if row.status == "running":
        return not _lives(row, "supervisor")
    return runtime_knows_it and row.status != "removing"


def _lives(row: ContainerRow, which: str) -> bool:
    one = getattr(row, which)
    return one is not None and bool(one.alive())


def _of_running(container: Container, row: ContainerRow) -> None:
    if _lives(row, "supervisor"):
        return
    if _lives(row, "init"):
        if os.path.lexists(f"{runtime_folder(container.store)}/{row.id}/exec.fifo"):
            # The runtime has made it, and waits to be told to run the program: nobody ever will.
            _forget_runtime(container)
            _update(container, status="created", supervisor=None, init=None, started=None, error=CUT_SHORT)
        return
    ending = Ending.read(container.folder)
    if ending is None or ending.started != row.started:
        ending = Ending(
            started=row.started,
            finished=container.store.clock(),
            exit_code=None,
            reason=REBOOTED if _rebooted(row) else LOST,
        )
    _update(
        container,
        status="exited",
        finished=ending.finished,
        exit_code=ending.exit_code,
        error=ending.reason,
        init=None,
        supervisor=None,
    )
    if runtime_knows(container):
        _forget_runtime(container)
    _remove_sockets(container)
    if row.auto_remove:
        from oci.container.removing import remove_all

        with suppress(OciError, OSError):  # somebody without the rights for it looks; the next one may have them
            remove_all(container, volumes=True)


def _rebooted(row: ContainerRow) -> bool:
    from oci.linux.process import boot_id

    return row.supervisor is not None and row.supervisor.boot_id != boot_id()


def _forget_runtime(container: Container) -> None:
    from oci.container.forgetting import forget

    forget(container)
    _remove_sockets(container)


def _remove_sockets(container: Container) -> None:
    for name in SOCKETS:
        with suppress(OSError):
            os.unlink(f"{container.folder}/{name}")


def _update(container: Container, **fields: object) -> None:
    try:
        container.row = container.store.containers.update(container.id, **fields)
    except FullDisk:  # told all the same, and noted by whoever looks when there is room
        container.row = container.row.replace(**fields)
