"""Tags of versions: labels that mean nothing to the registry."""

from __future__ import annotations

from collections.abc import Iterable

from artfs.errors import InvalidValue
from artfs.model.lineage import VersionRef
from artfs.model.names import check_label
from artfs.wandb_server.state import State

TAGS_MAX = 20


def tags_of(state: State, ref: VersionRef) -> list[str]:
    sql = "SELECT tag FROM tags WHERE project = ? AND artifact = ? AND number = ? ORDER BY tag"
    return [str(tag) for (tag,) in state.rows(sql, (ref.project, ref.artifact, ref.number))]


def set_tags(state: State, ref: VersionRef, added: Iterable[str], removed: Iterable[str] = ()) -> None:
    """Raises InvalidValue."""
    with state.write() as tx:
        for tag in removed:
            sql = "DELETE FROM tags WHERE project = ? AND artifact = ? AND number = ? AND tag = ?"
            tx.run(sql, (ref.project, ref.artifact, ref.number, tag))
        for tag in added:
            if not check_label("tag", tag):
                raise InvalidValue("a tag is empty", hint="leave it out")
            row = (ref.project, ref.artifact, ref.number, tag)
            tx.run("INSERT OR IGNORE INTO tags VALUES (?, ?, ?, ?)", row)
        sql = "SELECT count(*) FROM tags WHERE project = ? AND artifact = ? AND number = ?"
        if tx.rows(sql, (ref.project, ref.artifact, ref.number))[0][0] > TAGS_MAX:
            raise InvalidValue(f"more than {TAGS_MAX} tags", hint="remove some")
