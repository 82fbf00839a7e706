"""Volumes: data that outlives containers, in `volumes/<name>/data`. No driver touches it, no container owns it.

Order of effects, so that a crash at any moment loses no data and leaves nothing that `check` can't tell:

* create: the folder, on the disk; then the row. Without a row it is an orphan, which is never removed: `repair` gives
  it a row again.
* remove: the folder to a temporary name (from here on it is gone), then the row, then the files.
* populate, load: into a temporary folder beside, on the disk, then rename(2) over the empty one.

`volumes/<name>/new` says that no container has had the volume: only then it takes the image's content (docker: "new and
empty"). It is a file, not a column: it must go in one step with what is in the folder.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress

from oci.errors import DestinationError, InUse, InvalidInput, NameTaken, StoreError, VolumeNotFound, show
from oci.spec.record import Record, field
from oci.storage.folders import is_empty, new_folder, remove_folder, temporary_name
from oci.storage.state import FullDisk
from oci.storage.volume_folder import locked, put, settle
from oci.streams.atomic import fsync_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from oci.storage.place import Place
    from oci.storage.state import Transaction

__all__ = ["NEW", "Volume", "Volumes", "check_volume_name"]

MAX_NAME = 255  # characters: names of files have no more
MAX_LABELS = 64 << 10  # bytes of a volume's labels, keys and values together: they are read with every listing
NEW = "new"  # the mark of a volume that no container has had

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_COLUMNS = "name, created, labels, anonymous"


class Volume(Record):
    """A volume; `path` is the folder of its data, `created` nanoseconds since 1970."""

    name: str
    path: str
    created: int
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    anonymous: bool = False


def check_volume_name(name: str) -> None:
    """InvalidInput unless docker would take this name too (two characters at least: one alone is a typing error)."""
    if not _NAME.fullmatch(name) or len(name) > MAX_NAME:
        grammar = "letters, digits, '_', '.' and '-', two at least, beginning with a letter or digit"
        raise InvalidInput(f"{show(name)!r} is no name for a volume: {grammar}, at most {MAX_NAME}")


class Volumes:
    """The volumes of one store."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._root = f"{place.root}/volumes"

    def folder(self, name: str) -> str:
        """Where a volume is, there or not; its data is in `data` below."""
        return f"{self._root}/{name}"

    # What there is

    def get(self, name: str) -> Volume:
        """The volume of that name; VolumeNotFound."""
        row = self._place.state.one(f"SELECT {_COLUMNS} FROM volumes WHERE name = ?", (name,))
        if row is None:
            raise VolumeNotFound(name, self._place.root)
        return self._volume(row)

    def list(self) -> tuple[Volume, ...]:
        """All volumes, by name."""
        rows = self._place.state.all(f"SELECT {_COLUMNS} FROM volumes ORDER BY name")
        return tuple(map(self._volume, rows))

    def users(self, name: str) -> tuple[str, ...]:
        """The names of the containers that use a volume, running or not."""
        return _users(self._place.state, name)

    def size(self, name: str) -> int:
        """Bytes on disk of a volume's data."""
        from oci.storage.disk import disk_bytes

        return disk_bytes(self.get(name).path)

    def _volume(self, row: tuple[Any, ...]) -> Volume:
        name, created, labels, anonymous = row
        return Volume(
            name=name,
            path=self._place.volume_path(name),
            created=created,
            labels=json.loads(labels),
            anonymous=bool(anonymous),
        )

    # Making and removing

    def create(
        self, name: str | None = None, *, labels: Mapping[str, str] | None = None, anonymous: bool | None = None
    ) -> Volume:
        """Make an empty volume; without a name it is anonymous, and gets one of 64 hexadecimal digits.

        NameTaken when there is one. StoreError when a folder of that name lies there without a row, with data in it.
        """
        if name is None:
            name, anonymous = os.urandom(32).hex(), anonymous is not False
        _check(name, labels)
        try:
            with self._place.state.transaction() as db:
                if db.one("SELECT 1 FROM volumes WHERE name = ?", (name,)) is not None:
                    raise NameTaken("volume", name, hint="remove that one, or take another name")
                self._make_folder(name)
                return self._add(db, name, labels, anonymous=bool(anonymous))
        except (FullDisk, OSError):
            self._unmake_folder(name)
            raise

    def ensure(self, name: str, *, labels: Mapping[str, str] | None = None) -> Volume:
        """The volume of that name, made if it isn't there."""
        while True:
            with suppress(VolumeNotFound):
                return self.get(name)
            with suppress(NameTaken):  # another process was faster
                return self.create(name, labels=labels)

    def _make_folder(self, name: str) -> None:
        folder = self.folder(name)
        try:
            os.mkdir(folder, 0o700)
        except FileExistsError:
            self._adopt(folder)
        _make_data(folder)
        fsync_dir(self._root)

    def _unmake_folder(self, name: str) -> None:
        """Take away what no row could be made for; nothing that holds data."""
        with suppress(OSError, StoreError):
            if self._place.state.one("SELECT 1 FROM volumes WHERE name = ?", (name,)) is None:
                os.unlink(f"{self.folder(name)}/{NEW}")
                os.rmdir(f"{self.folder(name)}/data")
                os.rmdir(self.folder(name))

    def _adopt(self, folder: str) -> None:
        """Take over what a crash left between folder and row; data in it is somebody's."""
        with suppress(FileNotFoundError, NotADirectoryError):
            if is_empty(f"{folder}/data"):
                return
            raise StoreError(folder, "holds data, but the store knows no volume of that name; `ocikit store check`")

    def _add(self, db: Transaction, name: str, labels: Mapping[str, str] | None, *, anonymous: bool) -> Volume:
        text = json.dumps(dict(labels or {}), separators=(",", ":"), ensure_ascii=False)
        row = (name, self._place.clock(), text, int(anonymous))
        db.run(f"INSERT INTO volumes ({_COLUMNS}, ready) VALUES (?, ?, ?, ?, 1)", row)
        return self._volume(row)

    def remove(self, name: str, *, force: bool = False) -> bool:
        """Remove a volume and its data; InUse says by whom, with `force` too, which only bears one that is missing."""
        folder, doomed = self.folder(name), f"{self._root}/{temporary_name()}"
        try:
            with self._place.state.transaction() as db:  # nobody makes one of that name meanwhile
                if db.one("SELECT 1 FROM volumes WHERE name = ?", (name,)) is None:
                    if force:
                        return False
                    raise VolumeNotFound(name, self._place.root)
                users = _users(db, name)
                if users:
                    raise InUse(f"volume {name}", users, hint="remove the containers first")
                with suppress(FileNotFoundError), locked(folder, wait=False):
                    os.rename(folder, doomed)
                db.run("DELETE FROM volumes WHERE name = ?", (name,))
        except BlockingIOError:
            raise InUse(f"volume {name}", ("a command that is filling it",), hint="try again later") from None
        except BaseException:
            with suppress(FileNotFoundError):  # the row stays, so the data does
                os.rename(doomed, folder)
            raise
        fsync_dir(self._root)
        remove_folder(doomed)
        return True

    # For repair

    def adopt(self, name: str) -> Volume:
        """Give a folder that lies there without a row one again, with all that is in it."""
        check_volume_name(name)
        folder = self.folder(name)
        with self._place.state.transaction() as db:
            if db.one("SELECT 1 FROM volumes WHERE name = ?", (name,)) is not None:
                raise NameTaken("volume", name)
            settle(folder)
            if not os.path.isdir(f"{folder}/data"):
                _make_data(folder)
            # Only names of its own making have 64 digits; whether it once was anonymous nobody knows, so it is kept.
            return self._add(db, name, None, anonymous=False)

    def remake(self, name: str) -> None:
        """Make the folder of a volume that has lost it."""
        with self._place.state.transaction() as db:
            if db.one("SELECT 1 FROM volumes WHERE name = ?", (name,)) is not None:
                self._make_folder(name)

    def prune(self, *, everything: bool = False, dry_run: bool = False) -> tuple[Volume, ...]:
        """Remove the anonymous volumes that no container uses; with `everything` the named ones too.

        Under the store's exclusive lock: a container that is being made has its volumes before it has a row.
        """
        if not dry_run:
            with self._place.exclusive():
                return self._prune(everything, dry_run=False)
        return self._prune(everything, dry_run=True)

    def _prune(self, everything: bool, *, dry_run: bool) -> tuple[Volume, ...]:
        used = {name for (name,) in self._place.state.all("SELECT DISTINCT volume FROM container_volumes")}
        gone = []
        for volume in self.list():
            if volume.name in used or not (everything or volume.anonymous):
                continue
            try:
                if not dry_run and not self.remove(volume.name, force=True):
                    continue
            except InUse:  # a container took it meanwhile
                continue
            gone.append(volume)
        return tuple(gone)

    # What is in them

    def populate(
        self,
        volume: Volume,
        root_fd: int | None,
        path: bytes,
        *,
        rootless: bool | None = None,
        warn: Callable[[str], None] | None = None,
    ) -> bool:
        """Give a new volume the image's content of `path` below `root_fd`; True if it did.

        To be called for every volume that a container gets, before it can start; with `root_fd` None for one that is
        to stay as it is (`nocopy`). The first call settles it: a volume that was used once is never populated, so what
        a running container has mounted is never exchanged. Links in `path` lead inside `root_fd`; where it leads to no
        directory, there is nothing to copy.
        """
        folder = self.folder(volume.name)
        with self._locked(volume.name):
            if not os.path.lexists(f"{folder}/{NEW}"):
                return False
            source = None if root_fd is None or not is_empty(volume.path) else _open_directory(root_fd, path)
            if source is not None:
                self._take(folder, source, rootless, warn)
            os.unlink(f"{folder}/{NEW}")
            fsync_dir(folder)
            return source is not None

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        with ExitStack() as stack:
            try:
                stack.enter_context(locked(self.folder(name)))
            except FileNotFoundError:
                raise VolumeNotFound(name, self._place.root) from None
            yield

    def _take(self, folder: str, source: int, rootless: bool | None, warn: Callable[[str], None] | None) -> None:
        from oci.storage.volume_data import filled, image_content

        try:
            with filled(folder, image_content(source), rootless=_rootless(rootless), warn=warn) as made:
                os.rename(
                    made, f"{folder}/data"
                )  # over an empty folder, in one step; refused if there is anything in it
                fsync_dir(folder)
        finally:
            os.close(source)

    def export(self, name: str, *, warn: Callable[[str], object] | None = None) -> Iterator[bytes]:
        """A volume's data as one tar, the same bytes for the same data. Nothing stops containers from writing to it."""
        from oci.storage.volume_data import archive

        return archive(self.get(name).path, live=bool(self._running(self._place.state, name)), warn=warn)

    def load(
        self,
        name: str,
        chunks: Iterable[bytes],
        *,
        labels: Mapping[str, str] | None = None,
        force: bool = False,
        rootless: bool | None = None,
        warn: Callable[[str], None] | None = None,
    ) -> Volume:
        """Fill a new or empty volume from a tar (any compression); all of it or nothing. `force` replaces its data.

        DestinationError when there is data in it, InUse while a running container has it mounted; and what reading the
        tar raises.
        """
        from oci.image.tar_source import open_tar
        from oci.storage.volume_data import filled

        _check(name, labels)
        known = self._place.state.one("SELECT 1 FROM volumes WHERE name = ?", (name,)) is not None
        with open_tar(chunks) as tar:
            if not known:
                with new_folder(self._root) as whole:
                    with filled(whole, tar, rootless=_rootless(rootless), warn=warn) as made:
                        os.rename(made, f"{whole}/data")
                        fsync_dir(whole)
                    return self._put_new(name, whole, labels)
            volume = self.get(name)
            with self._locked(name):
                self._check_replaceable(self._place.state, volume, force)
                with filled(self.folder(name), tar, rootless=_rootless(rootless), warn=warn) as made:
                    self._put_into(volume, made, force)
            return volume

    def _put_new(self, name: str, whole: str, labels: Mapping[str, str] | None) -> Volume:
        folder = self.folder(name)
        with self._place.state.transaction() as db:
            if db.one("SELECT 1 FROM volumes WHERE name = ?", (name,)) is not None:
                raise NameTaken("volume", name, hint="it was made meanwhile")
            if os.path.lexists(folder):
                self._adopt(folder)
                remove_folder(folder)
            os.rename(whole, folder)
            fsync_dir(self._root)
            return self._add(db, name, labels, anonymous=False)

    def _put_into(self, volume: Volume, made: str, force: bool) -> None:
        folder = self.folder(volume.name)
        with self._place.state.transaction() as db:  # no container starts meanwhile
            self._check_replaceable(db, volume, force)
            with suppress(FileNotFoundError):
                os.unlink(f"{folder}/{NEW}")
            put(folder, made)

    def _check_replaceable(self, db: Any, volume: Volume, force: bool) -> None:
        running = self._running(db, volume.name)
        if running:
            raise InUse(f"volume {volume.name}", running, hint="stop the containers first")
        if not force and not is_empty(volume.path):
            raise DestinationError(f"volume {volume.name}", "is not empty; --force replaces its data")

    @staticmethod
    def _running(db: Any, name: str) -> tuple[str, ...]:
        query = """SELECT DISTINCT c.name FROM containers c JOIN container_volumes v ON v.container = c.id
                   WHERE v.volume = ? AND c.status = 'running' ORDER BY c.name"""
        return tuple(row[0] for row in db.all(query, (name,)))


