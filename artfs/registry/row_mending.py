"""Rows of versions and aliases that are not what was written: finding them, and mending them from the copy of the catalog.

A record is believed if it has the check that the damaged row still has: then it says what the row said. Where the check itself is
what was damaged, the row and its record say the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from artfs.model.digest import ObjectKind
from artfs.model.names import version_name
from artfs.registry.catalog_restore import meaning_of
from artfs.registry.database import Row, Transaction
from artfs.registry.records import SavedArtifact, SavedVersion, read_records
from artfs.registry.row_checks import alias_check, is_right, version_check
from artfs.registry.versions import all_versions, row_check


class DamagedRow(NamedTuple):
    """A row that its check does not fit; exactly one of `version` (a row of `versions.all_versions`) and `alias` is there."""

    project: str
    project_id: int
    project_uid: bytes
    artifact: str
    artifact_id: int
    version: Row | None
    alias: tuple[str, int, bytes] | None

    @property
    def name(self) -> str:
        part = version_name(self.version[0]) if self.version is not None else self.alias[0] if self.alias else ""
        return f"{self.project}/{self.artifact}:{part}"


def damaged_rows(tx: Transaction) -> Iterator[DamagedRow]:
    """All of them."""
    sql = (
        "SELECT p.name, p.id, p.uid, a.name, a.id FROM artifacts a JOIN projects p ON p.id = a.project_id ORDER BY a.id"
    )
    for project, project_id, uid, artifact, artifact_id in tx.rows(sql):
        of = (project, project_id, uid, artifact, artifact_id)
        for row in all_versions(tx, artifact_id):
            if not is_right(row[11], row_check(uid, artifact, row)):
                yield DamagedRow(*of, row, None)
        sql = "SELECT alias, version, row_check FROM aliases WHERE artifact_id = ? ORDER BY alias"
        for alias, number, check in tx.rows(sql, (artifact_id,)):
            if not is_right(check, alias_check(artifact_id, alias, number)):
                yield DamagedRow(*of, None, (alias, number, check))


def mend_rows(tx: Transaction, records: Path) -> list[str]:
    """Mend what the records tell for sure. Returns what was done, in words."""
    damaged = list(damaged_rows(tx))
    if not damaged:
        return []
    artifacts: dict[tuple[str, str], SavedArtifact] = {}
    versions: dict[tuple[str, str, int], SavedVersion] = {}
    for project, saved_artifacts in read_records(records):
        for saved, its in saved_artifacts:
            artifacts[project.name, saved.name] = saved
            versions |= {(project.name, saved.name, version.number): version for version in its}
    mended = []
    for row in damaged:
        if row.version is not None:
            version = versions.get((row.project, row.artifact, row.version[0]))
            done = version is not None and _mend_version(tx, row, row.version, version)
        else:
            artifact = artifacts.get((row.project, row.artifact))
            done = artifact is not None and row.alias is not None and _mend_alias(tx, row, row.alias, artifact)
        mended.append(f"mended the row of {row.name}" if done else _give_up(tx, row))
    return mended


def _give_up(tx: Transaction, of: DamagedRow) -> str:
    """An alias of which nothing tells what it meant goes; a version stays, an error to all who ask, until it is removed."""
    if of.alias is None:
        return f"could not mend the row of {of.name}: no record tells what it said"
    tx.run("DELETE FROM aliases WHERE artifact_id = ? AND alias = ?", (of.artifact_id, of.alias[0]))
    return f"dropped the alias {of.name}: no record tells what it meant"


def _mend_version(tx: Transaction, of: DamagedRow, row: Row, saved: SavedVersion) -> bool:
    told = meaning_of(saved)
    expected = version_check(of.project_uid, of.artifact, *told)
    if expected not in (bytes(row[11]), row_check(of.project_uid, of.artifact, row)):
        return False
    _, root, description, metadata, created_at_ns, created_by, expires_at_ns = told
    sql = "SELECT id FROM objects WHERE project_id = ? AND kind = ? AND digest = ?"
    found = tx.row(sql, (of.project_id, ObjectKind.TREE, root))
    if found is None:
        return False
    tx.run(
        "UPDATE versions SET root = ?, description = ?, metadata = ?, created_at = ?, created_by = ?, expires_at = ?,"
        " row_check = ? WHERE id = ?",
        (found[0], description, metadata, created_at_ns, created_by, expires_at_ns, expected, row[8]),
    )
    return True


def _mend_alias(tx: Transaction, of: DamagedRow, row: tuple[str, int, bytes], saved: SavedArtifact) -> bool:
    alias, number, check = row
    meant = saved.aliases.get(alias, -1)
    expected = alias_check(of.artifact_id, alias, meant)
    if meant != number and expected != bytes(check):
        return False
    tx.run(
        "UPDATE aliases SET version = ?, row_check = ? WHERE artifact_id = ? AND alias = ?",
        (meant, expected, of.artifact_id, alias),
    )
    return True
