"""What this machine has seen of references whose blocks' digests nobody wrote down: so that later bytes are of the same state.

A small SQLite file in the cache directory, shared by all processes of a user. The first digest of a block wins, and the first
state of a source, so that whoever reads later either gets the same bytes or an error. To lose the file costs fetching again,
nothing else: a failure is logged once and means that nothing is remembered. Bounded in rows; what was used least lately goes
first. Owner of the connection: a lock; a wait for another process is bounded by BUSY_MS.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar, cast

import apsw

from artfs.model.digest import DIGEST_BYTES, Digest
from artfs.store.durable import FILE_MODE, make_private
from artfs.store.sqlite_files import use_write_ahead_log

ROWS_MAX = 1_000_000  # of blocks, and of what else there is; about 70 MB of blocks
VERIFIED = -1  # in place of a block's number: that all are verified. It goes when they go, whoever removes them
TRIM_EVERY = 10_000  # rows written by this process, after the first
USED_EVERY_S = 3600
BUSY_MS = 500

_SCHEMA = """
CREATE TABLE IF NOT EXISTS sources (
    name BLOB PRIMARY KEY, validator TEXT NOT NULL, used_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS blocks (
    name BLOB, number INTEGER, digest BLOB NOT NULL, PRIMARY KEY (name, number)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS block_uses (
    name BLOB PRIMARY KEY, used_at INTEGER NOT NULL
) WITHOUT ROWID;
"""
_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class SeenBlocks:
    """The file at `path`, made when first used. Safe from any thread; open it after forking. A `name` is 16 bytes."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time, *, rows_max: int = ROWS_MAX) -> None:
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._connection: apsw.Connection | None = None
        self._is_broken = False
        self._rows_max = rows_max
        self._written = TRIM_EVERY  # processes that write little write much together

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def validator(self, name: bytes) -> str | None:
        """The state of the source that was read first; None if none was."""

        def find(db: apsw.Connection) -> str | None:
            row = db.execute("SELECT validator, used_at FROM sources WHERE name = ?", (name,)).fetchone()
            now = int(self._clock())
            if row is not None and now - int(row[1]) > USED_EVERY_S:
                db.execute("UPDATE sources SET used_at = ? WHERE name = ?", (now, name))
            return None if row is None else str(row[0])

        return self._use(find)

    def settle(self, name: bytes, validator: str) -> str:
        """Remember which state is read, unless one is; returns the one that is."""

        def insert(db: apsw.Connection) -> str:
            db.execute("INSERT OR IGNORE INTO sources VALUES (?, ?, ?)", (name, validator, int(self._clock())))
            row = db.execute("SELECT validator FROM sources WHERE name = ?", (name,)).fetchone()
            return validator if row is None else str(row[0])

        settled = self._use(insert)
        return validator if settled is None else settled

    def digests(self, name: bytes, first: int, last: int) -> dict[int, Digest]:
        """Of the blocks from `first` to `last`, those that were seen."""
        sql = "SELECT number, digest FROM blocks WHERE name = ? AND number BETWEEN ? AND ?"

        def find(db: apsw.Connection) -> list[Any]:
            found = db.execute(sql, (name, first, last)).fetchall()
            if found:
                self._note_use(db, name)
            return found

        rows = self._use(find) or []
        return {number: Digest(digest) for number, digest in rows if len(digest) == DIGEST_BYTES}

    def keep(self, name: bytes, digests: Mapping[int, Digest]) -> dict[int, Digest]:
        """Remember blocks that were not seen yet; returns what is remembered of all of them now."""
        numbers = sorted(digests)

        def insert(db: apsw.Connection) -> None:
            with db:
                rows = ((name, number, bytes(digests[number])) for number in numbers)
                db.executemany("INSERT OR IGNORE INTO blocks VALUES (?, ?, ?)", rows)
                self._note_use(db, name)
                self._written += len(numbers)
                if self._written >= TRIM_EVERY:
                    self._written = 0
                    _trim_blocks(db, self._rows_max)
                    _trim_sources(db, self._rows_max)

        self._use(insert)
        return dict(digests) | self.digests(name, numbers[0], numbers[-1])

    def numbers(self, name: bytes) -> list[int]:
        """Of all blocks that were seen."""
        sql = "SELECT number FROM blocks WHERE name = ? AND number >= 0"
        rows = self._use(lambda db: db.execute(sql, (name,)).fetchall()) or []
        return [int(str(row[0])) for row in rows]

    def is_verified(self, name: bytes) -> bool:
        sql = "SELECT 1 FROM blocks WHERE name = ? AND number = ?"
        return self._use(lambda db: db.execute(sql, (name, VERIFIED)).fetchone()) is not None

    def note_verified(self, name: bytes, blocks: Digest) -> None:
        """Remember that all blocks are right, if those that were seen are still these; `blocks` is of their digests in order."""

        def insert(db: apsw.Connection) -> None:
            with db:
                found = sha256()
                for row in db.execute(
                    "SELECT digest FROM blocks WHERE name = ? AND number >= 0 ORDER BY number", (name,)
                ):
                    found.update(cast(bytes, row[0]))
                if found.digest() == blocks:
                    db.execute("INSERT OR REPLACE INTO blocks VALUES (?, ?, ?)", (name, VERIFIED, bytes(blocks)))

        self._use(insert)

    def forget(self, name: bytes) -> None:
        """Its blocks, so that the next that are read are the first."""

        def delete(db: apsw.Connection) -> None:
            with db:
                db.execute("DELETE FROM blocks WHERE name = ?", (name,))
                db.execute("DELETE FROM block_uses WHERE name = ?", (name,))

        self._use(delete)

    def _note_use(self, db: apsw.Connection, name: bytes) -> None:
        now = int(self._clock())
        row = db.execute("SELECT used_at FROM block_uses WHERE name = ?", (name,)).fetchone()
        if row is None or now - int(row[0]) > USED_EVERY_S:
            db.execute("INSERT OR REPLACE INTO block_uses VALUES (?, ?)", (name, now))

    def _use(self, query: Callable[[apsw.Connection], _T]) -> _T | None:
        with self._lock:
            if self._is_broken:
                return None
            try:
                if self._connection is None:
                    self._connection = self._open()
                return query(self._connection)
            except apsw.BusyError:
                return None
            except (apsw.Error, OSError, UnicodeDecodeError) as error:  # the last of text that is none
                _log.warning("what was read of references is not remembered: %s: %s", self._path, error)
                self._is_broken = True
                return None

    def _open(self) -> apsw.Connection:
        make_private(self._path.parent)
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE))
        connection = apsw.Connection(str(self._path))
        connection.set_busy_timeout(BUSY_MS)
        use_write_ahead_log(connection, timeout_s=BUSY_MS / 1000)
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(_SCHEMA)
        return connection


def _trim_blocks(db: apsw.Connection, rows_max: int) -> None:
    """Forget the blocks of those sources that were used least lately."""
    over = _count(db, "SELECT count(*) FROM blocks") - rows_max
    if over <= 0:
        return
    db.execute("DELETE FROM blocks WHERE name NOT IN (SELECT name FROM block_uses)")  # of an earlier artfs
    over -= db.changes()
    while over > 0:
        oldest = db.execute("SELECT name FROM block_uses ORDER BY used_at LIMIT 1").fetchone()
        if oldest is None:
            return
        db.execute("DELETE FROM blocks WHERE name = ?", oldest)
        over -= db.changes()
        db.execute("DELETE FROM block_uses WHERE name = ?", oldest)


def _trim_sources(db: apsw.Connection, rows_max: int) -> None:
    over = _count(db, "SELECT count(*) FROM sources") - rows_max
    if over > 0:
        db.execute("DELETE FROM sources WHERE name IN (SELECT name FROM sources ORDER BY used_at LIMIT ?)", (over,))


def _count(db: apsw.Connection, sql: str) -> int:
    row = db.execute(sql).fetchone()
    return int(row[0]) if row else 0
