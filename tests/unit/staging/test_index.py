"""What a draft's database says when the disk or the machine fails it."""

from __future__ import annotations

import errno
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from artfs.errors import DamagedDatabase
from artfs.vfs.staging.index import DraftIndex, create_index, os_error

pytestmark = [pytest.mark.falsifies("posix", "no-end")]


def grow(index: DraftIndex) -> None:
    with index.transaction():
        index.execute("UPDATE meta SET value = 'lost' WHERE key = 'kept'", ())
        index.execute("INSERT INTO meta VALUES ('large', ?)", ("x" * 100_000,))


def test_a_database_that_cannot_grow_is_enospc_and_keeps_what_it_had(tmp_path: Path) -> None:
    with closing(create_index(tmp_path)) as index:
        index.execute("INSERT INTO meta VALUES ('kept', 'k')", ())
        (pages,) = index.fetch_one("PRAGMA page_count", ())
        index.fetch_one(f"PRAGMA max_page_count = {pages}", ())
        with pytest.raises(OSError, match="full") as caught:
            grow(index)
        assert caught.value.errno == errno.ENOSPC
        assert index.fetch("SELECT value FROM meta WHERE key = 'kept'", ()) == ("k",)


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (apsw.BusyError(), errno.EBUSY),
        (apsw.ReadOnlyError(), errno.EROFS),
        (apsw.NoMemError(), errno.ENOMEM),
        (apsw.PermissionsError(), errno.EACCES),
        (apsw.IOError(), errno.EIO),
        (apsw.CantOpenError(), errno.EIO),
    ],
)
def test_an_error_of_the_database_is_the_errno_of_its_cause(error: apsw.Error, number: int) -> None:
    found = os_error(error)
    assert isinstance(found, OSError)
    assert found.errno == number


def test_a_damaged_database_is_called_damaged() -> None:
    assert isinstance(os_error(apsw.CorruptError()), DamagedDatabase)
