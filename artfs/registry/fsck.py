"""Checking a registry: the database against itself, every pack against its name and the database, every object
against its digest, every edge against the tree or recipe that it comes from.

Reads only. Holds the maintenance lock, so that no pack is rewritten or deleted meanwhile; uploads and readers go on, and what
they add after the check began is not looked at. Works over any database and pack store; what else a registry in a directory
is made of is checked where there is one, and then on what is left when the database is gone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from artfs.errors import DamagedDatabase, DamagedObject, DamagedPack, NewerFormat
from artfs.model import codec
from artfs.model.digest import Digest, ObjectKey, ObjectKind
from artfs.model.pack import (
    FOOTER_BYTES,
    HEADER_BYTES,
    PackedObject,
    decode_footer,
    decode_header,
    decode_index,
)
from artfs.registry.affected import affected_versions
from artfs.registry.database import Database, Transaction
from artfs.registry.findings import Report
from artfs.registry.graph_check import check_parent
from artfs.registry.layout import Layout, read_marker
from artfs.registry.maintenance_lock import maintenance_lock
from artfs.registry.records import read_records
from artfs.registry.resources import Clock, Resources
from artfs.registry.row_mending import damaged_rows
from artfs.registry.sqlite import SqliteDatabase
from artfs.store.owned import is_owned
from artfs.store.pack_bytes import PackBytes
from artfs.store.packs import LocalPackStore, PackName, PackStore

SPOOL_LIFE_S = 48 * 3600

Progress = Callable[[int, int], None]
"""Told how many of how many packs were checked."""


class PackRow(NamedTuple):
    """A pack as the database knows it."""

    id: int
    project: str
    name: PackName
    state: str
    created_at_ns: int


class ObjectRow(NamedTuple):
    """An object as the database knows it."""

    id: int
    placed: PackedObject


DatabaseChecks = Callable[[Transaction, Report], bool]
"""What a kind of database can tell of itself. False when nothing else can be asked of it."""


def no_own_checks(tx: Transaction, report: Report) -> bool:
    return True


Index = dict[tuple[ObjectKey, int], PackedObject]
"""A pack's own index by key and offset."""

_OTHER_PACK: Index = {}


def check(
    root: Path,
    *,
    store: PackStore | None = None,
    deep: bool = True,
    progress: Progress | None = None,
    clock: Clock = time.time_ns,
) -> Report:
    """Look at everything in the registry in the directory `root`.

    Args:
        store: where its packs are, if not plainly in that directory.
        deep: read and verify every object; else only trees, recipes, and where objects are said to be.
    """
    layout = Layout(root.absolute())
    report = Report()
    _check_marker(layout, report)
    if not layout.database.exists():
        report.add("database-missing", str(layout.database))
        return report
    with maintenance_lock(layout.maintenance_lock, wait=True):
        try:
            with closing(SqliteDatabase(layout.database)) as database:
                with database.read() as tx:
                    is_readable = sqlite_checks(tx, report)
                    if is_readable:
                        _check_catalog(tx, report)
                if is_readable:
                    packs = store or LocalPackStore(layout.packs)
                    _Check(database, packs, report, deep, clock).run(progress)
                    _check_spool(layout.root, layout.spool, report, clock)
                    _check_records(layout.records, database, report)
        except DamagedDatabase as error:
            report.add("database-damaged", str(layout.database), error.message)
    return report


def check_registry(
    resources: Resources,
    *,
    database_checks: DatabaseChecks = no_own_checks,
    deep: bool = True,
    progress: Progress | None = None,
) -> Report:
    """Look at everything in a registry over any database and pack store, which has no directory of its own.

    Args:
        database_checks: how the database itself is checked: `sqlite_checks` for SQLite; others look after themselves.
    """
    report = Report()
    with resources.maintenance_lock(wait=True):
        with resources.database.read() as tx:
            if not database_checks(tx, report):
                return report
            _check_catalog(tx, report)
        _Check(resources.database, resources.store, report, deep, resources.clock).run(progress)
        _check_spool(resources.spool.parent, resources.spool, report, resources.clock)
    return report


