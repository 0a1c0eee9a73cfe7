"""A draft's database: one SQLite file in WAL mode, and how its errors and its durability look from outside.

A transaction that committed survives the death of the process; it survives power loss once `sync` returned. Checkpoints are
not made by whoever happens to commit but by `checkpoint`, in a thread: they fsync. Owner of the main connection: the event loop;
of connections that `reader` hands out: the thread that asked.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import apsw

from artfs.errors import DamagedDatabase, NewerFormat
from artfs.store.durable import FILE_MODE
from artfs.store.sqlite_files import lacks_space, use_write_ahead_log

FORMAT = 1
CHECKPOINT_PAGES = 8192
"""How many pages the WAL holds when a checkpoint is due; it is then about as many KiB long."""

_PAGE_BYTES = 1024  # rows are small: a transaction writes three or four pages, and pages are what it costs
_BUSY_MS = 5000
_NUMBERS_RESERVED = 256

SCHEMA = """
-- Settings by name: 'format', 'next_number', and those of the version to be ('version.description', ...).
CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;

-- What differs from the base version, and the directories of it that were entered. Kinds are EntryKind's.
CREATE TABLE inode (
    number INTEGER PRIMARY KEY,
    kind INTEGER NOT NULL,
    mode INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    gid INTEGER NOT NULL,
    link_count INTEGER NOT NULL,
    atime_ns INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL,
    changed INTEGER NOT NULL,       -- directories: Changed flags
    parent INTEGER NOT NULL,        -- directories: where they are; 0 for all others
    target TEXT,                    -- symbolic links
    origin BLOB,                    -- directories: the tree below, if any
    origin_entries INTEGER NOT NULL,
    first_number INTEGER,           -- the number of the tree's first entry; the others follow in order
    content_state INTEGER NOT NULL, -- files: ContentState
    content_kind INTEGER,
    content_digest BLOB,
    content_bytes INTEGER,
    content_session INTEGER,        -- the upload that sent it
    stamp_mtime_ns INTEGER,         -- the data file's times when it was sent
    stamp_ctime_ns INTEGER
) STRICT;
CREATE INDEX inode_first_number ON inode (first_number) WHERE first_number IS NOT NULL;
CREATE INDEX inode_directories ON inode (parent) WHERE kind = 3;
CREATE INDEX inode_without_links ON inode (number) WHERE link_count = 0;

