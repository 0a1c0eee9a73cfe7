"""The registry's services, as a client sees them, embedded or remote.

All calls are synchronous, safe from any thread, and raise only errors of `artfs.errors`. A call that names something absent
raises the matching NotFound. Batches are bounded by `KEYS_MAX`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from artfs.model.access import Role, Scope, Visibility
from artfs.model.digest import Digest, ObjectKey
from artfs.model.lineage import Direction, EdgeKind, VersionRef
from artfs.wire.deletions import Removal, RemovalPlan
from artfs.wire.records import (
    ArtifactRecord,
    Change,
    DeletionPlan,
    DraftRecord,
    Identity,
    Location,
    MemberRecord,
    NewToken,
    ProjectRecord,
    SealRequest,
    SealResult,
    TokenRecord,
    UserRecord,
    VersionChange,
    VersionRecord,
)
from artfs.wire.runs import (
    HistoryRow,
    LineageGraph,
    NewRun,
    NewSweep,
    Part,
    RunChange,
    RunEdges,
    RunRecord,
    SharedDraftRecord,
    SweepRecord,
    VersionEdges,
)

KEYS_MAX = 4096
EDGES_MAX = 1000  # versions in one call of `Lineage.record`
GRAPH_NODES_MAX = 2000
ALIASES_MAX = 1000  # moved in one call

# `list` methods take `after`, the last name (or number) of the page before, and `limit`, None for all that is left.


class Projects(Protocol):
    def list(self, *, after: str = "", limit: int | None = None) -> list[ProjectRecord]:
        """Those that the caller may read, by name."""

    def get(self, project: str) -> ProjectRecord: ...
    def create(
        self, project: str, *, exist_ok: bool = False, visibility: Visibility = Visibility.PRIVATE
    ) -> ProjectRecord:
        """Make a project. Whoever does becomes its first admin. An existing one keeps its visibility."""

    def update(self, project: str, *, visibility: Visibility) -> ProjectRecord: ...
    def delete(self, project: str) -> None:
        """Remove an empty project. Raises NotEmpty."""


class Artifacts(Protocol):
    def list(self, project: str, *, after: str = "", limit: int | None = None) -> list[ArtifactRecord]:
        """By name."""

    def get(self, project: str, artifact: str) -> ArtifactRecord: ...
    def create(
        self, project: str, artifact: str, *, type: str | None = None, exist_ok: bool = False
    ) -> ArtifactRecord: ...
    def update(
        self, project: str, artifact: str, *, type: str | None = None, description: str | None = None
    ) -> ArtifactRecord:
        """Set what is not None. Raises TypeMismatch when versions of another type exist."""

    def delete(self, project: str, artifact: str) -> None:
        """Remove an artifact that has no versions. Raises NotEmpty."""


class Versions(Protocol):
    def list(self, project: str, artifact: str, *, after: int = -1, limit: int | None = None) -> list[VersionRecord]:
        """Versions with numbers above `after`, oldest first."""

    def resolve(self, project: str, artifact: str, selector: str, *, as_of: int | None = None) -> VersionRecord:
        """The version that an alias or version name means, at change number `as_of` if given."""

    def update(self, project: str, artifact: str, number: int, change: VersionChange) -> VersionRecord:
        """Apply a change in one transaction. Two that change different things lose nothing of each other."""

    def plan_delete(self, project: str, artifact: str, numbers: Sequence[int]) -> DeletionPlan: ...

    def delete(
        self, project: str, artifact: str, numbers: Sequence[int], *, delete_aliases: bool = False
    ) -> DeletionPlan:
        """Delete versions and, before returning, every stored byte that nothing else holds. Raises StillAliased."""

    def plan_removal(self, project: str, removal: Removal) -> RemovalPlan:
        """What `remove` would do. Raises ArtifactNotFound and VersionNotFound."""

    def remove(self, project: str, removal: Removal, *, clean: bool = True) -> RemovalPlan:
        """Delete much together and, before returning, every stored byte that nothing else holds.

        Many versions are deleted in several transactions, between which others commit. What somebody else deletes meanwhile is
        passed over; what is committed meanwhile to an artifact that goes, goes. A call that fails has deleted whole versions
        or none; another one for those that are left goes on. Raises StillAliased, NotEmpty.

        Args:
            clean: False for one of several calls, of which the last one cleans: bytes are gone when that returns.
        """


class Aliases(Protocol):
    def list(self, project: str, artifact: str, *, as_of: int | None = None) -> dict[str, int]:
        """Version numbers by alias, at change number `as_of` if given."""

    def move(self, project: str, artifact: str, alias: str, number: int) -> None:
        """Make `alias` mean version `number`, creating it if need be."""

    def remove(self, project: str, artifact: str, alias: str) -> None: ...


class Drafts(Protocol):
    def open(self, project: str) -> DraftRecord: ...
    def renew(self, draft: str) -> DraftRecord:
        """Extend the lease. Raises DraftNotFound once it expired: then open another and ask `missing` again."""

    def missing(self, draft: str, keys: Sequence[ObjectKey]) -> list[ObjectKey]:
        """Which of `keys` (at most KEYS_MAX) must be sent. The others are leased to the draft until it ends."""

    def put_pack(self, draft: str, pack: Path) -> None:
        """Store a finished pack file and register its objects, all or none, leased to the draft.

        The file is taken over (moved) when it can be. Repeating a pack that is already stored changes nothing.
        Raises ObjectMissing if an object's child is neither stored nor earlier in the pack, DamagedPack if the
        bytes are not what the index says.
        """

    def seal(self, draft: str, request: SealRequest) -> SealResult:
        """Turn the draft into a version in one transaction. Repeating it returns the same result."""

    def abandon(self, draft: str) -> None:
        """End the draft; what only it held is deleted. Unknown drafts are no error."""


class SharedDrafts(Protocol):
    """Drafts that many processes contribute to: one for each project, artifact and group.

    A writer stores its part's tree with a draft of its own, then adds it, in one transaction: one that dies before leaves
    nothing. Parts are a set, so their order does not matter.
    """

    def open(self, project: str, artifact: str, group: str) -> SharedDraftRecord:
        """The shared draft of that name, opened if need be. Raises DraftClosed for one that was finished."""

    def add(self, shared: str, draft: str, part: Part) -> None:
        """Contribute `part`, whose tree was stored with `draft`, which ends. Repeating it changes nothing.

        Raises DraftClosed once the shared draft was finished, DraftNotFound, ObjectMissing.
        """

    def parts(self, shared: str) -> list[Part]:
        """What was contributed so far, sorted by root and run."""

    def finish(self, shared: str, draft: str, request: SealRequest, parts: Sequence[Digest]) -> SealResult:
        """Seal `draft`, which holds the union of the `parts` (the root of each, in any order), and close the shared draft.

        Each part's run is noted as having logged the version. Repeating it returns the same result. Raises Busy when other
        parts were added meanwhile: then gather again.
        """

    def abandon(self, shared: str) -> None:
        """Close the shared draft without a version; what only it held is deleted. Unknown ones are no error."""


class Runs(Protocol):
    """What produces and consumes versions."""

    def list(
        self, project: str, *, group: str = "", sweep: str = "", after: int = -1, limit: int | None = None
    ) -> list[RunRecord]:
        """Runs with numbers above `after`, in the order of starts; of that group and sweep, if not empty."""

    def get(self, project: str, run: str) -> RunRecord:
        """Raises RunNotFound."""

    def start(self, project: str, new: NewRun) -> RunRecord:
        """Start a run, or go on with one. Raises AlreadyExists, RunNotFound, SweepNotFound, ProjectNotFound."""

    def update(self, project: str, run: str, change: RunChange) -> RunRecord: ...
    def log(self, project: str, run: str, rows: Sequence[HistoryRow]) -> None:
        """Add to the history (at most HISTORY_ROWS_MAX rows), and set the summary's keys.

        Says that the run lives, also without rows.
        """

    def history(self, project: str, run: str, *, after: int = -1, limit: int | None = None) -> Sequence[HistoryRow]:
        """Rows of steps above `after`, in order."""

    def delete(self, project: str, run: str) -> None:
        """Remove a run with its history and its edges; versions stay."""


class Sweeps(Protocol):
    def list(self, project: str, *, after: str = "", limit: int | None = None) -> list[SweepRecord]:
        """By id."""

    def get(self, project: str, sweep: str) -> SweepRecord:
        """Raises SweepNotFound."""

    def create(self, project: str, new: NewSweep) -> SweepRecord: ...
    def delete(self, project: str, sweep: str) -> None:
        """Remove a sweep; its runs stay."""


class Lineage(Protocol):
    """Edges between runs and versions. They go with the run, and with the version."""

    def record(self, project: str, run: str, kind: EdgeKind, versions: Sequence[VersionRef]) -> None:
        """Note that the run logged or used `versions` (at most EDGES_MAX), all or none; edges that are there stay.

        Raises LineageCycle if a version would follow from itself, RunNotFound, VersionNotFound.
        """

    def of_run(self, project: str, run: str) -> RunEdges: ...
    def of_version(self, project: str, artifact: str, number: int) -> VersionEdges: ...
    def graph(
        self,
        project: str,
        artifact: str,
        number: int,
        *,
        direction: Direction = Direction.BOTH,
        depth: int = GRAPH_NODES_MAX,
    ) -> LineageGraph:
        """What is within `depth` edges of a version: upwards its ancestors, downwards what follows from it."""


class Objects(Protocol):
    def locate(self, project: str, keys: Sequence[ObjectKey]) -> list[Location | None]:
        """Where each of `keys` (at most KEYS_MAX) is stored now, None for what is not."""


class Changes(Protocol):
    def position(self) -> int:
        """The number of the newest change; cheap enough to ask five times a second."""

    def since(self, seq: int, limit: int = 1000) -> list[Change]:
        """Changes after `seq` that the caller may see, oldest first."""

    def wait(self, seq: int, timeout_s: float) -> int:
        """Block until there is a change after `seq`, or for `timeout_s` at most; the position then. May return early."""


class Members(Protocol):
    """Who has which role in a project."""

    def list(self, project: str) -> list[MemberRecord]:
        """By user."""

    def set(self, project: str, user: str, role: Role) -> MemberRecord:
        """Add a member, or change its role. Raises UserNotFound."""

    def remove(self, project: str, user: str) -> None:
        """No error for one that is no member."""


class Users(Protocol):
    def me(self) -> Identity:
        """Who the caller is. Raises NotAuthenticated."""

    def list(self) -> list[UserRecord]: ...
    def create(self, name: str, *, admin: bool = False) -> UserRecord:
        """Raises AlreadyExists."""

    def update(self, name: str, *, admin: bool | None = None, disabled: bool | None = None) -> UserRecord: ...
    def delete(self, name: str) -> None:
        """Remove a user with all tokens and memberships."""


class Tokens(Protocol):
    def list(self, user: str) -> list[TokenRecord]: ...
    def create(self, user: str, name: str, scopes: Sequence[Scope], *, expires_at_ns: int | None = None) -> NewToken:
        """Make a token. Its secret is told here and never again. A caller can give
        neither more than its own scopes nor, to itself, more time than its own token has.

        Raises AccessDenied, and InvalidValue for an expiry that is past or more than a hundred years away.
        """

    def revoke(self, token_id: str) -> None:
        """From now on it is not valid. Raises TokenNotFound."""


class Access(Protocol):
    """Users, their tokens, and what they may do."""

    @property
    def users(self) -> Users: ...
    @property
    def tokens(self) -> Tokens: ...
    @property
    def members(self) -> Members: ...


class Tracking(Protocol):
    """Runs, what they made alone and together, and what was made from it."""

    @property
    def shared_drafts(self) -> SharedDrafts: ...
    @property
    def runs(self) -> Runs: ...
    @property
    def sweeps(self) -> Sweeps: ...
    @property
    def lineage(self) -> Lineage: ...


class Registry(Tracking, Protocol):
    """Everything a client needs of a registry."""

    @property
    def identity(self) -> str:
        """A stable id of this registry, the same from every client."""

    @property
    def spool(self) -> Path:
        """A directory for packs under construction, on the same file system as the storage where that helps."""

    @property
    def projects(self) -> Projects: ...
    @property
    def artifacts(self) -> Artifacts: ...
    @property
    def versions(self) -> Versions: ...
    @property
    def aliases(self) -> Aliases: ...
    @property
    def drafts(self) -> Drafts: ...
    @property
    def objects(self) -> Objects: ...
    @property
    def changes(self) -> Changes: ...
    @property
    def access(self) -> Access: ...
    def close(self) -> None: ...