def _check_marker(layout: Layout, report: Report) -> None:
    if not layout.marker.exists():
        report.add("marker-missing", str(layout.marker))
        return
    try:
        read_marker(layout)
    except DamagedDatabase as error:
        report.add("marker-damaged", str(layout.marker), error.message)


def sqlite_checks(tx: Transaction, report: Report) -> bool:
    """SQLite's own checks, and the references that it does not enforce for everybody who opens the file."""
    problems = [str(row[0]) for row in tx.rows("PRAGMA integrity_check(20)") if row[0] != "ok"]
    if problems:
        file = next((str(row[2]) for row in tx.rows("PRAGMA database_list")), "")
        report.add("database-damaged", file, "; ".join(problems))
        return False
    _check_references(tx, report)
    return True


_REFERENCES = {("edges", "objects"): "child-missing", ("versions", "objects"): "version-root-missing"}


def _check_references(tx: Transaction, report: Report) -> None:
    counts: dict[tuple[str, str], int] = {}
    for table, _, parent, _ in tx.rows("PRAGMA foreign_key_check"):
        counts[table, parent] = counts.get((table, parent), 0) + 1
    for (table, parent), count in sorted(counts.items()):
        code = _REFERENCES.get((table, parent))
        if (table, parent) == ("aliases", "versions"):
            code = "alias-dangling"
        if code in (None, "child-missing"):
            report.add("database-inconsistent", table, f"{count} rows refer to {parent} that do not exist")


def _check_catalog(tx: Transaction, report: Report) -> None:
    for project, artifact, number in tx.rows(
        "SELECT p.name, a.name, v.number FROM versions v JOIN artifacts a ON a.id = v.artifact_id"
        " JOIN projects p ON p.id = a.project_id WHERE v.root NOT IN (SELECT id FROM objects WHERE kind = 3)"
        " OR v.root NOT IN (SELECT object FROM summaries)"
    ):
        name = f"{project}/{artifact}:v{number}"
        report.add("version-root-missing", name, affected=(name,))
    for project, artifact, alias, number in tx.rows(
        "SELECT p.name, a.name, s.alias, s.version FROM aliases s JOIN artifacts a ON a.id = s.artifact_id"
        " JOIN projects p ON p.id = a.project_id WHERE NOT EXISTS"
        " (SELECT 1 FROM versions v WHERE v.artifact_id = s.artifact_id AND v.number = s.version)"
    ):
        report.add("alias-dangling", f"{project}/{artifact}:{alias}", f"it points to v{number}")
    for row in damaged_rows(tx):
        report.add("row-damaged", row.name, affected=(row.name,) if row.version is not None else ())


