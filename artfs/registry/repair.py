"""Mending a registry from what is left of it: packs first, then the tables made anew from them.

Reads every pack once. Steps, each of which may be repeated after a crash: copy the good objects of damaged packs to new ones;
make the database's tables anew in one transaction (a database that cannot be read is set aside, and projects, artifacts,
versions and aliases come from `records/`); set damaged files aside in `quarantine/`; remove what nothing holds. Open uploads
end, as if they had expired. No other process should have the registry open when its database is unreadable.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

from artfs.errors import DamagedDatabase
from artfs.model.digest import Digest, ObjectKey, ObjectKind
from artfs.model.pack import PackedObject
from artfs.registry.affected import affected_versions
from artfs.registry.catalog_restore import RECOVERED, adopt_trees, restore_catalog
from artfs.registry.database import Transaction, allocate
from artfs.registry.fsck import SPOOL_LIFE_S
from artfs.registry.layout import IDENTITY_BYTES, REGISTRY_FORMAT, Layout, Marker, read_marker, write_marker
from artfs.registry.liveness import remove_doomed, walk
from artfs.registry.maintenance import Maintenance
from artfs.registry.maintenance_lock import file_lock, maintenance_lock
from artfs.registry.migrations import migrate, settle_identity
from artfs.registry.rebuilding import Rebuilding, VersionRoot, remember_lost
from artfs.registry.records import Records
from artfs.registry.resources import Clock, RandomBytes, Resources, Verify
from artfs.registry.row_mending import mend_rows
from artfs.registry.salvage import Salvaged, salvage
from artfs.registry.sqlite import SqliteDatabase
from artfs.store.durable import DIRECTORY_MODE, reported
from artfs.store.owned import is_owned, remove_unowned_in
from artfs.store.packs import LocalPackStore, PackName, PackStore


@dataclass(slots=True)
class RepairReport:
    """What was done.

    Attributes:
        actions: in words, in order.
        lost_object_count: objects that something needs and nobody has.
        affected: versions that hold any of those, as `project/artifact:vN`.
    """

    actions: list[str] = field(default_factory=list)
    lost_object_count: int = 0
    affected: tuple[str, ...] = ()


def repair(
    root: Path,
    *,
    store: PackStore | None = None,
    clock: Clock = time.time_ns,
    random_bytes: RandomBytes = os.urandom,
) -> RepairReport:
    """Mend the registry in the directory `root` as far as its bytes allow.

    Args:
        store: where its packs are, if not plainly in that directory.

    Raises StorageFull or StorageFailed with everything as it was, or done in part and safe to repeat, and NewerFormat.
    """
    layout = Layout(root.absolute())
    report = RepairReport()
    for directory in (layout.packs, layout.spool, layout.records, layout.quarantine):
        with reported("create", directory):
            directory.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
    store = store or LocalPackStore(layout.packs, layout.quarantine)
    store.check()
    with maintenance_lock(layout.maintenance_lock, wait=True):
        _set_aside_unreadable_database(layout, report, clock())
        identity = _mend_marker(layout, report, random_bytes)
        is_new = not layout.database.exists()
        database = SqliteDatabase(layout.database)
        try:
            migrate(database)
            settle_identity(database, identity)
            _Repair(layout, database, store, report, clock, random_bytes).run(restore=is_new)
        finally:
            database.close()
    _clean(layout, store, clock, random_bytes)
    return report


def _set_aside_unreadable_database(layout: Layout, report: RepairReport, now_ns: int) -> None:
    if not layout.database.exists() or _is_readable(layout.database):
        return
    for suffix in ("", "-wal", "-shm"):
        path = Path(f"{layout.database}{suffix}")
        if path.exists():
            with reported("move", path):
                path.rename(layout.quarantine / f"{path.name}.{now_ns}")
    report.actions.append("set the unreadable database aside and made a new one from packs and records")


def _is_readable(path: Path) -> bool:
    try:
        database = SqliteDatabase(path)
        try:
            with database.read() as tx:
                return [row[0] for row in tx.rows("PRAGMA integrity_check(1)")] == ["ok"] and bool(
                    tx.rows("SELECT 1 FROM sqlite_schema WHERE name = 'versions'")
                )
        finally:
            database.close()
    except DamagedDatabase:
        return False


def _mend_marker(layout: Layout, report: RepairReport, random_bytes: RandomBytes) -> str:
    """The registry's identity, from the marker file, else from the database, else a new one."""
    try:
        if layout.marker.exists():
            return read_marker(layout).identity
    except DamagedDatabase:
        with reported("move", layout.marker):
            layout.marker.rename(layout.quarantine / layout.marker.name)
    identity = _identity_of(layout) or random_bytes(IDENTITY_BYTES).hex()
    with reported("write", layout.marker):
        write_marker(layout, Marker(REGISTRY_FORMAT, identity))
    report.actions.append("wrote the marker file anew")
    return identity


def _identity_of(layout: Layout) -> str:
    if not layout.database.exists():
        return ""
    database = SqliteDatabase(layout.database)
    try:
        migrate(database)
        return settle_identity(database, "")
    finally:
        database.close()


