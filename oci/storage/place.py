"""What all parts of a store stand on: where it is, its database, its image layout, the time, and the lock of the whole.

A part (containers, layers, volumes) knows the place and not the store, which knows all parts.
"""

from __future__ import annotations

import _thread
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from oci.layout.layout import Layout
from oci.storage.state import State

__all__ = ["LOCK", "Place"]

LOCK = "store.lock"


class Place:
    """The folder `root` of an open store; `clock` gives nanoseconds since 1970."""

    def __init__(self, root: str, *, state: State, clock: Callable[[], int]) -> None:
        self.root = root
        self.state = state
        self.clock = clock
        self.images = Layout(f"{root}/images")
        self._held: dict[int, int] = {}  # which kind of lock a thread holds

    def layer_path(self, layer_id: str) -> str:
        """The tree of the layer of that id, there or not."""
        return f"{self.root}/layers/{layer_id}/fs"

    def volume_path(self, name: str) -> str:
        """The data of the volume of that name, there or not."""
        return f"{self.root}/volumes/{name}/data"

    def cgroup_name(self, container_id: str = "") -> str:
        """The name of a container's cgroup: it says whose, machines have several stores. Without ID: how all begin."""
        tag = self.state.settle_fact("cgroups", os.urandom(4).hex())
        return f"ocikit-{tag}-{container_id}"

    # The lock of the whole store

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Keep what removes layers and blobs out: for all that makes something which needs them (pull, create, commit).

        Within the block of another `shared` of this thread it is the same lock; never within `exclusive` of another.
        """
        with self._locked(fcntl.LOCK_SH):
            yield

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep everybody out who needs layers or blobs: for what removes them (rmi, prune, repair)."""
        with self._locked(fcntl.LOCK_EX):
            yield

    @contextmanager
    def _locked(self, kind: int) -> Iterator[None]:
        thread = _thread.get_ident()
        held = self._held.get(thread)
        if held is not None:
            if kind == fcntl.LOCK_EX and held == fcntl.LOCK_SH:
                raise RuntimeError("exclusive() inside shared() would wait for itself")
            yield
            return
        fd = os.open(f"{self.root}/{LOCK}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, kind)
            self._held[thread] = kind
            yield
        finally:
            self._held.pop(thread, None)
            os.close(fd)
