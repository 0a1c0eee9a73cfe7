"""The check that precedes everything a caller does: its standing is looked up, and the tables of `model.access` decide."""

from __future__ import annotations

import re
from collections.abc import Collection

from artfs.errors import AccessDenied, DraftNotFound, ProjectNotFound
from artfs.model.access import (
    Operation,
    Standing,
    Verdict,
    decide_in_project,
    decide_of_server,
    includes,
    scope_needed,
)
from artfs.model.lineage import RunRef
from artfs.registry.database import Transaction
from artfs.registry.sql_registry import SqlRegistry
from artfs.wire.records import Identity

_MACHINE = re.compile(r"[A-Za-z0-9_.-]{1,253}")


class Guard:
    """What one caller may do.

    Attributes:
        caller: who it is, as its token says.
        page_bytes_max: about how large a list may be that it gets at once; None for any size.
    """

    def __init__(self, registry: SqlRegistry, caller: Identity, page_bytes_max: int | None = None) -> None:
        self._members = registry.access.members
        self.caller = caller
        self.page_bytes_max = page_bytes_max

    @property
    def user(self) -> str:
        return self.caller.user.name

    @property
    def administers_server(self) -> bool:
        return self.caller.user.admin

    def require(self, operation: Operation, project: str) -> None:
        """Raises ProjectNotFound for a project that the caller must not know of, AccessDenied for what it may not do."""
        self._decide(operation, project, self._members.standing(project, self.caller.user))

    def require_read(self, project: str) -> None:
        self.require(Operation.READ, project)

    def require_of_draft(self, draft: str) -> None:
        """That the caller may write to the draft's project. Raises DraftNotFound for one that it must not know of."""
        project, standing = self._members.standing_by_draft(draft, self.caller.user)
        try:
            self._decide(Operation.WRITE, project, standing)
        except ProjectNotFound:
            raise DraftNotFound(
                "there is no such draft: it was abandoned, or it expired", hint="begin the upload again"
            ) from None

    def require_of_server(self, operation: Operation) -> None:
        """Raises AccessDenied."""
        verdict = decide_of_server(operation, self.caller.scopes, administers_server=self.administers_server)
        if verdict is not Verdict.ALLOWED:
            raise AccessDenied(self._sentence(operation, "here"), hint=self._hint(operation))

    def require_of_shared_draft(self, shared: str) -> None:
        """The same of a shared draft."""
        project, standing = self._members.standing_by_shared_draft(shared, self.caller.user)
        try:
            self._decide(Operation.WRITE, project, standing)
        except ProjectNotFound:
            raise DraftNotFound(
                "there is no such shared draft: it was abandoned, or it expired", hint="open it again"
            ) from None

    def require_of_run(self, run: str) -> None:
        """That the caller may write to the project of a run, given as `project/id`; empty is none. Raises InvalidName."""
        if run:
            self.require(Operation.WRITE, RunRef.parse(run).project)

    def creator(self, claimed: str) -> str:
        """Who makes what is made: the caller, whatever it claims; the machine it names is kept."""
        _, _, machine = claimed.partition("@")
        return f"{self.user}@{machine}" if _MACHINE.fullmatch(machine) else self.user

    def may_read(self, project: str) -> bool:
        return self._members.standing(project, self.caller.user) is not Standing.STRANGER

    def visible(self, projects: Collection[str]) -> frozenset[str]:
        """Those of `projects` that the caller may read."""
        return self._members.visible(self.caller.user, projects)

    def shown(self, tx: Transaction, projects: Collection[str]) -> frozenset[str]:
        """The same inside a transaction."""
        return self._members.visible_in(tx, self.caller.user, projects)

    def _decide(self, operation: Operation, project: str, standing: Standing) -> None:
        verdict = decide_in_project(operation, standing, self.caller.scopes)
        if verdict is Verdict.HIDDEN:
            raise ProjectNotFound(f"there is no project {project!r}", hint="artfs ls lists the projects")
        if verdict is Verdict.DENIED:
            raise AccessDenied(self._sentence(operation, f"in project {project!r}"), hint=self._hint(operation))

    def _sentence(self, operation: Operation, where: str) -> str:
        return f"{self.user} may not {_WORDS[operation]} {where}"

    def _hint(self, operation: Operation) -> str:
        if operation is Operation.ADMINISTER_SERVER and not self.administers_server:
            return "ask an administrator of the server"
        needed = scope_needed(operation)
        if not includes(self.caller.scopes, needed):
            return f"the token in use lacks the scope {needed.value}"
        if operation in _OF_SERVER:
            return "ask an administrator of the server"
        return "ask an administrator of the project, or of the server"


_WORDS = {
    Operation.READ: "read",
    Operation.WRITE: "write",
    Operation.DELETE: "delete",
    Operation.SEE_MEMBERS: "see the members",
    Operation.ADMINISTER: "change members or visibility, or delete the project,",
    Operation.CREATE_PROJECT: "create projects",
    Operation.SEE_OWN_TOKENS: "see tokens",
    Operation.CHANGE_OWN_TOKENS: "make or revoke tokens",
    Operation.ADMINISTER_SERVER: "administer users and their tokens",
}
_OF_SERVER = {
    Operation.CREATE_PROJECT,
    Operation.SEE_OWN_TOKENS,
    Operation.CHANGE_OWN_TOKENS,
    Operation.ADMINISTER_SERVER,
}
