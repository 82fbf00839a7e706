"""Having a runtime forget a container that nobody supervises any more, by hand where it can't or won't.

A runtime may be gone from the machine, may hang, may have been killed itself, or may still be at it after the
supervisor that started it was killed. What it leaves then is known: its folder of the container, processes (in the
container's cgroup; those that have its ID among their arguments), the cgroup. All of it ends here.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress

from oci.container.runtimes import runtime_folder, runtime_knows, runtime_of
from oci.errors import OciError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.container.container import Container

__all__ = ["forget"]


def forget(container: Container) -> None:
    """Kill what is left of a container, and have nothing of it stay with the runtime.

    To be called under the container's lock, when its supervisor is dead or is the caller.
    """
    if not runtime_knows(container):
        return
    _end_runtimes(container)
    with suppress(OciError):
        runtime_of(container).delete(container.id, force=True)
    if runtime_knows(container) or _cgroups(container):
        _by_hand(container)


def _end_runtimes(container: Container) -> None:
    """Kill what still works for the supervisor that died: a runtime that makes what is being forgotten."""
    from oci.storage.processes import with_argument

    folder = runtime_folder(container.store).encode()
    for pid in with_argument(container.id):
        with suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
            if folder in file.read(_MAX_CMDLINE).split(b"\0"):  # --root: it is of this store
                _kill(pid)


_MAX_CMDLINE = 4096


def _by_hand(container: Container) -> None:
    from oci.storage.folders import remove_folder
    from oci.storage.processes import processes_in, runtime_process

    folder = f"{runtime_folder(container.store)}/{container.id}"
    first = runtime_process(folder)
    if first is not None:
        _kill(first)
    for cgroup in _cgroups(container):
        for pid in processes_in(cgroup):
            _kill(pid)
    for cgroup in _cgroups(container):
        for path, _, _ in os.walk(cgroup, topdown=False):
            with suppress(OSError):
                os.rmdir(path)
    with suppress(OSError):
        remove_folder(folder)


def _cgroups(container: Container) -> tuple[str, ...]:
    from oci.storage.processes import cgroups_named

    return cgroups_named(container.store.cgroup_name(container.id))


def _kill(pid: int) -> None:
    from oci.linux.process import identity
    from oci.storage.processes import kill_and_wait

    with suppress(ProcessLookupError, PermissionError):
        kill_and_wait(identity(pid), signal.SIGKILL)
