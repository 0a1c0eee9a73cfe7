"""Drafts: open uploads, and what is sent to them until one is sealed.

A draft is live while it is open and its expiry lies ahead; only then does it hold anything. Each step of an upload is one
transaction, so a process may die between any two.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from artfs.errors import ArtfsError, Busy, DamagedPack, StorageFailed
from artfs.model.digest import ObjectKey
from artfs.registry.catalog import Project, find_project
from artfs.registry.database import Row, Transaction, allocate
from artfs.registry.draft_rows import DRAFT_LIFE_NS, find_draft, find_live_draft, lease, open_draft
from artfs.registry.examine import ExaminedPack, examine
from artfs.registry.maintenance import Maintenance
from artfs.registry.objects import check_keys, find_stored
from artfs.registry.registering import register
from artfs.registry.resources import Resources
from artfs.registry.sealing import check_request, seal_draft, sealed
from artfs.store.durable import reported
from artfs.store.packs import PackName
from artfs.wire.records import DraftRecord, SealRequest, SealResult


class Drafts:
    """The `Drafts` service."""

    def __init__(self, resources: Resources, maintenance: Maintenance) -> None:
        self._resources = resources
        self._database = resources.database
        self._maintenance = maintenance

    def open(self, project: str) -> DraftRecord:
        self._maintenance.try_sweep()
        with self._database.write() as tx:
            of = find_project(tx, project)
            return open_draft(tx, of, self._resources.random_bytes, self._resources.clock()).record

    def renew(self, draft: str) -> DraftRecord:
        with self._database.write() as tx:
            now_ns = self._resources.clock()
            found = find_live_draft(tx, draft, now_ns)
            renewed = found._replace(expires_at_ns=max(found.expires_at_ns, now_ns + DRAFT_LIFE_NS))
            tx.run("UPDATE drafts SET expires_at = ? WHERE id = ?", (renewed.expires_at_ns, found.id))
            return renewed.record

    def missing(self, draft: str, keys: Sequence[ObjectKey]) -> list[ObjectKey]:
        check_keys(keys)
        with self._database.read() as tx:
            found = find_live_draft(tx, draft, self._resources.clock())
            present = find_stored(tx, found.project.id, keys)
        if present:
            # A lease that a power cut takes back is noticed: a parent is refused while its child is missing.
            with self._database.write(durable=False) as tx:
                found = find_live_draft(tx, draft, self._resources.clock())
                present = find_stored(tx, found.project.id, keys)
                lease(tx, found.id, [stored.id for stored in present.values()])
        return [key for key in dict.fromkeys(keys) if key not in present]

    def put_pack(self, draft: str, pack: Path) -> None:
        with self._database.read() as tx:
            project = find_live_draft(tx, draft, self._resources.clock()).project
        try:
            examined = examine(pack, self._resources.verify)
        except FileNotFoundError:
            raise StorageFailed(f"there is no file {pack}", hint="build the pack again") from None
        if examined.header.project_uid != project.uid:
            raise DamagedPack(f"the pack {pack.name} was built for another project than {project.name!r}")
        name = PackName(project.uid, examined.header.pack_id)
        if not self._announce(draft, name):
            self._maintenance.clean_packs()
            if not self._announce(draft, name):
                raise Busy(f"the pack {name.pack_id.hex()} is being deleted", hint="build the pack again")
        self._resources.store.ingest(name, pack)
        try:
            wasted = self._register(draft, name, examined)
        except ArtfsError:
            self._maintenance.drop_unknown(name)
            raise
        with reported("remove", pack):
            pack.unlink(missing_ok=True)
        if wasted:
            self._maintenance.clean_packs(wait=False)

    def _announce(self, draft: str, name: PackName) -> bool:
        """Make the pack known before its file exists, so that a file without use is found and removed.

        False while an earlier pack of that name is on its way out.
        """
        with self._database.write() as tx:
            now_ns = self._resources.clock()
            found = find_live_draft(tx, draft, now_ns)
            row = _pack_row(tx, found.project, name)
            if row is None:
                tx.run(
                    "INSERT INTO packs (id, project_id, pack_id, state, draft_id, created_at)"
                    " VALUES (?, ?, ?, 'writing', ?, ?)",
                    (allocate(tx, "packs"), found.project.id, name.pack_id, found.id, now_ns),
                )
            elif row[1] == "writing":
                tx.run("UPDATE packs SET draft_id = ? WHERE id = ?", (found.id, row[0]))
            return row is None or row[1] in ("writing", "stored")

    def _register(self, draft: str, name: PackName, examined: ExaminedPack) -> bool:
        """Enter the pack's objects; whether some of its bytes are of no use, since the objects were stored already."""
        with self._database.write() as tx:
            now_ns = self._resources.clock()
            found = find_live_draft(tx, draft, now_ns)
            row = _pack_row(tx, found.project, name)
            if row is None or row[1] not in ("writing", "stored"):
                raise Busy(f"the pack {name.pack_id.hex()} is being deleted", hint="build the pack again")
            pack_row, state, created_at_ns = row
            if state == "writing":
                created_at_ns = min(examined.header.created_at_ns, now_ns)
            registered = register(tx, found.project.id, pack_row, examined, created_at_ns)
            lease(tx, found.id, registered.existing)
            if state == "stored":
                return False
            wasted = registered.new_count < len(examined.objects)
            state = "deleting" if not registered.new_count else "dirty" if wasted else "stored"
            tx.run(
                "UPDATE packs SET state = ?, draft_id = ?, created_at = ? WHERE id = ?",
                (state, found.id, created_at_ns, pack_row),
            )
            return wasted

    def seal(self, draft: str, request: SealRequest) -> SealResult:
        check_request(request)
        with self._database.write() as tx:
            found = find_draft(tx, draft)
            if found.version is not None:
                return sealed(tx, found)
            now_ns = self._resources.clock()
            found = find_live_draft(tx, draft, now_ns)
            result = seal_draft(tx, found, request, now_ns)
        self._resources.after_change()
        self._maintenance.try_collect(found.id, wait=False)
        return result

    def abandon(self, draft: str) -> None:
        with self._database.write() as tx:
            row = tx.row(
                "UPDATE drafts SET state = 'ended', expires_at = ? WHERE token = ? AND state = 'open' RETURNING id",
                (self._resources.clock(), draft),
            )
        if row is not None:
            self._maintenance.try_collect(row[0], wait=True)


def _pack_row(tx: Transaction, project: Project, name: PackName) -> Row | None:
    """Id, state and creation time of a pack."""
    return tx.row(
        "SELECT id, state, created_at FROM packs WHERE project_id = ? AND pack_id = ?", (project.id, name.pack_id)
    )
