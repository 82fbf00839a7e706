"""Taking a container away, step by step, each of which may be repeated: kill -9 between two leaves a row to go on from.

The row says "removing" first and goes last, so that what is left has a name. Its anonymous volumes go after the row,
which counts as their user.
"""

from __future__ import annotations

import os
from contextlib import suppress

from oci.container.mounting import release
from oci.container.runtimes import runtime_knows
from oci.errors import ContainerNotFound, InUse, StoreError, VolumeNotFound
from oci.storage import folders
from oci.storage.state import FullDisk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.container.container import Container

__all__ = ["remove_all", "remove_folder"]


def remove_all(container: Container, *, volumes: bool) -> None:
    """Remove a container whose processes are gone; with `volumes` its anonymous volumes that nobody else uses."""
    store, row = container.store, container.row
    with suppress(ContainerNotFound, FullDisk):  # what follows makes room; a kill leaves a row without a folder
        store.containers.update(row.id, status="removing")
    if runtime_knows(container):
        from oci.container.forgetting import forget

        forget(container)
    if os.path.lexists(container.folder):
        release(container)
        container.driver.remove(container.snapshot)
        remove_folder(container.folder)
    used = store.containers.volumes(row.id) if volumes else ()
    store.containers.remove(row.id)
    for name, _, _ in used:
        with suppress(VolumeNotFound, InUse):
            if store.volumes.get(name).anonymous:
                store.volumes.remove(name)


def remove_folder(folder: str) -> None:
    """Remove a container's folder with all that is in it."""
    try:
        folders.remove_folder(folder)
    except OSError as error:
        raise StoreError(folder, f"can't be removed: {error.strerror}") from error
