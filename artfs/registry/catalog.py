"""Projects and artifacts: names, types, descriptions.

Functions that take a transaction are shared by the other services; the classes are the services of `artfs.wire.service`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from artfs.errors import (
    AlreadyExists,
    ArtifactNotFound,
    NotEmpty,
    ProjectNotFound,
    TypeMismatch,
    UserNotFound,
    VersionNotFound,
)
from artfs.model.access import Role, Visibility
from artfs.model.names import check_name, version_name
from artfs.registry.changes import append_change, append_farewell
from artfs.registry.database import Parameters, Transaction, allocate, rows_in
from artfs.registry.maintenance import Maintenance
from artfs.registry.resources import Resources
from artfs.store.packs import ID_BYTES
from artfs.wire.records import ArtifactRecord, ProjectRecord


class Project(NamedTuple):
    """A project's row."""

    id: int
    uid: bytes
    name: str
    created_at_ns: int
    visibility: str

    @property
    def record(self) -> ProjectRecord:
        return ProjectRecord(self.name, self.uid, self.created_at_ns, Visibility(self.visibility))


class Artifact(NamedTuple):
    """An artifact's row; `version_count` is counted."""

    id: int
    name: str
    type: str | None
    description: str
    created_at_ns: int
    version_count: int

    def record(self, project: str) -> ArtifactRecord:
        return ArtifactRecord(project, self.name, self.type, self.description, self.created_at_ns, self.version_count)


LIST_MAX = 1 << 31  # no limit, in SQL

_PROJECT = "SELECT id, uid, name, created_at, visibility FROM projects"
_ARTIFACT = (
    "SELECT a.id, a.name, a.type, a.description, a.created_at,"
    " (SELECT count(*) FROM versions v WHERE v.artifact_id = a.id) FROM artifacts a WHERE a.project_id = ?"
)


def page_limit(limit: int | None) -> int:
    return LIST_MAX if limit is None else max(0, min(limit, LIST_MAX))


def rows_that_fit(tx: Transaction, sizes: str, parameters: Parameters, limit: int | None, bytes_max: int | None) -> int:
    """How many rows to ask for, if all of them together are to be no larger than that; at least one.

    Args:
        sizes: a query of the size of each, in the same order, that ends where its LIMIT belongs.
    """
    if bytes_max is None:
        return page_limit(limit)
    total_bytes = 0
    for count, (size_bytes,) in enumerate(tx.rows(f"{sizes} LIMIT ?", (*parameters, page_limit(limit)))):
        total_bytes += size_bytes
        if total_bytes > bytes_max and count:
            return count
    return page_limit(limit)


def peek_project(tx: Transaction, name: str) -> Project | None:
    row = tx.row(f"{_PROJECT} WHERE name = ?", (name,))
    return None if row is None else Project(*row)


def find_project(tx: Transaction, name: str) -> Project:
    """Raises ProjectNotFound."""
    project = peek_project(tx, name)
    if project is None:
        raise ProjectNotFound(f"there is no project {name!r}", hint="artfs ls lists the projects")
    return project


def peek_artifact(tx: Transaction, project: Project, name: str) -> Artifact | None:
    row = tx.row(f"{_ARTIFACT} AND a.name = ?", (project.id, name))
    return None if row is None else Artifact(*row)


def find_artifact(tx: Transaction, project: Project, name: str) -> Artifact:
    """Raises ArtifactNotFound."""
    artifact = peek_artifact(tx, project, name)
    if artifact is None:
        raise ArtifactNotFound(
            f"there is no artifact {name!r} in project {project.name!r}", hint=f"artfs ls {project.name} lists them"
        )
    return artifact


def find_versions(tx: Transaction, project: Project, artifact: Artifact, numbers: Sequence[int]) -> dict[int, int]:
    """Rows of versions by number. Raises VersionNotFound for the lowest number that there is no version of."""
    sql = "SELECT number, id FROM versions WHERE artifact_id = ? AND number IN ({})"
    wanted = sorted(set(numbers))
    found: dict[int, int] = dict(rows_in(tx, sql, (artifact.id,), wanted))
    for number in wanted:
        if number not in found:
            raise no_version(project, artifact, number)
    return found


