"""A container's merged tree mounted where its owner can look at it: `containers/<id>/merged`, counted.

It is the one mount that outlives its command, for that is what it's for. So it is made in the caller's own mount
namespace, by root or in `ocikit unshare`. Who mounts twice must unmount twice: a number in the container's folder
counts, and counts nothing where there is no such mount (any more: a reboot, another namespace).

A tree is never mounted twice for writing, for the kernel promises nothing then. What a running container has mounted is
mounted here once more as the very same mount; and a container that is started while it is mounted here goes on with it.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress

from oci.errors import ConfigurationError, DriverError, WrongState
from oci.linux import mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.container.container import Container
    from oci.drivers.driver import Driver
    from oci.storage.store import Store

__all__ = ["is_mounted", "mount", "mount_for_run", "mounted", "must_may_mount", "release", "unmount"]

COUNT = "mounted"  # in the container's folder: how often
MAX_COUNT = 100  # bytes of that file
MAX_STACK = 16  # mounts on top of each other at one place, which only others than we make


def is_mounted(container: Container) -> bool:
    """Whether the tree is mounted at its place in this mount namespace."""
    return mounts.is_mount_point(container.snapshot.merged)


def mount(container: Container) -> str:
    """Mount the tree (or count one more user of it); the path. ConfigurationError for who may not mount."""
    must_may_mount()
    with container.store.containers.lock(container.id):
        container.refresh()
        if container.row.status == "removing":
            raise WrongState(container.name, "removing", "there is nothing to mount any more")
        path = container.snapshot.merged
        count = _count(container)
        if count == 0:
            if container.supervised:
                _take_from_supervisor(container, path)
            else:
                container.driver.mount(container.snapshot)
        _write_count(container, count + 1)
        return path


def unmount(container: Container, *, force: bool = False) -> bool:
    """One user less; the last one's leaving unmounts it (`force`: at once). Whether it is unmounted now.

    WrongState where it isn't mounted, DriverError where files in it are open.
    """
    must_may_mount()
    with container.store.containers.lock(container.id):
        count = _count(container)
        if count == 0:
            raise WrongState(container.name, "not mounted", "`ocikit mount` lists those that are")
        if count > 1 and not force:
            _write_count(container, count - 1)
            return False
        _unmount(container, lazily=False)
        return True


def mounted(store: Store) -> tuple[tuple[str, str], ...]:
    """(container id, path) of all that are mounted in this mount namespace, in the order of the mounts."""
    above = os.path.realpath(f"{store.root}/containers") + "/"
    found: dict[str, str] = {}
    for one in mounts.mounts():
        if (
            one.target.startswith(above)
            and one.target.endswith("/merged")
            and one.target.count("/") == above.count("/") + 1
        ):
            found[one.target[len(above) :].partition("/")[0]] = one.target
    return tuple(found.items())


def release(container: Container) -> None:
    """Unmount it whoever uses it: for `rm -f`, under the container's lock. Nothing where it isn't mounted."""
    for _ in range(MAX_STACK):
        if not is_mounted(container):
            return
        _unmount(container, lazily=True)


def mount_for_run(container: Container, driver: Driver) -> str:
    """Mount the tree for a container that starts, in its supervisor's mount namespace; the path of its root."""
    path = container.snapshot.merged
    if not is_mounted(container):
        return driver.mount(container.snapshot)
    # Taken along from the namespace above, where somebody may unmount it: a copy of our own on top of it stays.
    from oci.linux import fsmount

    fd = fsmount.open_tree(path)
    try:
        fsmount.attach(fd, path)
    finally:
        os.close(fd)
    return path


def must_may_mount() -> None:
    from oci.linux.namespaces import has_mount_rights

    if os.geteuid() != 0 or not has_mount_rights():
        raise ConfigurationError(
            "mount",
            "only root may mount for all to see; `ocikit unshare` is a shell in which you are root, and can mount",
        )


def _take_from_supervisor(container: Container, path: str) -> None:
    """Mount here what the container's supervisor has mounted: a copy of that mount, made by a child that goes there."""
    from oci.linux import fsmount
    from oci.linux.handover import open_elsewhere

    supervisor = container.row.supervisor
    if supervisor is None:
        raise AssertionError("a container that runs without a supervisor")
    try:
        fd = open_elsewhere(supervisor.pid, path)
        try:
            fsmount.attach(fd, path)
        finally:
            os.close(fd)
    except OSError as error:
        raise DriverError(
            container.row.driver, f"can't mount {path} as it is where the container runs: {error.strerror}"
        ) from error


def _unmount(container: Container, *, lazily: bool) -> None:
    path = container.snapshot.merged
    try:
        mounts.unmount(path, detach=lazily)
    except OSError as error:
        busy = error.errno == errno.EBUSY
        reason = "files in it are open, or somebody's working directory is there" if busy else error.strerror
        raise DriverError(container.row.driver, f"can't unmount {path}: {reason}") from error
    with suppress(FileNotFoundError):
        os.unlink(f"{container.folder}/{COUNT}")


def _count(container: Container) -> int:
    """How many have it mounted; 0 where there is no mount, whatever the file says."""
    if not is_mounted(container):
        return 0
    try:
        with open(f"{container.folder}/{COUNT}", encoding="ascii") as file:
            return max(int(file.read(MAX_COUNT)), 1)
    except (FileNotFoundError, ValueError):
        return 1


def _write_count(container: Container, count: int) -> None:
    from oci.streams.atomic import write_file

    write_file(f"{container.folder}/{COUNT}", b"%d" % count)
