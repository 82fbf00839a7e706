"""`Container`: one container of a store as a value to work with: its row, its folder, its settings.

The row is what was true when it was read; `refresh` reads it again. What a container does is in modules by verb:
create, lifecycle (start, stop, kill, wait, remove, restart, rename), execute, attach, logs, status.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.drivers.driver import Driver
    from oci.drivers.snapshot import Snapshot
    from oci.runtime.settings import RunSettings
    from oci.spec.config import ImageConfig
    from oci.storage.containers import ContainerRow
    from oci.storage.store import Store

__all__ = ["Container"]


class Container:
    """A container of `store`; `row` is what the store last said of it."""

    __slots__ = ("row", "store")

    def __init__(self, store: Store, row: ContainerRow) -> None:
        self.store, self.row = store, row

    @classmethod
    def find(cls, store: Store, name: str) -> Container:
        """The container of this name, ID, or beginning of an ID. Raises ContainerNotFound."""
        return cls(store, store.containers.get(name))

    def refresh(self) -> ContainerRow:
        """Read the row again. Raises ContainerNotFound when it was removed."""
        self.row = self.store.containers.get(self.row.id)
        return self.row

    @property
    def id(self) -> str:
        return self.row.id

    @property
    def name(self) -> str:
        return self.row.name

    @property
    def supervised(self) -> bool:
        """Whether its supervisor lives; asked of the row as it was read, and of the kernel."""
        row = self.row
        return row.status == "running" and row.supervisor is not None and row.supervisor.alive()

    @property
    def folder(self) -> str:
        """`containers/<id>` of the store."""
        return self.store.containers.folder(self.row.id)

    @property
    def snapshot(self) -> Snapshot:
        return self.store.containers.snapshot(self.row)

    @property
    def settings(self) -> RunSettings:
        from oci.runtime.settings import RunSettings

        return RunSettings.from_json(self.row.settings)

    @property
    def driver(self) -> Driver:
        """The storage driver that the container was made with, whichever the store would choose now."""
        from oci.drivers.probe import driver_named

        return driver_named(self.row.driver)

    @property
    def image_config(self) -> ImageConfig:
        """The configuration of its image, read from the store and verified. Raises BlobNotFound, InvalidDocument, …"""
        from oci.errors import BlobNotFound
        from oci.layout.documents import read_config
        from oci.spec.descriptor import Descriptor
        from oci.spec.digest import Digest
        from oci.spec.media_types import CONFIG

        blobs, digest = self.store.images.blobs, Digest.parse(self.row.image_id)
        size = blobs.size(digest)
        if size is None:
            raise BlobNotFound(str(digest), self.store.root, hint="it is the configuration of the container's image")
        return read_config(blobs, Descriptor(media_type=CONFIG, digest=digest, size=size), media_type=CONFIG).model
