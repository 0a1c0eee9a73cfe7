"""Callers, what each must get, and a registry prepared for them: what the access matrix (tests/access_matrix.py) is played on.

`expected` says it in the users' words and without the table of `artfs.model.access`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum

from artfs.errors import AccessDenied, DraftNotFound, NotAuthenticated, ProjectNotFound, TokenNotFound
from artfs.model.access import Role, Scope, Visibility
from artfs.model.lineage import RunRef
from artfs.wire.records import DraftRecord
from artfs.wire.runs import NewRun, NewSweep, SharedDraftRecord
from artfs.wire.service import Registry
from tests.contract.uploading import commit, content_of

CONTENT = content_of({"a": b"one", "b": {"c": b"two"}})
OTHER = "carol"  # a user whose tokens are nobody else's business


@dataclass(frozen=True)
class Caller:
    """Somebody with a token: `role` in each of the scenario's projects (None: no member)."""

    role: Role | None
    server_admin: bool
    scope: Scope

    @property
    def user(self) -> str:
        return "root" if self.server_admin else f"a-{self.role.value}" if self.role else "a-stranger"

    def __str__(self) -> str:
        return f"{self.user}-with-{self.scope.value}"


CALLERS = [
    *(Caller(role, False, scope) for role in (None, *Role) for scope in Scope),
    *(Caller(None, True, scope) for scope in Scope),
]


class Outcome(Enum):
    ALLOWED = "allowed"
    DENIED = "denied"
    HIDDEN = "hidden"


class Kind(Enum):
    """What an action is, as the rules for users see it."""

    ASK = "what every token may"
    READ = "read in a project"
    WRITE = "write in a project"
    DELETE = "delete in a project"
    REFER = "read in a project, on behalf of a run in one that is open to everybody"
    CREDIT = "write in a project, on behalf of an upload or a run in one that is open to everybody"
    GOVERN = "members, visibility and end of a project"
    CREATE = "make a project, or a token of one's own"
    SERVE = "users, and tokens of others"
    REVOKE_OF_ANOTHER = "a token that only administrators of the server know of"


def expected(kind: Kind, caller: Caller, visibility: Visibility) -> Outcome:
    """Private: members only. Public: everybody reads, members write. Open: everybody reads and writes."""
    writes = caller.scope is not Scope.READ
    governs = caller.scope is Scope.ADMIN
    if kind is Kind.ASK:
        return Outcome.ALLOWED
    if kind is Kind.CREATE:
        return _allowed_if(writes)
    if kind is Kind.SERVE:
        return _allowed_if(caller.server_admin and governs)
    if kind in (Kind.REFER, Kind.CREDIT):
        return expected(_BEHIND[kind], caller, visibility) if writes else Outcome.DENIED
    if kind is Kind.REVOKE_OF_ANOTHER:
        return _allowed_if(governs) if caller.server_admin else Outcome.HIDDEN
    member = caller.role is not None or caller.server_admin
    if visibility is Visibility.PRIVATE and not member:
        return Outcome.HIDDEN
    member_who_writes = caller.role in (Role.WRITER, Role.ADMIN) or caller.server_admin
    if kind is Kind.READ:
        return Outcome.ALLOWED
    if kind is Kind.WRITE:
        return _allowed_if(writes and (member_who_writes or visibility is Visibility.OPEN))
    if kind is Kind.DELETE:
        return _allowed_if(writes and member_who_writes)
    return _allowed_if(governs and (caller.role is Role.ADMIN or caller.server_admin))


_BEHIND = {Kind.REFER: Kind.READ, Kind.CREDIT: Kind.WRITE}


def _allowed_if(condition: bool) -> Outcome:
    return Outcome.ALLOWED if condition else Outcome.DENIED


def outcome_of(action: Callable[[], object]) -> Outcome:
    """What came of it. An error that is none of access's is the test's failure."""
    try:
        action()
    except (ProjectNotFound, DraftNotFound, TokenNotFound):
        return Outcome.HIDDEN
    except NotAuthenticated:
        raise
    except AccessDenied:
        return Outcome.DENIED
    return Outcome.ALLOWED


@dataclass
class Stage:
    """A registry with users, and a project of `visibility` in which they have their roles.

    Attributes:
        owner: the same registry for somebody who may do everything.
        open: a project that is open to everybody.
    """

    owner: Registry
    visibility: Visibility
    project: str = ""
    open: str = ""
    _names: Iterator[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        have = {user.name for user in self.owner.access.users.list()}
        for caller in CALLERS:
            if caller.user not in have:
                self.owner.access.users.create(caller.user, admin=caller.server_admin)
                have.add(caller.user)
        if OTHER not in have:
            self.owner.access.users.create(OTHER)
        self.project = self.new_project()
        commit(self.owner, self.project, "bikes", CONTENT, "best")
        self.open = self.new_name("open")
        self.owner.projects.create(self.open, visibility=Visibility.OPEN)
        commit(self.owner, self.open, "bikes", CONTENT)

    def new_name(self, what: str) -> str:
        return f"{what}-{self.visibility.value}-{next(self._names)}"

    def new_project(self) -> str:
        name = self.new_name("project")
        self.owner.projects.create(name, visibility=self.visibility)
        for role in Role:
            self.owner.access.members.set(name, f"a-{role.value}", role)
        return name

    def new_artifact(self) -> str:
        name = self.new_name("artifact")
        self.owner.artifacts.create(self.project, name)
        return name

    def new_version(self) -> str:
        name = self.new_name("artifact")
        commit(self.owner, self.project, name, CONTENT)
        return name

    def new_alias(self) -> str:
        name = self.new_name("alias")
        self.owner.aliases.move(self.project, "bikes", name, 0)
        return name

    def new_draft(self) -> DraftRecord:
        return self.owner.drafts.open(self.project)

    def new_run(self, project: str = "") -> RunRef:
        return self.owner.runs.start(project or self.project, NewRun(self.new_name("run"))).ref

    def new_sweep(self) -> str:
        return self.owner.sweeps.create(self.project, NewSweep(self.new_name("sweep"))).id

    def new_shared_draft(self) -> SharedDraftRecord:
        return self.owner.shared_drafts.open(self.project, self.new_name("artifact"), "group")

    def new_upload(self, project: str = "") -> DraftRecord:
        """A draft that has CONTENT."""
        draft = self.owner.drafts.open(project or self.project)
        assert self.owner.drafts.missing(draft.id, list(CONTENT.objects)) == []
        return draft

    def new_user(self) -> str:
        return self.owner.access.users.create(self.new_name("user")).name

    def new_token(self, user: str) -> str:
        return self.owner.access.tokens.create(user, "", [Scope.READ]).record.id

    def new_change(self) -> int:
        """The position before a change that is only now made."""
        position = self.owner.changes.position()
        self.owner.artifacts.update(self.project, "bikes", description=self.new_name("text"))
        return position
