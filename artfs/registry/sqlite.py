"""The registry's database as an SQLite file, used by many threads of many processes at once.

Connections are kept in a pool (owner: `SqliteDatabase`), each used by one transaction at a time. After a fork the child opens
its own: the parent's are set aside untouched, since closing them would disturb the parent's locks. Writers of this process
queue for one lock before they compete with other processes for SQLite's, which is polled.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import apsw

from artfs.errors import ArtfsError, DamagedDatabase, InvalidValue, RegistryUnavailable, StorageFailed, StorageFull
from artfs.registry.database import Parameters, Row
from artfs.store.durable import FILE_MODE, reported
from artfs.store.sqlite_files import lacks_space, use_write_ahead_log

BUSY_TIMEOUT_S = 120
IDLE_CONNECTIONS_MAX = 8
CACHE_KIB = 32 << 10
POLL_S = 0.002  # much shorter than the pause of a large deletion, so that other processes get their turn
_SPOILING = (apsw.ReadOnlyError, apsw.CorruptError, apsw.NotADBError, DamagedDatabase, UnicodeDecodeError)


class _Connection:
    """One SQLite connection, as a `Transaction` while one is open.

    Args:
        is_first: of this process: the database may be new, and is put into WAL mode. What is not in that mode later on was
            damaged: a file that was truncated would become an empty database.

    Attributes:
        is_spoilt: what went wrong stays with the connection. Where SQLite could not open the database or its log for writing, for
            want of a descriptor say, it opened it for reading; and a damaged page that it has read it does not read again.
    """

    def __init__(self, path: Path, timeout_s: float, *, is_first: bool = False) -> None:
        self.is_spoilt = False
        self.raw = apsw.Connection(str(path))
        self.raw.set_busy_handler(lambda count: _wait(count, timeout_s))
        if is_first:
            use_write_ahead_log(self.raw, timeout_s=timeout_s)
        elif self.raw.pragma("journal_mode") != "wal":
            self.raw.close()
            raise DamagedDatabase(f"{path} is damaged: it is not what it was when it was opened", hint="run artfs fsck")
        self.raw.pragma("synchronous", "full")
        self.raw.pragma("foreign_keys", True)
        self.raw.pragma("temp_store", "memory")
        self.raw.pragma("cache_size", -CACHE_KIB)

    @property
    def is_fit(self) -> bool:
        """Whether others may use it: an interrupted ROLLBACK would be everybody's trouble."""
        return not self.is_spoilt and not self.raw.in_transaction

    def rows(self, sql: str, parameters: Parameters = ()) -> list[Row]:
        return self.raw.execute(sql, tuple(parameters)).fetchall()

    def row(self, sql: str, parameters: Parameters = ()) -> Row | None:
        with closing(self.raw.cursor()) as cursor:
            row: Row | None = cursor.execute(sql, tuple(parameters)).fetchone()
            return row

    def stream(self, sql: str, parameters: Parameters = ()) -> Iterator[Row]:
        with closing(self.raw.cursor()) as cursor:
            yield from cursor.execute(sql, tuple(parameters))

    def run(self, sql: str, parameters: Parameters = ()) -> int:
        self.raw.execute(sql, tuple(parameters)).fetchall()
        return self.raw.changes()

    def run_many(self, sql: str, parameters: Iterable[Parameters]) -> int:
        before = self.raw.total_changes()
        self.raw.executemany(sql, parameters)
        return self.raw.total_changes() - before

    def script(self, sql: str) -> None:
        self.raw.execute(sql).fetchall()

    def note_filled(self, table: str) -> None:
        """SQLite looks up rows one by one whatever there are."""


