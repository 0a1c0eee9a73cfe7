"""Who may do what, as a scenario that runs against any registry that knows its callers.

`ACTIONS` holds one or more ways to call each method of `artfs.wire.service`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from artfs.errors import DraftNotFound, ProjectNotFound
from artfs.model.access import Role, Scope
from artfs.model.lineage import EdgeKind, RunRef, VersionRef
from artfs.wire.deletions import Removal
from artfs.wire.records import DraftRecord, SealRequest, VersionChange
from artfs.wire.runs import HistoryRow, NewRun, NewSweep, Part, RunChange, SharedDraftRecord
from artfs.wire.service import Registry
from tests.access_stage import CONTENT, OTHER, Caller, Kind, Outcome, Stage, outcome_of
from tests.contract.uploading import START_NS, write_pack


@dataclass(frozen=True)
class Action:
    """One way to call a method: `prepare` makes what it uses up, `perform` calls it and raises what it raises.

    Attributes:
        method: service and method, as in `artfs.wire.service`.
    """

    method: str
    kind: Kind
    perform: Callable[[Registry, Caller, Stage, Any], object]
    prepare: Callable[[Stage, Caller], Any] = lambda stage, caller: None
    note: str = ""

    def __str__(self) -> str:
        return f"{self.method}{'-' if self.note else ''}{self.note}"

    def outcome(self, registry: Registry, caller: Caller, stage: Stage) -> Outcome:
        """What `caller` gets of its `registry`."""
        prepared = self.prepare(stage, caller)
        return outcome_of(lambda: self.perform(registry, caller, stage, prepared))


def _is_listed(registry: Registry, stage: Stage) -> None:
    names = [record.name for record in registry.projects.list()]
    assert len(names) == len(set(names))
    if stage.project not in names:
        raise ProjectNotFound("not in the list")


def _is_told(registry: Registry, stage: Stage, position: int) -> None:
    if stage.project not in {change.project for change in registry.changes.since(position)}:
        raise ProjectNotFound("not told of")


def _abandon(registry: Registry, stage: Stage, draft: DraftRecord) -> None:
    registry.drafts.abandon(draft.id)
    try:
        stage.owner.drafts.renew(draft.id)
    except DraftNotFound:
        return
    raise DraftNotFound("no error, and the draft still is")


def _put_pack(registry: Registry, draft: DraftRecord) -> None:
    pack = write_pack(registry, draft.project_uid, CONTENT.objects.items(), now_ns=START_NS)
    try:
        registry.drafts.put_pack(draft.id, pack)
    finally:
        pack.unlink(missing_ok=True)


def _seal(registry: Registry, stage: Stage, draft: DraftRecord) -> None:
    stage.owner.drafts.missing(draft.id, list(CONTENT.objects))  # all of it is stored
    registry.drafts.seal(draft.id, SealRequest("bikes", CONTENT.root))


def _create_token(registry: Registry, caller: Caller, user: str) -> None:
    registry.access.tokens.create(user, "another", [Scope.READ])


def _read(method: str, perform: Callable[[Registry, str], object]) -> Action:
    return Action(method, Kind.READ, lambda registry, caller, stage, _: perform(registry, stage.project))


def _draft(method: str, perform: Callable[[Registry, Stage, DraftRecord], object]) -> Action:
    return Action(
        method,
        Kind.WRITE,
        lambda registry, caller, stage, draft: perform(registry, stage, draft),
        lambda stage, caller: stage.new_draft(),
    )


PROJECTS = [
    Action("projects.list", Kind.READ, lambda registry, caller, stage, _: _is_listed(registry, stage)),
    _read("projects.get", lambda registry, project: registry.projects.get(project)),
    Action(
        "projects.create",
        Kind.CREATE,
        lambda registry, caller, stage, _: registry.projects.create(stage.new_name("made")),
    ),
    Action(
        "projects.update",
        Kind.GOVERN,
        lambda registry, caller, stage, _: registry.projects.update(stage.project, visibility=stage.visibility),
    ),
    Action(
        "projects.delete",
        Kind.GOVERN,
        lambda registry, caller, stage, project: registry.projects.delete(project),
        lambda stage, caller: stage.new_project(),
    ),
]
ARTIFACTS = [
    _read("artifacts.list", lambda registry, project: registry.artifacts.list(project)),
    _read("artifacts.get", lambda registry, project: registry.artifacts.get(project, "bikes")),
    Action(
        "artifacts.create",
        Kind.WRITE,
        lambda registry, caller, stage, _: registry.artifacts.create(stage.project, stage.new_name("artifact")),
    ),
    Action(
        "artifacts.update",
        Kind.WRITE,
        lambda registry, caller, stage, _: registry.artifacts.update(stage.project, "bikes", description="two wheels"),
    ),
    Action(
        "artifacts.delete",
        Kind.DELETE,
        lambda registry, caller, stage, artifact: registry.artifacts.delete(stage.project, artifact),
        lambda stage, caller: stage.new_artifact(),
    ),
]
VERSIONS = [
    _read("versions.list", lambda registry, project: registry.versions.list(project, "bikes")),
    _read("versions.resolve", lambda registry, project: registry.versions.resolve(project, "bikes", "best")),
    Action(
        "versions.update",
        Kind.WRITE,
        lambda registry, caller, stage, _: registry.versions.update(
            stage.project, "bikes", 0, VersionChange(description="first")
        ),
    ),
    Action(
        "versions.update",
        Kind.DELETE,
        lambda registry, caller, stage, artifact: registry.versions.update(
            stage.project, artifact, 0, VersionChange(ttl_s=1)
        ),
        lambda stage, caller: stage.new_version(),
        "that ends a version's life",
    ),
    _read("versions.plan_delete", lambda registry, project: registry.versions.plan_delete(project, "bikes", [0])),
    Action(
        "versions.delete",
        Kind.DELETE,
        lambda registry, caller, stage, artifact: registry.versions.delete(
            stage.project, artifact, [0], delete_aliases=True
        ),
        lambda stage, caller: stage.new_version(),
    ),
    _read(
        "versions.plan_removal",
        lambda registry, project: registry.versions.plan_removal(project, Removal({"bikes": [0]})),
    ),
    Action(
        "versions.remove",
        Kind.DELETE,
        lambda registry, caller, stage, artifact: registry.versions.remove(
            stage.project, Removal(artifacts=[artifact])
        ),
        lambda stage, caller: stage.new_version(),
    ),
    Action(
        "versions.remove",
        Kind.GOVERN,
        lambda registry, caller, stage, project: registry.versions.remove(project, Removal(whole_project=True)),
        lambda stage, caller: stage.new_project(),
        "whole project",
    ),
    _read("aliases.list", lambda registry, project: registry.aliases.list(project, "bikes")),
    Action(
        "aliases.move",
        Kind.WRITE,
        lambda registry, caller, stage, _: registry.aliases.move(stage.project, "bikes", stage.new_name("alias"), 0),
    ),
    Action(
        "aliases.remove",
        Kind.WRITE,
        lambda registry, caller, stage, alias: registry.aliases.remove(stage.project, "bikes", alias),
        lambda stage, caller: stage.new_alias(),
    ),
    _read("objects.locate", lambda registry, project: registry.objects.locate(project, [CONTENT.root_key])),
]
DRAFTS = [
    Action("drafts.open", Kind.WRITE, lambda registry, caller, stage, _: registry.drafts.open(stage.project)),
    _draft("drafts.renew", lambda registry, stage, draft: registry.drafts.renew(draft.id)),
    _draft("drafts.missing", lambda registry, stage, draft: registry.drafts.missing(draft.id, [CONTENT.root_key])),
    _draft("drafts.put_pack", lambda registry, stage, draft: _put_pack(registry, draft)),
    _draft("drafts.seal", _seal),
    _draft("drafts.abandon", _abandon),
]


def _run(method: str, kind: Kind, perform: Callable[[Registry, Stage, RunRef], object]) -> Action:
    return Action(
        method,
        kind,
        lambda registry, caller, stage, run: perform(registry, stage, run),
        lambda stage, caller: stage.new_run(),
    )


def _shared(method: str, perform: Callable[[Registry, Stage, SharedDraftRecord], object], note: str = "") -> Action:
    return Action(
        method,
        Kind.WRITE,
        lambda registry, caller, stage, shared: perform(registry, stage, shared),
        lambda stage, caller: stage.new_shared_draft(),
        note,
    )


def _parts_of(run: RunRef) -> tuple[str, str]:
    return run.project, run.id


def _bikes(project: str) -> list[VersionRef]:
    return [VersionRef(project, "bikes", 0)]


def _add(registry: Registry, stage: Stage, shared: SharedDraftRecord) -> None:
    registry.shared_drafts.add(shared.id, stage.new_upload().id, Part(CONTENT.root))


def _add_on_behalf(registry: Registry, stage: Stage, run: RunRef) -> None:
    shared = stage.owner.shared_drafts.open(stage.open, stage.new_name("artifact"), "group")
    registry.shared_drafts.add(shared.id, stage.new_upload(stage.open).id, Part(CONTENT.root, str(run)))


def _finish(registry: Registry, stage: Stage, shared: SharedDraftRecord) -> None:
    request = SealRequest(shared.artifact, CONTENT.root)
    registry.shared_drafts.finish(shared.id, stage.new_upload().id, request, [])


def _finish_on_behalf(registry: Registry, stage: Stage, run: RunRef) -> None:
    shared = stage.owner.shared_drafts.open(stage.open, stage.new_name("artifact"), "group")
    request = SealRequest(shared.artifact, CONTENT.root, run=str(run))
    registry.shared_drafts.finish(shared.id, stage.new_upload(stage.open).id, request, [])


def _seal_on_behalf(registry: Registry, stage: Stage, run: RunRef) -> None:
    registry.drafts.seal(stage.new_upload(stage.open).id, SealRequest("bikes", CONTENT.root, run=str(run)))


def _abandon_shared(registry: Registry, stage: Stage, shared: SharedDraftRecord) -> None:
    registry.shared_drafts.abandon(shared.id)
    try:
        stage.owner.shared_drafts.parts(shared.id)
    except DraftNotFound:
        return
    raise DraftNotFound("no error, and the shared draft still is")


def _on_behalf(method: str, perform: Callable[[Registry, Stage, RunRef], object]) -> Action:
    return Action(
        method,
        Kind.CREDIT,
        lambda registry, caller, stage, run: perform(registry, stage, run),
        lambda stage, caller: stage.new_run(),
        "on-behalf-of-a-run-there",
    )


RUNS = [
    _read("runs.list", lambda registry, project: registry.runs.list(project)),
    _run("runs.get", Kind.READ, lambda registry, stage, run: registry.runs.get(*_parts_of(run))),
    Action("runs.start", Kind.WRITE, lambda registry, caller, stage, _: registry.runs.start(stage.project, NewRun())),
    _run("runs.update", Kind.WRITE, lambda registry, stage, run: registry.runs.update(*_parts_of(run), RunChange())),
    _run(
        "runs.log",
        Kind.WRITE,
        lambda registry, stage, run: registry.runs.log(*_parts_of(run), [HistoryRow(0, 0, {"x": 1})]),
    ),
    _run("runs.history", Kind.READ, lambda registry, stage, run: registry.runs.history(*_parts_of(run))),
    _run("runs.delete", Kind.DELETE, lambda registry, stage, run: registry.runs.delete(*_parts_of(run))),
    _read("sweeps.list", lambda registry, project: registry.sweeps.list(project)),
    Action(
        "sweeps.get",
        Kind.READ,
        lambda registry, caller, stage, sweep: registry.sweeps.get(stage.project, sweep),
        lambda stage, caller: stage.new_sweep(),
    ),
    Action(
        "sweeps.create",
        Kind.WRITE,
        lambda registry, caller, stage, _: registry.sweeps.create(stage.project, NewSweep()),
    ),
    Action(
        "sweeps.delete",
        Kind.DELETE,
        lambda registry, caller, stage, sweep: registry.sweeps.delete(stage.project, sweep),
        lambda stage, caller: stage.new_sweep(),
    ),
]
LINEAGE = [
    _run(
        "lineage.record",
        Kind.WRITE,
        lambda registry, stage, run: registry.lineage.record(*_parts_of(run), EdgeKind.USED, _bikes(stage.open)),
    ),
    Action(
        "lineage.record",
        Kind.REFER,
        lambda registry, caller, stage, run: registry.lineage.record(
            *_parts_of(run), EdgeKind.USED, _bikes(stage.project)
        ),
        lambda stage, caller: stage.new_run(stage.open),
        "of-a-version-there",
    ),
    Action(
        "lineage.record",
        Kind.CREDIT,
        lambda registry, caller, stage, run: registry.lineage.record(
            *_parts_of(run), EdgeKind.LOGGED, _bikes(stage.project)
        ),
        lambda stage, caller: stage.new_run(stage.open),
        "that-made-a-version-there",
    ),
    _run("lineage.of_run", Kind.READ, lambda registry, stage, run: registry.lineage.of_run(*_parts_of(run))),
    _read("lineage.of_version", lambda registry, project: registry.lineage.of_version(project, "bikes", 0)),
    _read("lineage.graph", lambda registry, project: registry.lineage.graph(project, "bikes", 0)),
    _on_behalf("drafts.seal", _seal_on_behalf),
]
SHARED_DRAFTS = [
    Action(
        "shared_drafts.open",
        Kind.WRITE,
        lambda registry, caller, stage, _: registry.shared_drafts.open(
            stage.project, stage.new_name("artifact"), "group"
        ),
    ),
    _shared("shared_drafts.add", _add),
    _on_behalf("shared_drafts.add", _add_on_behalf),
    _shared("shared_drafts.parts", lambda registry, stage, shared: registry.shared_drafts.parts(shared.id)),
    _shared("shared_drafts.finish", _finish),
    _on_behalf("shared_drafts.finish", _finish_on_behalf),
    _shared("shared_drafts.abandon", _abandon_shared),
]
CHANGES = [
    Action("changes.position", Kind.ASK, lambda registry, caller, stage, _: registry.changes.position()),
    Action(
        "changes.since",
        Kind.READ,
        lambda registry, caller, stage, position: _is_told(registry, stage, position),
        lambda stage, caller: stage.new_change(),
    ),
    Action("changes.wait", Kind.ASK, lambda registry, caller, stage, _: registry.changes.wait(0, 0.0)),
]
MEMBERS = [
    _read("members.list", lambda registry, project: registry.access.members.list(project)),
    Action(
        "members.set",
        Kind.GOVERN,
        lambda registry, caller, stage, project: registry.access.members.set(project, OTHER, Role.READER),
        lambda stage, caller: stage.new_project(),
    ),
    Action(
        "members.remove",
        Kind.GOVERN,
        lambda registry, caller, stage, project: registry.access.members.remove(project, "a-reader"),
        lambda stage, caller: stage.new_project(),
        "another",
    ),
]
USERS = [
    Action("users.me", Kind.ASK, lambda registry, caller, stage, _: registry.access.users.me()),
    Action("users.list", Kind.SERVE, lambda registry, caller, stage, _: registry.access.users.list()),
    Action(
        "users.create",
        Kind.SERVE,
        lambda registry, caller, stage, _: registry.access.users.create(stage.new_name("user")),
    ),
    Action(
        "users.update",
        Kind.SERVE,
        lambda registry, caller, stage, _: registry.access.users.update(OTHER, disabled=False),
    ),
    Action(
        "users.update",
        Kind.SERVE,
        lambda registry, caller, stage, _: registry.access.users.update(caller.user, admin=caller.server_admin),
        note="oneself",
    ),
    Action(
        "users.delete",
        Kind.SERVE,
        lambda registry, caller, stage, user: registry.access.users.delete(user),
        lambda stage, caller: stage.new_user(),
    ),
]
TOKENS = [
    Action(
        "tokens.list", Kind.ASK, lambda registry, caller, stage, _: registry.access.tokens.list(caller.user), note="own"
    ),
    Action(
        "tokens.list",
        Kind.SERVE,
        lambda registry, caller, stage, _: registry.access.tokens.list(OTHER),
        note="another's",
    ),
    Action(
        "tokens.list",
        Kind.SERVE,
        lambda registry, caller, stage, user: registry.access.tokens.list(user),
        lambda stage, caller: stage.new_user(),
        "another's-without-any",
    ),
    Action(
        "tokens.create",
        Kind.CREATE,
        lambda registry, caller, stage, _: _create_token(registry, caller, caller.user),
        note="own",
    ),
    Action(
        "tokens.create",
        Kind.SERVE,
        lambda registry, caller, stage, _: _create_token(registry, caller, OTHER),
        note="another's",
    ),
    Action(
        "tokens.revoke",
        Kind.CREATE,
        lambda registry, caller, stage, token: registry.access.tokens.revoke(token),
        lambda stage, caller: stage.new_token(caller.user),
        "own",
    ),
    Action(
        "tokens.revoke",
        Kind.REVOKE_OF_ANOTHER,
        lambda registry, caller, stage, token: registry.access.tokens.revoke(token),
        lambda stage, caller: stage.new_token(OTHER),
        "another's",
    ),
]
ACTIONS = [
    *PROJECTS,
    *ARTIFACTS,
    *VERSIONS,
    *DRAFTS,
    *RUNS,
    *LINEAGE,
    *SHARED_DRAFTS,
    *CHANGES,
    *MEMBERS,
    *USERS,
    *TOKENS,
]