class _Check:
    """One run over a database that can be read."""

    def __init__(self, database: Database, store: PackStore, report: Report, deep: bool, clock: Clock) -> None:
        self._database = database
        self._store = store
        self._report = report
        self._deep = deep
        self._clock = clock

    def run(self, progress: Progress | None) -> None:
        with self._database.read() as tx:
            packs = _pack_rows(tx)
        for number, pack in enumerate(packs, 1):
            if pack.state in ("stored", "dirty"):
                self._check_pack(pack)
            elif pack.state == "lost":
                self._check_lost(pack)
            if progress is not None:
                progress(number, len(packs))
        self._check_strays()
        self._check_leftovers(packs)

    def _check_pack(self, pack: PackRow) -> None:
        self._report.pack_count += 1
        with self._database.read() as tx:
            rows = _object_rows(tx, pack.id)
        subject = f"{pack.project}: {pack.name.pack_id.hex()}.pack"
        try:
            with self._store.open(pack.name) as opened:
                index = self._read_index(pack, opened, subject, rows)
                if index is _OTHER_PACK:
                    return
                if index is not None:
                    self._compare_index(pack, index, rows, subject)
                self._check_objects(pack, opened, rows, index)
        except FileNotFoundError:
            self._found("pack-missing", subject, "", rows)
        except DamagedPack as error:  # the store itself finds that its file is not what it was
            self._found("pack-header-damaged", subject, error.message, rows)
        except NewerFormat as error:
            self._found("pack-newer", subject, error.message, rows)

    def _read_index(self, pack: PackRow, opened: PackBytes, subject: str, rows: list[ObjectRow]) -> Index | None:
        """The pack's own index; None when it cannot be read, _OTHER_PACK when it is that of another. Raises NewerFormat."""
        size = opened.size_bytes
        head = b""
        try:
            head = opened.pread(0, HEADER_BYTES)
            header = decode_header(head)
        except DamagedPack as error:
            short = size < HEADER_BYTES
            self._found("pack-short" if short else "pack-header-damaged", subject, error.message, rows, beyond=size)
            return None
        if PackName(header.project_uid, header.pack_id) != pack.name:
            self._found("pack-swapped", subject, f"it says that it is {header.pack_id.hex()}.pack", rows)
            return _OTHER_PACK
        try:
            footer = opened.pread(max(0, size - FOOTER_BYTES), FOOTER_BYTES)
            offset, length = decode_footer(footer, size)
        except DamagedPack as error:
            self._found("pack-short", subject, error.message, rows, beyond=size)
            return None
        try:
            objects = decode_index(head, opened.pread(offset, length), footer)
        except DamagedPack as error:
            self._found("pack-index-damaged", subject, error.message, [])
            return None
        return {(placed.key, placed.offset): placed for placed in objects}

    def _compare_index(self, pack: PackRow, index: Index, rows: list[ObjectRow], subject: str) -> None:
        misplaced = [row for row in rows if index.get((row.placed.key, row.placed.offset)) != row.placed]
        for row in misplaced:
            self._found("object-misplaced", f"{pack.project}: {row.placed.key}", f"in {subject}", [row])
        unknown = len(index) - (len(rows) - len(misplaced))
        if unknown and pack.state == "stored" and not misplaced:
            self._report.add("pack-untidy", subject, f"{unknown} objects")

    def _check_objects(self, pack: PackRow, opened: PackBytes, rows: list[ObjectRow], index: Index | None) -> None:
        """Verify what is where the database says. What the index contradicts was reported already."""
        for row in rows:
            placed = row.placed
            if index is not None and index.get((placed.key, placed.offset)) != placed:
                continue
            self._report.object_count += 1
            if not self._deep and placed.key.kind is ObjectKind.CHUNK:
                continue
            try:
                data = verified(placed, opened.pread(placed.offset, placed.stored_bytes))
                self._report.verified_bytes += len(data)
                if placed.key.kind is not ObjectKind.CHUNK:
                    with self._database.read() as tx:
                        check_parent(tx, self._report, pack.project, row.id, placed.key, data)
            except (DamagedObject, DamagedPack, NewerFormat) as error:
                self._found("object-damaged", f"{pack.project}: {placed.key}", error.message, [row])

    def _check_lost(self, pack: PackRow) -> None:
        with self._database.read() as tx:
            rows = _object_rows(tx, pack.id)
        for row in rows:
            self._found("object-lost", f"{pack.project}: {row.placed.key}", "", [row])

    def _check_strays(self) -> None:
        for file in self._store.files():
            if file.name is None or not self._is_known(file.name):
                self._report.add("stray-file", f"packs/{file.place}")

    def _is_known(self, name: PackName) -> bool:
        with self._database.read() as tx:
            return bool(
                tx.rows(
                    "SELECT 1 FROM packs k JOIN projects p ON p.id = k.project_id WHERE p.uid = ? AND k.pack_id = ?",
                    name,
                )
            )

    def _check_leftovers(self, packs: list[PackRow]) -> None:
        due = sum(pack.state in ("dirty", "deleting") for pack in packs)
        if due:
            self._report.add("cleaning-due", f"{due} packs")
        now_ns = self._clock()
        with self._database.read() as tx:
            for token, project in tx.rows(
                "SELECT d.token, p.name FROM drafts d JOIN projects p ON p.id = d.project_id"
                " WHERE d.state = 'open' AND d.expires_at <= ?",
                (now_ns,),
            ):
                self._report.add("draft-expired", f"{project}: {token}")
            row = tx.row(_UNREACHABLE, (now_ns, now_ns))
        if row is not None and row[0]:
            self._report.add("objects-unreachable", f"{row[0]} objects, {row[1]} bytes")

    def _found(self, code: str, subject: str, detail: str, rows: list[ObjectRow], *, beyond: int | None = None) -> None:
        """Add a finding with the versions that hold any of `rows`, or those of them that end beyond `beyond`."""
        ids = [row.id for row in rows if beyond is None or row.placed.offset + row.placed.stored_bytes > beyond]
        with self._database.read() as tx:
            self._report.add(code, subject, detail, affected_versions(tx, ids))


