"""Drafts: open uploads, what they hold, and the seal that makes a version of one.

A draft is live while it is open and its expiry lies ahead; only then does it hold anything. Each step of an upload is one
transaction, so a process may die between any two.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from artfs.errors import (
    ArtfsError,
    Busy,
    DamagedPack,
    DraftClosed,
    DraftNotFound,
    InvalidValue,
    ObjectMissing,
    StorageFailed,
)
from artfs.model.digest import DIGEST_BYTES, Digest, ObjectKey, ObjectKind
from artfs.model.names import LATEST, check_alias, check_name, version_name
from artfs.registry.aliases import aliases_now, move_alias
from artfs.registry.catalog import (
    Artifact,
    Project,
    check_type,
    create_artifact,
    find_project,
    next_version_number,
    peek_artifact,
)
from artfs.registry.changes import append_change
from artfs.registry.database import Row, Transaction, allocate
from artfs.registry.examine import ExaminedPack, examine
from artfs.registry.maintenance import Maintenance
from artfs.registry.objects import check_keys, find_stored
from artfs.registry.registering import register
from artfs.registry.resources import Resources
from artfs.registry.versions import encode_metadata, expiry_of, find_version, newest_version, version_record
from artfs.store.durable import reported
from artfs.store.packs import PackName
from artfs.wire.records import DEFAULT_TYPE, DraftRecord, SealRequest, SealResult, VersionRecord

DRAFT_LIFE_NS = 24 * 3600 * 10**9
SEALED_KEPT_NS = 7 * 24 * 3600 * 10**9
TOKEN_BYTES = 16


class Draft(NamedTuple):
    """A draft's row and its project's."""

    id: int
    token: str
    state: str
    expires_at_ns: int
    artifact_id: int | None
    version: int | None
    created: int | None
    project: Project

    @property
    def record(self) -> DraftRecord:
        return DraftRecord(self.token, self.project.name, self.project.uid, self.expires_at_ns)


def find_draft(tx: Transaction, token: str) -> Draft:
    """Raises DraftNotFound."""
    row = tx.row(
        "SELECT d.id, d.token, d.state, d.expires_at, d.artifact_id, d.version, d.created,"
        " p.id, p.uid, p.name, p.created_at, p.visibility FROM drafts d JOIN projects p ON p.id = d.project_id WHERE d.token = ?",
        (token,),
    )
    if row is None:
        raise DraftNotFound("there is no such draft: it was abandoned, or it expired", hint="begin the upload again")
    id_, token_, state, expires_at_ns, artifact_id, version, created, *project = row
    return Draft(id_, token_, state, expires_at_ns, artifact_id, version, created, Project(*project))


def find_live_draft(tx: Transaction, token: str, now_ns: int) -> Draft:
    """Raises DraftNotFound for one that expired or was abandoned, DraftClosed for one that was sealed."""
    draft = find_draft(tx, token)
    if draft.version is not None:
        raise DraftClosed(f"the draft is sealed already, as {version_name(draft.version)}", hint="open another draft")
    if draft.state != "open" or draft.expires_at_ns <= now_ns:
        raise DraftNotFound("the draft has expired", hint="begin the upload again; what is stored is not sent twice")
    return draft


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
            token = self._resources.random_bytes(TOKEN_BYTES).hex()
            expires_at_ns = self._resources.clock() + DRAFT_LIFE_NS
            tx.run(
                "INSERT INTO drafts (id, token, project_id, state, collected, expires_at) VALUES (?, ?, ?, 'open', 0, ?)",
                (allocate(tx, "drafts"), token, of.id, expires_at_ns),
            )
            return DraftRecord(token, of.name, of.uid, expires_at_ns)

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
        metadata = None if request.metadata is None else encode_metadata(request.metadata)
        check_name("artifact", request.artifact)
        if request.type is not None:
            check_name("type", request.type)
        for alias in request.aliases:
            check_alias(alias)
        with self._database.write() as tx:
            now_ns = self._resources.clock()
            found = find_draft(tx, draft)
            if found.version is not None:
                return _sealed(tx, found)
            found = find_live_draft(tx, draft, now_ns)
            result = _Seal(tx, found, request, metadata or "{}", now_ns).run()
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


class _Seal:
    """One draft becoming a version, inside one transaction."""

    def __init__(self, tx: Transaction, draft: Draft, request: SealRequest, metadata: str, now_ns: int) -> None:
        self._tx = tx
        self._draft = draft
        self._project = draft.project
        self._request = request
        self._metadata = metadata
        self._now_ns = now_ns

    def run(self) -> SealResult:
        root = self._root()
        artifact = self._artifact()
        newest = newest_version(self._tx, artifact)
        created = not (self._request.keep_identical and newest is not None and newest[1] == self._request.root)
        number = self._insert(artifact, root) if created or newest is None else newest[0]
        for alias in dict.fromkeys((LATEST, *self._request.aliases)):
            move_alias(self._tx, self._project.name, artifact.name, artifact.id, alias, number)
        self._tx.run(
            "UPDATE drafts SET state = 'ended', expires_at = ?, artifact_id = ?, version = ?, created = ? WHERE id = ?",
            (self._now_ns + SEALED_KEPT_NS, artifact.id, number, int(created), self._draft.id),
        )
        return SealResult(_record(self._tx, self._project, artifact, number), created)

    def _root(self) -> int:
        """The root's row. That it exists means that everything below it does."""
        root = self._request.root
        if len(root) != DIGEST_BYTES:
            raise InvalidValue(f"a root digest of {len(root)} bytes")
        key = ObjectKey(ObjectKind.TREE, Digest(root))
        stored = find_stored(self._tx, self._project.id, [key]).get(key)
        if stored is None:
            raise ObjectMissing(f"the {key} that should become a version is not stored", hint="send it first")
        return stored.id

    def _artifact(self) -> Artifact:
        """The artifact, created if need be, with its type settled. Raises TypeMismatch."""
        wanted = self._request.type
        artifact = peek_artifact(self._tx, self._project, self._request.artifact)
        if artifact is None:
            type_ = wanted or DEFAULT_TYPE
            return create_artifact(self._tx, self._project, self._request.artifact, type_, self._now_ns)
        check_type(self._project.name, artifact, wanted)
        if artifact.type is None:
            artifact = artifact._replace(type=wanted or DEFAULT_TYPE)
            self._tx.run("UPDATE artifacts SET type = ? WHERE id = ?", (artifact.type, artifact.id))
        return artifact

    def _insert(self, artifact: Artifact, root: int) -> int:
        request = self._request
        number = next_version_number(self._tx, self._project, artifact.name)
        seq = append_change(self._tx, "version", self._project.name, artifact.name, version_name(number))
        self._tx.run(
            "INSERT INTO versions (id, artifact_id, number, root, description, metadata, created_at, created_by, seq,"
            " expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                allocate(self._tx, "versions"),
                artifact.id,
                number,
                root,
                request.description or "",
                self._metadata,
                self._now_ns,
                request.created_by,
                seq,
                expiry_of(request.ttl_s, self._now_ns),
            ),
        )
        return number


