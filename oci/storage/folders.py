"""Folders of the store that appear whole, and go whole: made under a temporary name that their maker holds locked.

What oci/streams/atomic.py is for files. A crash leaves a folder `.tmp-…` that nobody has locked; no reader looks at it,
and `sweep_folders` removes it. Removing takes the same way back: the name first, then what is in it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from oci.changeset.removal import DIRECTORY, remove_tree
from oci.streams.atomic import TEMPORARY
from oci.streams.scratch import make_locked, temporary_name

__all__ = ["is_empty", "make_locked", "new_folder", "remove_folder", "sweep_folders", "temporary_name"]


@contextmanager
def new_folder(parent: str) -> Iterator[str]:
    """A new folder in `parent` under a temporary name, locked; removed unless it has been renamed by the end."""
    path, fd = make_locked(parent)
    try:
        yield path
    finally:
        remove_folder(path)
        os.close(fd)


def remove_folder(path: str) -> None:
    """Remove a folder with all that is in it; no error when it isn't there."""
    parent, _, name = path.rpartition("/")
    fd = os.open(parent, DIRECTORY)
    try:
        with suppress(FileNotFoundError):
            remove_tree(os.fsencode(name), dir_fd=fd)
    finally:
        os.close(fd)


def sweep_folders(parent: str, *, dry_run: bool = False) -> list[str]:
    """Remove the temporary folders in `parent` whose makers are dead (nobody has their lock); gives their paths."""
    found: list[str] = []
    try:
        names = sorted(os.listdir(parent))
    except FileNotFoundError:
        return found
    for name in names:
        if not name.startswith(TEMPORARY):
            continue
        path = f"{parent}/{name}"
        try:
            fd = os.open(path, DIRECTORY)
        except OSError:  # a file, or gone
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found.append(path)
            if not dry_run:
                remove_folder(path)
        except BlockingIOError:
            continue
        finally:
            os.close(fd)
    return found


def is_empty(folder: str) -> bool:
    """Whether nothing is in a folder."""
    with os.scandir(folder) as entries:
        return next(entries, None) is None
