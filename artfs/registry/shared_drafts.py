"""Drafts that many writers contribute to, until one of them finishes the version.

Parts are trees. What holds them meanwhile is a draft of its own, the holder: nobody sends to it, it has leases on the parts'
roots and is renewed by every part. A writer sends its tree with a draft of its own; in one transaction the holder takes over
the root and the writer's draft ends. So a writer that dies leaves a part or nothing. A shared draft is gone when its holder is
(expired, or ended by a repair): the next to open it starts afresh. What a finished one was made of is remembered as long as its
holder is, for writers who did not hear that their part was taken.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from artfs.errors import Busy, DraftClosed, DraftNotFound, InvalidValue, NotFound, ObjectMissing
from artfs.model.digest import DIGEST_BYTES, Digest, ObjectKey, ObjectKind
from artfs.model.lineage import RunRef
from artfs.model.names import check_label, check_name, version_name
from artfs.registry.aliases import check_aliases
from artfs.registry.catalog import Project, find_artifact, find_project, peek_artifact
from artfs.registry.database import Row, Transaction, allocate
from artfs.registry.draft_rows import (
    DRAFT_LIFE_NS,
    TOKEN_BYTES,
    Draft,
    end_draft,
    find_live_draft,
    lease,
    open_draft,
)
from artfs.registry.lineage import try_note_logged
from artfs.registry.maintenance import Maintenance
from artfs.registry.objects import find_stored
from artfs.registry.resources import Resources
from artfs.registry.runs import find_run
from artfs.registry.sealing import SEALED_KEPT_NS, check_request, record_of, seal_draft
from artfs.registry.versions import encode_metadata, peek_version
from artfs.wire.records import SealRequest, SealResult
from artfs.wire.runs import Part, SharedDraftRecord

_log = logging.getLogger(__name__)

_SHARED = (
    "SELECT s.id, s.token, s.artifact, s.draft_group, s.version, s.created, d.id, d.state, d.expires_at,"
    " p.id, p.uid, p.name, p.created_at, p.visibility FROM shared_drafts s JOIN projects p ON p.id = s.project_id"
    " LEFT JOIN drafts d ON d.id = s.draft_id"
)


class _Shared(NamedTuple):
    """A shared draft's row, with its holder's and its project's. `holder_id` is None where the holder is forgotten."""

    id: int
    token: str
    artifact: str
    group: str
    version: int | None
    created: int | None
    holder_id: int | None
    holder_state: str | None
    expires_at_ns: int | None
    project: Project

    def is_live(self, now_ns: int) -> bool:
        return self.holder_state == "open" and (self.expires_at_ns or 0) > now_ns

    @property
    def record(self) -> SharedDraftRecord:
        return SharedDraftRecord(self.token, self.project.name, self.artifact, self.group, self.expires_at_ns or 0)


class _Holder(NamedTuple):
    """A shared draft that takes parts, and the draft that holds them."""

    shared: _Shared
    draft_id: int


def _shared_of(row: Row) -> _Shared:
    return _Shared._make((*row[:9], Project(*row[9:])))


def _find(tx: Transaction, token: str) -> _Shared:
    """Raises DraftNotFound."""
    row = tx.row(f"{_SHARED} WHERE s.token = ?", (token,))
    if row is None:
        raise DraftNotFound("there is no such shared draft: it was abandoned, or it expired", hint="open it again")
    return _shared_of(row)


def _find_live(tx: Transaction, token: str, now_ns: int) -> _Holder:
    """Raises DraftClosed for one that was finished, DraftNotFound for one that was abandoned or expired."""
    found = _find(tx, token)
    if found.version is not None:
        raise _closed(found, found.version)
    if found.holder_id is None or not found.is_live(now_ns):
        raise DraftNotFound("the shared draft has expired", hint="open it again, and send what was sent to it")
    return _Holder(found, found.holder_id)


def _closed(shared: _Shared, version: int) -> DraftClosed:
    return DraftClosed(
        f"the shared draft {shared.group!r} is finished, as {shared.project.name}/{shared.artifact}:{version_name(version)}",
        hint="contribute to another group",
    )


def _parts(tx: Transaction, shared_id: int) -> list[Part]:
    rows = tx.rows(
        "SELECT root, run, description, metadata, aliases FROM shared_parts WHERE shared_id = ? ORDER BY root, run",
        (shared_id,),
    )
    return [
        Part(Digest(root), run, description, msgspec.json.decode(metadata), msgspec.json.decode(aliases))
        for root, run, description, metadata, aliases in rows
    ]


