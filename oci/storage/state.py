"""The store's database: SQLite in WAL mode, one writer at a time, and no other module that knows SQLite.

Rule: what is written is written within `transaction`, which takes the write lock at its start (BEGIN IMMEDIATE), so
that nothing read in it can be out of date when it writes. `synchronous=NORMAL`: a commit survives the process that made
it whatever happens to it, and a power cut may lose the last commits but never half of one. What has to survive a power
cut too is in files beside (a layer's mark, a container's exit.json), or can be made anew.

SQLite must not be used across fork(2) (sqlite.org/howtocorrupt.html#_carrying_an_open_database_across_a_fork_): a
process that finds its parent's connection opens its own.
"""

from __future__ import annotations

import _thread
import fcntl
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

from oci.errors import StoreError
from oci.storage.schema import APPLICATION_ID, STEPS

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from typing import Any, Self

__all__ = ["DamagedDatabase", "FullDisk", "State", "Transaction", "is_store", "set_aside"]

DATABASE = "store.db"
BUSY = 60  # seconds to wait for another writer; a transaction takes milliseconds, a starved machine more
_ABANDONED: list[object] = []  # connections of a parent process: never used and never closed here


class DamagedDatabase(StoreError):  # noqa: N818 - named as the errors of oci.errors are
    """The file is no database any more, or not a whole one."""


class FullDisk(StoreError):  # noqa: N818
    """There is no room for what was to be written; nothing of it was."""


class Transaction:
    """What a block of `State.transaction` works with."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def run(self, statement: str, values: Sequence[object] = ()) -> int:
        """Run one statement; the number of rows that it changed."""
        return self._connection.execute(statement, values).rowcount

    def run_many(self, statement: str, rows: Iterable[Sequence[object]]) -> None:
        """Run one statement for each of several rows of values."""
        self._connection.executemany(statement, rows)

    def all(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Every row that a query gives."""
        return self._connection.execute(query, values).fetchall()

    def one(self, query: str, values: Sequence[object] = ()) -> tuple[Any, ...] | None:
        """The first row that a query gives, None when there is none."""
        row: tuple[Any, ...] | None = self._connection.execute(query, values).fetchone()
        return row


