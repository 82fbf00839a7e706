"""What happens to a container between create and its end: start, stop, kill, wait, restart, rename, remove.

Start and remove hold the container's lock, so that two commands at once do one after the other; a start hands it on to
the supervisor, so that it is held until the program runs, whoever is killed meanwhile. Who waits holds none.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

from oci.container.container import Container
from oci.container.processes import has_ended, send_signal
from oci.container.runtimes import find_runtime, runtime_folder
from oci.container.signals import parse_signal, stop_signal, stop_timeout
from oci.container.status import put_right, reconcile
from oci.errors import ContainerNotFound, OciError, StoreError, WrongState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.container.attach import Attachment
    from oci.container.launch import Channel, Standby
    from oci.runtime.runc import Runtime

__all__ = ["kill", "remove", "rename", "restart", "start", "start_attached", "stop", "wait"]

SETTLE = 20.0  # seconds that a supervisor may take to clear up behind its container
AFTER_KILL = 10.0  # seconds that the kernel may take to end a container after SIGKILL
_PAUSE = 0.01


def start(container: Container, *, runtime: Runtime | None = None, standby: Standby | None = None) -> None:
    """Start a created or exited container in the background; back when its process runs.

    `standby`: a supervisor that was begun ahead (oci/container/launch.py); it is used up.

    `runtime`: None is the one that `find_runtime` chooses. Raises WrongState when it runs already, RuntimeFailed
    (`status` 125, 126, 127), DriverError, ConfigurationError; the container is then as it was, with `error` in its row,
    except that one with auto_remove is removed.
    """
    _launch(container, runtime, standby, None, None).close()
    with suppress(ContainerNotFound):  # it has ended, and is removed, already
        container.refresh()


def start_attached(
    container: Container,
    *,
    runtime: Runtime | None = None,
    standby: Standby | None = None,
    stdin: bool = True,
    size: tuple[int, int] | None = None,
) -> Attachment:
    """Like `start`, with a client that sees output from the first byte on: `.run(…)` it to the end.

    `stdin`: its input goes to the container, if that takes any. `size`: rows and columns that its terminal begins with;
    None are those of our own, if stdin is one.
    """
    from oci.container.attach import Attachment
    from oci.container.console import size_of

    if size is None and container.settings.tty:
        size = size_of(0)
    channel = _launch(container, runtime, standby, {"output": True, "stdin": stdin}, size)
    return Attachment(container, channel)


def _launch(
    container: Container,
    runtime: Runtime | None,
    standby: Standby | None,
    attach: dict[str, object] | None,
    size: tuple[int, int] | None,
) -> Channel:
    from oci.container.launch import Standby

    store = container.store
    with store.containers.lock(container.id) as lock:
        put_right(container)
        _settle(container)
        row = container.row
        if row.status not in ("created", "exited"):
            raise WrongState(row.name, row.status, "only a container that doesn't run can be started")
        try:
            runtime = runtime or find_runtime(store)
            os.makedirs(runtime_folder(store), 0o700, exist_ok=True)
            order: dict[str, object] = {
                "root": store.root,
                "id": row.id,
                "runtime": runtime.found.to_json(),
                "attach": attach,
                "size": size,
            }
            with standby or Standby() as supervisor:
                return supervisor.start(order, lock)
        except (OciError, OSError):
            if row.auto_remove:
                _remove_unstarted(container)
            raise


def _remove_unstarted(container: Container) -> None:
    """One with auto_remove whose start failed, and whose supervisor, if there ever was one, couldn't remove it."""
    from oci.container.removing import remove_all

    with suppress(OciError, OSError):
        put_right(container)
        if container.row.status != "running":
            remove_all(container, volumes=True)


def stop(container: Container, timeout: int | None = None) -> None:
    """Send the stop signal, and SIGKILL after `timeout` seconds (None: the container's own, else 10); wait for its end.

    A container that doesn't run is left as it is. A negative timeout waits for ever.
    """
    reconcile(container)
    if container.row.status != "running":
        return
    settings = container.settings
    patience = stop_timeout(settings) if timeout is None else float("inf") if timeout < 0 else float(timeout)
    init = container.row.init
    send_signal(container, stop_signal(settings))
    if not has_ended(init, patience):
        send_signal(container, parse_signal("KILL"))
        if not has_ended(init, AFTER_KILL):
            raise WrongState(container.name, "running", "it doesn't end, though it was killed; a device may hold it")
    _see_end(container)


