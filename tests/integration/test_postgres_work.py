"""What a deletion costs PostgreSQL: work in proportion to what is deleted, not to the registry."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import pytest

from artfs.registry.database import Transaction
from artfs.registry.liveness import remove_doomed, walk
from tests.contract.uploading import commit, content_of
from tests.registries import migrated_database, open_postgres_registry

OTHERS = 40_000  # objects that stay; with few, reading all of them is what is cheapest

pytestmark = [pytest.mark.falsifies("deletion"), pytest.mark.postgres]


def rows_read(tx: Transaction) -> dict[str, int]:
    """By table, what this session read of it and has not reported yet."""
    rows = tx.rows(
        "SELECT relname, coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables"
        " WHERE relname IN ('edges', 'objects', 'summaries', 'leases')"
    )
    return {table: int(count) for table, count in rows}


def test_deleting_a_small_version_does_not_read_all_edges(tmp_path: Path) -> None:
    with migrated_database() as url, closing(open_postgres_registry(url, tmp_path)) as registry:
        registry.projects.create("vision")
        large = {f"d{i}": {f"{j:04}": b"%d %d" % (i, j) for j in range(1000)} for i in range(OTHERS // 1000)}
        commit(registry, "vision", "large", content_of(large))
        commit(registry, "vision", "small", content_of({"d": {f"{j}": b"small %d" % j for j in range(20)}}))
        with registry.resources.database.write() as tx:
            before = rows_read(tx)
            (version,) = tx.rows(
                "SELECT v.id FROM versions v JOIN artifacts a ON a.id = v.artifact_id WHERE a.name = 'small'"
            )
            toll = walk(tx, time.time_ns(), condemned=[version[0]])
            tx.run("DELETE FROM aliases WHERE artifact_id = (SELECT artifact_id FROM versions WHERE id = ?)", version)
            tx.run("DELETE FROM versions WHERE id = ?", version)
            remove_doomed(tx)
            read = {table: rows - before[table] for table, rows in rows_read(tx).items()}
    assert toll.object_count == 22
    assert {table: rows for table, rows in read.items() if rows > OTHERS / 10} == {}
    assert read["edges"] > 0
