"""Volumes that are not what their rows say. Rule: data is never removed here, whoever it belongs to.

==========================  ====================================================================  =====================
`volume-without-row`        a folder that no row knows: its row was lost                          gets a row again
`volume-without-folder`     a row whose folder or data is gone                                    row goes; in use: an
                                                                                                  empty folder is made
`volume-leftover`           what a killed populate, import or removal left beside the data        removed
==========================  ====================================================================  =====================
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from oci.errors import InvalidInput
from oci.storage.finding import Finding, Mend, UnmendedError
from oci.storage.folders import sweep_folders
from oci.storage.volume_folder import DATA, OLD, locked, settle
from oci.storage.volumes import check_volume_name
from oci.streams.atomic import TEMPORARY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.storage.store import Store

__all__ = ["MENDS", "find", "find_leftovers"]


def find(store: Store) -> Iterator[Finding]:
    """Hold rows and folders against each other, as one moment has them."""
    root = f"{store.root}/volumes"
    with store.state.transaction() as db:  # volumes are made and removed within one
        rows = {name for (name,) in db.all("SELECT name FROM volumes")}
        names = sorted(os.listdir(root))
        whole = {name for name in rows if _has_data(f"{root}/{name}")}
    for name in sorted(rows - whole):
        message = "its data is gone" if os.path.lexists(f"{root}/{name}") else "its folder is gone"
        yield Finding(code="volume-without-folder", where=f"volumes/{name}", message=message, subject=name)
    for name in names:
        if name not in rows and _is_name(name) and os.path.isdir(f"{root}/{name}"):
            message = "a folder that the store knows no volume for; it is kept, and becomes a volume again"
            yield Finding(code="volume-without-row", where=f"volumes/{name}", message=message, subject=name)
    yield from find_leftovers(store)


def find_leftovers(store: Store) -> Iterator[Finding]:
    """What no living process works on, in `volumes/` and in each volume's folder beside its data."""
    root = f"{store.root}/volumes"
    rows = [name for (name,) in store.state.all("SELECT name FROM volumes ORDER BY name")]
    for folder in (root, *(path for name in rows if os.path.isdir(path := f"{root}/{name}"))):
        for path in [*_leftovers(folder), *sweep_folders(folder, dry_run=True)]:
            where = os.path.relpath(path, store.root)
            yield Finding(code="volume-leftover", where=where, message="left by a killed command", subject=path)


def _has_data(folder: str) -> bool:
    return any(os.path.isdir(f"{folder}/{name}") and not os.path.islink(f"{folder}/{name}") for name in (DATA, OLD))


def _leftovers(folder: str) -> list[str]:
    return [f"{folder}/{OLD}"] if os.path.lexists(f"{folder}/{OLD}") else []


def _is_name(name: str) -> bool:
    if name.startswith(TEMPORARY):
        return False
    try:
        check_volume_name(name)
    except InvalidInput:
        return False
    return True


def _give_row(store: Store, finding: Finding) -> str:
    store.volumes.adopt(finding.subject)
    return "has a row again"


def _drop_or_remake(store: Store, finding: Finding) -> str:
    name = finding.subject
    users = store.volumes.users(name)
    if users:
        store.volumes.remake(name)
        return f"an empty folder was made, because containers use it: {', '.join(users)}"
    store.volumes.remove(name, force=True)
    return "its row was removed"


def _sweep(store: Store, finding: Finding) -> str:
    parent = os.path.dirname(finding.subject)
    if os.path.basename(parent) == "volumes" and os.path.dirname(parent) == store.root:
        sweep_folders(parent)
    else:
        with locked(parent):
            settle(parent)
    if os.path.lexists(finding.subject):
        raise UnmendedError("somebody is working on it")
    return "removed"


MENDS: dict[str, Mend] = {
    "volume-without-row": _give_row,
    "volume-without-folder": _drop_or_remake,
    "volume-leftover": _sweep,
}
