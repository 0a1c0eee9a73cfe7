"""What the `wandb` protocol needs to be kept besides the registry: one small SQLite file, shared by all workers of a machine.

MD5 digests of stored files, uploads on their way, tags, and what sweeps try. Without it no version is lost: digests are computed
anew when they are asked for.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw

from artfs.errors import NewerFormat, StorageFailed
from artfs.store.sqlite_files import use_write_ahead_log

FORMAT = 1
BUSY_MS = 10_000
_SCHEMA = """
-- the MD5 (hexadecimal) of the file that an object makes; project is its uid, so that a name used again finds nothing
CREATE TABLE contents (
    project BLOB, kind INTEGER, digest BLOB, size INTEGER NOT NULL, md5 TEXT NOT NULL, PRIMARY KEY (project, kind, digest)
) WITHOUT ROWID;
CREATE INDEX contents_by_md5 ON contents (project, md5);
-- what clients call the digest of the artifact with this root
CREATE TABLE roots (project BLOB, root BLOB, digest TEXT NOT NULL, PRIMARY KEY (project, root)) WITHOUT ROWID;
-- artifacts that are being written; number is set when the upload has become a version; slot is what writers share; client_id is
-- what the client calls it
CREATE TABLE uploads (
    id TEXT PRIMARY KEY, project TEXT NOT NULL, artifact TEXT NOT NULL, request BLOB NOT NULL, slot TEXT NOT NULL,
    client_id TEXT NOT NULL, number INTEGER, created_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX uploads_by_client_id ON uploads (client_id) WHERE client_id <> '';
CREATE UNIQUE INDEX uploads_by_slot ON uploads (project, artifact, slot) WHERE number IS NULL AND slot <> '';
CREATE TABLE upload_runs (upload TEXT, run TEXT, PRIMARY KEY (upload, run)) WITHOUT ROWID;
-- base is the id of the artifact that an incremental one adds to
CREATE TABLE manifests (
    id INTEGER PRIMARY KEY, upload TEXT NOT NULL, kind TEXT NOT NULL, base TEXT NOT NULL, md5 TEXT NOT NULL,
    received INTEGER NOT NULL
);
CREATE INDEX manifests_by_upload ON manifests (upload);
CREATE TABLE tags (
    project TEXT, artifact TEXT, number INTEGER, tag TEXT, PRIMARY KEY (project, artifact, number, tag)
) WITHOUT ROWID;
CREATE TABLE sweeps (
    project TEXT, sweep TEXT, state TEXT NOT NULL, tried INTEGER NOT NULL, PRIMARY KEY (project, sweep)
) WITHOUT ROWID;
"""


class State:
    """The file, opened. Safe to use from several threads; owner of one connection."""

    def __init__(self, path: Path) -> None:
        """Raises StorageFailed, NewerFormat."""
        self._lock = threading.Lock()
        with _reported(path):
            self._connection = apsw.Connection(str(path))
            self._connection.set_busy_timeout(BUSY_MS)
            use_write_ahead_log(self._connection, timeout_s=BUSY_MS / 1000)
            self._connection.execute("PRAGMA synchronous = NORMAL")
        self._path = path
        with self.write() as tx:
            found = tx.rows("PRAGMA user_version")[0][0]
            if found > FORMAT:
                raise NewerFormat(f"{path} was written by a later artfs", hint="upgrade artfs")
            if found == 0:
                tx.script(f"{_SCHEMA}; PRAGMA user_version = {FORMAT}")

    @contextmanager
    def write(self) -> Iterator[StateTransaction]:
        """All or nothing of the block. Raises StorageFailed."""
        with self._lock, _reported(self._path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield StateTransaction(self._connection)
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """What a query finds. Raises StorageFailed."""
        with self._lock, _reported(self._path):
            return list(self._connection.execute(sql, tuple(parameters)))

    def close(self) -> None:
        with self._lock:
            self._connection.close()


class StateTransaction:
    """An open transaction."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return list(self._connection.execute(sql, tuple(parameters)))

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """The number of rows changed."""
        self._connection.execute(sql, tuple(parameters))
        return self._connection.changes()

    def run_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        self._connection.executemany(sql, [tuple(row) for row in rows])

    def script(self, sql: str) -> None:
        self._connection.execute(sql)


@contextmanager
def _reported(path: Path) -> Iterator[None]:
    try:
        yield
    except apsw.Error as error:
        raise StorageFailed(f"cannot use {path}: {error}", hint="check the disk and its permissions") from error
