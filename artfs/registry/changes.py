"""The journal of visible changes, which mounts follow to see aliases move.

A row is appended in the transaction that makes the change, so its number is its place in the order of commits.
"""

from __future__ import annotations

import time

from artfs.registry.database import Database, Transaction, allocate
from artfs.wire.records import Change

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


def changes_after(tx: Transaction, seq: int, limit: int) -> list[Change]:
    """At most `limit` changes after `seq`, oldest first."""
    sql = "SELECT seq, kind, project, artifact, name FROM changes WHERE seq > ? ORDER BY seq LIMIT ?"
    return [Change(*row) for row in tx.rows(sql, (seq, limit))]


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

    def since(self, seq: int, limit: int = 1000) -> list[Change]:
        with self._database.read() as tx:
            return changes_after(tx, seq, min(limit, SINCE_MAX))
