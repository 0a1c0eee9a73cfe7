"""What is remembered of references that were read: bounded, and what is used stays."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import apsw
import pytest

from artfs.client.references.seen import SeenBlocks
from artfs.model.digest import Digest

pytestmark = [pytest.mark.falsifies("bounded", "references")]

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


def _digests(name: str) -> dict[int, Digest]:
    return {number: Digest.of(f"{name} {number}".encode()) for number in range(3)}


def _of_all(digests: dict[int, Digest]) -> Digest:
    return Digest.of(b"".join(digests[number] for number in sorted(digests)))


def test_of_two_processes_that_read_first_one_settles_what_is_read(tmp_path: Path) -> None:
    """Both had looked, and neither had found anything."""
    one, two = (SeenBlocks(tmp_path / "db", lambda: 1.0) for _ in range(2))
    mine, theirs = Digest.of(b"one"), Digest.of(b"two")
    assert [seen.validator(_name(1)) for seen in (one, two)] == [None, None]
    assert [one.settle(_name(1), "one"), two.settle(_name(1), "two")] == ["one", "one"]
    assert [one.validator(_name(1)), two.validator(_name(1))] == ["one", "one"]
    assert one.keep(_name(1), {0: mine}) == {0: mine}
    assert two.keep(_name(1), {0: theirs, 1: theirs}) == {0: mine, 1: theirs}
    assert one.digests(_name(1), 0, 9) == {0: mine, 1: theirs}
    one.close()
    two.close()


def test_that_all_is_verified_is_remembered_of_the_blocks_that_were(tmp_path: Path) -> None:
    seen, blocks = SeenBlocks(tmp_path / "db"), _digests("right")
    seen.keep(_name(1), blocks)
    assert sorted(seen.numbers(_name(1))) == [0, 1, 2]
    seen.note_verified(_name(1), _of_all(_digests("other")))
    assert not seen.is_verified(_name(1))
    seen.note_verified(_name(1), _of_all(blocks))
    seen.close()
    again = SeenBlocks(tmp_path / "db")
    assert again.is_verified(_name(1))
    assert not again.is_verified(_name(2))
    assert again.digests(_name(1), 0, 9) == blocks
    assert sorted(again.numbers(_name(1))) == [0, 1, 2]
    again.close()


def test_what_is_forgotten_may_be_seen_anew(tmp_path: Path) -> None:
    seen = SeenBlocks(tmp_path / "db")
    seen.keep(_name(1), _digests("wrong"))
    seen.note_verified(_name(1), _of_all(_digests("wrong")))
    seen.keep(_name(2), _digests("another file"))
    seen.forget(_name(1))
    assert not seen.is_verified(_name(1))
    assert seen.numbers(_name(1)) == []
    assert seen.keep(_name(1), _digests("right")) == _digests("right")
    assert seen.digests(_name(2), 0, 9) == _digests("another file")
    seen.close()


def test_what_gives_way_to_others_is_verified_no_more(tmp_path: Path) -> None:
    seen = SeenBlocks(tmp_path / "db", lambda: 0.0, rows_max=ROWS_MAX)
    seen.keep(_name(1), _digests("first"))
    seen.note_verified(_name(1), _of_all(_digests("first")))
    seen.close()
    for number in range(2, 2 * ROWS_MAX):
        _read(tmp_path / "db", number, number * HOUR_S)
    seen = SeenBlocks(tmp_path / "db")
    assert seen.numbers(_name(1)) == []
    assert not seen.is_verified(_name(1))
    seen.close()
