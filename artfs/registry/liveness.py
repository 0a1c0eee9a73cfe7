"""What would be held by nothing: the one rule by which objects die, and their removal.

An object is held by a parent, by a version whose root it is, and by a live draft: one that has a lease on it, or that brought
the pack it is in. Starting from objects that lost a holder, the walk follows edges down from what dies, so its work is
proportional to that. It is set-wise SQL in temporary tables that belong to the transaction's connection: `frontier`, what may
be dead; `fresh`, what the current round found to be; `doomed`, what all rounds did; `condemned`, versions that no longer count.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from artfs.registry.database import Transaction

_NAMES = ("frontier", "fresh", "doomed", "condemned")

_EMPTY_TABLES = ";".join(
    f"CREATE TEMPORARY TABLE IF NOT EXISTS {name} (id BIGINT PRIMARY KEY); DELETE FROM {name}" for name in _NAMES
)

_DIES = (
    "INSERT INTO fresh (id) SELECT f.id FROM frontier f JOIN objects o ON o.id = f.id JOIN packs p ON p.id = o.pack"
    " WHERE NOT EXISTS (SELECT 1 FROM doomed y WHERE y.id = f.id)"
    " AND NOT EXISTS (SELECT 1 FROM edges e WHERE e.child = f.id"
    "   AND NOT EXISTS (SELECT 1 FROM doomed x WHERE x.id = e.parent))"
    " AND NOT EXISTS (SELECT 1 FROM versions v WHERE v.root = f.id"
    "   AND NOT EXISTS (SELECT 1 FROM condemned c WHERE c.id = v.id))"
    " AND NOT EXISTS (SELECT 1 FROM leases l JOIN drafts d ON d.id = l.draft_id"
    "   WHERE l.object = f.id AND d.state = 'open' AND d.expires_at > ?)"
    " AND NOT EXISTS (SELECT 1 FROM drafts d WHERE d.id = p.draft_id AND d.state = 'open' AND d.expires_at > ?)"
)
_DESCEND = "INSERT INTO frontier (id) SELECT DISTINCT e.child FROM fresh x JOIN edges e ON e.parent = x.id"
_UNATTACHED = (
    " WHERE NOT EXISTS (SELECT 1 FROM edges e WHERE e.child = o.id)"
    " AND NOT EXISTS (SELECT 1 FROM versions v WHERE v.root = o.id)"
)
_OF_DOOMED = "IN (SELECT id FROM doomed)"


class Toll(NamedTuple):
    """How much a walk found to be dead: objects, and their stored bytes."""

    object_count: int
    stored_bytes: int


def unattached(tx: Transaction, draft_id: int) -> list[int]:
    """Objects that a draft brought or leased, and that no parent and no version holds."""
    brought = tx.rows(
        f"SELECT o.id FROM packs p JOIN objects o ON o.pack = p.id {_UNATTACHED} AND p.draft_id = ?", (draft_id,)
    )
    leased = tx.rows(
        f"SELECT o.id FROM leases l JOIN objects o ON o.id = l.object {_UNATTACHED} AND l.draft_id = ?", (draft_id,)
    )
    return sorted({row[0] for row in (*brought, *leased)})


def walk(tx: Transaction, now_ns: int, *, candidates: Iterable[int] = (), condemned: Iterable[int] = ()) -> Toll:
    """Fill `doomed` and count it, starting from `candidates` (objects) and the roots of `condemned` (versions).

    Writes to temporary tables only, so it serves a plan in a reading transaction too.
    """
    tx.script(_EMPTY_TABLES)
    tx.run_many("INSERT INTO condemned (id) VALUES (?)", ((id_,) for id_ in condemned))
    tx.run_many("INSERT INTO frontier (id) VALUES (?)", ((id_,) for id_ in candidates))
    tx.run(
        "INSERT INTO frontier (id) SELECT DISTINCT v.root FROM versions v WHERE v.id IN (SELECT id FROM condemned)"
        " ON CONFLICT DO NOTHING"
    )
    while tx.row("SELECT 1 FROM frontier LIMIT 1") is not None:
        tx.note_filled("frontier")
        tx.run(_DIES, (now_ns, now_ns))
        tx.note_filled("fresh")
        tx.run("INSERT INTO doomed (id) SELECT id FROM fresh")
        tx.note_filled("doomed")
        tx.run("DELETE FROM frontier")
        tx.run(_DESCEND)
        tx.run("DELETE FROM fresh")
    row = tx.row("SELECT count(*), coalesce(sum(stored), 0) FROM objects WHERE id IN (SELECT id FROM doomed)")
    assert row is not None
    return Toll(int(row[0]), int(row[1]))


def remove_condemned(tx: Transaction) -> None:
    """Delete the versions that `walk` was told no longer count."""
    tx.run("DELETE FROM versions WHERE id IN (SELECT id FROM condemned)")


def remove_doomed(tx: Transaction) -> None:
    """Delete what `walk` found, and mark the packs that now hold bytes nothing may keep.

    Leases on doomed objects are those of drafts that are no longer live.
    """
    tx.run(
        "UPDATE packs SET state = 'dirty' WHERE state = 'stored'"
        f" AND id IN (SELECT DISTINCT o.pack FROM objects o WHERE o.id {_OF_DOOMED})"
    )
    tx.run(f"DELETE FROM leases WHERE object {_OF_DOOMED}")
    tx.run(f"DELETE FROM edges WHERE parent {_OF_DOOMED}")
    tx.run(f"DELETE FROM summaries WHERE object {_OF_DOOMED}")
    tx.run(f"DELETE FROM objects WHERE id {_OF_DOOMED}")
    tx.run(
        "UPDATE packs SET state = 'deleting' WHERE state IN ('dirty', 'lost')"
        " AND NOT EXISTS (SELECT 1 FROM objects o WHERE o.pack = packs.id)"
    )