def no_version(project: Project, artifact: Artifact, number: int) -> VersionNotFound:
    return VersionNotFound(
        f"there is no {project.name}/{artifact.name}:{version_name(number)}",
        hint=f"artfs log {project.name}/{artifact.name} lists the versions",
    )


def create_artifact(tx: Transaction, project: Project, name: str, type_: str | None, now_ns: int) -> Artifact:
    """Add an artifact that is known to be absent."""
    check_name("artifact", name)
    artifact = Artifact(allocate(tx, "artifacts"), name, type_, "", now_ns, 0)
    tx.run(
        "INSERT INTO artifacts (id, project_id, name, type, description, created_at) VALUES (?, ?, ?, ?, ?, ?)",
        (artifact.id, project.id, name, type_, "", now_ns),
    )
    append_change(tx, "artifact", project.name, name)
    return artifact


def next_version_number(tx: Transaction, project: Project, artifact: str) -> int:
    """A number that no version of an artifact of this name had before."""
    row = tx.row(
        "INSERT INTO version_numbers (project_id, artifact, next) VALUES (?, ?, 1)"
        " ON CONFLICT (project_id, artifact) DO UPDATE SET next = version_numbers.next + 1 RETURNING next",
        (project.id, artifact),
    )
    assert row is not None
    return int(row[0]) - 1


def add_member(tx: Transaction, project_id: int, user: str, role: Role) -> None:
    """Let `user` have `role` in a project. Raises UserNotFound."""
    row = tx.row("SELECT id FROM users WHERE name = ?", (user,))
    if row is None:
        raise UserNotFound(f"there is no user {user!r}", hint="artfs user list names them")
    tx.run(
        "INSERT INTO members (project_id, user_id, role) VALUES (?, ?, ?)"
        " ON CONFLICT (project_id, user_id) DO UPDATE SET role = excluded.role",
        (project_id, row[0], role.value),
    )


def _bid_farewell(tx: Transaction, project: Project) -> None:
    """Tell all who see a project that it is about to go."""
    if project.visibility != Visibility.PRIVATE.value:
        append_farewell(tx, project.name)
    sql = "SELECT u.name FROM members m JOIN users u ON u.id = m.user_id WHERE m.project_id = ? ORDER BY u.name"
    for (user,) in tx.rows(sql, (project.id,)):
        append_farewell(tx, project.name, user)


class Projects:
    """The `Projects` service."""

    def __init__(self, resources: Resources, maintenance: Maintenance) -> None:
        self._resources = resources
        self._database = resources.database
        self._maintenance = maintenance

    def list(self, *, after: str = "", limit: int | None = None) -> list[ProjectRecord]:
        with self._database.read() as tx:
            rows = tx.rows(f"{_PROJECT} WHERE name > ? ORDER BY name LIMIT ?", (after, page_limit(limit)))
        return [Project(*row).record for row in rows]

    def get(self, project: str) -> ProjectRecord:
        with self._database.read() as tx:
            return find_project(tx, project).record

    def create(
        self,
        project: str,
        *,
        exist_ok: bool = False,
        visibility: Visibility = Visibility.PRIVATE,
        admin: str | None = None,
    ) -> ProjectRecord:
        """`admin` is a user who becomes the project's first administrator."""
        check_name("project", project)
        with self._database.write() as tx:
            row = tx.row(f"{_PROJECT} WHERE name = ?", (project,))
            if row is not None:
                if exist_ok:
                    return Project(*row).record
                raise AlreadyExists(f"the project {project!r} exists", hint="choose another name")
            now_ns = self._resources.clock()
            id_ = allocate(tx, "projects")
            record = ProjectRecord(project, self._resources.random_bytes(ID_BYTES), now_ns, visibility)
            tx.run(
                "INSERT INTO projects (id, uid, name, created_at, visibility) VALUES (?, ?, ?, ?, ?)",
                (id_, record.uid, project, now_ns, visibility.value),
            )
            if admin is not None:
                add_member(tx, id_, admin, Role.ADMIN)
            append_change(tx, "project", project)
        self._resources.after_change()
        return record

    def update(self, project: str, *, visibility: Visibility) -> ProjectRecord:
        with self._database.write() as tx:
            found = find_project(tx, project)
            if found.visibility != visibility.value:
                tx.run("UPDATE projects SET visibility = ? WHERE id = ?", (visibility.value, found.id))
                append_change(tx, "project", project)
                if visibility is Visibility.PRIVATE:
                    append_farewell(tx, project)
        self._resources.after_change()
        return found._replace(visibility=visibility.value).record

    def delete(self, project: str) -> None:
        self._maintenance.sweep(wait=True)
        with self._database.write() as tx:
            found = find_project(tx, project)
            for table, what in (("artifacts", "artifacts"), ("drafts", "uploads"), ("packs", "packs")):
                ended = " AND (state = 'open' OR collected = 0)" if table == "drafts" else ""
                row = tx.row(f"SELECT count(*) FROM {table} WHERE project_id = ?{ended}", (found.id,))
                if row is not None and row[0]:
                    raise NotEmpty(f"the project {project!r} has {row[0]} {what}", hint="delete or end these first")
            _bid_farewell(tx, found)
            tx.run("DELETE FROM projects WHERE id = ?", (found.id,))
            append_change(tx, "project", project)
        self._resources.after_change()
        self._resources.store.delete_project(found.uid)


