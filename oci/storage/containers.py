"""Containers as the store knows them: one row each, and a folder that is locked while something is done to it.

What a row says of processes is what was true when it was written: whether they live, oci/container asks the kernel.
A container's folder is made first, under its lock, and its row last; the row goes last too, when the folder is gone. So
a folder without a row and without a lock is a leftover, and a row without a folder one that was being removed.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from oci.errors import ContainerNotFound, InvalidInput, NameTaken, VolumeNotFound, show
from oci.lazily import re
from oci.spec.quick_json import dumps, loads
from oci.spec.record import Record, field
from oci.storage.container_names import generate_name
from oci.typed import Literal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from oci.drivers.snapshot import Snapshot
    from oci.linux.process import Identity
    from oci.storage.place import Place
    from oci.storage.state import Transaction

__all__ = ["ContainerRow", "Containers", "Status", "check_container_name", "is_id", "new_id"]

Status = Literal["created", "running", "exited", "removing"]

MIN_PREFIX = 2  # hexadecimal digits of an ID
MAX_NAME = 128  # characters of a container's name

_NAME = r"[a-zA-Z0-9][a-zA-Z0-9_.-]*"
_HEX = "0123456789abcdef"


class ContainerRow(Record):
    """What the database says of a container. Times are nanoseconds since 1970."""

    id: str
    name: str
    image_id: str
    image_name: str | None
    manifest: str
    layers: tuple[str, ...]
    driver: str
    created: int
    settings: str = "{}"
    status: Status = "created"
    supervisor: Identity | None = None
    init: Identity | None = None
    started: int | None = None
    finished: int | None = None
    exit_code: int | None = None
    error: str | None = None
    auto_remove: bool = False
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def short_id(self) -> str:
        """The first twelve digits, as tables show it."""
        return self.id[:12]


_COLUMNS = tuple(ContainerRow._specs)
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM containers"
_INSERT = f"INSERT INTO containers ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"


def new_id() -> str:
    """A container's ID: 64 hexadecimal digits that say nothing."""
    return os.urandom(32).hex()


def is_id(text: str) -> bool:
    """Whether it has the form of a whole ID, as the names of containers' folders have."""
    return len(text) == 64 and not text.strip(_HEX)


def check_container_name(name: str) -> None:
    """InvalidInput unless docker would take this name too."""
    plain = name.isascii() and name.isalnum()
    if not (plain or re.fullmatch(_NAME, name)) or len(name) > MAX_NAME:
        reason = f"letters, digits, '_', '.' and '-', beginning with a letter or digit, at most {MAX_NAME}"
        raise InvalidInput(f"{show(name)!r} is no name for a container: {reason}")


