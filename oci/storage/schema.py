"""The tables of `store.db`, as the steps that lead to them: a store of an older version is taken through the rest.

Rule: a step that was released is never changed; a change is a new step at the end. The number of steps that a database
has behind it is its `PRAGMA user_version`. Times are nanoseconds since 1970, identities of processes are
`PID START BOOT-ID` (oci/linux/process.py), lists and maps are JSON.

====================  =====================================================================================
`facts`               what holds for the whole store: the form of opaque marks
`probes`              what a trial of a driver showed, by a key that says under which kernel and file system
`layers`              folders in `layers/` that are whole; a folder without a row is no layer
`containers`          one row each; the folder of that id may be gone (a crash) or not be there yet
`volumes`             `ready` 0: its folder is being made or removed
`container_volumes`   who uses which volume, and where
====================  =====================================================================================
"""

from __future__ import annotations

__all__ = ["APPLICATION_ID", "STEPS"]

APPLICATION_ID = (
    0x6F63696B  # "ocik": PRAGMA application_id, so that another program's database is not taken for a store
)

STEPS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
        "CREATE TABLE probes (key TEXT PRIMARY KEY, value TEXT NOT NULL, made INTEGER NOT NULL) WITHOUT ROWID",
        """CREATE TABLE layers (
            id TEXT PRIMARY KEY,          -- the folder's name
            diff_id TEXT NOT NULL,        -- the digest of its tar
            chain_id TEXT,                -- only where hard links reach into lower layers
            size INTEGER NOT NULL,        -- bytes of the files' contents, as the tar has them
            entries INTEGER NOT NULL,
            made INTEGER NOT NULL
        ) WITHOUT ROWID""",
        "CREATE INDEX layers_by_diff_id ON layers (diff_id)",
        """CREATE TABLE containers (
            id TEXT PRIMARY KEY,
            name TEXT NOT NULL UNIQUE,
            image_id TEXT NOT NULL,
            image_name TEXT,
            manifest TEXT NOT NULL,
            layers TEXT NOT NULL,
            driver TEXT NOT NULL,
            created INTEGER NOT NULL,
            settings TEXT NOT NULL,
            status TEXT NOT NULL,
            supervisor TEXT,
            init TEXT,
            started INTEGER,
            finished INTEGER,
            exit_code INTEGER,
            error TEXT,
            auto_remove INTEGER NOT NULL,
            labels TEXT NOT NULL
        ) WITHOUT ROWID""",
        "CREATE INDEX containers_by_created ON containers (created)",
        "CREATE INDEX containers_by_manifest ON containers (manifest)",
        """CREATE TABLE volumes (
            name TEXT PRIMARY KEY,
            created INTEGER NOT NULL,
            labels TEXT NOT NULL,
            anonymous INTEGER NOT NULL,
            ready INTEGER NOT NULL
        ) WITHOUT ROWID""",
        """CREATE TABLE container_volumes (
            container TEXT NOT NULL REFERENCES containers (id) ON DELETE CASCADE,
            path TEXT NOT NULL,
            volume TEXT NOT NULL REFERENCES volumes (name),
            read_only INTEGER NOT NULL,
            PRIMARY KEY (container, path)
        ) WITHOUT ROWID""",
        "CREATE INDEX container_volumes_by_volume ON container_volumes (volume)",
    ),
)