def lease(tx: Transaction, draft_id: int, objects: Sequence[int]) -> None:
    """Hold `objects` for a draft."""
    tx.run_many(
        "INSERT INTO leases (draft_id, object) VALUES (?, ?) ON CONFLICT DO NOTHING",
        ((draft_id, object_) for object_ in sorted(objects)),
    )


def _pack_row(tx: Transaction, project: Project, name: PackName) -> Row | None:
    """Id, state and creation time of a pack."""
    return tx.row(
        "SELECT id, state, created_at FROM packs WHERE project_id = ? AND pack_id = ?", (project.id, name.pack_id)
    )


def _record(tx: Transaction, project: Project, artifact: Artifact, number: int) -> VersionRecord:
    row = find_version(tx, project, artifact, number)
    return version_record(project, artifact, row, aliases_now(tx, artifact.id))


def _sealed(tx: Transaction, draft: Draft) -> SealResult:
    """What sealing the draft answered the first time, with the aliases of now."""
    row = tx.row("SELECT name FROM artifacts WHERE id = ?", (draft.artifact_id,))
    artifact = None if row is None else peek_artifact(tx, draft.project, row[0])
    if artifact is None or draft.version is None:
        raise DraftClosed("the draft was sealed, and its artifact deleted since")
    return SealResult(_record(tx, draft.project, artifact, draft.version), bool(draft.created))
