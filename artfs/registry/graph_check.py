"""Comparing one tree or recipe with what the database says of it: its edges, its summary, its times."""

from __future__ import annotations

from artfs.errors import DamagedObject
from artfs.model.digest import Digest, ObjectKey, ObjectKind
from artfs.registry.affected import affected_versions
from artfs.registry.database import Transaction, rows_in
from artfs.registry.examine import NO_OBJECT, Parent, describe
from artfs.registry.findings import Report
from artfs.registry.objects import RawKey, digests_by_kind
from artfs.wire.times import PageTimes


def check_parent(tx: Transaction, report: Report, project: str, id_: int, key: ObjectKey, data: bytes) -> None:
    """Add findings about the parent with the row `id_` and the verified bytes `data`. Raises DamagedObject, NewerFormat."""
    parent = describe(0, key.kind, data)
    row = tx.row(
        "SELECT o.project_id, p.created_at FROM objects o JOIN packs p ON p.id = o.pack WHERE o.id = ?", (id_,)
    )
    if row is None:
        return  # deleted since
    project_id, created_at_ns = row
    children = _children(tx, project_id, parent)
    subject = f"{project}: {key}"
    missing = [child for child in parent.children() if child[0] != NO_OBJECT and child not in children]
    if missing:
        first = ObjectKey(ObjectKind(missing[0][0]), Digest(missing[0][1]))
        report.add("child-missing", subject, f"{len(missing)} missing, first {first}", affected_versions(tx, [id_]))
    edges = {child for (child,) in tx.rows("SELECT child FROM edges WHERE parent = ?", (id_,))}
    if not missing and edges != {child_id for child_id, _ in children.values()}:
        report.add("edges-wrong", subject, affected=affected_versions(tx, [id_]))
    if not missing:
        _check_summary(tx, report, subject, id_, parent, children, created_at_ns)


def _children(tx: Transaction, project_id: int, parent: Parent) -> dict[RawKey, tuple[int, int]]:
    """Row and time of each child that is in the object table."""
    keys = (key for key in parent.children() if key[0] != NO_OBJECT)
    sql = (
        "SELECT o.digest, o.id, p.created_at FROM objects o JOIN packs p ON p.id = o.pack"
        " WHERE o.project_id = ? AND o.kind = ? AND o.digest IN ({})"
    )
    return {
        (kind, digest): (id_, created_at_ns)
        for kind, digests in digests_by_kind(keys).items()
        for digest, id_, created_at_ns in rows_in(tx, sql, (project_id, kind), digests)
    }


def _check_summary(
    tx: Transaction,
    report: Report,
    subject: str,
    id_: int,
    parent: Parent,
    children: dict[RawKey, tuple[int, int]],
    created_at_ns: int,
) -> None:
    row = tx.row("SELECT level, entries, size, files, first_name, times FROM summaries WHERE object = ?", (id_,))
    said = (parent.level, parent.entries, parent.size_bytes, parent.files, parent.first_name)
    if row is None or row[:5] != said:
        report.add("summary-wrong", subject, affected=affected_versions(tx, [id_]))
        return
    if parent.kind is ObjectKind.TREE and not _times_agree(row[5], parent, children, created_at_ns):
        report.add("times-wrong", subject)


def _times_agree(encoded: bytes, parent: Parent, children: dict[RawKey, tuple[int, int]], created_at_ns: int) -> bool:
    """Whether the times beside a page are those of its children.

    A child that is newer than its parent was lost and sent again, and the page goes on to show a time of before.
    """
    try:
        times = PageTimes(encoded, created_at_ns)
    except DamagedObject:
        return False
    actual = (created_at_ns if key[0] == NO_OBJECT else children[key][1] for key in parent.children())
    return all(times[i] == time_ns for i, time_ns in enumerate(actual) if time_ns <= created_at_ns)