class Artifacts:
    """The `Artifacts` service."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._database = resources.database

    def list(self, project: str, *, after: str = "", limit: int | None = None) -> list[ArtifactRecord]:
        with self._database.read() as tx:
            found = find_project(tx, project)
            rows = tx.rows(f"{_ARTIFACT} AND a.name > ? ORDER BY a.name LIMIT ?", (found.id, after, page_limit(limit)))
            return [Artifact(*row).record(found.name) for row in rows]

    def get(self, project: str, artifact: str) -> ArtifactRecord:
        with self._database.read() as tx:
            return find_artifact(tx, find_project(tx, project), artifact).record(project)

    def create(self, project: str, artifact: str, *, type: str | None = None, exist_ok: bool = False) -> ArtifactRecord:
        check_name("artifact", artifact)
        if type is not None:
            check_name("type", type)
        with self._database.write() as tx:
            found = find_project(tx, project)
            existing = peek_artifact(tx, found, artifact)
            if existing is not None:
                if not exist_ok:
                    raise AlreadyExists(f"the artifact {project}/{artifact} exists", hint="choose another name")
                check_type(project, existing, type)
                return existing.record(project)
            created = create_artifact(tx, found, artifact, type, self._resources.clock())
        self._resources.after_change()
        return created.record(project)

    def update(
        self, project: str, artifact: str, *, type: str | None = None, description: str | None = None
    ) -> ArtifactRecord:
        if type is not None:
            check_name("type", type)
        with self._database.write() as tx:
            found = find_project(tx, project)
            existing = find_artifact(tx, found, artifact)
            if existing.version_count:
                check_type(project, existing, type)
            changed = existing._replace(
                type=existing.type if type is None else type,
                description=existing.description if description is None else description,
            )
            if changed != existing:
                tx.run(
                    "UPDATE artifacts SET type = ?, description = ? WHERE id = ?",
                    (changed.type, changed.description, changed.id),
                )
                append_change(tx, "artifact", project, artifact)
        self._resources.after_change()
        return changed.record(project)

    def delete(self, project: str, artifact: str) -> None:
        with self._database.write() as tx:
            existing = find_artifact(tx, find_project(tx, project), artifact)
            if existing.version_count:
                raise NotEmpty(
                    f"{project}/{artifact} has {existing.version_count} version(s)", hint="delete its versions first"
                )
            tx.run("DELETE FROM artifacts WHERE id = ?", (existing.id,))
            append_change(tx, "artifact", project, artifact)
        self._resources.after_change()


def check_type(project: str, artifact: Artifact, type_: str | None) -> None:
    """Raises TypeMismatch when the artifact has another type already."""
    if type_ is not None and artifact.type is not None and type_ != artifact.type:
        raise TypeMismatch(
            f"{project}/{artifact.name} has the type {artifact.type!r}, not {type_!r}",
            hint="use that type, or another artifact",
        )
