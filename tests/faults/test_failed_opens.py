"""SQLite opens for reading what it could not open for writing at that moment: such a connection must not be kept.

One call to open the database, or its log, finds no descriptor; the next ones do.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.faults.injecting import Commanded
from tests.reliability.trials import tried

pytestmark = [pytest.mark.falsifies("no-end")]

ROOT = Path(__file__).parents[2]
SOME = (2, 3, 9)  # the database, its log, and the database where it was moved to

REGISTRY = """
import sys
from contextlib import suppress
from pathlib import Path
from artfs.errors import ArtfsError
from artfs.registry.sqlite import SqliteDatabase
for _ in range(2):
    with suppress(ArtfsError):
        database = SqliteDatabase(Path(sys.argv[1]) / "registry.db")
        break
for _ in range(2):
    with suppress(ArtfsError), database.write() as tx:
        tx.run("CREATE TABLE IF NOT EXISTS t (x)")
with database.write() as tx:
    tx.run("INSERT INTO t VALUES (1)")
"""

DRAFT = """
import sys
from contextlib import suppress
from pathlib import Path
from artfs.vfs.staging.index import create_index
place = Path(sys.argv[1])
for name in ("first", "second"):
    (place / name).mkdir()
    with suppress(OSError):
        index = create_index(place / name)
        break
moved = place / "moved"
index.move(lambda: (place / name).rename(moved), moved)
with index.transaction():
    index.execute("INSERT INTO meta VALUES ('error', 'none')", ())
"""


@pytest.mark.parametrize(
    "openings", [pytest.param(SOME, id="some"), pytest.param(range(1, 16), id="all", marks=pytest.mark.deep)]
)
@pytest.mark.parametrize("program", [REGISTRY, DRAFT], ids=["registry", "draft"])
def test_a_database_opened_without_a_free_descriptor_is_written_later(
    tmp_path: Path, program: str, openings: Iterable[int]
) -> None:
    for at in openings:
        directory = tmp_path / str(at)
        directory.mkdir()
        commanded = Commanded(directory, tmp_path / "commanded")
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **commanded.environment()}
        with commanded.struck(errno.EMFILE, at, only_below=True):
            done = subprocess.run(
                [sys.executable, "-c", program, directory], env=environment, capture_output=True, text=True, timeout=60
            )
        assert done.returncode == 0, f"{commanded.failed()}: {done.stderr}"
        tried("opening of a database without a descriptor")