class SqliteDatabase:
    """A `Database` in the file `path`, created when absent. `timeout_s` bounds the wait for other writers."""

    dialect = "sqlite"

    def __init__(self, path: Path, *, timeout_s: float = BUSY_TIMEOUT_S) -> None:
        self.path = path
        self._timeout_s = timeout_s
        self._pid = os.getpid()
        self._idle: list[_Connection] = []
        self._inherited: list[apsw.Connection] = []
        self._pool_lock = threading.Lock()
        self._write_lock = threading.Lock()
        self._closed = False
        self._watch: apsw.Connection | None = None
        with reported("create the database", path):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, FILE_MODE))
        with _translated(path):
            self._give(_Connection(path, timeout_s, is_first=True))

    @contextmanager
    def read(self) -> Iterator[_Connection]:
        with _translated(self.path), self._lent() as connection:
            with _transaction(connection, "BEGIN DEFERRED"):
                yield connection

    @contextmanager
    def write(self, *, durable: bool = True) -> Iterator[_Connection]:
        with _translated(self.path), self._lent() as connection:
            if not self._write_lock.acquire(timeout=self._timeout_s):
                raise RegistryUnavailable(f"{self.path} was busy for {self._timeout_s:.0f} s", hint="try again")
            try:
                if not durable:
                    connection.raw.pragma("synchronous", "normal")
                with _transaction(connection, "BEGIN IMMEDIATE"):
                    yield connection
            finally:
                self._write_lock.release()
                if not durable:
                    connection.raw.pragma("synchronous", "full")

    def stamp(self) -> object:
        """The data_version of a connection that never writes: every commit by another connection changes it."""
        if self._pid != os.getpid():
            self._after_fork()
        with self._pool_lock, _translated(self.path):
            watch = self._watch or _Connection(self.path, self._timeout_s).raw
            self._watch = None
            try:
                stamp = watch.pragma("data_version")
            except apsw.Error:
                watch.close()
                raise
            self._watch = watch
            return stamp

    def close(self) -> None:
        """Close what is idle; connections in use are closed when their transaction ends."""
        with self._pool_lock:
            self._closed = True
            idle, self._idle = [connection.raw for connection in self._idle], []
            watch, self._watch = self._watch, None
        for raw in idle if watch is None else [*idle, watch]:
            raw.close()

    @contextmanager
    def _lent(self) -> Iterator[_Connection]:
        connection = self._take()
        try:
            yield connection
        finally:
            self._give(connection)

    def _take(self) -> _Connection:
        if self._pid != os.getpid():
            self._after_fork()
        with self._pool_lock:
            if self._closed:
                raise RegistryUnavailable(f"{self.path} was closed", hint="open the registry again")
            if self._idle:
                return self._idle.pop()
        with _translated(self.path):
            return _Connection(self.path, self._timeout_s)

    def _give(self, connection: _Connection) -> None:
        with self._pool_lock:
            if connection.is_fit and not self._closed and len(self._idle) < IDLE_CONNECTIONS_MAX:
                self._idle.append(connection)
                return
        connection.raw.close()

    def _after_fork(self) -> None:
        self._pool_lock = threading.Lock()
        self._write_lock = threading.Lock()
        self._inherited += [connection.raw for connection in self._idle]
        self._inherited += [] if self._watch is None else [self._watch]
        self._idle, self._watch = [], None
        self._pid = os.getpid()


def _wait(count: int, timeout_s: float) -> bool:
    """Whether to ask again for a lock that another process holds, after a moment.

    SQLite's own waits grow to 0.1 s, and whoever writes again and again would hardly be interrupted.
    """
    if count * POLL_S >= timeout_s:
        return False
    time.sleep(POLL_S)
    return True


@contextmanager
def _transaction(connection: _Connection, begin: str) -> Iterator[None]:
    raw = connection.raw
    try:
        raw.execute(begin)  # within: a signal that arrives meanwhile raises once it has begun
        yield
        raw.execute("COMMIT")
    except BaseException as error:
        connection.is_spoilt = isinstance(error, _SPOILING)
        if raw.in_transaction:
            with suppress(apsw.Error):  # the first error is the one that says why
                raw.execute("ROLLBACK")
        raise


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except apsw.Error as error:
        raise _artfs_error(path, error) from error
    except UnicodeDecodeError as error:
        raise DamagedDatabase(f"{path} is damaged: {error.reason} in a text", hint="run artfs fsck") from None
    except UnicodeEncodeError as error:  # a lone surrogate: what Python makes of bytes that are not UTF-8
        raise InvalidValue(f"{error.object!r} is not valid UTF-8 text", hint="use another name or text") from None


def _artfs_error(path: Path, error: apsw.Error) -> ArtfsError:
    if lacks_space(error):
        return StorageFull(f"cannot write {path}: the file system is full", hint="free some space and try again")
    if isinstance(error, (apsw.BusyError, apsw.LockedError)):
        return RegistryUnavailable(f"{path} is busy", hint="another process holds it; try again")
    if isinstance(error, (apsw.CorruptError, apsw.NotADBError)):
        return DamagedDatabase(f"{path} is damaged: {error}", hint="run artfs fsck")
    if isinstance(error, apsw.ReadOnlyError):
        return StorageFailed(f"cannot write {path}: {error}", hint="check the permissions of the registry's directory")
    if isinstance(error, (apsw.IOError, apsw.CantOpenError, apsw.PermissionsError, apsw.AuthError, apsw.NoMemError)):
        return StorageFailed(f"cannot use {path}: {error}", hint="check the disk and the registry's directory")
    return DamagedDatabase(f"{path} contradicts itself: {error}", hint="run artfs fsck; if it is clean, report this")
