"""The OCI runtime that a store uses: the first that was seen to work, remembered in the store."""

from __future__ import annotations

import os
from collections.abc import Sequence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.container.container import Container
    from oci.runtime.runc import Runtime
    from oci.storage.store import Store

__all__ = ["RUNTIMES", "RUNTIME_FILE", "find_runtime", "runtime_folder", "runtime_knows", "runtime_of"]

RUNTIMES = ("crun", "runc")
RUNTIME_FILE = "runtime.json"  # in a container's folder: which one has its state
MAX_RUNTIME = 65536  # bytes of that file


def runtime_folder(store: Store) -> str:
    """Where runtimes keep their state of this store's containers: nothing that survives a reboot."""
    return f"{store.root}/run/runc"


def find_runtime(store: Store, names: Sequence[str] = RUNTIMES) -> Runtime:
    """The first of `names` (names or paths) that works here. RuntimeFailed says of each why it doesn't."""
    from oci.runtime.found import in_user_namespace, remembered
    from oci.runtime.runc import Runtime

    key = f"runtime {' '.join(names)}" + (" in a user namespace" if in_user_namespace() else "")
    known = store.state.fact(key)
    found = remembered(known, names)
    if found is not None:
        return Runtime(found, runtime_folder(store))
    from oci.runtime.trial import find

    runtime = find(runtime_folder(store), names)
    store.state.set_fact(key, runtime.found.to_json())
    return runtime


def runtime_of(container: Container) -> Runtime:
    """The runtime that started this container last."""
    from oci.errors import OciError
    from oci.runtime.runc import Found, Runtime

    try:
        with open(f"{container.folder}/{RUNTIME_FILE}", encoding="utf-8") as file:
            return Runtime(Found.from_json(file.read(MAX_RUNTIME)), runtime_folder(container.store))
    except (FileNotFoundError, OciError, ValueError):
        return find_runtime(container.store)


def runtime_knows(container: Container) -> bool:
    """Whether the runtime has state of this container, whatever it may be."""
    return os.path.lexists(f"{runtime_folder(container.store)}/{container.id}")
