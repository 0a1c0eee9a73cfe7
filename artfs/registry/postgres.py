"""The registry's database in PostgreSQL, used by many threads of many servers at once.

Readers see one snapshot each. Writers queue for one advisory lock of the database, as they queue for SQLite's: what is right
with one writer at a time is right here. Connections are kept in a bounded pool (owner: `PostgresDatabase`), each used by one
transaction at a time; after a fork the child opens its own. A connection that was lost while idle is replaced unseen; one that
is lost within a transaction ends that transaction with RegistryUnavailable, and the next transaction connects again.

Every wait is bounded here, and not only by the server: a server that is stopped answers nothing and times nothing out.
The URL holds a password: no message and no log line has it, only `name`.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from itertools import chain, islice
from typing import Any, TypeVar

import psycopg
from psycopg import conninfo, pq
from psycopg.types.numeric import Int8BinaryDumper

from artfs.errors import ArtfsError, DamagedDatabase, InvalidValue, RegistryUnavailable, StorageFailed, StorageFull
from artfs.registry.database import Parameters, Row

WRITE_LOCK = int.from_bytes(b"artfs wr")
MAINTENANCE_LOCK = int.from_bytes(b"artfs mt")

CONNECTIONS_MAX = 16
CONNECT_TIMEOUT_S = 5  # also to begin reading: whether there still is a server is found out soon
BUSY_TIMEOUT_S = 120
STATEMENT_TIMEOUT_S = 300
ANSWER_TIMEOUT_S = STATEMENT_TIMEOUT_S + 30  # the server's own timeout comes first, if there still is a server
IDLE_TRANSACTION_TIMEOUT_S = 120  # the writers' lock is not kept by a process that was stopped
MAINTENANCE_TIMEOUT_S = 600
_POLL_S = 0.1

_SOCKET: dict[str, str | int] = {
    "client_encoding": "utf8",
    "connect_timeout": CONNECT_TIMEOUT_S,
    "keepalives": 1,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # milliseconds
}
_SESSION = (
    f"SET statement_timeout = '{STATEMENT_TIMEOUT_S}s';"
    f" SET idle_in_transaction_session_timeout = '{IDLE_TRANSACTION_TIMEOUT_S}s';"
    " SET client_min_messages = error; SET jit = off;"
    # Every statement of ours looks rows up by an index. The planner, who takes each object for a parent of average size, would
    # rather read a whole table once than look up the edges of a few objects.
    " SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_memoize = off; SET enable_seqscan = off"
)
_READ = "BEGIN ISOLATION LEVEL REPEATABLE READ"  # not READ ONLY: a walk fills temporary tables
_INSERT = re.compile(
    r"INSERT INTO (?P<table>\w+) \((?P<columns>[\w, ]+)\) VALUES \(\?(?:, \?)*\)"
    r"(?P<rest>(?: ON CONFLICT(?: \([\w, ]+\))? DO NOTHING)?)"
)
COPIED_ROWS_MIN = 200

T = TypeVar("T")


class _Raw(psycopg.Connection[Row]):
    """A connection whose every wait for the server ends."""

    answer_timeout_s: float = CONNECT_TIMEOUT_S

    def wait(self, gen: Generator[Any, Any, T], interval: float = _POLL_S, timeout: float | None = None) -> T:
        """`timeout` is in seconds. What was asked may still be done, so the connection is of no more use."""
        try:
            return super().wait(gen, interval, timeout or self.answer_timeout_s)
        except psycopg.OperationalError as error:
            if error.sqlstate is None:  # not what the server says: it is gone, or too slow
                self.pgconn.finish()
            raise


class _Connection:
    """One connection, as a `Transaction` while one is open."""

    def __init__(self, url: str) -> None:
        self.raw = _Raw.connect(conninfo.make_conninfo(url, **_SOCKET), autocommit=True)
        self.raw.adapters.register_dumper(int, Int8BinaryDumper)  # else a statement is prepared for each mix of widths
        self.execute(_SESSION)
        self._cursor = self.raw.cursor(binary=True)
        self._streams = 0

    def execute(self, sql: str) -> None:
        """Statements without parameters, in one round trip."""
        self.raw.execute(sql)

    def commit(self) -> None:
        """Raises InFailedSqlTransaction where a statement failed: PostgreSQL itself answers a COMMIT then as if all were well."""
        if self.raw.execute("COMMIT").statusmessage != "COMMIT":
            raise psycopg.errors.InFailedSqlTransaction("a statement of the transaction had failed")

    def rows(self, sql: str, parameters: Parameters = ()) -> list[Row]:
        return self._cursor.execute(_translated(sql), tuple(parameters)).fetchall()

    def row(self, sql: str, parameters: Parameters = ()) -> Row | None:
        return self._cursor.execute(_translated(sql), tuple(parameters)).fetchone()

    def stream(self, sql: str, parameters: Parameters = ()) -> Iterator[Row]:
        self._streams += 1
        with self.raw.cursor(f"artfs_{self._streams}", binary=True) as cursor:
            cursor.itersize = 1000
            yield from cursor.execute(_translated(sql), tuple(parameters))

    def run(self, sql: str, parameters: Parameters = ()) -> int:
        return self._cursor.execute(_translated(sql), tuple(parameters)).rowcount

    def run_many(self, sql: str, parameters: Iterable[Parameters]) -> int:
        """Many rows to insert are copied in, at a third of the time; all else is sent without waiting in between."""
        remaining = iter(parameters)
        first = list(islice(remaining, COPIED_ROWS_MIN))
        match = _INSERT.fullmatch(sql)
        if match and len(first) == COPIED_ROWS_MIN:
            return self._copy_in(match["table"], match["columns"], match["rest"], chain(first, remaining))
        if not first:
            return 0
        self._cursor.executemany(_translated(sql), chain(first, remaining))
        return self._cursor.rowcount

    def _copy_in(self, table: str, columns: str, rest: str, rows: Iterable[Parameters]) -> int:
        self.execute(f"CREATE TEMPORARY TABLE incoming ON COMMIT DROP AS SELECT {columns} FROM {table} LIMIT 0")
        with self._cursor.copy(f"COPY incoming ({columns}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        inserted = self.run(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM incoming{rest}")
        self.execute("DROP TABLE incoming")
        return inserted

    def script(self, sql: str) -> None:
        self.execute(sql)

    def note_filled(self, table: str) -> None:
        self.execute(f"ANALYZE {table}")

    @property
    def is_idle(self) -> bool:
        return self.raw.pgconn.transaction_status == pq.TransactionStatus.IDLE


class PostgresDatabase:
    """A `Database` at `url` (`postgresql://user:password@host:port/name`), whose encoding is UTF-8.

    Args:
        timeout_s: bounds the wait for other writers, and that for a free connection.

    Raises InvalidValue for what is no such URL, RegistryUnavailable when nobody answers there.
    """

    dialect = "postgres"

    def __init__(self, url: str, *, timeout_s: float = BUSY_TIMEOUT_S) -> None:
        self.name = _safe_name(url)
        self._url = url
        self._timeout_s = timeout_s
        self._begin_write = (
            f"BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = {max(1, round(timeout_s * 1000))};"
        )
        self._pid = os.getpid()
        self._idle: list[_Connection] = []
        self._inherited: list[_Connection] = []
        self._locker: _Connection | None = None
        self._pool_lock = threading.Lock()
        self._free = threading.BoundedSemaphore(CONNECTIONS_MAX)
        self._closed = False
        with self.read() as tx:
            encoding = tx.row(
                "SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = current_database()"
            )
        if encoding != ("UTF8",):
            self.close()
            raise InvalidValue(f"{self.name} does not have the encoding UTF8", hint="create it with ENCODING 'UTF8'")

    @contextmanager
    def read(self) -> Iterator[_Connection]:
        with _reported(self.name), self._transaction(_READ) as connection:
            yield connection

    @contextmanager
    def write(self, *, durable: bool = True) -> Iterator[_Connection]:
        """Alone from the first statement on: the lock is freed after the commit can be seen."""
        relaxed = "" if durable else " SET LOCAL synchronous_commit TO OFF;"
        begin = f"{self._begin_write}{relaxed} SELECT pg_advisory_xact_lock({WRITE_LOCK})"
        with _reported(self.name), self._transaction(begin) as connection:
            yield connection

    def stamp(self) -> object:
        """Another one each time: whether something was committed is as dear to ask as what."""
        return object()

    @contextmanager
    def maintenance_lock(self, *, wait: bool) -> Iterator[bool]:
        """A `MaintenanceLock` of all servers, on a connection of its own: the server frees it when that is lost."""
        if self._pid != os.getpid():
            self._after_fork()
        with self._pool_lock:
            kept, self._locker = self._locker, None
        with _reported(self.name):
            connection, held = self._locked(kept, wait)
        try:
            yield held
        finally:
            self._unlock(connection, held=held)

    def _locked(self, kept: _Connection | None, wait: bool) -> tuple[_Connection, bool]:
        """A connection that waited for the lock, and whether it has it; another one if `kept` was lost."""
        if kept is not None:
            try:
                return kept, self._acquire(kept, wait)
            except psycopg.OperationalError as error:
                kept.raw.close()
                if not _is_lost(error):
                    raise
        connection = _Connection(self._url)
        try:
            return connection, self._acquire(connection, wait)
        except BaseException:
            connection.raw.close()
            raise

    def _unlock(self, connection: _Connection, *, held: bool) -> None:
        """Free the lock and keep the connection for the next time, unless it was lost."""
        try:
            if held:
                connection.execute(f"SELECT pg_advisory_unlock({MAINTENANCE_LOCK})")
        except psycopg.Error:  # then the server frees it
            connection.raw.close()
            return
        with self._pool_lock:
            if self._locker is None and not self._closed and self._pid == os.getpid():
                self._locker = connection
                return
        connection.raw.close()

    def close(self) -> None:
        """Close what is idle; connections in use are closed when their transaction ends."""
        if self._pid != os.getpid():
            self._after_fork()
        with self._pool_lock:
            self._closed = True
            locker, self._locker = self._locker, None
        if locker is not None:
            locker.raw.close()
        self._discard_idle()

    def _acquire(self, connection: _Connection, wait: bool) -> bool:
        deadline_s = time.monotonic() + MAINTENANCE_TIMEOUT_S
        while connection.row("SELECT pg_try_advisory_lock(?)", (MAINTENANCE_LOCK,)) != (True,):
            if not wait:
                return False
            if time.monotonic() > deadline_s:
                raise RegistryUnavailable(
                    f"maintenance of {self.name} went on for {MAINTENANCE_TIMEOUT_S} s", hint="try again later"
                )
            time.sleep(_POLL_S)
        return True

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[_Connection]:
        if self._pid != os.getpid():
            self._after_fork()
        if not self._free.acquire(timeout=self._timeout_s):
            raise RegistryUnavailable(f"all {CONNECTIONS_MAX} connections to {self.name} are in use", hint="try again")
        try:
            connection = self._begun(begin)
            try:
                yield connection
                connection.commit()
            except BaseException:
                with suppress(psycopg.Error):  # the first error is the one that says why
                    connection.execute("ROLLBACK")
                raise
            finally:
                self._give(connection)
        finally:
            self._free.release()

    def _begun(self, begin: str) -> _Connection:
        """A connection with a transaction begun; a new one if the idle one was lost, and then the other idle ones are too."""
        idle = self._take()
        if idle is not None:
            try:
                return self._begin(idle, begin)
            except psycopg.OperationalError as error:
                if not _is_lost(error):
                    raise
                self._discard_idle()
        return self._begin(_Connection(self._url), begin)

    def _begin(self, connection: _Connection, begin: str) -> _Connection:
        wait_s = 0 if begin == _READ else self._timeout_s  # for other writers
        connection.raw.answer_timeout_s = wait_s + CONNECT_TIMEOUT_S
        try:
            connection.execute(begin)
        except BaseException:
            connection.raw.close()
            raise
        connection.raw.answer_timeout_s = ANSWER_TIMEOUT_S
        return connection

    def _discard_idle(self) -> None:
        with self._pool_lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.raw.close()

    def _take(self) -> _Connection | None:
        with self._pool_lock:
            if self._closed:
                raise RegistryUnavailable(f"{self.name} was closed", hint="open the registry again")
            return self._idle.pop() if self._idle else None

    def _give(self, connection: _Connection) -> None:
        with self._pool_lock:
            if not self._closed and connection.is_idle:
                self._idle.append(connection)
                return
        connection.raw.close()

    def _after_fork(self) -> None:
        """The parent's connections are set aside untouched: closing them would say goodbye in the parent's name."""
        self._pool_lock = threading.Lock()
        self._free = threading.BoundedSemaphore(CONNECTIONS_MAX)
        self._inherited += [*self._idle, *([self._locker] if self._locker is not None else [])]
        self._idle, self._locker = [], None
        self._pid = os.getpid()


@cache
def _translated(sql: str) -> str:
    """With psycopg's placeholders. No statement of ours has a question mark or a percent sign in a text."""
    return sql.replace("%", "%%").replace("?", "%s")


