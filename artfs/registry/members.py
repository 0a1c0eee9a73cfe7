"""Members of projects, and what a caller is to a project."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from artfs.model.access import Role, Standing, Visibility, standing
from artfs.registry.catalog import add_member, find_project
from artfs.registry.changes import append_change, append_farewell
from artfs.registry.database import Transaction, rows_in
from artfs.registry.resources import Resources
from artfs.wire.records import MemberRecord, UserRecord


class Members:
    """The `Members` service, and standings."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._database = resources.database

    def list(self, project: str) -> list[MemberRecord]:
        with self._database.read() as tx:
            rows = tx.rows(
                "SELECT u.name, m.role FROM members m JOIN users u ON u.id = m.user_id WHERE m.project_id = ? ORDER BY u.name",
                (find_project(tx, project).id,),
            )
        return [MemberRecord(user, Role(role)) for user, role in rows]

    def set(self, project: str, user: str, role: Role) -> MemberRecord:
        with self._database.write() as tx:
            add_member(tx, find_project(tx, project).id, user, role)
            append_change(tx, "project", project)
        self._resources.after_change()
        return MemberRecord(user, role)

    def remove(self, project: str, user: str) -> None:
        with self._database.write() as tx:
            removed = tx.run(
                "DELETE FROM members WHERE project_id = ? AND user_id IN (SELECT id FROM users WHERE name = ?)",
                (find_project(tx, project).id, user),
            )
            if not removed:
                return
            append_change(tx, "project", project)
            append_farewell(tx, project, user)
        self._resources.after_change()

    def standing(self, project: str, user: UserRecord) -> Standing:
        """What `user` is to `project`; a stranger to one that does not exist."""
        with self._database.read() as tx:
            row = tx.row(f"{_STANDINGS} WHERE p.name = ?", (user.name, project))
        return Standing.STRANGER if row is None else _Found(*row).standing(user)

    def standing_by_draft(self, draft: str, user: UserRecord) -> tuple[str, Standing]:
        """The project of a draft and what `user` is to it; of no project for a draft that is not known."""
        with self._database.read() as tx:
            row = tx.row(f"{_STANDINGS} JOIN drafts d ON d.project_id = p.id WHERE d.token = ?", (user.name, draft))
        return ("", Standing.STRANGER) if row is None else (row[0], _Found(*row).standing(user))

    def standing_by_shared_draft(self, shared: str, user: UserRecord) -> tuple[str, Standing]:
        """The same of a shared draft."""
        with self._database.read() as tx:
            row = tx.row(
                f"{_STANDINGS} JOIN shared_drafts s ON s.project_id = p.id WHERE s.token = ?", (user.name, shared)
            )
        return ("", Standing.STRANGER) if row is None else (row[0], _Found(*row).standing(user))

    def visible(self, user: UserRecord, projects: Collection[str]) -> frozenset[str]:
        """Those of `projects` that `user` is no stranger to."""
        if not projects:
            return frozenset()
        with self._database.read() as tx:
            return self.visible_in(tx, user, projects)

    def visible_in(self, tx: Transaction, user: UserRecord, projects: Collection[str]) -> frozenset[str]:
        """The same inside a transaction."""
        rows = rows_in(tx, f"{_STANDINGS} WHERE p.name IN ({{}})", (user.name,), sorted(projects))
        found = [_Found(*row) for row in rows]
        return frozenset(one.project for one in found if one.standing(user) is not Standing.STRANGER)


class _Found(NamedTuple):
    project: str
    visibility: str
    role: str | None

    def standing(self, user: UserRecord) -> Standing:
        role = None if self.role is None else Role(self.role)
        return standing(Visibility(self.visibility), role, administers_server=user.admin)


_STANDINGS = (
    "SELECT p.name, p.visibility, m.role FROM projects p LEFT JOIN members m"
    " ON m.project_id = p.id AND m.user_id = (SELECT u.id FROM users u WHERE u.name = ?)"
)
