"""Making a version of a draft, inside one transaction of the caller's."""

from __future__ import annotations

from artfs.errors import DraftClosed, InvalidValue, ObjectMissing
from artfs.model.digest import DIGEST_BYTES, Digest, ObjectKey, ObjectKind
from artfs.model.lineage import RunRef
from artfs.model.names import LATEST, check_name, version_name
from artfs.registry.aliases import aliases_now, check_aliases, move_alias
from artfs.registry.catalog import (
    Artifact,
    Project,
    check_type,
    create_artifact,
    next_version_number,
    peek_artifact,
)
from artfs.registry.changes import append_change
from artfs.registry.database import Row, Transaction, allocate
from artfs.registry.draft_rows import Draft
from artfs.registry.lineage import try_note_logged
from artfs.registry.objects import find_stored
from artfs.registry.runs import find_run
from artfs.registry.versions import (
    check_version,
    encode_metadata,
    expiry_of,
    find_version,
    newest_version,
    version_record,
)
from artfs.wire.records import DEFAULT_TYPE, SealRequest, SealResult, VersionRecord

SEALED_KEPT_NS = 7 * 24 * 3600 * 10**9


def check_request(request: SealRequest) -> None:
    """Raises InvalidName and InvalidValue for what can never be sealed."""
    check_name("artifact", request.artifact)
    if request.type is not None:
        check_name("type", request.type)
    check_aliases(request.aliases)
    if request.run:
        RunRef.parse(request.run)


def seal_draft(tx: Transaction, draft: Draft, request: SealRequest, now_ns: int) -> SealResult:
    """Turn a live draft into what `request`, which was checked, says. What only it held is still to be collected.

    Raises InvalidValue, ObjectMissing, TypeMismatch and RunNotFound.
    """
    metadata = "{}" if request.metadata is None else encode_metadata(request.metadata)
    run = find_run(tx, RunRef.parse(request.run)) if request.run else None
    result = _Seal(tx, draft, request, metadata, now_ns).run()
    if run is not None:
        try_note_logged(tx, run, result.version)
    return result


def sealed(tx: Transaction, draft: Draft) -> SealResult:
    """What sealing the draft answered the first time, with the aliases of now."""
    row = tx.row("SELECT name FROM artifacts WHERE id = ?", (draft.artifact_id,))
    artifact = None if row is None else peek_artifact(tx, draft.project, row[0])
    if artifact is None or draft.version is None:
        raise DraftClosed("the draft was sealed, and its artifact deleted since")
    return SealResult(record_of(tx, draft.project, artifact, draft.version), bool(draft.created))


def record_of(tx: Transaction, project: Project, artifact: Artifact, number: int) -> VersionRecord:
    """Raises VersionNotFound."""
    row = find_version(tx, project, artifact, number)
    return version_record(project, artifact, row, aliases_now(tx, artifact.id))


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
        if created or newest is None:
            number = self._insert(artifact, root)
        else:
            number = newest[0]
            self._prolong(artifact, newest)
        for alias in dict.fromkeys((LATEST, *self._request.aliases)):
            move_alias(self._tx, self._project.name, artifact.name, artifact.id, alias, number)
        self._tx.run(
            "UPDATE drafts SET state = 'ended', expires_at = ?, artifact_id = ?, version = ?, created = ? WHERE id = ?",
            (self._now_ns + SEALED_KEPT_NS, artifact.id, number, int(created), self._draft.id),
        )
        return SealResult(record_of(self._tx, self._project, artifact, number), created)

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

    def _prolong(self, artifact: Artifact, version: Row) -> None:
        """Let a version live as long as one would that is made now, if that is longer."""
        number, id_, expires_at_ns = version[0], version[8], version[10]
        wanted_ns = expiry_of(self._request.ttl_s, self._now_ns)
        if expires_at_ns is not None and (wanted_ns is None or wanted_ns > expires_at_ns):
            self._tx.run("UPDATE versions SET expires_at = ? WHERE id = ?", (wanted_ns, id_))
            check_version(self._tx, self._project, artifact.id, artifact.name, number)
            append_change(self._tx, "version", self._project.name, artifact.name, version_name(number))

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
        check_version(self._tx, self._project, artifact.id, artifact.name, number)
        return number
