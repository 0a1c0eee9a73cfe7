"""Versions: listing, resolving, describing and deleting them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from artfs.errors import AliasNotFound, DamagedDatabase, InvalidValue, VersionNotFound
from artfs.model.digest import Digest
from artfs.model.names import parse_version, version_name
from artfs.registry.aliases import aliases_at, aliases_now, check_aliases, move_alias, remove_alias
from artfs.registry.catalog import Artifact, Project, find_artifact, find_project, no_version, rows_that_fit
from artfs.registry.changes import append_change
from artfs.registry.database import Row, Transaction
from artfs.registry.deletion import Deletions
from artfs.registry.resources import Resources
from artfs.registry.row_checks import is_right, version_check
from artfs.wire.deletions import Removal, RemovalPlan
from artfs.wire.records import DEFAULT_TYPE, DeletionPlan, VersionChange, VersionRecord

METADATA_BYTES_MAX = 16 << 20
NESTING_MAX = 100  # objects and lists in one another: whoever reads them may be deep in calls already
TTL_S_MAX = 100 * 365 * 86_400

_VERSION = (
    "SELECT v.number, o.digest, v.description, v.metadata, s.size, s.files, v.created_at, v.created_by, v.id, v.seq,"
    " v.expires_at, v.row_check"
    " FROM versions v JOIN objects o ON o.id = v.root JOIN summaries s ON s.object = v.root WHERE v.artifact_id = ?"
)
_VERSION_SIZES = (
    "SELECT length(v.metadata) + length(v.description) FROM versions v WHERE v.artifact_id = ? AND v.number > ?"
    " ORDER BY v.number"
)
_CONTAINERS = (dict, list, tuple)


def encode_metadata(metadata: dict[str, Any], what: str = "metadata") -> str:
    """Metadata, or what else `what` names, as the JSON object that is stored. Raises InvalidValue."""
    try:
        encoded = msgspec.json.encode(metadata)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidValue(f"the {what} cannot be written as JSON: {error}") from None
    if len(encoded) > METADATA_BYTES_MAX:
        raise InvalidValue(
            f"the {what} is {len(encoded)} bytes long; at most {METADATA_BYTES_MAX} are kept",
            hint=f"put large {what} into a file of a version",
        )
    if _is_too_deep(metadata, encoded):
        raise InvalidValue(
            f"the {what} has objects and lists in one another, more than {NESTING_MAX} deep", hint="make it flatter"
        )
    return encoded.decode()


def _is_too_deep(metadata: dict[str, Any], encoded: bytes) -> bool:
    if encoded.count(b"{") + encoded.count(b"[") <= NESTING_MAX:
        return False
    level: list[Any] = [metadata]
    for _ in range(NESTING_MAX):
        level = [below for one in level if type(one) in _CONTAINERS for below in _values(one)]
    return any(type(one) in _CONTAINERS for one in level)


def _values(container: Any) -> Iterable[Any]:
    return container.values() if isinstance(container, dict) else container


def _changed_metadata(encoded: str, change: VersionChange) -> str:
    """The stored metadata with keys set and removed. Raises InvalidValue."""
    if not (change.set_metadata or change.removed_metadata):
        return encoded
    metadata = {**msgspec.json.decode(encoded), **change.set_metadata}
    for key in change.removed_metadata:
        metadata.pop(key, None)
    return encode_metadata(metadata)


def _expiry(expires_at_ns: int | None, ttl_s: int | None, now_ns: int) -> int | None:
    """When a version expires after a change of its time to live."""
    return expires_at_ns if ttl_s is None else expiry_of(ttl_s, now_ns)


def expiry_of(ttl_s: int | None, now_ns: int) -> int | None:
    """When a version with that time to live expires; None and 0 are for ever. Raises InvalidValue."""
    if not ttl_s:
        return None
    if not 0 < ttl_s <= TTL_S_MAX:
        raise InvalidValue(
            f"{ttl_s} seconds are no time to live", hint="from one second to a hundred years; 0 is for ever"
        )
    return now_ns + ttl_s * 10**9


def row_check(project_uid: bytes, artifact: str, row: Row) -> bytes:
    """The check that a row of `_VERSION` must have."""
    number, root, description, metadata, _, _, created_at_ns, created_by = row[:8]
    told = (description, metadata, created_at_ns, created_by, row[10])
    return version_check(project_uid, artifact, number, root, *told)


def _sound(project: Project, artifact: Artifact, row: Row) -> Row:
    """The row, if it has its check. Raises DamagedDatabase."""
    if not is_right(row[11], row_check(project.uid, artifact.name, row)):
        raise DamagedDatabase(
            f"the row of {project.name}/{artifact.name}:{version_name(row[0])} is damaged",
            hint="run artfs fsck --repair",
        )
    return row


def check_version(tx: Transaction, project: Project, artifact_id: int, artifact: str, number: int) -> None:
    """Write the check of a version that was made or changed in this transaction."""
    row = peek_version(tx, artifact_id, number)
    if row is not None:
        tx.run("UPDATE versions SET row_check = ? WHERE id = ?", (row_check(project.uid, artifact, row), row[8]))


def version_record(project: Project, artifact: Artifact, row: Row, aliases: dict[str, int]) -> VersionRecord:
    """What a row of `_VERSION` says. Raises DamagedDatabase if that is not what was written."""
    number, root, description, metadata, size, files, created_at, created_by = _sound(project, artifact, row)[:8]
    return VersionRecord(
        project=project.name,
        artifact=artifact.name,
        number=number,
        root=Digest(root),
        type=artifact.type or DEFAULT_TYPE,
        description=description,
        metadata=msgspec.json.decode(metadata),
        size_bytes=size,
        file_count=files,
        created_at_ns=created_at,
        created_by=created_by,
        aliases=[alias for alias, target in aliases.items() if target == number],
        expires_at_ns=row[10],
    )


def peek_version(tx: Transaction, artifact_id: int, number: int) -> Row | None:
    return tx.row(f"{_VERSION} AND v.number = ?", (artifact_id, number))


def all_versions(
    tx: Transaction, artifact_id: int, after: int = -1, limit: int | None = None, *, bytes_max: int | None = None
) -> list[Row]:
    """Those numbered above `after`, oldest first; so many as are not much longer than `bytes_max` together."""
    fitting = rows_that_fit(tx, _VERSION_SIZES, (artifact_id, after), limit, bytes_max)
    return tx.rows(f"{_VERSION} AND v.number > ? ORDER BY v.number LIMIT ?", (artifact_id, after, fitting))


def newest_version(tx: Transaction, artifact: Artifact) -> Row | None:
    return tx.row(f"{_VERSION} ORDER BY v.number DESC LIMIT 1", (artifact.id,))


def find_version(tx: Transaction, project: Project, artifact: Artifact, number: int) -> Row:
    """Raises VersionNotFound, DamagedDatabase."""
    row = peek_version(tx, artifact.id, number)
    if row is None:
        raise no_version(project, artifact, number)
    return _sound(project, artifact, row)


class Versions:
    """The `Versions` service."""

    def __init__(self, resources: Resources, deletions: Deletions) -> None:
        self._resources = resources
        self._database = resources.database
        self._deletions = deletions

    def list(
        self,
        project: str,
        artifact: str,
        *,
        after: int = -1,
        limit: int | None = None,
        bytes_max: int | None = None,
    ) -> list[VersionRecord]:
        """With `bytes_max` fewer, rather than much more than that together."""
        with self._database.read() as tx:
            found = find_project(tx, project)
            of = find_artifact(tx, found, artifact)
            aliases = aliases_now(tx, of.id)
            rows = all_versions(tx, of.id, after, limit, bytes_max=bytes_max)
        return [version_record(found, of, row, aliases) for row in rows]

    def resolve(self, project: str, artifact: str, selector: str, *, as_of: int | None = None) -> VersionRecord:
        with self._database.read() as tx:
            found = find_project(tx, project)
            of = find_artifact(tx, found, artifact)
            aliases = aliases_now(tx, of.id)
            number = parse_version(selector)
            if number is None:
                meant = aliases if as_of is None else aliases_at(tx, of.id, as_of)
                number = meant.get(selector)
                if number is None:
                    raise AliasNotFound(
                        f"there is no alias {selector!r} of {project}/{artifact}",
                        hint=f"artfs log {project}/{artifact} lists versions and aliases",
                    )
            row = find_version(tx, found, of, number)
            if as_of is not None and row[9] > as_of:
                raise VersionNotFound(f"{project}/{artifact}:{selector} did not exist yet at change {as_of}")
            return version_record(found, of, row, aliases)

    def update(self, project: str, artifact: str, number: int, change: VersionChange) -> VersionRecord:
        check_aliases(change.added_aliases)
        encoded = None if change.metadata is None else encode_metadata(change.metadata)
        with self._database.write() as tx:
            found = find_project(tx, project)
            of = find_artifact(tx, found, artifact)
            row = find_version(tx, found, of, number)
            described = (
                row[2] if change.description is None else change.description,
                _changed_metadata(encoded or row[3], change),
                _expiry(row[10], change.ttl_s, self._resources.clock()),
            )
            tx.run(
                "UPDATE versions SET description = ?, metadata = ?, expires_at = ? WHERE id = ?", (*described, row[8])
            )
            check_version(tx, found, of.id, of.name, number)
            append_change(tx, "version", project, artifact, version_name(number))
            held = aliases_now(tx, of.id)
            for alias in change.removed_aliases:
                if held.get(alias) == number:
                    remove_alias(tx, project, artifact, of.id, alias)
            for alias in change.added_aliases:
                move_alias(tx, project, artifact, of.id, alias, number)
            record = version_record(found, of, find_version(tx, found, of, number), aliases_now(tx, of.id))
        self._resources.after_change()
        return record

    def plan_delete(self, project: str, artifact: str, numbers: Sequence[int]) -> DeletionPlan:
        return self._deletions.plan(project, Removal({artifact: list(numbers)})).of_one(artifact)

    def delete(
        self, project: str, artifact: str, numbers: Sequence[int], *, delete_aliases: bool = False
    ) -> DeletionPlan:
        removal = Removal({artifact: list(numbers)}, delete_aliases=delete_aliases)
        return self._deletions.delete(project, removal).of_one(artifact)

    def plan_removal(self, project: str, removal: Removal) -> RemovalPlan:
        return self._deletions.plan(project, removal)

    def remove(self, project: str, removal: Removal, *, clean: bool = True) -> RemovalPlan:
        return self._deletions.delete(project, removal, clean=clean)