class Containers:
    """The containers of one store."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def folder(self, container_id: str) -> str:
        """Where the container's files are, there or not."""
        return f"{self._place.root}/containers/{container_id}"

    def snapshot(self, row: ContainerRow) -> Snapshot:
        """The container's tree as the driver wants to know it."""
        from oci.drivers.snapshot import Snapshot

        folder = self.folder(row.id)
        return Snapshot(
            folder=folder,
            layers=tuple(self._place.layer_path(layer) for layer in row.layers),
            scaffold=f"{folder}/init" if os.path.lexists(f"{folder}/init") else None,
        )

    @contextmanager
    def lock(self, container_id: str, *, wait: bool = True) -> Iterator[int]:
        """Hold the container's lock, a flock on its folder; gives the folder's descriptor.

        ContainerNotFound when there is no folder (any more), BlockingIOError with wait=False when somebody has it.
        """
        try:
            fd = os.open(self.folder(container_id), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            raise ContainerNotFound(container_id, self._place.root) from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if os.fstat(fd).st_nlink == 0:  # removed while we waited
                raise ContainerNotFound(container_id, self._place.root)
            yield fd
        finally:
            os.close(fd)

    # Rows

    def generate_name(self) -> str:
        """A name for a container that was given none."""
        return generate_name(lambda name: self._by_name(name) is not None)

    def add(self, row: ContainerRow, volumes: Iterable[tuple[Any, ...]] = ()) -> None:
        """Add a container, with the volumes that it uses as (name, path) or (name, path, read_only).

        NameTaken when its name is another's, VolumeNotFound when a volume has been removed meanwhile.
        """
        check_container_name(row.name)
        uses = [(row.id, use[1], use[0], bool(len(use) > 2 and use[2])) for use in volumes]
        with self._place.state.transaction() as db:
            self._check_free(db, row.name, row.id)
            db.run(_INSERT, _to_columns(row))
            for _, _, volume, _ in uses:
                if db.one("SELECT 1 FROM volumes WHERE name = ?", (volume,)) is None:
                    raise VolumeNotFound(volume, self._place.root)
            db.run_many("INSERT INTO container_volumes (container, path, volume, read_only) VALUES (?, ?, ?, ?)", uses)

    def _check_free(self, db: Transaction, name: str, own: str) -> None:
        taken = db.one("SELECT id FROM containers WHERE name = ? AND id != ?", (name, own))
        if taken is not None:
            raise NameTaken(
                "container", name, hint=f"{taken[0][:12]} has it; remove or rename that one, or take another name"
            )

    def get(self, wanted: str) -> ContainerRow:
        """The container of that name, that ID, or the only one whose ID begins so; ContainerNotFound."""
        row = self._by_name(wanted)
        if row is not None:
            return row
        matches: list[tuple[Any, ...]] = []
        if MIN_PREFIX <= len(wanted) <= 64 and not wanted.strip(_HEX):
            # The digits above "f" end the range: an index is used, where LIKE would read every row.
            matches = self._place.state.all(f"{_SELECT} WHERE id >= ? AND id < ? LIMIT 11", (wanted, wanted + "g"))
        if len(matches) != 1:
            raise ContainerNotFound(wanted, self._place.root, [row[0][:12] for row in matches])
        return _from_columns(matches[0])

    def _by_name(self, name: str) -> ContainerRow | None:
        row = self._place.state.one(f"{_SELECT} WHERE name = ?", (name,))
        return None if row is None else _from_columns(row)

    def list(self) -> tuple[ContainerRow, ...]:
        """All containers, the oldest first."""
        return tuple(_from_columns(row) for row in self._place.state.all(f"{_SELECT} ORDER BY created, id"))

    def update(self, container_id: str, **fields: Any) -> ContainerRow:
        """Change fields of a row; ContainerNotFound when it is gone. Gives the row as it is now."""
        if not fields.keys() <= set(_COLUMNS) - {"id"}:
            raise TypeError(f"no such fields: {sorted(fields.keys() - set(_COLUMNS))}")
        changes = ", ".join(f"{name} = ?" for name in fields)
        values = [_to_column(name, value) for name, value in fields.items()]
        with self._place.state.transaction() as db:
            if fields and not db.run(f"UPDATE containers SET {changes} WHERE id = ?", (*values, container_id)):
                raise ContainerNotFound(container_id, self._place.root)
            row = db.one(f"{_SELECT} WHERE id = ?", (container_id,))
        if row is None:
            raise ContainerNotFound(container_id, self._place.root)
        return _from_columns(row)

    def rename(self, container_id: str, name: str) -> None:
        """Give a container another name; NameTaken when it is another's."""
        check_container_name(name)
        with self._place.state.transaction() as db:
            self._check_free(db, name, container_id)
            if not db.run("UPDATE containers SET name = ? WHERE id = ?", (name, container_id)):
                raise ContainerNotFound(container_id, self._place.root)

    def remove(self, container_id: str) -> None:
        """Forget a container and which volumes it used; its folder is gone before (see oci/container)."""
        with self._place.state.transaction() as db:
            db.run("DELETE FROM containers WHERE id = ?", (container_id,))

    def volumes(self, container_id: str) -> tuple[tuple[str, str, bool], ...]:
        """The volumes that a container uses: (name, path, read_only)."""
        query = "SELECT volume, path, read_only FROM container_volumes WHERE container = ? ORDER BY path"
        return tuple(
            (name, path, bool(read_only)) for name, path, read_only in self._place.state.all(query, (container_id,))
        )

    def using_manifest(self, manifests: Iterable[str]) -> tuple[str, ...]:
        """The names of the containers made from one of these manifests (digests)."""
        names: list[str] = []
        for manifest in manifests:
            names += (
                row[0]
                for row in self._place.state.all(
                    "SELECT name FROM containers WHERE manifest = ? ORDER BY name", (manifest,)
                )
            )
        return tuple(names)

    def layer_ids(self) -> set[str]:
        """The layers that containers need."""
        rows = self._place.state.all("SELECT DISTINCT layers FROM containers")
        return {layer for (layers,) in rows for layer in loads(layers)}


def _to_column(name: str, value: Any) -> Any:
    if name in ("supervisor", "init"):
        return None if value is None else str(value)
    if name in ("layers", "labels"):
        return dumps(value if name == "layers" else dict(value))
    return value


def _to_columns(row: ContainerRow) -> list[Any]:
    return [_to_column(name, getattr(row, name)) for name in _COLUMNS]


def _from_columns(values: tuple[Any, ...]) -> ContainerRow:
    known = dict(zip(_COLUMNS, values, strict=True))
    known["layers"] = tuple(loads(known["layers"]))
    known["labels"] = loads(known["labels"])
    known["auto_remove"] = bool(known["auto_remove"])
    for name in ("supervisor", "init"):
        if known[name] is not None:
            known[name] = _identity(known[name])
    return ContainerRow(**known)


def _identity(text: str) -> Identity:
    from oci.linux.process import Identity

    return Identity.parse(text)
