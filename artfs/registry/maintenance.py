"""What is done about what nothing holds any more: drafts are collected, packs deleted and rewritten.

Every step is one transaction or one file operation, is found again by the state it leaves in the database when the process
dies after it, and may be repeated. Packs are rewritten and deleted by one process at a time, which holds a lock file (freed by
the kernel when its holder dies): that saves work; that it is right depends on the transactions alone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import NamedTuple

from artfs.errors import ArtfsError, DamagedPack
from artfs.model.digest import Digest, ObjectKey, ObjectKind
from artfs.model.pack import PackedObject, PackHeader
from artfs.registry.database import Transaction, allocate
from artfs.registry.liveness import remove_doomed, unattached, walk
from artfs.registry.resources import Resources
from artfs.store.pack_file import PACK_ID_BYTES, PackWriter
from artfs.store.packs import PackName

SWEEP_DRAFTS = 4  # how much a sweep in passing does at most
SWEEP_PACKS = 4
_RUN_BYTES = 8 << 20
_GAP_BYTES = 64 << 10

_log = logging.getLogger(__name__)


class _Pack(NamedTuple):
    """A pack's row, for those that have something to be done about."""

    id: int
    name: PackName
    state: str
    created_at_ns: int


class _Live(NamedTuple):
    """An object that a rewritten pack keeps."""

    id: int
    placed: PackedObject


class Maintenance:
    """Keeps no state of its own."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._database = resources.database
        self._store = resources.store

    def try_sweep(self) -> None:
        """In passing: do a bounded part of what is left to do, if there is any and nobody else is at it."""
        try:
            self.sweep(wait=False, drafts=SWEEP_DRAFTS, packs=SWEEP_PACKS)
        except ArtfsError as error:
            _log.warning("cleaning up is put off: %s", error)

    def try_collect(self, draft_id: int, *, wait: bool) -> None:
        """Collect an ended draft. A failure leaves it to a later sweep: what the caller did is done."""
        try:
            if self._collect(draft_id):
                self.clean_packs(wait=wait)
        except ArtfsError as error:
            _log.warning("cleaning up after an upload is put off: %s", error)

    def sweep(self, *, wait: bool, drafts: int = 1 << 30, packs: int = 1 << 30) -> None:
        """End drafts that expired, collect those that ended, and clean packs.

        Args:
            wait: for another process that is cleaning; else leave it to that one.
            drafts, packs: how many of each at most.
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
        for (draft_id,) in (*expired, *ended):
            self._collect(draft_id)
        if forgotten is not None:
            with self._database.write() as tx:
                tx.run("DELETE FROM drafts WHERE state = 'ended' AND collected = 1 AND expires_at <= ?", (now_ns,))
                tx.run("DELETE FROM shared_drafts WHERE version IS NULL AND draft_id IS NULL")  # theirs were among them
        self.clean_packs(wait=wait, packs=packs)

    def _collect(self, draft_id: int) -> bool:
        """Delete what only an ended draft held; whether there was anything.

        Candidates are looked for outside the writing transaction: once a draft has ended, whatever takes another holder
        from one of its objects is a walk of its own.
        """
        with self._database.read() as tx:
            candidates = unattached(tx, draft_id)
            writing = tx.row("SELECT 1 FROM packs WHERE draft_id = ? AND state = 'writing'", (draft_id,))
        found = bool(candidates) or writing is not None
        with self._database.write(durable=found) as tx:
            if tx.row("SELECT 1 FROM drafts WHERE id = ? AND state = 'ended' AND collected = 0", (draft_id,)) is None:
                return False
            if candidates:
                walk(tx, self._resources.clock(), candidates=candidates)
                remove_doomed(tx)
            tx.run("UPDATE packs SET state = 'deleting' WHERE draft_id = ? AND state = 'writing'", (draft_id,))
            tx.run("DELETE FROM leases WHERE draft_id = ?", (draft_id,))
            tx.run("UPDATE drafts SET collected = 1 WHERE id = ?", (draft_id,))
        return found

    def drop_unknown(self, name: PackName) -> None:
        """Delete a stored file that no row speaks of: its draft ended while it was stored."""
        with self._database.write() as tx:
            row = tx.row(
                "SELECT 1 FROM packs p JOIN projects j ON j.id = p.project_id WHERE j.uid = ? AND p.pack_id = ?", name
            )
            if row is None:
                self._store.delete(name)

    def clean_packs(self, *, wait: bool = True, packs: int = 1 << 30) -> None:
        """Delete the packs that hold nothing, then rewrite those that hold what they should not.

        Deleting comes first, to make room. A pack that cannot be rewritten since it is damaged is left as it is.
        Raises StorageFull or StorageFailed; what is left is done by a later call.
        """
        with self._database.read() as tx:
            if not _packs_to_do(tx, 1):
                return
        with self._resources.maintenance_lock(wait=wait) as locked:
            if not locked:
                return
            with self._database.write() as tx:
                tx.run("UPDATE packs SET state = 'deleting' WHERE state = 'writing' AND draft_id IS NULL")
            unfit: set[int] = set()
            while packs > 0:
                with self._database.read() as tx:
                    to_do = [pack for pack in _packs_to_do(tx, packs + len(unfit)) if pack.id not in unfit]
                if not to_do:
                    return
                for pack in to_do:
                    packs -= 1
                    if not self._clean(pack):
                        unfit.add(pack.id)

    def _clean(self, pack: _Pack) -> bool:
        """Take a pack one step nearer its end; whether that worked."""
        if pack.state == "deleting":
            self._delete(pack)
            return True
        try:
            self._rewrite(pack)
        except (DamagedPack, FileNotFoundError) as error:
            _log.warning("the pack %s cannot be rewritten: %s (run artfs fsck)", pack.name.pack_id.hex(), error)
            return False
        return True

    def _delete(self, pack: _Pack) -> None:
        self._store.delete(pack.name)
        with self._database.write(durable=False) as tx:
            tx.run("DELETE FROM packs WHERE id = ? AND state = 'deleting'", (pack.id,))

    def _rewrite(self, old: _Pack) -> None:
        """Copy what is alive to a new pack and let the old one go."""
        with self._database.read() as tx:
            live = _live_objects(tx, old.id)
        if not live:
            with self._database.write() as tx:
                tx.run(f"UPDATE packs SET state = 'deleting' WHERE id = ? AND state = 'dirty' AND {_EMPTY}", (old.id,))
            return
        name = PackName(old.name.project_uid, self._resources.random_bytes(PACK_ID_BYTES))
        new_id = self._announce(old, name)
        copied = self._copy(old, name, live)
        self._switch(old.id, new_id, copied)

    def _announce(self, old: _Pack, name: PackName) -> int:
        with self._database.write() as tx:
            id_ = allocate(tx, "packs")
            tx.run(
                "INSERT INTO packs (id, project_id, pack_id, state, draft_id, created_at)"
                " SELECT ?, project_id, ?, 'writing', NULL, created_at FROM packs WHERE id = ?",
                (id_, name.pack_id, old.id),
            )
            return id_

    def _copy(self, old: _Pack, name: PackName, live: list[_Live]) -> list[_Live]:
        """Store a pack of the live objects' bytes as they are, and tell their new places.

        They are not verified: a damaged object stays as damaged as it was, for fsck to find, and keeps nobody from deleting.
        """
        header = PackHeader(name.pack_id, name.project_uid, old.created_at_ns)
        writer = PackWriter(self._resources.spool / f"{name.pack_id.hex()}.rewrite", header)
        try:
            copied = [
                _Live(one.id, writer.add_encoded(one.placed.key, one.placed.size_bytes, one.placed.codec, stored))
                for one, stored in self._stored_bytes(old.name, live)
            ]
            self._store.ingest(name, writer.finish())
        finally:
            writer.discard()
        return copied

    def _stored_bytes(self, name: PackName, live: list[_Live]) -> Iterator[tuple[_Live, memoryview]]:
        for run in _runs(live):
            start = run[0].placed.offset
            end = run[-1].placed.offset + run[-1].placed.stored_bytes
            data = memoryview(self._store.read(name, start, end - start))
            if len(data) != end - start:
                raise DamagedPack(f"the pack {name.pack_id.hex()} is shorter than what is in it")
            for one in run:
                at = one.placed.offset - start
                yield one, data[at : at + one.placed.stored_bytes]

    def _switch(self, old_id: int, new_id: int, copied: list[_Live]) -> None:
        """Let the objects be in the new pack, from one moment to the next."""
        with self._database.write() as tx:
            moved = tx.run_many(
                "UPDATE objects SET pack = ?, start = ? WHERE id = ? AND pack = ?",
                ((new_id, one.placed.offset, one.id, old_id) for one in copied),
            )
            state = "stored" if moved == len(copied) else "dirty"
            tx.run(
                "UPDATE packs SET state = ?, draft_id = (SELECT o.draft_id FROM packs o WHERE o.id = ?) WHERE id = ?",
                (state, old_id, new_id),
            )
            tx.run("UPDATE packs SET state = 'deleting' WHERE id = ?", (old_id,))


