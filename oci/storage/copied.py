"""A store that was copied: what it says of processes is true of the store that it was copied from.

A backup, or what `cp -a` makes, has rows of containers that run and a runtime's notes of their processes, which are the
other store's: `rm -f` here would kill them there. So a store knows its folder by device and inode, which a move on one
file system takes along and a copy can't. Opened in another folder, it shows those containers as exited, empties `run/`,
and takes another name for its cgroups.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.storage.state import State, Transaction

__all__ = ["settle_place"]

PLACE = "place"  # the fact of the database
COPIED = "the store was copied while it ran: it belongs to the other one"


def settle_place(state: State, root: str, clock: Callable[[], int]) -> None:
    """Note where the store is, and forget what is true elsewhere only."""
    status = os.stat(root)
    here = f"{status.st_dev}:{status.st_ino}"
    if state.fact(PLACE) == here:
        return
    with state.transaction() as db:
        known = db.one("SELECT value FROM facts WHERE name = ?", (PLACE,))
        if known is not None and known[0] != here:
            _forget_processes(db, clock())
            db.run("DELETE FROM facts WHERE name = 'cgroups'")
            _empty(f"{root}/run")
        db.run("INSERT OR REPLACE INTO facts VALUES (?, ?)", (PLACE, here))


def _forget_processes(db: Transaction, now: int) -> None:
    """Those that live are another store's. Who is dead died here: a disk may have got another number by a reboot."""
    from oci.linux.process import Identity

    for container_id, status, *texts in db.all("SELECT id, status, supervisor, init FROM containers"):
        words = [text.split(" ", 2) for text in texts if text]
        if any(Identity(pid=int(pid), start=int(start), boot_id=boot).alive() for pid, start, boot in words):
            db.run("UPDATE containers SET supervisor = NULL, init = NULL WHERE id = ?", (container_id,))
            if status == "running":
                changes = "status = 'exited', finished = ?, exit_code = NULL, error = ?"
                db.run(f"UPDATE containers SET {changes} WHERE id = ?", (now, COPIED, container_id))


def _empty(folder: str) -> None:
    from oci.storage.folders import remove_folder

    for name in os.listdir(folder):
        with suppress(NotADirectoryError):
            remove_folder(f"{folder}/{name}")