class State:
    """The open database of the store at `root`; usable by several threads, which take turns."""

    def __init__(self, root: str, *, steps: Sequence[Sequence[str]] = STEPS) -> None:
        self.path = os.path.join(root, DATABASE)
        self._steps = steps
        self._mutex = _thread.RLock()
        self._connection: sqlite3.Connection | None = None
        self._pid = -1
        self._within = False

    @classmethod
    def open(cls, root: str, *, create: bool = True, steps: Sequence[Sequence[str]] = STEPS) -> Self:
        """Open the database of a store, brought up to this version; with `create`, make one where there is none.

        StoreError when it is damaged, is of a newer ocikit, belongs to somebody else, or isn't there.
        """
        self = cls(root, steps=steps)
        self._check_owner(create)
        with self._mutex, self._told():
            self._connect()
        return self

    # Use

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Read and write as one step: committed when the block ends, undone when it raises."""
        with self._mutex, self._told():
            connection = self._connect()
            if self._within:
                raise RuntimeError("a transaction inside a transaction")
            connection.execute("BEGIN IMMEDIATE")
            self._within = True
            try:
                yield Transaction(connection)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            finally:
                self._within = False

    def all(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Every row that a query gives, as one moment has them."""
        with self._mutex, self._told():
            return Transaction(self._connect()).all(query, values)

    def one(self, query: str, values: Sequence[object] = ()) -> tuple[Any, ...] | None:
        """The first row that a query gives, None when there is none."""
        with self._mutex, self._told():
            return Transaction(self._connect()).one(query, values)

    def fact(self, name: str) -> str | None:
        """One fact about the whole store."""
        row = self.one("SELECT value FROM facts WHERE name = ?", (name,))
        return None if row is None else str(row[0])

    def set_fact(self, name: str, value: str) -> None:
        """Note a fact about the whole store, in place of the old one."""
        with self.transaction() as db:
            db.run("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    def settle_fact(self, name: str, value: str) -> str:
        """Note a fact unless it is known already; give the one that holds."""
        known = self.fact(name)
        if known is not None:
            return known
        with self.transaction() as db:
            db.run("INSERT OR IGNORE INTO facts VALUES (?, ?)", (name, value))
            row = db.one("SELECT value FROM facts WHERE name = ?", (name,))
        assert row is not None
        return str(row[0])

    def check(self) -> list[str]:
        """What is wrong with the database as SQLite sees it, one line for each fault; nothing: sound."""
        try:
            lines = [str(row[0]) for row in self.all("PRAGMA integrity_check(20)")]
            lines += [f"table {row[0]}: a row names a missing {row[2]}" for row in self.all("PRAGMA foreign_key_check")]
        except StoreError as error:
            return [error.reason]
        return [line for line in lines if line != "ok"]

    def close(self) -> None:
        """Close the database; the next use opens it again."""
        with self._mutex:
            connection, self._connection = self._connection, None
            if connection is not None and self._pid == os.getpid():
                connection.close()
            elif connection is not None:
                _ABANDONED.append(connection)

    # Opening

    def _check_owner(self, create: bool) -> None:
        try:
            owner = os.stat(self.path, follow_symlinks=False).st_uid
        except FileNotFoundError:
            if not create:
                raise StoreError(self.path, "no such file; this is not a store of ocikit") from None
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
            return
        if owner != os.geteuid():
            whose = f"belongs to user {owner}, you are user {os.geteuid()}"
            raise StoreError(self.path, f"{whose}; a store has one owner, choose another with --root")

    def _connect(self) -> sqlite3.Connection:
        if self._connection is not None:
            if self._pid == os.getpid():
                return self._connection
            _ABANDONED.append(self._connection)
            self._connection = None
            self._within = False
        connection: sqlite3.Connection = _sqlite3().connect(
            self.path, timeout=BUSY, isolation_level=None, check_same_thread=False
        )
        try:
            self._set_up(connection)
        except BaseException:
            connection.close()
            raise
        self._connection, self._pid = connection, os.getpid()
        return connection

    def _set_up(self, connection: sqlite3.Connection) -> None:
        """Settings of the connection, and the steps that the database doesn't have behind it."""
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA foreign_keys=ON")
        # Both were committed together: once the first is right, so is the second; else the slow way is taken.
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if application == APPLICATION_ID and version == len(self._steps):
            return
        folder = os.open(os.path.dirname(self.path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # SQLite's own locks don't make several processes wait that change the journal's mode at once.
            fcntl.flock(folder, fcntl.LOCK_EX)
            if self._version(connection) < len(self._steps):
                connection.execute("PRAGMA journal_mode=WAL")
                self._take_steps(connection)
        finally:
            os.close(folder)

    def _take_steps(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        try:
            for step in self._steps[self._version(connection) :]:
                for statement in step:
                    connection.execute(statement)
            connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version={len(self._steps)}")
            connection.execute("COMMIT")
        except BaseException:
            with suppress(Exception):
                connection.execute("ROLLBACK")
            raise

    def _version(self, connection: sqlite3.Connection) -> int:
        """How many steps the database has behind it; StoreError when it is not ours, or of a newer ocikit."""
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        if application != APPLICATION_ID:
            (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if tables or application or version:
                raise StoreError(self.path, "is the database of another program")
        known = len(self._steps)
        if version > known:
            reason = f"is of version {version}, this ocikit knows up to {known}; use the newer one, or another --root"
            raise StoreError(self.path, reason)
        return int(version)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Whatever SQLite says, in one line that tells what to do."""
        database_error: type[sqlite3.DatabaseError] = _sqlite3().DatabaseError
        try:
            yield
        except database_error as error:
            full = getattr(error, "sqlite_errorname", "") == "SQLITE_FULL"
            kind = DamagedDatabase if _is_damage(error) else FullDisk if full else StoreError
            raise kind(self.path, _reason(error)) from error


def is_store(root: str) -> bool:
    """Whether there is a store at `root`, of which the database is the sign; nothing is made by looking.

    A place that can't be looked at (another user's, a file) is a StoreError: nobody knows what there is.
    """
    try:
        os.lstat(f"{root}/{DATABASE}")
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StoreError(root, f"can't be looked at ({error.strerror}); choose another store with --root") from None
    return True


def _sqlite3() -> Any:
    """The part of `sqlite3` that is in C, without the adapters for dates, for which `datetime` would be imported."""
    try:
        import _sqlite3 as found
    except ImportError:
        import sqlite3 as found  # type: ignore[no-redef]
    return found


def set_aside(root: str) -> str:
    """Take the database of a store out of the way, with its log; the name it has now. Nobody may have it open."""
    number = 1
    while os.path.lexists(f"{root}/{DATABASE}.damaged-{number}"):
        number += 1
    for suffix in ("-wal", "-shm", ""):  # the database last: without it the others mean nothing
        with suppress(FileNotFoundError):
            os.rename(f"{root}/{DATABASE}{suffix}", f"{root}/{DATABASE}.damaged-{number}{suffix}")
    return f"{DATABASE}.damaged-{number}"


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    return getattr(error, "sqlite_errorname", "").startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB"))


def _reason(error: sqlite3.DatabaseError) -> str:
    text = str(error)
    name = getattr(error, "sqlite_errorname", "")
    if _is_damage(error):
        return f"is damaged ({text}); `ocikit store check --repair` makes a new one from what lies in the store"
    if name.startswith("SQLITE_BUSY"):
        return f"another process has held it for more than {BUSY} seconds; try again when it is done"
    if name.startswith("SQLITE_FULL"):
        return "the disk is full"
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN")):
        return f"can't be opened for writing ({text})"
    return text