-- Names. One that the tree below has too keeps that entry's ordinal as position and hides it; inode NULL is a deletion.
CREATE TABLE dirent (
    parent INTEGER NOT NULL,
    name TEXT NOT NULL,
    position INTEGER NOT NULL,
    inode INTEGER,
    PRIMARY KEY (parent, name)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX dirent_position ON dirent (parent, position);

CREATE TABLE xattr (
    inode INTEGER NOT NULL,
    name TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (inode, name)
) STRICT, WITHOUT ROWID;
"""

Row = tuple[Any, ...]


class DraftIndex:
    """The open database of one draft.

    Attributes:
        doubtful_numbers: those that a crashed process may have used for files of which no row tells.

    Raises OSError ENOSPC, EIO and the like for what the disk does, NewerFormat and DamagedDatabase for what is in the file.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / "index.db"
        self._wal = directory / "index.db-wal"
        self._wal_fd = -1
        self._wal_pages = 0
        self._is_open = self._is_over = False
        self._files = (
            threading.Lock()
        )  # who holds it may use the log's descriptor and open connections beside the main one
        self._open()
        try:
            self._check_format()
            with os_errors():
                self._next = int(self.fetch_one("SELECT value FROM meta WHERE key = 'next_number'", ())[0])
        except BaseException:
            self._connection.close()
            raise
        self._reserved_end = self._next
        self.doubtful_numbers = range(max(2, self._next - _NUMBERS_RESERVED - 2), self._next)

    def fetch(self, sql: str, arguments: tuple[Any, ...]) -> Row | None:
        """The first row, or None."""
        try:
            return self._main().execute(sql, arguments).fetchone()
        except apsw.Error as error:
            raise os_error(error) from error

    def fetch_one(self, sql: str, arguments: tuple[Any, ...]) -> Row:
        """The first row of a query that always has one."""
        row = self.fetch(sql, arguments)
        if row is None:
            raise DamagedDatabase(f"{self._path} lacks a row it must have")
        return row

    def fetch_all(self, sql: str, arguments: tuple[Any, ...]) -> list[Row]:
        try:
            return self._main().execute(sql, arguments).fetchall()
        except apsw.Error as error:
            raise os_error(error) from error

    def execute(self, sql: str, arguments: tuple[Any, ...]) -> int:
        """Run a statement; the number of rows it changed."""
        try:
            connection = self._main()
            connection.execute(sql, arguments)
            return connection.changes()
        except apsw.Error as error:
            raise os_error(error) from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing. Not nested; nothing is awaited inside."""
        self.execute("BEGIN IMMEDIATE", ())
        try:
            yield
            self.execute("COMMIT", ())
        except BaseException:
            if self._connection.in_transaction:
                with suppress(apsw.Error):  # the first error is the one that says why
                    self._connection.execute("ROLLBACK")
            raise

    def take_numbers(self, count: int) -> int:
        """The first of `count` numbers never used before in this draft, not even by a process that crashed.

        Call it outside of transactions: what it reserves must not be rolled back.
        """
        first = self._next
        if first + count > self._reserved_end:
            end = first + count + _NUMBERS_RESERVED
            self.execute("UPDATE meta SET value = ? WHERE key = 'next_number'", (end,))
            self._reserved_end = end
        self._next = first + count
        return first

    def sync(self) -> None:
        """Make everything committed so far durable. From any thread."""
        with self._files:
            if self._wal_fd < 0:
                try:
                    self._wal_fd = os.open(self._wal, os.O_RDONLY | os.O_CLOEXEC)
                except FileNotFoundError:
                    return  # no log, so nothing was written since the database was last checkpointed
            os.fsync(self._wal_fd)

    @contextmanager
    def reader(self) -> Iterator[apsw.Connection]:
        """Another connection, for a thread: it sees one state however long it reads, and disturbs nobody."""
        with os_errors():
            connection = _connect(self._path)
            try:
                with connection:
                    yield connection
            finally:
                connection.close()

    def move(self, rename: Callable[[], None], directory: Path) -> None:
        """Have `rename` move the database's directory to `directory`; nobody reads meanwhile. Raises what `rename` raises.

        Closed around it, because SQLite deletes its log by the path it was opened with. If it cannot be opened then, it is
        when it is next used.
        """
        self._shut()
        try:
            rename()
            self._path, self._wal = directory / "index.db", directory / "index.db-wal"
        finally:
            with suppress(OSError, DamagedDatabase):
                self._open()

    @property
    def is_checkpoint_due(self) -> bool:
        return self._wal_pages > CHECKPOINT_PAGES

    def checkpoint(self) -> None:
        """Move the log into the database. In a thread: it fsyncs."""
        with self._files, os_errors():
            connection = _connect(self._path)
            try:
                connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            finally:
                connection.close()

    def close(self) -> None:
        """Checkpoint and close; durable afterwards."""
        self._is_over = True
        self._shut()

    def _shut(self) -> None:
        with self._files, os_errors():
            if self._wal_fd >= 0:
                os.close(self._wal_fd)
                self._wal_fd = -1
            self._is_open = False
            self._connection.close()

    def _main(self) -> apsw.Connection:
        if not self._is_open:
            if self._is_over:
                raise OSError(errno.ESTALE, f"{self._path} was closed")
            self._open()
        return self._connection

    def _open(self) -> None:
        with os_errors():
            self._connection = _connect(self._path)
            _check_writable(self._connection, self._path)
            self._connection.set_wal_hook(self._count_pages)
        self._is_open = True

    def _count_pages(self, _connection: apsw.Connection, _database: str, pages: int) -> int:
        self._wal_pages = pages
        return apsw.SQLITE_OK

    def _check_format(self) -> None:
        try:
            found = int(self.fetch_one("SELECT value FROM meta WHERE key = 'format'", ())[0])
        except (apsw.SQLError, apsw.NotADBError, apsw.CorruptError) as error:
            raise DamagedDatabase(f"{self._path} is not a draft's database: {error}") from None
        if found > FORMAT:
            raise NewerFormat(f"{self._path} was written by a later artfs", hint="upgrade artfs")


def create_index(directory: Path) -> DraftIndex:
    """A new database in `directory`, durable once closed."""
    with os_errors():
        connection = _connect(directory / "index.db", new=True)
        try:
            _check_writable(connection, directory)
            with connection:
                connection.execute(SCHEMA)
                connection.execute("INSERT INTO meta VALUES ('format', ?), ('next_number', 2)", (FORMAT,))
        finally:
            connection.close()
    return DraftIndex(directory)


def _connect(path: Path, *, new: bool = False) -> apsw.Connection:
    flags = apsw.SQLITE_OPEN_READWRITE | (apsw.SQLITE_OPEN_CREATE if new else 0)
    if new:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE))  # its log gets the same mode
    connection = apsw.Connection(str(path), flags=flags)
    try:
        if connection.readonly(
            "main"
        ):  # SQLite's second choice, and for good, if no descriptor was free at that moment
            raise _only_for_reading(path)
        connection.set_busy_timeout(_BUSY_MS)
        if new:
            connection.pragma("page_size", _PAGE_BYTES)
        use_write_ahead_log(connection, timeout_s=_BUSY_MS / 1000)
        connection.pragma("synchronous", "NORMAL")
        connection.pragma("wal_autocheckpoint", 0)
        connection.pragma("cache_size", -8192)
    except BaseException:
        connection.close()
        raise
    return connection


def _check_writable(connection: apsw.Connection, path: Path) -> None:
    """Raises OSError unless the connection can write.

    Where SQLite cannot open the database or its log for writing, for want of a descriptor say, it opens it for reading, and
    that is how the connection stays. Nobody else has the database open now.
    """
    try:
        connection.execute("BEGIN IMMEDIATE")
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    except apsw.ReadOnlyError as error:
        connection.close()
        raise _only_for_reading(path) from error


def _only_for_reading(path: Path) -> OSError:
    number = errno.EIO if os.access(path, os.W_OK) else errno.EROFS
    return OSError(number, f"{path} could only be opened for reading")


_ERRNOS: list[tuple[type[apsw.Error], int]] = [
    (apsw.BusyError, errno.EBUSY),
    (apsw.LockedError, errno.EBUSY),
    (apsw.ReadOnlyError, errno.EROFS),
    (apsw.NoMemError, errno.ENOMEM),
    (apsw.PermissionsError, errno.EACCES),
    (apsw.IOError, errno.EIO),
    (apsw.CantOpenError, errno.EIO),
]


def os_error(error: apsw.Error) -> OSError | DamagedDatabase:
    """What an error of SQLite means to the program whose call it met."""
    if lacks_space(error):
        return OSError(errno.ENOSPC, f"the draft's database: {error}")
    for kind, number in _ERRNOS:
        if isinstance(error, kind):
            return OSError(number, f"the draft's database: {error}")
    return DamagedDatabase(f"the draft's database: {error}", hint="copy what you can out of the staging directory")


@contextmanager
def os_errors() -> Iterator[None]:
    """Turn errors of SQLite into `os_error`."""
    try:
        yield
    except apsw.Error as error:
        raise os_error(error) from error