class SharedDrafts:
    """The `SharedDrafts` service."""

    def __init__(self, resources: Resources, maintenance: Maintenance) -> None:
        self._resources = resources
        self._database = resources.database
        self._maintenance = maintenance

    def open(self, project: str, artifact: str, group: str) -> SharedDraftRecord:
        check_name("artifact", artifact)
        if not check_label("group", group):
            raise InvalidValue("a shared draft needs a group", hint="name what its writers have in common")
        self._maintenance.try_sweep()
        with self._database.write() as tx:
            now_ns = self._resources.clock()
            of = find_project(tx, project)
            sql = f"{_SHARED} WHERE s.project_id = ? AND s.artifact = ? AND s.draft_group = ?"
            row = tx.row(sql, (of.id, artifact, group))
            known = None if row is None else _shared_of(row)
            if known is None:
                return self._begin(tx, of, artifact, group, now_ns)
            if known.version is not None and _exists(tx, known, known.version):
                raise _closed(known, known.version)
            if known.version is None and known.holder_id is not None and known.is_live(now_ns):
                expires_at_ns = _renew(tx, known.holder_id, now_ns)
                return known._replace(expires_at_ns=expires_at_ns).record
            tx.run("DELETE FROM shared_drafts WHERE id = ?", (known.id,))
            return self._begin(tx, of, artifact, group, now_ns)

    def add(self, shared: str, draft: str, part: Part) -> None:
        metadata = encode_metadata(part.metadata)
        part = _checked(part)
        with self._database.write() as tx:
            now_ns = self._resources.clock()
            known = _find(tx, shared)
            if known.version is not None and _is_repeated(tx, known, draft, part):
                return
            to, holder_id = _find_live(tx, shared, now_ns)
            if _is_repeated(tx, to, draft, part):
                return
            found = _find_writers(tx, to, draft, now_ns)
            if part.run:
                find_run(tx, RunRef.parse(part.run))
            key = ObjectKey(ObjectKind.TREE, part.root)
            stored = find_stored(tx, to.project.id, [key]).get(key)
            if stored is None:
                raise ObjectMissing(f"the {key} that should be contributed is not stored", hint="send it first")
            lease(tx, holder_id, [stored.id])
            _renew(tx, holder_id, now_ns)
            tx.run(
                "INSERT INTO shared_parts (shared_id, root, run, description, metadata, aliases) VALUES (?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (shared_id, root, run) DO UPDATE SET description = excluded.description,"
                " metadata = excluded.metadata, aliases = excluded.aliases",
                (to.id, part.root, part.run, part.description, metadata, msgspec.json.encode(part.aliases).decode()),
            )
            end_draft(tx, found.id, now_ns)
        self._maintenance.try_collect(found.id, wait=False)

    def parts(self, shared: str) -> list[Part]:
        with self._database.read() as tx:
            return _parts(tx, _find_live(tx, shared, self._resources.clock()).shared.id)

    def finish(self, shared: str, draft: str, request: SealRequest, parts: Sequence[Digest]) -> SealResult:
        check_request(request)
        with self._database.write() as tx:
            now_ns = self._resources.clock()
            known = _find(tx, shared)
            if known.version is None:
                result, ended = _finish(tx, _find_live(tx, shared, now_ns), draft, request, parts, now_ns)
            else:
                result, ended = _finished(tx, known, known.version), _end_late(tx, known, draft, now_ns)
        self._resources.after_change()
        for id_ in ended:
            self._maintenance.try_collect(id_, wait=False)
        return result

    def abandon(self, shared: str) -> None:
        with self._database.write() as tx:
            row = tx.row("DELETE FROM shared_drafts WHERE token = ? AND version IS NULL RETURNING draft_id", (shared,))
            if row is None or row[0] is None:
                return
            end_draft(tx, row[0], self._resources.clock())
        self._maintenance.try_collect(row[0], wait=True)

    def _begin(self, tx: Transaction, project: Project, artifact: str, group: str, now_ns: int) -> SharedDraftRecord:
        random_bytes = self._resources.random_bytes
        holder = open_draft(tx, project, random_bytes, now_ns)
        token = random_bytes(TOKEN_BYTES).hex()
        tx.run(
            "INSERT INTO shared_drafts (id, token, project_id, artifact, draft_group, draft_id) VALUES (?, ?, ?, ?, ?, ?)",
            (allocate(tx, "shared_drafts"), token, project.id, artifact, group, holder.id),
        )
        return SharedDraftRecord(token, project.name, artifact, group, holder.expires_at_ns)


