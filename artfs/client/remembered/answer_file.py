"""What is remembered of a registry across processes: a small SQLite file, shared by all processes of a user.

It holds answers to questions about the catalog, the times that tree pages have in a project, and the registry's identity. To
lose or damage it harms nothing: a failure is logged and means that nothing is remembered. Bounded in rows and bytes, oldest
out first. Each row has a check over all of it, since SQLite would give back whatever the disk made of it. Owner of the
connection: a lock; a wait for another process is bounded by BUSY_MS.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import apsw

from artfs.client.places import Dates
from artfs.client.remembered.question import ANSWER_TYPES, Kind, Question
from artfs.errors import InvalidValue
from artfs.model.digest import Digest
from artfs.store.durable import make_private
from artfs.store.sqlite_files import use_write_ahead_log
from artfs.wire import json
from artfs.wire.records import Change

ANSWERS_MAX = 20_000
ANSWER_BYTES_MAX = 32 << 20  # all answers together
PAGES_MAX = 200_000
PAGE_BYTES_MAX = 64 << 20  # the times of all pages together
TRIM_EVERY = 2000  # rows written by this process
BUSY_MS = 50

_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS answers (
    kind TEXT, project TEXT, artifact TEXT, name TEXT, asked_at_ns INTEGER NOT NULL, answer BLOB NOT NULL,
    PRIMARY KEY (project, artifact, kind, name)
);
CREATE TABLE IF NOT EXISTS pages (
    project TEXT, digest BLOB, created_at_ns INTEGER NOT NULL, times BLOB NOT NULL, PRIMARY KEY (project, digest)
);
"""
_VERSION = 2  # 1: without checks
_CHECK_BYTES = 8
_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class AnswerFile:
    """The file at `path`, made when first used. Safe from any thread; open it after forking."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._connection: apsw.Connection | None = None
        self._is_broken = False
        self._written = 0

    @property
    def name(self) -> str:
        """Different for each registry and user."""
        return self._path.stem

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def load(self) -> Iterator[tuple[Question, Any]]:
        """All answers, the latest last."""
        sql = "SELECT kind, project, artifact, name, asked_at_ns, answer FROM answers ORDER BY asked_at_ns"
        rows = self._use(lambda db: db.execute(sql).fetchall()) or []
        for row in rows:
            *words, answer = row
            try:
                question = Question(Kind(str(words[0])), str(words[1]), str(words[2]), str(words[3]))
                yield question, json.decode(_unchecked(answer, *words), ANSWER_TYPES[question.kind])
            except (InvalidValue, ValueError, TypeError):
                continue

    def keep(self, question: Question, answer: Any, asked_at_ns: int) -> None:
        """Remember an answer, unless a later one is there. Those of the past (`as_of`) are not kept."""
        if question.as_of is not None:
            return
        encoded = json.encode(answer)
        if len(encoded) > ANSWER_BYTES_MAX // 8:
            return
        sql = (
            "INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET asked_at_ns = ?5, answer = ?6"
            " WHERE asked_at_ns <= ?5"
        )
        row = (question.kind.value, *question[1:4], asked_at_ns)
        self._write(sql, (*row, _checked(encoded, *row)))

    def remove(self, question: Question) -> None:
        sql = "DELETE FROM answers WHERE kind = ? AND project = ? AND artifact = ? AND name = ?"
        self._write(sql, (question.kind.value, *question[1:4]))

    def forget(self, change: Change) -> None:
        """Remove every answer that the change concerns."""
        if change.kind == "project":
            self._write("DELETE FROM answers WHERE project = ? OR kind = 'projects'", (change.project,))
        else:
            self._write(
                "DELETE FROM answers WHERE project = ? AND (kind = 'artifacts' OR artifact = ?)",
                (change.project, change.artifact),
            )

    def settle_project(self, project: str, uid: bytes) -> None:
        """Everything here of a project of this name is of the one with this uid, or goes."""
        known = self._fact(f"project {project}")
        if known != uid.hex():
            if known:
                self._write("DELETE FROM answers WHERE project = ?", (project,))
                self._write("DELETE FROM pages WHERE project = ?", (project,))
            self._keep_fact(f"project {project}", uid.hex())

    def dates(self, project: str, digest: Digest) -> Dates | None:
        sql = "SELECT created_at_ns, times FROM pages WHERE project = ? AND digest = ?"
        row = self._use(lambda db: db.execute(sql, (project, bytes(digest))).fetchone())
        if row is None:
            return None
        try:
            return Dates(int(row[0]), _unchecked(row[1], project, digest, row[0]))
        except (TypeError, ValueError):
            return None

    def keep_dates(self, project: str, pages: Mapping[Digest, Dates]) -> None:
        rows = [
            (project, bytes(digest), dates.created_at_ns, _checked(dates.times, project, digest, dates.created_at_ns))
            for digest, dates in pages.items()
        ]

        def insert(db: apsw.Connection) -> None:
            with db:
                db.executemany("INSERT OR REPLACE INTO pages VALUES (?, ?, ?, ?)", rows)

        self._use(insert)
        self._count_written(len(rows))

    @property
    def identity(self) -> str:
        """The registry's identity as last seen; empty if unknown."""
        return self._fact("identity")

    def settle_identity(self, identity: str) -> None:
        """Everything here is of the registry with this identity, or goes."""
        known = self.identity
        if known != identity:
            for table in ("answers", "pages", "facts") if known else ():
                self._write(f"DELETE FROM {table}", ())
            self._keep_fact("identity", identity)

    def _fact(self, name: str) -> str:
        row = self._use(lambda db: db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone())
        value, _, check = ("" if row is None else str(row[0])).rpartition(" ")
        return value if check == _check(value.encode(), name).hex() else ""

    def _keep_fact(self, name: str, value: str) -> None:
        checked = f"{value} {_check(value.encode(), name).hex()}"
        self._write("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, checked))

    def _write(self, sql: str, parameters: tuple[Any, ...]) -> None:
        self._use(lambda db: db.execute(sql, parameters).fetchall())
        self._count_written(1)

    def _count_written(self, rows: int) -> None:
        self._written += rows
        if self._written >= TRIM_EVERY:
            self._written = 0
            self._use(_trim)

    def _use(self, work: Callable[[apsw.Connection], _T]) -> _T | None:
        """What `work` returns; None if the file cannot be used. A damaged file is replaced once."""
        with self._lock:
            for attempt in range(2):
                if self._is_broken:
                    return None
                try:
                    return work(self._connection or self._open())
                except (apsw.BusyError, apsw.LockedError):
                    return None
                except (apsw.Error, OSError, UnicodeDecodeError) as error:  # the last of text that is none
                    self._give_up(error, for_good=attempt > 0)
        return None

    def _open(self) -> apsw.Connection:
        make_private(self._path.parent)
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = apsw.Connection(str(self._path))
        connection.set_busy_timeout(BUSY_MS)
        use_write_ahead_log(connection, timeout_s=BUSY_MS / 1000)
        connection.pragma("synchronous", "off")
        if connection.pragma("user_version") not in (0, _VERSION):
            connection.close()
            raise OSError(f"{self._path} is of another version of artfs")
        connection.execute(_SCHEMA)
        connection.pragma("user_version", _VERSION)
        self._connection = connection
        return connection

    def _give_up(self, error: Exception, *, for_good: bool) -> None:
        _log.warning("cannot use what is remembered of the registry in %s: %s", self._path, error)
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._is_broken = for_good
        for suffix in ("", "-wal", "-shm"):
            try:
                os.unlink(f"{self._path}{suffix}")
            except OSError:
                continue


def _check(data: bytes, *of: object) -> bytes:
    """What stands beside `data` in the row that `of` names."""
    return sha256(repr([bytes(part) if isinstance(part, bytes) else part for part in of]).encode() + data).digest()[
        :_CHECK_BYTES
    ]


def _checked(data: bytes, *of: object) -> bytes:
    return _check(data, *of) + data


def _unchecked(stored: Any, *of: object) -> bytes:
    """What `_checked` was given. Raises ValueError if the row is not what was written."""
    data = bytes(stored[_CHECK_BYTES:])
    if bytes(stored[:_CHECK_BYTES]) != _check(data, *of):
        raise ValueError("damaged")
    return data


def _trim(db: apsw.Connection) -> None:
    _trim_table(db, "answers", "answer", "asked_at_ns", ANSWERS_MAX, ANSWER_BYTES_MAX)
    _trim_table(db, "pages", "times", "rowid", PAGES_MAX, PAGE_BYTES_MAX)


def _trim_table(db: apsw.Connection, table: str, content: str, age: str, rows_max: int, bytes_max: int) -> None:
    """Remove the oldest tenth of a table that is over a bound, and again."""
    while True:
        row = db.execute(f"SELECT count(*), coalesce(sum(length({content})), 0) FROM {table}").fetchone()
        rows, size_bytes = row if row else (0, 0)
        if rows <= rows_max and size_bytes <= bytes_max:
            return
        db.execute(
            f"DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table} ORDER BY {age} LIMIT ?)", (rows // 10 + 1,)
        )
