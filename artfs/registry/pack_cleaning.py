"""Packs that hold bytes nothing may keep: deleted, or rewritten without them.

Packs are taken in batches: what a batch does in the database is two short transactions, so that commits hardly wait, and its
files are handled by a few threads, since each is a wait for a disk or a bucket. A process that dies leaves packs whose state
says what is still to be done, and a rewritten pack that is not in use yet is deleted by the next.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from artfs.errors import DamagedObject, DamagedPack, StorageFull
from artfs.model import codec
from artfs.model.digest import Digest, ObjectKey, ObjectKind
from artfs.model.pack import PackedObject, PackHeader
from artfs.registry.database import Transaction, allocate, rows_in
from artfs.registry.resources import Resources
from artfs.store.pack_file import PACK_ID_BYTES, PackWriter
from artfs.store.packs import PackName

BATCH_PACKS = 64
BATCH_BYTES = 64 << 20  # copied before the old packs go: the room that cleaning needs
THREADS = 8
_RUN_BYTES = 8 << 20
_GAP_BYTES = 64 << 10

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_R = TypeVar("_R")
Stopped = Callable[[], bool]
"""Whether to leave what is not begun yet to a later call."""


def _never() -> bool:
    return False


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


class _Rewriting(NamedTuple):
    """A pack on its way into a new one."""

    old: _Pack
    live: list[_Live]
    name: PackName
    new_id: int


class PackCleaning:
    """Keeps no state of its own."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._database = resources.database
        self._store = resources.store

    def clean(self, *, wait: bool = True, packs: int = 1 << 30, stopped: Stopped = _never) -> None:
        """Delete the packs that hold nothing, then rewrite those that hold what they should not.

        Deleting comes first, to make room. A pack that cannot be rewritten since it is damaged is left as it is.
        Raises StorageFull or StorageFailed; what is left is done by a later call.

        Args:
            wait: for another process that is cleaning; else leave it to that one.
            packs: how many at most.
            stopped: asked before each batch.
        """
        with self._database.read() as tx:
            unused = tx.row(_ANY_UNUSED)
            if unused is None and not _packs_to_do(tx, 1):
                return
        with self._resources.maintenance_lock(wait=wait) as locked:
            if not locked:
                return
            if unused is not None:
                self._drop_unused()
            unfit: set[int] = set()
            at_once = BATCH_PACKS
            while packs > 0 and not stopped() and (batch := self._batch(min(packs, at_once), unfit)):
                packs -= len(batch)
                if batch[0].state == "deleting":
                    self._delete(batch)
                    continue
                try:
                    unfit |= self._rewrite(batch)
                except StorageFull:
                    if len(batch) == 1:
                        raise
                    self._drop_unused()
                    at_once = 1  # each needs little room, and makes some

    def _batch(self, count: int, unfit: set[int]) -> list[_Pack]:
        """The next packs of one state."""
        with self._database.read() as tx:
            found = [pack for pack in _packs_to_do(tx, count + len(unfit)) if pack.id not in unfit][:count]
        return [pack for pack in found if pack.state == found[0].state]

    def _drop_unused(self) -> None:
        """Let go of new packs that nothing was switched to."""
        with self._database.write() as tx:
            tx.run("UPDATE packs SET state = 'deleting' WHERE state = 'writing' AND draft_id IS NULL")

    def _delete(self, packs: Sequence[_Pack]) -> None:
        _in_threads(self._store.delete, [pack.name for pack in packs])
        with self._database.write(durable=False) as tx:
            tx.run_many("DELETE FROM packs WHERE id = ? AND state = 'deleting'", ((pack.id,) for pack in packs))

    def _rewrite(self, packs: Sequence[_Pack]) -> set[int]:
        """Copy what is alive to new packs and let the old ones go; which ones could not be read."""
        with self._database.read() as tx:
            live = _live_objects(tx, packs)
        to_copy = list(_fitting(packs, live))
        empty = [pack for pack in packs if pack.id not in live]
        rewritings = self._announce(to_copy, live, empty)
        copies = _in_threads(self._try_copy, rewritings)
        self._switch(list(zip(rewritings, copies, strict=True)))
        return {one.old.id for one, copied in zip(rewritings, copies, strict=True) if copied is None}

    def _announce(
        self, packs: Sequence[_Pack], live: dict[int, list[_Live]], empty: Sequence[_Pack]
    ) -> list[_Rewriting]:
        """Make the new packs known before their files exist; what holds nothing is deleted instead."""
        with self._database.write() as tx:
            tx.run_many(
                f"UPDATE packs SET state = 'deleting' WHERE id = ? AND state = 'dirty' AND {_EMPTY}",
                ((pack.id,) for pack in empty),
            )
            first_id = allocate(tx, "packs", len(packs)) if packs else 0
            rewritings = [
                _Rewriting(
                    old,
                    live[old.id],
                    PackName(old.name.project_uid, self._resources.random_bytes(PACK_ID_BYTES)),
                    first_id + i,
                )
                for i, old in enumerate(packs)
            ]
            tx.run_many(
                "INSERT INTO packs (id, project_id, pack_id, state, draft_id, created_at)"
                " SELECT ?, project_id, ?, 'writing', NULL, created_at FROM packs WHERE id = ?",
                ((one.new_id, one.name.pack_id, one.old.id) for one in rewritings),
            )
        return rewritings

    def _try_copy(self, one: _Rewriting) -> list[_Live] | None:
        """The new places, or None for a pack that cannot be read."""
        try:
            return self._copy(one)
        except (DamagedObject, DamagedPack, FileNotFoundError) as error:
            _log.warning("the pack %s cannot be rewritten: %s (run artfs fsck)", one.old.name.pack_id.hex(), error)
            return None

    def _copy(self, one: _Rewriting) -> list[_Live]:
        """Store a pack of the live objects' bytes as they are, and tell their new places.

        They are verified, for the old pack goes: what a bucket answered wrongly once must not take the place of what it holds.
        Raises DamagedObject, DamagedPack, and FileNotFoundError.
        """
        header = PackHeader(one.name.pack_id, one.name.project_uid, one.old.created_at_ns)
        writer = PackWriter.in_spool(self._resources.spool, header)
        try:
            copied = [
                _Live(kept.id, writer.add_encoded(kept.placed.key, kept.placed.size_bytes, kept.placed.codec, stored))
                for kept, stored in self._stored_bytes(one.old.name, one.live)
            ]
            self._store.ingest(one.name, writer.finish())
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
                stored = data[at : at + one.placed.stored_bytes]
                _check(name, one.placed, stored)
                yield one, stored

    def _switch(self, copies: Sequence[tuple[_Rewriting, list[_Live] | None]]) -> None:
        """Let the objects be in the new packs, from one moment to the next.

        Not in those that somebody gave up meanwhile, who did not know that they are being written: their old packs stay.
        """
        if not copies:
            return
        with self._database.write() as tx:
            sql = "SELECT id FROM packs WHERE state = 'writing' AND id IN ({})"
            kept = {id_ for (id_,) in rows_in(tx, sql, (), [one.new_id for one, _ in copies])}
            good = [(one, copied) for one, copied in copies if copied is not None and one.new_id in kept]
            tx.run_many(
                "UPDATE objects SET pack = ?, start = ? WHERE id = ? AND pack = ?",
                ((one.new_id, live.placed.offset, live.id, one.old.id) for one, copied in good for live in copied),
            )
            sql = "SELECT pack, count(*) FROM objects WHERE pack IN ({}) GROUP BY pack"
            moved: dict[int, int] = dict(rows_in(tx, sql, (), [one.new_id for one, _ in good]))
            tx.run_many(
                "UPDATE packs SET state = ?, draft_id = (SELECT o.draft_id FROM packs o WHERE o.id = ?) WHERE id = ?",
                (
                    ("stored" if moved.get(one.new_id) == len(copied) else "dirty", one.old.id, one.new_id)
                    for one, copied in good
                ),
            )
            let_go = [one.old.id for one, _ in good] + [one.new_id for one, copied in copies if copied is None]
            tx.run_many(f"UPDATE packs SET state = 'deleting' WHERE id = ? AND {_EMPTY}", ((id_,) for id_ in let_go))
        given_up = [one.name for one, copied in copies if copied is not None and one.new_id not in kept]
        _in_threads(self._store.delete, given_up)  # whoever gave them up may have done that before they were stored