_EMPTY = "NOT EXISTS (SELECT 1 FROM objects o WHERE o.pack = packs.id)"


def _packs_to_do(tx: Transaction, limit: int) -> list[_Pack]:
    rows = tx.rows(
        "SELECT k.id, p.uid, k.pack_id, k.state, k.created_at FROM packs k JOIN projects p ON p.id = k.project_id"
        " WHERE k.state <> 'stored' AND (k.state IN ('dirty', 'deleting') OR (k.state = 'writing' AND k.draft_id IS NULL))"
        " ORDER BY k.state, k.id LIMIT ?",
        (limit,),
    )
    return [_Pack(id_, PackName(uid, pack_id), state, created_at) for id_, uid, pack_id, state, created_at in rows]


def _live_objects(tx: Transaction, pack_row: int) -> list[_Live]:
    rows = tx.rows(
        "SELECT id, kind, digest, size, codec, start, stored FROM objects WHERE pack = ? ORDER BY start, id",
        (pack_row,),
    )
    return [
        _Live(id_, PackedObject(ObjectKey(ObjectKind(kind), Digest(digest)), size, codec, start, stored))
        for id_, kind, digest, size, codec, start, stored in rows
    ]


def _runs(live: list[_Live]) -> Iterator[list[_Live]]:
    """Objects that are read together: near each other, a bounded number of bytes."""
    run: list[_Live] = []
    for one in live:
        if run:
            end = run[-1].placed.offset + run[-1].placed.stored_bytes
            whole = one.placed.offset + one.placed.stored_bytes - run[0].placed.offset
            if one.placed.offset - end > _GAP_BYTES or whole > _RUN_BYTES:
                yield run
                run = []
        run.append(one)
    if run:
        yield run
