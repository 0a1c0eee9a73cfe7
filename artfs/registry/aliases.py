"""Aliases: what they mean now, what they meant at an earlier change, and moving them."""

from __future__ import annotations

from collections.abc import Sequence

from artfs.errors import AliasNotFound, InvalidValue, VersionNotFound
from artfs.model.names import check_alias, version_name
from artfs.registry.catalog import find_artifact, find_project
from artfs.registry.changes import append_change
from artfs.registry.database import Transaction
from artfs.registry.resources import Resources
from artfs.registry.row_checks import alias_check, checked_aliases
from artfs.wire.service import ALIASES_MAX


def check_aliases(names: Sequence[str]) -> None:
    """Raises InvalidName, and InvalidValue for so many that all others would wait long while they are moved."""
    if len(names) > ALIASES_MAX:
        raise InvalidValue(f"{len(names)} aliases at once", hint=f"give a version at most {ALIASES_MAX} at once")
    for name in names:
        check_alias(name)


_ALIASES = "SELECT alias, version, 0, row_check FROM aliases WHERE artifact_id = ? ORDER BY alias"


def aliases_now(tx: Transaction, artifact_id: int) -> dict[str, int]:
    """Version numbers by alias, sorted by alias. Raises DamagedDatabase."""
    rows = tx.rows(_ALIASES, (artifact_id,))
    return checked_aliases(artifact_id, rows)


def aliases_at(tx: Transaction, artifact_id: int, seq: int) -> dict[str, int]:
    """Version numbers by alias as of change `seq`, without versions that were deleted since. Raises DamagedDatabase."""
    rows = tx.rows(
        "SELECT m.alias, m.version, m.seq, m.row_check FROM alias_moves m"
        " JOIN versions v ON v.artifact_id = m.artifact_id AND v.number = m.version"
        " WHERE m.artifact_id = ? AND m.seq = (SELECT max(n.seq) FROM alias_moves n"
        "  WHERE n.artifact_id = m.artifact_id AND n.alias = m.alias AND n.seq <= ?) ORDER BY m.alias",
        (artifact_id, seq),
    )
    return checked_aliases(artifact_id, rows)


def move_alias(tx: Transaction, project: str, artifact: str, artifact_id: int, alias: str, number: int) -> None:
    """Point `alias` to a version that exists. Nothing happens when it points there."""
    held = tx.row("SELECT version FROM aliases WHERE artifact_id = ? AND alias = ?", (artifact_id, alias))
    if held is not None and held[0] == number:
        return
    tx.run(
        "INSERT INTO aliases (artifact_id, alias, version, row_check) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (artifact_id, alias) DO UPDATE SET version = excluded.version, row_check = excluded.row_check",
        (artifact_id, alias, number, alias_check(artifact_id, alias, number)),
    )
    _note_move(tx, project, artifact, artifact_id, alias, number)


def remove_alias(tx: Transaction, project: str, artifact: str, artifact_id: int, alias: str) -> bool:
    """Whether there was one."""
    removed = tx.run("DELETE FROM aliases WHERE artifact_id = ? AND alias = ?", (artifact_id, alias))
    if removed:
        _note_move(tx, project, artifact, artifact_id, alias, None)
    return bool(removed)


def _note_move(tx: Transaction, project: str, artifact: str, artifact_id: int, alias: str, number: int | None) -> None:
    seq = append_change(tx, "alias", project, artifact, alias)
    tx.run(
        "INSERT INTO alias_moves (artifact_id, alias, seq, version, row_check) VALUES (?, ?, ?, ?, ?)",
        (artifact_id, alias, seq, number, None if number is None else alias_check(artifact_id, alias, number, seq)),
    )


class Aliases:
    """The `Aliases` service."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._database = resources.database

    def list(self, project: str, artifact: str, *, as_of: int | None = None) -> dict[str, int]:
        with self._database.read() as tx:
            found = find_artifact(tx, find_project(tx, project), artifact)
            return aliases_now(tx, found.id) if as_of is None else aliases_at(tx, found.id, as_of)

    def move(self, project: str, artifact: str, alias: str, number: int) -> None:
        check_alias(alias)
        with self._database.write() as tx:
            found = find_artifact(tx, find_project(tx, project), artifact)
            if tx.row("SELECT 1 FROM versions WHERE artifact_id = ? AND number = ?", (found.id, number)) is None:
                raise VersionNotFound(f"there is no {project}/{artifact}:{version_name(number)}")
            move_alias(tx, project, artifact, found.id, alias, number)
        self._resources.after_change()

    def remove(self, project: str, artifact: str, alias: str) -> None:
        with self._database.write() as tx:
            found = find_artifact(tx, find_project(tx, project), artifact)
            if not remove_alias(tx, project, artifact, found.id, alias):
                raise AliasNotFound(f"there is no alias {alias!r} of {project}/{artifact}")
        self._resources.after_change()
