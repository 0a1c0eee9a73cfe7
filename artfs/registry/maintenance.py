"""What is done about what nothing holds any more: drafts are collected, packs deleted and rewritten.

Every step is one transaction or one file operation, is found again by the state it leaves in the database when the process
dies after it, and may be repeated. Packs are rewritten and deleted by one process at a time, which holds a lock file (freed by
the kernel when its holder dies): that saves work; that it is right depends on the transactions alone.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

from artfs.errors import ArtfsError
from artfs.registry.liveness import Toll, remove_doomed, unattached, walk
from artfs.registry.pack_cleaning import PackCleaning, Stopped
from artfs.registry.resources import Resources
from artfs.store.packs import PackName

SWEEP_DRAFTS = 4  # how much a sweep in passing does at most
SWEEP_PACKS = 4

_log = logging.getLogger(__name__)


class Swept(NamedTuple):
    """What a sweep collected: drafts that held something, and what died with them."""

    draft_count: int
    toll: Toll

    def plus(self, toll: Toll) -> Swept:
        total = Toll(self.toll.object_count + toll.object_count, self.toll.stored_bytes + toll.stored_bytes)
        return Swept(self.draft_count + 1, total)


class Maintenance:
    """Keeps no state of its own."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._database = resources.database
        self._store = resources.store
        self._cleaning = PackCleaning(resources)

    def try_sweep(self) -> None:
        """In passing: do a bounded part of what is left to do, if there is any and nobody else is at it."""
        try:
            self.sweep(wait=False, drafts=SWEEP_DRAFTS, packs=SWEEP_PACKS)
        except ArtfsError as error:
            _log.warning("cleaning up is put off: %s", error)

    def try_collect(self, draft_id: int, *, wait: bool) -> None:
        """Collect an ended draft. A failure leaves it to a later sweep: what the caller did is done."""
        try:
            if self._collect(draft_id) is not None:
                self.clean_packs(wait=wait)
        except ArtfsError as error:
            _log.warning("cleaning up after an upload is put off: %s", error)

    def sweep(
        self, *, wait: bool, drafts: int = 1 << 30, packs: int = 1 << 30, stopped: Stopped = lambda: False
    ) -> Swept:
        """End drafts that expired, collect those that ended, and clean packs.

        Args:
            wait: for another process that is cleaning; else leave it to that one.
            drafts, packs: how many of each at most.
            stopped: asked in between; what is left is done by a later call.
        """
        now_ns = self._resources.clock()
        due = "state = 'open' AND expires_at <= ?"
        with self._database.read() as tx:
            expired = tx.rows(f"SELECT id FROM drafts WHERE {due} LIMIT ?", (now_ns, drafts))
            ended = tx.rows("SELECT id FROM drafts WHERE state = 'ended' AND collected = 0 LIMIT ?", (drafts,))
            forgotten = tx.row(
                "SELECT 1 FROM drafts WHERE state = 'ended' AND collected = 1 AND expires_at <= ?", (now_ns,)
            )
        if expired:
            with self._database.write() as tx:
                tx.run_many(
                    f"UPDATE drafts SET state = 'ended' WHERE id = ? AND {due}", ((id_, now_ns) for (id_,) in expired)
                )
        swept = Swept(0, Toll(0, 0))
        for (draft_id,) in (*expired, *ended):
            if stopped():
                break
            toll = self._collect(draft_id)
            if toll is not None:
                swept = swept.plus(toll)
        if forgotten is not None:
            with self._database.write() as tx:
                tx.run("DELETE FROM drafts WHERE state = 'ended' AND collected = 1 AND expires_at <= ?", (now_ns,))
                tx.run("DELETE FROM shared_drafts WHERE version IS NULL AND draft_id IS NULL")  # theirs were among them
                tx.run(
                    "DELETE FROM shared_parts WHERE shared_id IN (SELECT id FROM shared_drafts WHERE draft_id IS NULL)"
                )
        self._cleaning.clean(wait=wait, packs=packs, stopped=stopped)
        return swept

    def _collect(self, draft_id: int) -> Toll | None:
        """Delete what only an ended draft held; None if it held nothing.

        Candidates are looked for outside the writing transaction: once a draft has ended, whatever takes another holder
        from one of its objects is a walk of its own.
        """
        with self._database.read() as tx:
            candidates = unattached(tx, draft_id)
            writing = tx.row("SELECT 1 FROM packs WHERE draft_id = ? AND state = 'writing'", (draft_id,))
        found = bool(candidates) or writing is not None
        with self._database.write(durable=found) as tx:
            if tx.row("SELECT 1 FROM drafts WHERE id = ? AND state = 'ended' AND collected = 0", (draft_id,)) is None:
                return None
            toll = Toll(0, 0)
            if candidates:
                toll = walk(tx, self._resources.clock(), candidates=candidates)
                remove_doomed(tx)
            tx.run("UPDATE packs SET state = 'deleting' WHERE draft_id = ? AND state = 'writing'", (draft_id,))
            tx.run("DELETE FROM leases WHERE draft_id = ?", (draft_id,))
            tx.run("UPDATE drafts SET collected = 1 WHERE id = ?", (draft_id,))
        return toll if found else None

    def drop_unknown(self, name: PackName) -> None:
        """Delete a stored file that is of no use: its draft ended while it was stored.

        Whoever is about to delete it may have looked for the file before it was there.
        """
        with self._database.write() as tx:
            row = tx.row(
                "SELECT p.state FROM packs p JOIN projects j ON j.id = p.project_id WHERE j.uid = ? AND p.pack_id = ?",
                name,
            )
            if row is None or row[0] == "deleting":
                self._store.delete(name)

    def clean_packs(self, *, wait: bool = True, packs: int = 1 << 30) -> None:
        """As `PackCleaning.clean`."""
        self._cleaning.clean(wait=wait, packs=packs)
