"""Projects, artifacts, versions and aliases."""

from __future__ import annotations

from typing import Any

from artfs.errors import InvalidName
from artfs.model.names import parse_version
from artfs.server.routes import AS_OF, PAGING, PAGING_NUMBERS, Call, Operation, page_after, page_of, query_number
from artfs.wire.http import (
    AliasMove,
    AliasRecord,
    ArtifactChange,
    Deletion,
    NewArtifact,
    NewProject,
    Page,
    ProjectChange,
)
from artfs.wire.records import ArtifactRecord, DeletionPlan, ProjectRecord, VersionChange, VersionRecord

PROJECT = "/projects/{project}"
ARTIFACT = PROJECT + "/artifacts/{artifact}"


def _of(call: Call) -> tuple[str, str]:
    return call.path["project"], call.path["artifact"]


def list_projects(call: Call) -> Page[ProjectRecord]:
    items = call.registry.projects.list(after=call.query.get("after", ""), limit=call.limit + 1)
    return page_of(items, call.limit, lambda record: record.name)


def create_project(call: Call) -> ProjectRecord:
    new: NewProject = call.body
    return call.registry.projects.create(new.name, exist_ok=new.exist_ok, visibility=new.visibility)


def get_project(call: Call) -> ProjectRecord:
    return call.registry.projects.get(call.path["project"])


def change_project(call: Call) -> ProjectRecord:
    return call.registry.projects.update(call.path["project"], visibility=call.body.visibility)


def delete_project(call: Call) -> None:
    call.registry.projects.delete(call.path["project"])


def list_artifacts(call: Call) -> Page[ArtifactRecord]:
    items = call.registry.artifacts.list(call.path["project"], after=call.query.get("after", ""), limit=call.limit + 1)
    return page_of(items, call.limit, lambda record: record.name)


def create_artifact(call: Call) -> ArtifactRecord:
    new: NewArtifact = call.body
    return call.registry.artifacts.create(call.path["project"], new.name, type=new.type, exist_ok=new.exist_ok)


def get_artifact(call: Call) -> ArtifactRecord:
    return call.registry.artifacts.get(*_of(call))


def change_artifact(call: Call) -> ArtifactRecord:
    change: ArtifactChange = call.body
    return call.registry.artifacts.update(*_of(call), type=change.type, description=change.description)


def delete_artifact(call: Call) -> None:
    call.registry.artifacts.delete(*_of(call))


def list_versions(call: Call) -> Page[VersionRecord]:
    after = query_number(call.query, "after", -1)
    versions = call.registry.versions

    def ask(after: int, limit: int) -> list[VersionRecord]:
        return versions.list(*_of(call), after=after, limit=limit)

    return page_after(ask, after, call.limit, lambda record: record.number)


def get_version(call: Call) -> VersionRecord:
    return call.registry.versions.resolve(*_of(call), call.path["selector"], as_of=call.as_of)


def change_version(call: Call) -> VersionRecord:
    number = parse_version(call.path["selector"])
    if number is None:
        raise InvalidName(f"{call.path['selector']!r} is not a version", hint="name the version, not an alias")
    return call.registry.versions.update(*_of(call), number, call.body)


def delete_versions(call: Call) -> DeletionPlan:
    deletion: Deletion = call.body
    if deletion.dry_run:
        return call.registry.versions.plan_delete(*_of(call), deletion.numbers)
    return call.registry.versions.delete(*_of(call), deletion.numbers, delete_aliases=deletion.delete_aliases)


def list_aliases(call: Call) -> Page[AliasRecord]:
    after = call.query.get("after", "")
    project, artifact = _of(call)
    aliases = call.registry.aliases.list(project, artifact, as_of=call.as_of)
    items = [
        AliasRecord(alias, number, project, artifact) for alias, number in sorted(aliases.items()) if alias > after
    ]
    return page_of(items, call.limit, lambda record: record.alias)


def move_alias(call: Call) -> None:
    call.registry.aliases.move(*_of(call), call.path["alias"], call.body.number)


def remove_alias(call: Call) -> None:
    call.registry.aliases.remove(*_of(call), call.path["alias"])


def _row(method: str, path: str, summary: str, handler: Any, answer: Any = None, **more: Any) -> Operation:
    return Operation(method, path, summary, handler, answer=answer, status=200 if answer else 204, **more)


OPERATIONS = (
    _row("GET", "/projects", "List projects", list_projects, Page[ProjectRecord], query=PAGING),
    _row("POST", "/projects", "Create a project", create_project, ProjectRecord, body=NewProject),
    _row("GET", PROJECT, "One project", get_project, ProjectRecord),
    _row("PATCH", PROJECT, "Change a project's visibility", change_project, ProjectRecord, body=ProjectChange),
    _row("DELETE", PROJECT, "Delete an empty project", delete_project),
    _row("GET", PROJECT + "/artifacts", "List artifacts", list_artifacts, Page[ArtifactRecord], query=PAGING),
    _row("POST", PROJECT + "/artifacts", "Create an artifact", create_artifact, ArtifactRecord, body=NewArtifact),
    _row("GET", ARTIFACT, "One artifact", get_artifact, ArtifactRecord),
    _row("PATCH", ARTIFACT, "Set type or description", change_artifact, ArtifactRecord, body=ArtifactChange),
    _row("DELETE", ARTIFACT, "Delete an artifact without versions", delete_artifact),
    _row("GET", ARTIFACT + "/versions", "List versions", list_versions, Page[VersionRecord], query=PAGING_NUMBERS),
    _row(
        "GET", ARTIFACT + "/versions/{selector}", "What an alias or vN means", get_version, VersionRecord, query=AS_OF
    ),
    _row(
        "PATCH",
        ARTIFACT + "/versions/{selector}",
        "Describe a version, or give it aliases",
        change_version,
        VersionRecord,
        body=VersionChange,
    ),
    _row("POST", ARTIFACT + "/deletions", "Delete versions, or plan to", delete_versions, DeletionPlan, body=Deletion),
    _row("GET", ARTIFACT + "/aliases", "List aliases", list_aliases, Page[AliasRecord], query=(*PAGING, *AS_OF)),
    _row("PUT", ARTIFACT + "/aliases/{alias}", "Move or make an alias", move_alias, body=AliasMove),
    _row("DELETE", ARTIFACT + "/aliases/{alias}", "Remove an alias", remove_alias),
)
