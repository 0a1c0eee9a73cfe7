"""What errors of SQLite mean, wherever a database is."""

from __future__ import annotations

import apsw


def lacks_space(error: apsw.Error) -> bool:
    """Whether the file system is full, also for the index of the log, which SQLite tells as an I/O error."""
    return isinstance(error, apsw.FullError) or getattr(error, "extendedresult", 0) == apsw.SQLITE_IOERR_SHMSIZE
