"""Making a container: its thin writable layer, its volumes, its row. Nothing is mounted and no process is started.

The order: layers (they are kept by the store's shared lock until the row names them), the folder, locked; volumes; the
scaffold; what the driver needs; the row, last. A folder without a row is one that a crash left: nobody misses it.
Nothing here is fsynced but volumes: an empty container that a power cut takes is made again by the same command.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from oci.container.container import Container
from oci.errors import ConfigurationError, NameTaken, OciError, VolumeNotFound, show
from oci.storage.containers import ContainerRow, check_container_name, new_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci.drivers.driver import Driver
    from oci.runtime.settings import MountSetting, RunSettings
    from oci.spec.config import ImageConfig, RunConfig
    from oci.storage.images import StoredImage
    from oci.storage.store import Store
    from oci.storage.volumes import Volume
    from oci.streams.progress import Progress

__all__ = ["create"]

MAX_STOP_TIMEOUT = 3600  # seconds that an image may ask for before it is killed


def create(
    store: Store,
    image: StoredImage,
    settings: RunSettings,
    *,
    name: str | None = None,
    progress: Progress | None = None,
    warn: Callable[[str], object] | None = None,
) -> Container:
    """Make a container of `image`; without `name` one is made up. What was made goes again when anything fails.

    Raises NameTaken, DriverError, ConfigurationError (a setting that this image or machine can't have), and what
    unpacking a layer may raise.
    """
    if name is not None:
        check_container_name(name)
    config = image.image.config.model
    settings = _settled(settings, config.run)
    with store.shared():
        layers = store.layers.ensure(image.image, progress=progress, warn=warn)
        driver = store.driver
        row = ContainerRow(
            id=new_id(),
            name=name or "",
            image_id=str(image.id),
            image_name=image.name,
            manifest=str(image.descriptor.digest),
            layers=tuple(layer.id for layer in layers),
            driver=driver.name,
            created=store.clock(),
            settings="",
            auto_remove=settings.auto_remove,
            labels={**(config.run.labels or {}), **settings.labels},
        )
        container = Container(store, row)
        with _folder(container, driver), _Volumes(store) as volumes:
            settings = volumes.take(settings, config)
            row = row.replace(settings=settings.to_json())
            container.row = row
            _scaffold(container, settings, config, driver)
            driver.prepare(container.snapshot)
            volumes.populate(container, driver)
            container.row = _add(store, row, volumes.uses)
            volumes.keep()
    return container


def _settled(settings: RunSettings, run: RunConfig) -> RunSettings:
    """What is the image's word unless something else was asked for, and is wanted when no image is at hand."""
    from oci.container.signals import parse_signal

    stop_signal = settings.stop_signal or run.stop_signal
    if stop_signal:
        parse_signal(stop_signal, where="stop signal")
    timeout = settings.stop_timeout
    if timeout is None and run.stop_timeout is not None:
        # An image may ask for time; that `stop` never ends is for its user to wish.
        timeout = min(run.stop_timeout, MAX_STOP_TIMEOUT) if run.stop_timeout >= 0 else MAX_STOP_TIMEOUT
    return settings.replace(stop_signal=stop_signal, stop_timeout=timeout)


def _add(store: Store, row: ContainerRow, uses: list[tuple[str, str, bool]]) -> ContainerRow:
    """The row, with a name that is made up where none was given, until one is free."""
    if row.name:
        store.containers.add(row, uses)
        return row
    while True:
        named = row.replace(name=store.containers.generate_name())
        with suppress(NameTaken):  # another process was faster
            store.containers.add(named, uses)
            return named


@contextmanager
def _folder(container: Container, driver: Driver) -> Iterator[None]:
    """The container's folder, locked while it is made, so that nobody takes it for one that a crash left."""
    folder = container.folder
    os.mkdir(folder, 0o700)
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        try:
            yield
        except BaseException:
            with suppress(OciError, OSError):
                driver.remove(container.snapshot)
            from oci.container.removing import remove_folder

            remove_folder(folder)
            raise
    finally:
        os.close(fd)


def _scaffold(container: Container, settings: RunSettings, config: ImageConfig, driver: Driver) -> None:
    from oci.container.scaffold import make_scaffold
    from oci.runtime.mount_points import mount_points

    layers = [container.store.layers.path(layer) for layer in container.row.layers]
    make_scaffold(f"{container.folder}/init", layers, driver.form, mount_points(settings, config))


class _Volumes:
    """The volumes of a container that is being made; those that were made for it go again unless they are kept."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._made: list[str] = []
        self._wanted: list[tuple[Volume, str, bool]] = []  # volume, place, whether it takes the image's content
        self.uses: list[tuple[str, str, bool]] = []

    def take(self, settings: RunSettings, image: ImageConfig) -> RunSettings:
        """Find or make every volume that was asked for, or that the image declares; the settings with their names."""
        from oci.runtime.mount_points import image_volumes
        from oci.runtime.settings import MountSetting

        mounts = []
        for mount in settings.mounts:
            if mount.type == "bind" and not os.path.lexists(mount.source):
                raise ConfigurationError(f"bind {show(mount.source)}", "no such file or directory on this machine")
            mounts.append(self._take(mount) if mount.type == "volume" else mount)
        mounts += (self._take(MountSetting(type="volume", target=path)) for path in image_volumes(image, settings))
        return settings.replace(mounts=tuple(mounts)) if mounts else settings

    def _take(self, mount: MountSetting) -> MountSetting:
        volume = self._found(mount.source) if mount.source else self._new(None)
        self._wanted.append((volume, mount.target, not mount.nocopy))
        self.uses.append((volume.name, mount.target, mount.read_only))
        return mount.replace(source=volume.name)

    def _found(self, name: str) -> Volume:
        while True:
            with suppress(VolumeNotFound):
                return self._store.volumes.get(name)
            with suppress(NameTaken):  # another command was faster: it is that one's
                return self._new(name)

    def _new(self, name: str | None) -> Volume:
        volume = self._store.volumes.create(name)
        self._made.append(volume.name)
        return volume

    def populate(self, container: Container, driver: Driver) -> None:
        """Give volumes that no container has had yet the image's content of their place."""
        if not self._wanted:
            return
        from oci.storage.volumes import NEW

        volumes = self._store.volumes
        new = [
            (volume, place, copied)
            for volume, place, copied in self._wanted
            if os.path.lexists(f"{volumes.folder(volume.name)}/{NEW}")
        ]
        if not new:
            return
        with driver.root(container.snapshot) as root:
            for volume, place, copied in new:
                volumes.populate(volume, root if copied else None, os.fsencode(place))

    def keep(self) -> None:
        """The row is there: they are its own now."""
        self._made.clear()

    def __enter__(self) -> _Volumes:
        return self

    def __exit__(self, *exception: object) -> None:
        for name in self._made:
            with suppress(OciError):  # another container has taken it meanwhile
                self._store.volumes.remove(name)
