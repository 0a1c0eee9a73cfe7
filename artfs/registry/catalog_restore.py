"""Projects, artifacts, versions and aliases from the copy in `records/`, into a database that lost them."""

from __future__ import annotations

from pathlib import Path

import msgspec

from artfs.model.digest import ObjectKind
from artfs.registry.aliases import move_alias
from artfs.registry.catalog import Project, create_artifact, next_version_number, peek_artifact
from artfs.registry.changes import append_change
from artfs.registry.database import Row, Transaction, allocate
from artfs.registry.records import SavedArtifact, SavedProject, SavedVersion, read_records, saved_position
from artfs.registry.row_checks import version_check
from artfs.registry.versions import check_version

RECOVERED = "recovered"
NO_ROOT = 0  # until the objects are there; foreign keys are deferred


def restore_catalog(tx: Transaction, records: Path, *, only_roots: bool) -> dict[int, bytes]:
    """Roots by version row, as the records have them.

    Args:
        only_roots: the database has its catalog; only tell. Otherwise it is empty, and everything is entered.
    """
    if not only_roots:
        tx.run("INSERT INTO sequences (name, next) VALUES ('change', ?)", (saved_position(records) + 1,))
    roots: dict[int, bytes] = {}
    for project, artifacts in read_records(records):
        if not only_roots:
            project_id = _enter_project(tx, project)
        for artifact, versions in artifacts:
            if not only_roots:
                _enter_artifact(tx, project, project_id, artifact, versions)
            for version in versions:
                row = tx.row(
                    "SELECT v.id FROM versions v JOIN artifacts a ON a.id = v.artifact_id JOIN projects p"
                    " ON p.id = a.project_id WHERE p.name = ? AND a.name = ? AND v.number = ?",
                    (project.name, artifact.name, version.number),
                )
                if row is not None:
                    roots[int(row[0])] = version.root
    return roots


def adopt_trees(tx: Transaction, now_ns: int) -> int:
    """Make a version of each tree that no tree and no version holds, oldest first, and count them."""
    rows = tx.rows(
        "SELECT o.id, o.project_id FROM objects o JOIN packs k ON k.id = o.pack WHERE o.kind = ?"
        " AND NOT EXISTS (SELECT 1 FROM edges e WHERE e.child = o.id)"
        " AND NOT EXISTS (SELECT 1 FROM versions v WHERE v.root = o.id) ORDER BY o.project_id, k.created_at, o.id",
        (ObjectKind.TREE,),
    )
    for root, project_id in rows:
        project = Project(
            *_the(tx.row("SELECT id, uid, name, created_at, visibility FROM projects WHERE id = ?", (project_id,)))
        )
        artifact = peek_artifact(tx, project, RECOVERED) or create_artifact(tx, project, RECOVERED, None, now_ns)
        number = next_version_number(tx, project, RECOVERED)
        seq = append_change(tx, "version", project.name, RECOVERED, f"v{number}")
        tx.run(
            "INSERT INTO versions (id, artifact_id, number, root, description, metadata, created_at, created_by, seq)"
            " VALUES (?, ?, ?, ?, 'found by a repair', '{}', ?, '', ?)",
            (allocate(tx, "versions"), artifact.id, number, root, now_ns, seq),
        )
        check_version(tx, project, artifact.id, RECOVERED, number)
    return len(rows)


def _the(row: Row | None) -> Row:
    assert row is not None
    return row


def _enter_project(tx: Transaction, project: SavedProject) -> int:
    project_id = allocate(tx, "projects")
    tx.run(
        "INSERT INTO projects (id, uid, name, created_at) VALUES (?, ?, ?, ?)",
        (project_id, project.uid, project.name, project.created_at_ns),
    )
    for artifact, number in project.retired.items():
        _set_number(tx, project_id, artifact, number)
    append_change(tx, "project", project.name)
    return project_id


def _enter_artifact(
    tx: Transaction, project: SavedProject, project_id: int, artifact: SavedArtifact, versions: list[SavedVersion]
) -> None:
    artifact_id = allocate(tx, "artifacts")
    tx.run(
        "INSERT INTO artifacts (id, project_id, name, type, description, created_at) VALUES (?, ?, ?, ?, ?, ?)",
        (artifact_id, project_id, artifact.name, artifact.type, artifact.description, artifact.created_at_ns),
    )
    append_change(tx, "artifact", project.name, artifact.name)
    next_number = max((artifact.next_version, *(version.number + 1 for version in versions)))
    _set_number(tx, project_id, artifact.name, next_number)
    for version in versions:
        _enter_version(tx, project, artifact.name, artifact_id, version)
    for alias, number in artifact.aliases.items():
        if any(version.number == number for version in versions):
            move_alias(tx, project.name, artifact.name, artifact_id, alias, number)


def _enter_version(
    tx: Transaction, project: SavedProject, artifact: str, artifact_id: int, version: SavedVersion
) -> None:
    seq = append_change(tx, "version", project.name, artifact, f"v{version.number}")
    tx.run(
        "INSERT INTO versions (id, artifact_id, number, root, description, metadata, created_at, created_by, seq,"
        " expires_at, row_check) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            allocate(tx, "versions"),
            artifact_id,
            version.number,
            NO_ROOT,
            version.description,
            msgspec.json.encode(version.metadata).decode(),
            version.created_at_ns,
            version.created_by,
            seq,
            version.expires_at_ns,
            version_check(project.uid, artifact, *meaning_of(version)),
        ),
    )


def meaning_of(version: SavedVersion) -> tuple[int, bytes, str, str, int, str, int | None]:
    """What the check of a version's row is made of, without names."""
    metadata = msgspec.json.encode(version.metadata).decode()
    told = (version.number, version.root, version.description, metadata)
    return (*told, version.created_at_ns, version.created_by, version.expires_at_ns)


def _set_number(tx: Transaction, project_id: int, artifact: str, number: int) -> None:
    tx.run("INSERT INTO version_numbers (project_id, artifact, next) VALUES (?, ?, ?)", (project_id, artifact, number))