def kill(container: Container, signal: int | str = "KILL") -> None:
    """Send a signal (number, "TERM" or "SIGTERM") to the container's first process. WrongState when it doesn't run."""
    number = parse_signal(signal)
    reconcile(container)
    if container.row.status != "running":
        raise WrongState(container.name, container.row.status, "only one that runs can be sent a signal")
    send_signal(container, number)


def wait(container: Container) -> int | None:
    """Wait until the container has ended; its exit status (128+n by signal n), None when nobody saw it.

    One that was never started has ended: 0, as docker says.
    """
    from oci.container.attach import watch

    reconcile(container)
    if container.row.status == "running":
        ended = watch(container)  # by its supervisor, which tells even of one that is removed at its end
        if ended is not None and ended.status is not None:
            with suppress(ContainerNotFound):
                container.refresh()
            return ended.status
        has_ended(container.row.init, float("inf"))
        _see_end(container)
    row = container.row
    return 0 if row.status == "created" and row.exit_code is None else row.exit_code


def restart(container: Container, timeout: int | None = None, *, runtime: Runtime | None = None) -> None:
    """Stop it if it runs, then start it."""
    stop(container, timeout)
    start(container, runtime=runtime)


def rename(container: Container, name: str) -> None:
    """Give the container another name. Raises NameTaken."""
    container.store.containers.rename(container.id, name)
    container.refresh()


def remove(container: Container, *, force: bool = False, volumes: bool = False) -> None:
    """Remove the container and everything it wrote; with `volumes` its anonymous volumes too.

    WrongState when it runs or is mounted, unless `force`, which kills and unmounts it. Interrupted, it can be repeated.
    """
    from oci.container.mounting import is_mounted
    from oci.container.removing import remove_all

    store = container.store
    try:
        with store.containers.lock(container.id):
            put_right(container)
            if container.row.status == "running":
                if not force:
                    raise WrongState(container.name, "running", "stop it first, or remove it with force (-f)")
                init = container.row.init
                with suppress(WrongState):
                    send_signal(container, parse_signal("KILL"))
                if not has_ended(init, AFTER_KILL):
                    raise WrongState(container.name, "running", "it doesn't end, though it was killed")
                _see_end(container, locked=True, force=True)
            if not force and is_mounted(container):
                raise WrongState(container.name, "mounted", "`ocikit umount` it first, or remove it with force (-f)")
            _settle(container, force=force)
            remove_all(container, volumes=volumes or container.row.auto_remove)
    except ContainerNotFound:
        if not os.path.lexists(container.folder):  # a row without a folder; or all is gone already
            remove_all(container, volumes=volumes)


def _see_end(container: Container, *, locked: bool = False, force: bool = False) -> None:
    """Until the row says how it ended, for its first process is gone. `force`: kill a supervisor that keeps silent."""
    deadline = time.monotonic() + SETTLE
    while True:
        try:
            row = container.refresh()
        except ContainerNotFound:  # --rm
            return
        if row.status != "running" and row.supervisor is None:
            return
        if row.supervisor is None or not row.supervisor.alive():
            if locked:
                put_right(container)
            else:
                reconcile(container)
            if container.row.status != "running":
                return
        if time.monotonic() > deadline:
            if force and row.supervisor is not None:
                from oci.storage.processes import kill_and_wait

                kill_and_wait(row.supervisor, signal.SIGKILL)
                force = False
                continue
            raise StoreError(container.folder, "its supervisor takes too long to clear up; try again")
        time.sleep(_PAUSE)


def _settle(container: Container, *, force: bool = False) -> None:
    """Until the supervisor of the run before has cleared up, or is dead."""
    row = container.row
    if row.status == "running" or row.supervisor is None:
        return
    _see_end(container, locked=True, force=force)
