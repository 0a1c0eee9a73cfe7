"""Which versions hold given objects: the way up the edges."""

from __future__ import annotations

from collections.abc import Iterable

from artfs.registry.database import Transaction


def affected_versions(tx: Transaction, object_ids: Iterable[int]) -> tuple[str, ...]:
    """Versions as `project/artifact:vN`, sorted, that hold any of the objects."""
    tx.run("CREATE TEMPORARY TABLE IF NOT EXISTS damaged (id BIGINT PRIMARY KEY)")
    tx.run("DELETE FROM damaged")
    tx.run_many("INSERT INTO damaged (id) VALUES (?)", ((id_,) for id_ in set(object_ids)))
    rows = tx.rows(
        "WITH RECURSIVE above (id) AS (SELECT id FROM damaged UNION SELECT e.parent FROM above x"
        " JOIN edges e ON e.child = x.id)"
        " SELECT p.name, a.name, v.number FROM versions v JOIN artifacts a ON a.id = v.artifact_id"
        " JOIN projects p ON p.id = a.project_id WHERE v.root IN (SELECT id FROM above) ORDER BY 1, 2, 3"
    )
    return tuple(f"{project}/{artifact}:v{number}" for project, artifact, number in rows)
