"""Processes of a container, for who only has a folder or a cgroup of it: nothing may be removed under a living one.

A supervisor has the container's tree mounted in a mount namespace of its own, a runtime keeps the first process in
`run/<runtime>/<id>/` (runc and crun: state.json or status), a cgroup `ocikit-<store>-<id>` lists its processes, and
whatever else works on a container has its ID among its arguments. All four are asked.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

from oci.lazily import json
from oci.lazily import signal as signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from oci.linux.process import Identity
    from oci.storage.store import Store

__all__ = [
    "cgroups_named",
    "cgroups_of",
    "hierarchies",
    "kill_and_wait",
    "processes_in",
    "processes_of",
    "runtime_process",
    "with_argument",
]

PREFIX = "ocikit-"  # of every store's; Place.cgroup_name has the rest
MAX_STATE = 1 << 20  # bytes of a runtime's state file; runc's have 30 KB
MAX_CMDLINE = 4096
_PATIENCE = 10.0  # seconds for a killed process to go


def processes_of(store: Store, container_id: str) -> tuple[int, ...]:
    """The pids of what lives of a container, as far as can be seen."""
    found = {*with_argument(container_id), *_with_mount(container_id)}
    for folder in runtime_folders(store, container_id):
        pid = runtime_process(folder)
        if pid is not None:
            found.add(pid)
    for cgroup in cgroups_of(container_id):
        found.update(processes_in(cgroup))
    return tuple(sorted(found))


def runtime_folders(store: Store, container_id: str) -> list[str]:
    """The folders in which runtimes keep what they know of a container."""
    run = f"{store.root}/run"
    with suppress(FileNotFoundError):
        return [path for name in sorted(os.listdir(run)) if os.path.isdir(path := f"{run}/{name}/{container_id}")]
    return []


def runtime_process(folder: str) -> int | None:
    """The living first process of a container by a runtime's state; None when it is dead, or was never there."""
    for name, pid_key, start_key in (
        ("state.json", "init_process_pid", "init_process_start"),
        ("status", "pid", "process-start-time"),
    ):
        state = _read(f"{folder}/{name}")
        pid, start = state.get(pid_key), state.get(start_key)
        if isinstance(pid, int) and pid > 0 and _started(pid) == (int(start) if isinstance(start, int) else None):
            return pid
    return None


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            value = json.loads(file.read(MAX_STATE))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _started(pid: int) -> int | None:
    from oci.linux.process import identity

    try:
        found = identity(pid)
    except ProcessLookupError:
        return None
    return found.start if found.alive() else None


def with_argument(text: str) -> Iterator[int]:
    """The processes that have this among their arguments."""
    wanted = text.encode()
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError), open(f"/proc/{name}/cmdline", "rb") as file:
                if wanted in file.read(MAX_CMDLINE).split(b"\0"):
                    yield int(name)


def _with_mount(container_id: str) -> Iterator[int]:
    """One process of each other mount namespace in which something is mounted in the container's folder."""
    wanted, seen = f"/containers/{container_id}/".encode(), {os.readlink("/proc/self/ns/mnt")}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        with suppress(OSError):
            namespace = os.readlink(f"/proc/{name}/ns/mnt")
            if namespace not in seen:
                seen.add(namespace)
                with open(f"/proc/{name}/mountinfo", "rb") as file:
                    if wanted in file.read():
                        yield int(name)


def cgroups_of(container_id: str) -> tuple[str, ...]:
    """A container's cgroups, one in each hierarchy; the store may have got a new database, and a new name, since."""
    return tuple(path for path in cgroups_named(PREFIX) if path.endswith(f"-{container_id}"))


def cgroups_named(beginning: str) -> tuple[str, ...]:
    """The cgroups at the top of every hierarchy whose names begin like that."""
    found = []
    for parent in hierarchies():
        with suppress(OSError):
            paths = [f"{parent}/{name}" for name in sorted(os.listdir(parent)) if name.startswith(beginning)]
            found += [path for path in paths if os.path.isdir(path)]
    return tuple(found)


def hierarchies() -> list[str]:
    """The mount points of cgroup file systems (version 1: one for each group of controllers)."""
    from oci.linux.mounts import mounts

    found = [one.target for one in mounts() if one.fstype in ("cgroup", "cgroup2") and one.root == "/"]
    return list(dict.fromkeys(found))


def processes_in(cgroup: str) -> tuple[int, ...]:
    """The processes in a cgroup and those below it."""
    found: set[int] = set()
    for folder, _, _ in os.walk(cgroup):
        with suppress(OSError), open(f"{folder}/cgroup.procs", "rb") as file:
            found.update(int(word) for word in file.read().split())
    return tuple(sorted(found))


def kill_and_wait(process: Identity, signal: signals.Signals) -> None:
    """Send a signal to that very process, and wait until it is gone (it need not be our child)."""
    from oci.linux.process import has_ended, send_signal

    if send_signal(process, signal):
        has_ended(process, _PATIENCE)
