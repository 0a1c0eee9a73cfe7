"""What every SQLite file of artfs needs, wherever it is: a log that other processes may read beside, and what errors mean."""

from __future__ import annotations

import time

import apsw

_POLL_S = 0.002


def lacks_space(error: apsw.Error) -> bool:
    """Whether the file system is full, also for the index of the log, which SQLite tells as an I/O error."""
    return isinstance(error, apsw.FullError) or getattr(error, "extendedresult", 0) == apsw.SQLITE_IOERR_SHMSIZE


def use_write_ahead_log(connection: apsw.Connection, *, timeout_s: float) -> None:
    """Put the database into WAL mode, unless it is; raises apsw.BusyError after `timeout_s`.

    The change takes the whole file for a moment, and SQLite does not wait for that: of several processes that open a new
    database together, all but one would be told that it is busy, whatever their busy handler says.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            if connection.pragma("journal_mode") == "wal" or connection.pragma("journal_mode", "wal") == "wal":
                return
        except apsw.BusyError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(_POLL_S)
