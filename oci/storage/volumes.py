"""Volumes: data that outlives containers, in `volumes/<name>/data`. No driver touches it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from oci.spec.record import Record, field

if TYPE_CHECKING:
    from oci.storage.store import Store

__all__ = ["Volume", "Volumes", "check_volume_name"]


class Volume(Record):
    """A volume; `path` is the folder of its data, `created` nanoseconds since 1970."""

    name: str
    path: str
    created: int
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    anonymous: bool = False


def check_volume_name(name: str) -> None:
    """InvalidInput unless docker would take this name too."""
    raise NotImplementedError


class Volumes:
    """The volumes of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def create(
        self, name: str | None = None, *, labels: Mapping[str, str] | None = None, anonymous: bool = False
    ) -> Volume:
        """Make an empty volume; without a name it gets one of 64 hexadecimal digits. NameTaken when there is one."""
        raise NotImplementedError

    def ensure(self, name: str, *, labels: Mapping[str, str] | None = None) -> Volume:
        """The volume of that name, made if it isn't there."""
        raise NotImplementedError

    def get(self, name: str) -> Volume:
        """The volume of that name; VolumeNotFound."""
        raise NotImplementedError

    def list(self) -> tuple[Volume, ...]:
        """All volumes, by name."""
        raise NotImplementedError

    def users(self, name: str) -> tuple[str, ...]:
        """The names of the containers that use a volume, running or not."""
        raise NotImplementedError

    def remove(self, name: str, *, force: bool = False) -> bool:
        """Remove a volume and its data; InUse says by whom, with `force` too. With `force` a missing one is no error."""
        raise NotImplementedError

    def prune(self, *, everything: bool = False, dry_run: bool = False) -> tuple[Volume, ...]:
        """Remove the anonymous volumes that no container uses; with `everything` the named ones too."""
        raise NotImplementedError

    def populate(
        self,
        volume: Volume,
        root_fd: int | None,
        path: bytes,
        *,
        rootless: bool = False,
        warn: Callable[[str], None] | None = None,
    ) -> bool:
        """Give a new volume the image's content of `path` below `root_fd`; True if it did.

        To be called for every volume that a container gets, before it can start; with `root_fd` None for one that is
        to stay as it is (`nocopy`). The first call settles it: a volume that was used once is never populated.
        """
        raise NotImplementedError

    def size(self, name: str) -> int:
        """Bytes on disk of a volume's data."""
        raise NotImplementedError

    def export(self, name: str, *, warn: Callable[[str], None] | None = None) -> Iterator[bytes]:
        """A volume's data as one tar, the same bytes for the same data."""
        raise NotImplementedError

    def load(
        self,
        name: str,
        chunks: Iterable[bytes],
        *,
        labels: Mapping[str, str] | None = None,
        force: bool = False,
        rootless: bool = False,
        warn: Callable[[str], None] | None = None,
    ) -> Volume:
        """Fill a new or empty volume from a tar (any compression); all of it or nothing. `force` replaces its data."""
        raise NotImplementedError
