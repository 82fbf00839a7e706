"""What a store may leave on its machine: mounts below it, runtimes' states and cgroups of containers that are no more.

=======================  =========================================================================  ==================
`stale-mount`            something is mounted below `layers/` or in the folder of a container that   unmounted
                         is not there; our own mounts end with their processes (docs/drivers.md)
`stale-runtime-state`    a runtime (`run/…/<id>`) knows a container that the store doesn't          removed, unless a
                                                                                                    process of it lives
`stale-cgroup`           a cgroup of this store without processes, of no container                  removed
=======================  =========================================================================  ==================

Cgroups of other stores of this machine have other names (Place.cgroup_name). One in which anything lives is never
looked at twice, nor one that is so new that its first process may be on its way into it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from oci.errors import StoreError
from oci.storage.finding import Finding, Mend, UnmendedError
from oci.storage.folders import remove_folder
from oci.storage.processes import cgroups_named, processes_in, runtime_process

if TYPE_CHECKING:
    from oci.storage.store import Store

__all__ = ["MENDS", "find", "unmount_below"]

_ID = re.compile("[0-9a-f]{64}")
MIN_AGE = 60 * 1_000_000_000  # nanoseconds; a runtime needs some milliseconds
_DELETED = "//deleted"  # what mountinfo says behind a target that was removed


def find(store: Store) -> Iterator[Finding]:
    """Look at this process's mounts, at `run/`, and at all cgroups."""
    known = {container_id for (container_id,) in store.state.all("SELECT id FROM containers")}
    yield from _mounts(store, known)
    yield from _states(store, known)
    yield from _cgroups(store, known)


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
                if name in known or not _ID.fullmatch(name) or not os.path.isdir(folder):
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
        if container_id in known or not _ID.fullmatch(container_id) or processes_in(path):
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
    "stale-cgroup": _remove_cgroup,
}