def _safe_name(url: str) -> str:
    """Where the database is, without how to get in. Raises InvalidValue, without what was wrong in the URL."""
    try:
        parts = conninfo.conninfo_to_dict(url)
    except psycopg.Error:
        raise InvalidValue(
            "the database's URL cannot be read", hint="write postgresql://user:password@host:port/name"
        ) from None
    host = parts.get("host") or parts.get("hostaddr") or "localhost"
    return f"PostgreSQL {host}:{parts.get('port') or 5432}/{parts.get('dbname') or ''}"


@contextmanager
def _reported(name: str) -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        raise _artfs_error(name, error) from error
    except UnicodeEncodeError as error:  # a lone surrogate: what Python makes of bytes that are not UTF-8
        raise InvalidValue(f"{error.object!r} is not valid UTF-8 text", hint="use another name or text") from None


# By the first characters of SQLSTATE, the longest that fits: what is passing, and what needs somebody's hand.
_PASSING = ("08", "25P03", "40", "53", "55P03", "57", "25P04")
_OF_THE_DISK = ("58", "25006", "42501", "28")


def _is_lost(error: psycopg.Error) -> bool:
    """Whether the connection is gone, so that the server never heard, or has forgotten, what was asked."""
    return error.sqlstate is None or error.sqlstate.startswith(("08", "57P", "25P03"))


def _artfs_error(name: str, error: psycopg.Error) -> ArtfsError:
    state, text = error.sqlstate or "", " ".join(str(error).split())
    if isinstance(error, psycopg.DataError):
        return InvalidValue(f"{name} cannot hold a value: {text}", hint="use another name or text")
    if state == "53100":
        return StorageFull(f"cannot write to {name}: its disk is full", hint="free some space and try again")
    if state == "55P03":
        return RegistryUnavailable(f"{name} is busy", hint="another server holds it; try again")
    if state.startswith(_PASSING) or (
        not state and isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError))
    ):
        return RegistryUnavailable(f"{name} is not available: {text}", hint="is it running? try again")
    if state.startswith(_OF_THE_DISK):
        return StorageFailed(f"cannot use {name}: {text}", hint="check the server, and what its user may do")
    return DamagedDatabase(f"{name} contradicts itself: {text}", hint="report this")
