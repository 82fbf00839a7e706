"""What a store may leave on its machine: mounts below it, runtimes' states and cgroups of containers that are no more.

=======================  =========================================================================  ==================
`stale-mount`            something is mounted below `layers/` or in the folder of a container that   unmounted
                         is not there; our own mounts end with their processes (docs/drivers.md)
`stale-runtime-state`    a runtime (`run/…/<id>`) knows a container that the store doesn't          removed, unless a
                                                                                                    process of it lives
`run-leftover`           what a killed command had beside its runtime for one call, or for a trial   removed
`stale-cgroup`           a cgroup of this store without processes, of no container                  removed
=======================  =========================================================================  ==================

Cgroups of other stores of this machine have other names (Place.cgroup_name). One in which anything lives is never
looked at twice, nor one that is so new that its first process may be on its way into it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress

from oci.errors import StoreError
from oci.linux.process import identity
from oci.storage.containers import is_id
from oci.storage.finding import Finding, Mend, UnmendedError
from oci.storage.folders import remove_folder, sweep_folders
from oci.storage.processes import cgroups_named, kill_and_wait, processes_in, runtime_process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.storage.store import Store

__all__ = ["MENDS", "find", "find_leftovers", "unmount_below"]

TRIAL = "ocikit-trial-"  # how trials of runtimes name their container, and its cgroup
MIN_AGE = 60 * 1_000_000_000  # nanoseconds; a runtime needs some milliseconds
_DELETED = "//deleted"  # what mountinfo says behind a target that was removed


def find(store: Store) -> Iterator[Finding]:
    """Look at this process's mounts, at `run/`, and at all cgroups."""
    known = {container_id for (container_id,) in store.state.all("SELECT id FROM containers")}
    yield from _mounts(store, known)
    yield from _states(store, known)
    yield from find_leftovers(store)
    yield from _cgroups(store, known)


def find_leftovers(store: Store) -> Iterator[Finding]:
    """What no living process works on: trials of drivers in the store's folder, and calls of runtimes in `run/…`."""
    run = f"{store.root}/run"
    for folder in (store.root, *(path for name in sorted(os.listdir(run)) if os.path.isdir(path := f"{run}/{name}"))):
        for path in sweep_folders(folder, dry_run=True):
            where = os.path.relpath(path, store.root)
            yield Finding(code="run-leftover", where=where, message="left by a killed command", subject=path)


def _mounts(store: Store, known: set[str]) -> Iterator[Finding]:
    from oci.linux.mounts import mounts

    root = os.path.realpath(store.root)
    for target in dict.fromkeys(one.target for one in reversed(mounts())):
        if not target.startswith(f"{root}/"):
            continue
        # What is mounted on the store's own folders, or on a volume, is its owner's disk.
        parts = target[len(root) + 1 :].split("/")
        stale = len(parts) > 1 and (
            parts[0] == "layers" or (parts[0] == "containers" and (parts[1] not in known or parts[2:3] != ["merged"]))
        )
        if stale:
            where = os.path.relpath(target, root)
            message = "something is mounted here that belongs to no container"
            yield Finding(code="stale-mount", where=where, message=message, subject=target)


def _states(store: Store, known: set[str]) -> Iterator[Finding]:
    run = f"{store.root}/run"
    for runtime in sorted(os.listdir(run)):
        with suppress(NotADirectoryError):
            for name in sorted(os.listdir(f"{run}/{runtime}")):
                folder = f"{run}/{runtime}/{name}"
                if name in known or not is_id(name) or not os.path.isdir(folder):
                    continue
                pid = runtime_process(folder)
                message = "the runtime knows a container that the store doesn't"
                if pid is not None:
                    message += f"; its process {pid} is alive: stop it first"
                where = f"run/{runtime}/{name[:12]}"
                yield Finding(
                    code="stale-runtime-state", where=where, message=message, repairable=pid is None, subject=folder
                )


def _cgroups(store: Store, known: set[str]) -> Iterator[Finding]:
    beginning, now = store.cgroup_name(), store.clock()
    for path in cgroups_named(beginning):
        container_id = os.path.basename(path).removeprefix(beginning)
        if container_id in known or not is_id(container_id) or processes_in(path):
            continue
        with suppress(FileNotFoundError):
            status = os.stat(path)
            if status.st_uid != os.geteuid() or now - status.st_ctime_ns < MIN_AGE:
                continue
            message = "a cgroup without processes, of no container"
            yield Finding(code="stale-cgroup", where=path, message=message, subject=path)


# Mending


def unmount_below(folder: str) -> None:
    """Take away all that is mounted at or below a folder; StoreError when something stays."""
    from oci.linux.mounts import mounts, unmount

    real = os.path.realpath(folder)
    for _ in range(2):
        for one in reversed(mounts()):
            if one.target == real or one.target.startswith(f"{real}/"):
                with suppress(OSError):
                    unmount(one.target.removesuffix(_DELETED), detach=True)
    if any(one.target == real or one.target.startswith(f"{real}/") for one in mounts()):
        raise StoreError(folder, "something is mounted below it that can't be unmounted; nothing was removed")


def _unmount(store: Store, finding: Finding) -> str:
    unmount_below(finding.subject)
    return "unmounted"


def _forget(store: Store, finding: Finding) -> str:
    if runtime_process(finding.subject) is not None:
        raise UnmendedError("its process is alive")
    remove_folder(finding.subject)
    return "removed"


def _sweep(store: Store, finding: Finding) -> str:
    parent, name = os.path.split(finding.subject)
    if finding.subject not in sweep_folders(parent, dry_run=True):
        raise UnmendedError("it is gone, or somebody is working on it")
    _end_trials(f"{parent}/{name}/run")
    remove_folder(finding.subject)
    return "removed"


def _end_trials(folder: str) -> None:
    """Kill what is left of trials of runtimes: their containers never start (oci/runtime/trial.py)."""
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        if not name.startswith(TRIAL):
            continue
        pid = runtime_process(f"{folder}/{name}")
        if pid is not None:
            with suppress(ProcessLookupError):
                kill_and_wait(identity(pid), signal.SIGKILL)
        for path in cgroups_named(name):
            with suppress(OSError):
                os.rmdir(path)


def _remove_cgroup(store: Store, finding: Finding) -> str:
    for folder, _, _ in os.walk(finding.subject, topdown=False):
        try:
            os.rmdir(folder)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise UnmendedError(f"{folder}: {error.strerror}") from None
    return "removed"


MENDS: dict[str, Mend] = {
    "stale-mount": _unmount,
    "stale-runtime-state": _forget,
    "run-leftover": _sweep,
    "stale-cgroup": _remove_cgroup,
}