def _checked(part: Part) -> Part:
    """The part, its run in the form that is kept. Raises InvalidName and InvalidValue."""
    check_aliases(part.aliases)
    if len(part.root) != DIGEST_BYTES:
        raise InvalidValue(f"a root digest of {len(part.root)} bytes")
    return msgspec.structs.replace(part, run=str(RunRef.parse(part.run))) if part.run else part


def _renew(tx: Transaction, holder_id: int, now_ns: int) -> int:
    expires_at_ns = now_ns + DRAFT_LIFE_NS
    tx.run("UPDATE drafts SET expires_at = ? WHERE id = ?", (expires_at_ns, holder_id))
    return expires_at_ns


def _is_repeated(tx: Transaction, shared: _Shared, draft: str, part: Part) -> bool:
    """Whether `draft` has ended and the part is there: its contribution was noted, and nobody heard of it."""
    row = tx.row(
        "SELECT 1 FROM shared_parts WHERE shared_id = ? AND root = ? AND run = ?", (shared.id, part.root, part.run)
    )
    return row is not None and tx.row("SELECT 1 FROM drafts WHERE token = ? AND state = 'open'", (draft,)) is None


def _find_writers(tx: Transaction, shared: _Shared, draft: str, now_ns: int) -> Draft:
    """The live draft of somebody who contributes. Raises DraftNotFound and DraftClosed."""
    found = find_live_draft(tx, draft, now_ns)
    if found.project.id != shared.project.id:
        raise DraftNotFound(f"the draft is none of project {shared.project.name!r}", hint="open one there")
    return found


def _finish(
    tx: Transaction, holder: _Holder, draft: str, request: SealRequest, parts: Sequence[Digest], now_ns: int
) -> tuple[SealResult, list[int]]:
    """Seal the union of the parts and close the shared draft. The rows of the drafts that ended come with the result."""
    of, holder_id = holder
    if request.artifact != of.artifact:
        raise InvalidValue(f"the shared draft is one of {of.artifact!r}, not of {request.artifact!r}")
    gathered = _parts(tx, of.id)
    if sorted(part.root for part in gathered) != sorted(parts):
        raise Busy(f"{len(gathered)} parts are there now, others than {len(parts)} given", hint="gather again")
    found = _find_writers(tx, of, draft, now_ns)
    result = seal_draft(tx, found, request, now_ns)
    _note_loggers(tx, gathered, result)
    end_draft(tx, holder_id, now_ns + SEALED_KEPT_NS)
    tx.run("UPDATE shared_parts SET description = NULL, metadata = '{}', aliases = '[]' WHERE shared_id = ?", (of.id,))
    tx.run(
        "UPDATE shared_drafts SET version = ?, created = ? WHERE id = ?",
        (result.version.number, int(result.created), of.id),
    )
    return result, [found.id, holder_id]


def _end_late(tx: Transaction, shared: _Shared, draft: str, now_ns: int) -> list[int]:
    """End the draft of one who finished second: nothing becomes of it. Its row, if it was open."""
    rows = tx.rows(
        "SELECT id FROM drafts WHERE token = ? AND project_id = ? AND state = 'open'", (draft, shared.project.id)
    )
    for (id_,) in rows:
        end_draft(tx, id_, now_ns)
    return [id_ for (id_,) in rows]


def _exists(tx: Transaction, shared: _Shared, version: int) -> bool:
    artifact = peek_artifact(tx, shared.project, shared.artifact)
    return artifact is not None and peek_version(tx, artifact.id, version) is not None


def _finished(tx: Transaction, shared: _Shared, version: int) -> SealResult:
    """What finishing answered the first time, with the aliases of now."""
    artifact = find_artifact(tx, shared.project, shared.artifact)
    return SealResult(record_of(tx, shared.project, artifact, version), bool(shared.created))


def _note_loggers(tx: Transaction, parts: Sequence[Part], result: SealResult) -> None:
    """Note the runs of the parts, those that are still there, in an order that is always the same."""
    for run in sorted({part.run for part in parts if part.run}):
        try:
            found = find_run(tx, RunRef.parse(run))
        except NotFound:
            _log.warning("the run %s, which contributed to %s, is gone", run, result.version.name)
            continue
        try_note_logged(tx, found, result.version)
