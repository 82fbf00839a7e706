"""A store: one folder with images, their layers unpacked once, containers and volumes, and a database beside them.

==================  ==============================================================================================
`images/`           an ordinary image layout (oci/layout); `org.opencontainers.image.ref.name` is the whole name
`layers/<id>/fs/`   one layer's tree, read-only from the day it is made (layers.py)
`containers/<id>/`  one container: its writable layer, log, bundle (containers.py; oci/container)
`volumes/<name>/`   data that outlives containers (volumes.py)
`run/`              what a reboot makes void: the runtime's own state
`store.db`          what there is (state.py); `store.lock`: see `shared` and `exclusive`
==================  ==============================================================================================

docs/adr/0011-store-and-layers.md says why. Everything is its owner's alone: folders are made with mode 0700.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from functools import cached_property

from oci.errors import StoreError
from oci.layout.layout import Layout
from oci.storage.containers import Containers
from oci.storage.copied import settle_place
from oci.storage.layers import Layers
from oci.storage.place import LOCK, Place
from oci.storage.state import State, is_store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

    from oci.drivers.driver import Driver
    from oci.drivers.probe import Choice
    from oci.storage.volumes import Volumes

__all__ = ["Store"]

FOLDERS = ("images", "layers", "containers", "volumes", "run")


class Store(Place):
    """An open store. `warn` gets one line for what the user should know; `clock` gives nanoseconds since 1970."""

    def __init__(
        self,
        root: str,
        *,
        state: State,
        driver: str | None,
        clock: Callable[[], int],
        warn: Callable[[str], object] | None,
    ) -> None:
        super().__init__(root, state=state, clock=clock)
        self.warn = warn
        self.wanted_driver = driver
        self.containers = Containers(self)
        self.layers = Layers(self, self.containers)

    @classmethod
    def open(
        cls,
        root: str | os.PathLike[str],
        *,
        driver: str | None = None,
        clock: Callable[[], int],
        warn: Callable[[str], object] | None = None,
        create: bool = True,
    ) -> Self:
        """Open the store at `root`; with `create`, make one where there is none.

        `driver` is the name of the storage driver that must be used; None leaves the choice to a probe. StoreError
        when it belongs to another user, is of a newer version, damaged, or no store at all.
        """
        where = os.path.abspath(os.fspath(root))
        _make_folders(where, create)
        state = State.open(where, create=create)
        settle_place(state, where, clock)
        store = cls(where, state=state, driver=driver, clock=clock, warn=warn)
        if not os.path.lexists(f"{where}/images/oci-layout"):
            Layout.create(f"{where}/images", exist_ok=True)
        return store

    @cached_property
    def choice(self) -> Choice:
        """Which storage driver is used here, and what the trial of each one said; remembered for kernel and disk."""
        from oci.drivers.probe import choose, place_key

        key = place_key(self.root)
        known: tuple[str] | None = self.state.one("SELECT value FROM probes WHERE key = ?", (key,))
        choice = choose(self.root, self.wanted_driver, known=None if known is None else known[0])
        if known is None or choice.to_json() != known[0]:
            with self.state.transaction() as db:
                row = (key, choice.to_json(), self.clock())
                db.run("INSERT OR REPLACE INTO probes (key, value, made) VALUES (?, ?, ?)", row)
        return choice

    @cached_property
    def driver(self) -> Driver:
        """The storage driver, chosen on first use."""
        return self.choice.driver

    @cached_property
    def volumes(self) -> Volumes:
        """The named volumes."""
        from oci.storage.volumes import Volumes

        return Volumes(self)

    def close(self) -> None:
        """End using the store."""
        self.images.close()
        self.state.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _make_folders(root: str, create: bool) -> None:
    try:
        status = os.stat(root)
    except FileNotFoundError:
        if not create:
            raise StoreError(root, "no such directory") from None
        try:
            os.makedirs(root, 0o700)
        except FileExistsError:
            pass
        except OSError as error:
            raise StoreError(root, f"can't be made ({error.strerror}); choose another place with --root") from None
        status = os.stat(root)
    except OSError as error:
        raise StoreError(root, f"can't be used: {error.strerror}") from None
    if status.st_uid != os.geteuid():
        owner = f"belongs to user {status.st_uid}, you are user {os.geteuid()}"
        raise StoreError(root, f"{owner}; a store has one owner, choose another with --root")
    if status.st_mode & stat.S_IWOTH:  # whoever was there first could have put links in our place
        raise StoreError(root, "everybody may write there, which is no place for a store; choose another with --root")
    if not create and not is_store(root):
        raise StoreError(root, "is not a store of ocikit")
    # In this order: what another process makes at this moment is listed only with the database, or after it.
    if create and (foreign := set(os.listdir(root)) - {*FOLDERS, LOCK}) and not is_store(root):
        raise StoreError(root, f"is no store of ocikit, and not empty: it has {min(foreign)!r}; choose an empty folder")
    for name in FOLDERS:
        try:
            os.mkdir(f"{root}/{name}", 0o700)
        except FileExistsError:
            owner_uid = os.lstat(f"{root}/{name}").st_uid
            if owner_uid != os.geteuid():
                reason = f"belongs to user {owner_uid}, you are user {os.geteuid()}; choose another place with --root"
                raise StoreError(f"{root}/{name}", reason) from None
        except OSError as error:
            raise StoreError(f"{root}/{name}", f"can't be made: {error.strerror}") from None
