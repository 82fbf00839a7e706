"""The merged tree of a container as a directory descriptor, and paths in it, which never lead out of it.

A container that runs has its tree in the mount namespace of its supervisor: it is reached there, as the storage driver
mounted it, without what the runtime mounts in it (/proc, /dev, volumes). Of any other the driver makes it for a moment.
Either way it is the same tree, and what is mounted in it is found by the container's settings (inside.py).

Who writes to a container that doesn't run has its lock, so that nobody starts or removes it meanwhile. Who reads has
not: `ocikit cp web:/a - | ocikit cp - web:/b` would wait for itself, and a container that is started while it is read
is no worse than one that runs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from oci.container.inside import Inside, Mounted
from oci.container.mounting import is_mounted
from oci.errors import StoreError, WrongState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.container.container import Container

__all__ = ["inside", "mounts_of", "tree"]

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_ETC = ("hosts", "hostname", "resolv.conf")


@contextmanager
def tree(container: Container, *, writable: bool = False) -> Iterator[int]:
    """A descriptor of the merged tree, without what is mounted in it (volumes, /proc): running or not, it is the same.

    WrongState for a container that is being removed, DriverError where the driver can't show the tree.
    """
    container.refresh()
    with ExitStack() as stack:
        if writable and not container.supervised:
            stack.enter_context(container.store.containers.lock(container.id))
            container.refresh()
        if container.row.status == "removing":
            raise WrongState(container.name, "removing", "what it wrote is going already")
        if container.supervised:
            fd = _of_supervisor(container)
            stack.callback(os.close, fd)
        elif is_mounted(container):
            fd = os.open(container.snapshot.merged, _FOLDER)
            stack.callback(os.close, fd)
        else:
            fd = stack.enter_context(container.driver.root(container.snapshot, writable=writable))
        yield fd


def _of_supervisor(container: Container) -> int:
    """The tree as the supervisor has it mounted. A copy lies there for everybody, mounted or not."""
    supervisor, snapshot = container.row.supervisor, container.snapshot
    if supervisor is None:
        raise AssertionError("a container that runs without a supervisor")
    path = snapshot.tree if container.row.driver == "copy" else f"/proc/{supervisor.pid}/root{snapshot.merged}"
    try:
        fd = os.open(path, _FOLDER)
    except OSError as error:
        raise StoreError(container.name, f"its tree can't be reached where it runs: {error.strerror}") from error
    if not supervisor.alive():  # the number may be another process's by now
        os.close(fd)
        raise WrongState(container.name, "ending", "it ended just now; try again")
    return fd


def mounts_of(container: Container) -> tuple[Mounted, ...]:
    """What is mounted in the container when it runs, as far as it lies here: volumes, binds, files of /etc."""
    store, settings, folder = container.store, container.settings, container.folder
    found = {f"/etc/{name}": Mounted(target=f"/etc/{name}", source=f"{folder}/{name}") for name in _ETC}
    found = {target: mount for target, mount in found.items() if os.path.exists(mount.source)}
    for name, path, read_only in store.containers.volumes(container.id):
        found[path] = Mounted(target=path, source=store.volume_path(name), read_only=read_only)
    for mount in settings.mounts:
        if mount.type == "bind":
            found[mount.target] = Mounted(target=mount.target, source=mount.source, read_only=mount.read_only)
        elif mount.type == "tmpfs":
            found[mount.target] = Mounted(target=mount.target, source="")
    return tuple(found.values())


@contextmanager
def inside(container: Container, *, writable: bool = False) -> Iterator[Inside]:
    """The container's paths: its tree, and what is mounted in it."""
    with tree(container, writable=writable) as fd:
        read_only = "the read-only root" if container.settings.read_only else ""
        yield Inside(fd, mounts_of(container), read_only=read_only, where=container.name)
