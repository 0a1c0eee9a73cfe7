"""The journal of visible changes, which mounts follow to see aliases move.

A row is appended in the transaction that makes the change, so its number is its place in the order of commits.

Who may no longer see a project could not be told of it by a change of that project. So a farewell to each is in the journal as
well, which is shown as a change of the project, to nobody else.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from artfs.errors import DamagedDatabase
from artfs.registry.database import Database, Transaction, allocate
from artfs.wire.records import Change

FAREWELL = "farewell"  # a kind that only the journal has; its name is a user's, or empty for everybody
SINCE_MAX = 10_000
WAIT_POLL_S = 0.05


def append_change(tx: Transaction, kind: str, project: str, artifact: str = "", name: str = "") -> int:
    """Note a change and return its number."""
    seq = allocate(tx, "change")
    tx.run(
        "INSERT INTO changes (seq, kind, project, artifact, name) VALUES (?, ?, ?, ?, ?)",
        (seq, kind, project, artifact, name),
    )
    return seq


def append_version_changes(tx: Transaction, project: str, names: Sequence[tuple[str, str]]) -> None:
    """Note a change of each version: pairs of artifact and version name."""
    if not names:
        return
    first = allocate(tx, "change", len(names))
    tx.run_many(
        "INSERT INTO changes (seq, kind, project, artifact, name) VALUES (?, 'version', ?, ?, ?)",
        ((first + i, project, artifact, name) for i, (artifact, name) in enumerate(names)),
    )


def append_farewell(tx: Transaction, project: str, user: str = "") -> None:
    """Note that `user`, or everybody but members, saw the project and does no longer."""
    append_change(tx, FAREWELL, project, name=user)


def forget_farewells(tx: Transaction, user: str) -> None:
    """For a user who is removed: the next of that name saw none of it."""
    tx.run("UPDATE changes SET kind = 'project', name = '' WHERE kind = ? AND name = ?", (FAREWELL, user))


def entries_after(tx: Transaction, seq: int, limit: int) -> list[Change]:
    """At most `limit` entries of the journal after `seq`, oldest first. Raises DamagedDatabase."""
    sql = "SELECT seq, kind, project, artifact, name FROM changes WHERE seq > ? ORDER BY seq LIMIT ?"
    rows = tx.rows(sql, (seq, limit))
    if not all(isinstance(word, str) for row in rows for word in row[1:]):
        raise DamagedDatabase("the journal of changes is damaged", hint="run artfs fsck")
    return [Change(*row) for row in rows]


def shown(entry: Change) -> Change:
    """An entry of the journal as those see it who may."""
    return Change(entry.seq, "project", entry.project) if entry.kind == FAREWELL else entry


def changes_after(tx: Transaction, seq: int, limit: int) -> list[Change]:
    """At most `limit` changes after `seq`, oldest first."""
    return [shown(entry) for entry in entries_after(tx, seq, limit)]


class ChangeLog:
    """The `Changes` service. Owns the cached position, a pair that is replaced as a whole."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._cached: tuple[object, int] | None = None

    def position(self) -> int:
        stamp = self._database.stamp()
        cached = self._cached
        if cached is not None and cached[0] == stamp:
            return cached[1]
        with self._database.read() as tx:
            row = tx.row("SELECT max(seq) FROM changes")
        position = int(row[0] or 0) if row else 0
        self._cached = (stamp, position)  # read after the stamp was taken: at worst newer than it, and asked again
        return position

    def wait(self, seq: int, timeout_s: float) -> int:
        deadline_s = time.monotonic() + timeout_s
        while (position := self.position()) <= seq and (left_s := deadline_s - time.monotonic()) > 0:
            time.sleep(min(WAIT_POLL_S, left_s))
        return position

    def entries(self, seq: int, limit: int) -> list[Change]:
        """The journal after `seq`, farewells included, oldest first."""
        with self._database.read() as tx:
            return entries_after(tx, seq, min(limit, SINCE_MAX))

    def since(self, seq: int, limit: int = 1000) -> list[Change]:
        with self._database.read() as tx:
            return changes_after(tx, seq, min(limit, SINCE_MAX))
