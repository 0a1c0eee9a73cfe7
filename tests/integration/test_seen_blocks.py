"""What is remembered of references that were read: bounded, and what is used stays."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import apsw
import pytest

from artfs.client.references.seen import SeenBlocks
from artfs.model.digest import Digest

pytestmark = [pytest.mark.falsifies("bounded")]

ROWS_MAX = 100
HOUR_S = 3601


def _name(number: int) -> bytes:
    return sha256(str(number).encode()).digest()[:16]


def _rows(path: Path) -> int:
    db = apsw.Connection(str(path))
    try:
        return sum(
            int(str(db.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0])) for table in ("blocks", "sources")
        )
    finally:
        db.close()


def _read(path: Path, number: int, now_s: float) -> None:
    """A process reads a source whose blocks are called otherwise than the source, since they are of one state of it."""
    seen = SeenBlocks(path, lambda: now_s, rows_max=ROWS_MAX)
    try:
        assert seen.settle(_name(number), "state") == "state"
        blocks = {i: Digest.of(f"{number} {i}".encode()) for i in range(10)}
        assert seen.keep(_name(-number), blocks) == blocks
    finally:
        seen.close()


def test_many_processes_that_read_little_remember_no_more_than_one_that_reads_much(tmp_path: Path) -> None:
    for number in range(1, 3 * ROWS_MAX):
        _read(tmp_path / "db", number, float(number))
    assert _rows(tmp_path / "db") <= 2 * ROWS_MAX


def test_what_was_used_lately_stays(tmp_path: Path) -> None:
    for number in range(1, 31):
        _read(tmp_path / "db", number, number * HOUR_S)
        seen = SeenBlocks(tmp_path / "db", lambda: number * HOUR_S + 1.0, rows_max=ROWS_MAX)  # noqa: B023 - used below only
        assert seen.validator(_name(1)) == "state"
        assert len(seen.digests(_name(-1), 0, 9)) == 10
        assert len(seen.digests(_name(-number), 0, 9)) == 10
        seen.close()
    seen = SeenBlocks(tmp_path / "db", lambda: 31.0 * HOUR_S, rows_max=ROWS_MAX)
    assert not seen.digests(_name(-2), 0, 9)
    assert seen.validator(_name(2)) == "state"  # there is room for what it was
    seen.close()