_ANY_UNUSED = "SELECT 1 FROM packs WHERE state <> 'stored' AND state = 'writing' AND draft_id IS NULL LIMIT 1"
_EMPTY = "NOT EXISTS (SELECT 1 FROM objects o WHERE o.pack = packs.id)"


def _check(pack: PackName, placed: PackedObject, stored: memoryview) -> None:
    if Digest.of(codec.decode(placed.codec, stored, placed.size_bytes)) != placed.key.digest:
        raise DamagedObject(f"the bytes of {placed.key} in {pack.pack_id.hex()} do not match its digest")


def _in_threads(act: Callable[[_T], _R], items: Sequence[_T]) -> list[_R]:
    """What `act` returns for each, with a few at a time. Raises what the first failed one raises, when all are done."""
    if len(items) < 2:
        return [act(item) for item in items]
    from concurrent.futures import ThreadPoolExecutor  # few commands clean that much

    with ThreadPoolExecutor(THREADS, thread_name_prefix="clean") as threads:
        return list(threads.map(act, items))


def _packs_to_do(tx: Transaction, limit: int) -> list[_Pack]:
    rows = tx.rows(
        "SELECT k.id, p.uid, k.pack_id, k.state, k.created_at FROM packs k JOIN projects p ON p.id = k.project_id"
        " WHERE k.state <> 'stored' AND k.state IN ('dirty', 'deleting') ORDER BY k.state, k.id LIMIT ?",
        (limit,),
    )
    return [_Pack(id_, PackName(uid, pack_id), state, created_at) for id_, uid, pack_id, state, created_at in rows]


def _live_objects(tx: Transaction, packs: Iterable[_Pack]) -> dict[int, list[_Live]]:
    """What is alive in each pack, in the order in which it lies there; packs without are left out."""
    sql = "SELECT pack, start, id, kind, digest, size, codec, stored FROM objects WHERE pack IN ({})"
    found: dict[int, list[_Live]] = {}
    for pack, start, id_, kind, digest, size, how, stored in sorted(
        set(rows_in(tx, sql, (), [pack.id for pack in packs]))
    ):
        placed = PackedObject(ObjectKey(ObjectKind(kind), Digest(digest)), size, how, start, stored)
        found.setdefault(pack, []).append(_Live(id_, placed))
    return found


def _fitting(packs: Iterable[_Pack], live: dict[int, list[_Live]]) -> Iterator[_Pack]:
    """The packs to copy at once: the first, and more while there is room."""
    total_bytes = 0
    for pack in packs:
        if pack.id in live:
            size_bytes = sum(one.placed.stored_bytes for one in live[pack.id])
            if total_bytes and total_bytes + size_bytes > BATCH_BYTES:
                return
            total_bytes += size_bytes
            yield pack


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