class _Repair:
    """One run, with the maintenance lock held and a database that can be read."""

    def __init__(
        self,
        layout: Layout,
        database: SqliteDatabase,
        store: PackStore,
        report: RepairReport,
        clock: Clock,
        random_bytes: RandomBytes,
    ) -> None:
        self._layout = layout
        self._database = database
        self._store = store
        self._report = report
        self._now_ns = clock()
        self._random_bytes = random_bytes

    def run(self, *, restore: bool) -> None:
        found = salvage(self._store, self._layout.spool, self._known_places, self._now_ns, self._random_bytes)
        with self._database.write() as tx:
            tx.run("PRAGMA defer_foreign_keys = ON")
            if not restore:
                self._report.actions += mend_rows(tx, self._layout.records)
            roots = self._roots(tx, restore)
            projects = self._projects(tx, found)
            memory = remember_lost(tx, found.packs, projects)
            Rebuilding(tx, self._store, memory, self._now_ns, self._random_bytes).run(found.packs, projects, roots)
            self._drop_dangling_aliases(tx)
            if restore:
                self._adopt_trees(tx)
            self._drop_unreachable(tx)
            lost = [
                id_
                for (id_,) in tx.rows("SELECT o.id FROM objects o JOIN packs p ON p.id = o.pack WHERE p.state = 'lost'")
            ]
            self._report.lost_object_count = len(lost)
            self._report.affected = affected_versions(tx, lost)
        self._quarantine(found)
        self._empty_spool()
        Records(self._layout.records, self._database).rewrite()

    def _known_places(self, name: PackName) -> list[PackedObject]:
        with self._database.read() as tx:
            rows = tx.rows(
                "SELECT o.kind, o.digest, o.size, o.codec, o.start, o.stored FROM objects o JOIN packs k ON k.id = o.pack"
                " JOIN projects p ON p.id = k.project_id WHERE p.uid = ? AND k.pack_id = ? ORDER BY o.start",
                name,
            )
        return [PackedObject(ObjectKey(ObjectKind(kind), Digest(d)), *place) for kind, d, *place in rows]

    def _roots(self, tx: Transaction, restore: bool) -> list[VersionRoot]:
        """What the versions' roots must be: as the database says, or as the records do where it does not know."""
        saved = restore_catalog(tx, self._layout.records, only_roots=not restore)
        if restore and saved:
            self._report.actions.append(f"restored {len(saved)} versions from records")
        rows = tx.rows(
            "SELECT v.id, a.project_id, o.digest FROM versions v JOIN artifacts a ON a.id = v.artifact_id"
            " LEFT JOIN objects o ON o.id = v.root"
        )
        roots = []
        for version_id, project_id, digest in rows:
            root = saved.get(version_id) if digest is None else digest
            if root is None:
                tx.run("DELETE FROM versions WHERE id = ?", (version_id,))
                self._report.actions.append("dropped a version whose root nothing tells any more")
            else:
                roots.append(VersionRoot(version_id, project_id, root))
        return roots

    def _projects(self, tx: Transaction, found: Salvaged) -> dict[bytes, int]:
        """Rows of projects by uid; packs of an unknown project get one named after its uid."""
        projects: dict[bytes, int] = dict(tx.rows("SELECT uid, id FROM projects"))
        for uid in sorted({pack.name.project_uid for pack in found.packs} - projects.keys()):
            projects[uid] = allocate(tx, "projects")
            name = f"recovered-{uid.hex()[:8]}"
            tx.run(
                "INSERT INTO projects (id, uid, name, created_at) VALUES (?, ?, ?, ?)",
                (projects[uid], uid, name, self._now_ns),
            )
            self._report.actions.append(f"made the project {name} for packs of a project that is not known")
        return projects

    def _drop_dangling_aliases(self, tx: Transaction) -> None:
        dropped = tx.run(
            "DELETE FROM aliases WHERE NOT EXISTS (SELECT 1 FROM versions v"
            " WHERE v.artifact_id = aliases.artifact_id AND v.number = aliases.version)"
        )
        if dropped:
            self._report.actions.append(f"dropped {dropped} aliases of versions that do not exist")

    def _adopt_trees(self, tx: Transaction) -> None:
        """Make versions of trees that nothing names, for the records may be incomplete."""
        adopted = adopt_trees(tx, self._now_ns)
        if adopted:
            self._report.actions.append(
                f"made {adopted} versions in artifacts named {RECOVERED!r} of trees without a name"
            )

    def _drop_unreachable(self, tx: Transaction) -> None:
        rows = tx.rows(
            "SELECT o.id FROM objects o WHERE NOT EXISTS (SELECT 1 FROM edges e WHERE e.child = o.id)"
            " AND NOT EXISTS (SELECT 1 FROM versions v WHERE v.root = o.id)"
        )
        toll = walk(tx, self._now_ns, candidates=[id_ for (id_,) in rows])
        remove_doomed(tx)
        if toll.object_count:
            self._report.actions.append(f"removed {toll.object_count} objects that nothing held")

    def _quarantine(self, found: Salvaged) -> None:
        for place in found.unfit:
            aside = self._store.set_aside(place, str(self._now_ns))
            self._report.actions.append(f"set packs/{place} aside as {aside}")

    def _empty_spool(self) -> None:
        remove_unowned_in(self._layout.spool)
        for path in self._layout.spool.iterdir():
            if not is_owned(path.name) and path.lstat().st_mtime_ns < self._now_ns - SPOOL_LIFE_S * 10**9:
                with reported("remove", path):
                    path.unlink(missing_ok=True)
                self._report.actions.append(f"removed {path.relative_to(self._layout.root)}")


def _clean(layout: Layout, store: PackStore, clock: Clock, random_bytes: RandomBytes) -> None:
    """Delete and rewrite packs as after a deletion."""
    database = SqliteDatabase(layout.database)
    try:
        Maintenance(
            Resources(
                database=database,
                store=store,
                spool=layout.spool,
                maintenance_lock=file_lock(layout.maintenance_lock),
                clock=clock,
                random_bytes=random_bytes,
                verify=Verify.METADATA,
                after_change=_nothing,
            )
        ).clean_packs()
    finally:
        database.close()


def _nothing() -> None:
    """No change of the catalog comes of cleaning packs."""