def _users(db: Any, name: str) -> tuple[str, ...]:
    query = """SELECT DISTINCT c.name FROM containers c JOIN container_volumes v ON v.container = c.id
               WHERE v.volume = ? ORDER BY c.name"""
    return tuple(row[0] for row in db.all(query, (name,)))


def _check(name: str, labels: Mapping[str, str] | None) -> None:
    check_volume_name(name)
    size = sum(len(key) + len(value) for key, value in (labels or {}).items())
    if size > MAX_LABELS:
        raise InvalidInput(f"labels of volume {name}: {size} characters, over the limit of {MAX_LABELS}")


def _make_data(folder: str) -> None:
    """The empty data folder of a new volume, root's and open to all (what is in it has its own modes), and its mark."""
    with suppress(FileExistsError):
        os.mkdir(f"{folder}/data")
    os.chmod(f"{folder}/data", 0o755)  # whatever the umask says
    os.close(os.open(f"{folder}/{NEW}", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    fsync_dir(folder)


def _open_directory(root_fd: int, path: bytes) -> int | None:
    """The directory that a path leads to inside an image; None when it is none."""
    from oci.linux.files import open_in_root

    try:
        return open_in_root(root_fd, path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:  # not there, a file, links in a circle
        return None


def _rootless(said: bool | None) -> bool:
    """Whether owners can't be set but only noted; None leaves that to where we are."""
    if said is not None:
        return said
    from oci.linux.idmaps import single_owner

    return single_owner()