def _check_spool(root: Path, spool: Path, report: Report, clock: Clock) -> None:
    oldest_ns = clock() - SPOOL_LIFE_S * 10**9
    for path in sorted(spool.iterdir()):
        if not is_owned(path.name) and path.lstat().st_mtime_ns < oldest_ns:
            report.add("spool-leftover", str(path.relative_to(root)))


def _check_records(records: Path, database: Database, report: Report) -> None:
    saved = {
        (project.name, artifact.name, version.number): (version.root, version.description)
        for project, artifacts in read_records(records)
        for artifact, versions in artifacts
        for version in versions
    }
    with database.read() as tx:
        rows = tx.rows(
            "SELECT p.name, a.name, v.number, o.digest, v.description FROM versions v LEFT JOIN objects o ON o.id = v.root"
            " JOIN artifacts a ON a.id = v.artifact_id JOIN projects p ON p.id = a.project_id"
        )
    actual = {(project, artifact, number): (root, text) for project, artifact, number, root, text in rows}
    for project, artifact, number in sorted(saved.keys() ^ actual.keys()):
        report.add("record-stale", f"{project}/{artifact}:v{number}")
    for (project, artifact, number), content in sorted(actual.items()):
        if content[0] is not None and saved.get((project, artifact, number), content) != content:
            report.add("record-stale", f"{project}/{artifact}:v{number}")


_UNREACHABLE = (
    "WITH RECURSIVE live (id) AS ("
    " SELECT root FROM versions"
    " UNION SELECT l.object FROM leases l JOIN drafts d ON d.id = l.draft_id WHERE d.state = 'open' AND d.expires_at > ?"
    " UNION SELECT o.id FROM objects o JOIN packs p ON p.id = o.pack JOIN drafts d ON d.id = p.draft_id"
    "  WHERE d.state = 'open' AND d.expires_at > ?"
    " UNION SELECT e.child FROM live x JOIN edges e ON e.parent = x.id"
    ") SELECT count(*), coalesce(sum(stored), 0) FROM objects WHERE id NOT IN (SELECT id FROM live)"
)


def verified(placed: PackedObject, stored: bytes) -> bytes:
    """An object's decoded bytes. Raises DamagedObject or NewerFormat."""
    if len(stored) != placed.stored_bytes:
        raise DamagedObject(f"only {len(stored)} of its {placed.stored_bytes} stored bytes are there")
    data = bytes(codec.decode(placed.codec, stored, placed.size_bytes))
    if Digest.of(data) != placed.key.digest:
        raise DamagedObject("its bytes do not match its digest")
    return data


def _pack_rows(tx: Transaction) -> list[PackRow]:
    rows = tx.rows(
        "SELECT k.id, p.name, p.uid, k.pack_id, k.state, k.created_at FROM packs k"
        " JOIN projects p ON p.id = k.project_id ORDER BY k.id"
    )
    return [PackRow(id_, project, PackName(uid, pack), state, at) for id_, project, uid, pack, state, at in rows]


def _object_rows(tx: Transaction, pack_row: int) -> list[ObjectRow]:
    rows = tx.rows(
        "SELECT id, kind, digest, size, codec, start, stored FROM objects WHERE pack = ? ORDER BY start", (pack_row,)
    )
    return [
        ObjectRow(id_, PackedObject(ObjectKey(ObjectKind(kind), Digest(digest)), size, codec_, start, stored))
        for id_, kind, digest, size, codec_, start, stored in rows
    ]
