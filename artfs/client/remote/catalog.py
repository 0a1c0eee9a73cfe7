"""Projects, artifacts, versions and aliases of a server."""

from __future__ import annotations

from collections.abc import Sequence

from artfs.client.remote.answers import check_asked
from artfs.client.remote.paths import all_pages, artifact_path, path, project_path
from artfs.client.remote.transport import Transport
from artfs.model.access import Visibility
from artfs.model.metadata import check_metadata
from artfs.model.names import check_alias, parse_version, version_name
from artfs.wire.deletions import Removal, RemovalPlan
from artfs.wire.http import (
    AliasMove,
    AliasRecord,
    ArtifactChange,
    Deletion,
    NewArtifact,
    NewProject,
    Page,
    ProjectChange,
    ProjectDeletion,
)
from artfs.wire.records import ArtifactRecord, DeletionPlan, ProjectRecord, VersionChange, VersionRecord

DELETION_S = 300.0  # the server answers when every byte is gone


class RemoteProjects:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, after: str = "", limit: int | None = None) -> list[ProjectRecord]:
        return all_pages(self._transport, path("projects"), Page[ProjectRecord], after=after, limit=limit)

    def get(self, project: str) -> ProjectRecord:
        return self._of(project, self._transport.get(project_path(project), ProjectRecord))

    def create(
        self, project: str, *, exist_ok: bool = False, visibility: Visibility = Visibility.PRIVATE
    ) -> ProjectRecord:
        body = NewProject(project, exist_ok, visibility)
        return self._of(project, self._transport.send("POST", path("projects"), body, ProjectRecord, again=exist_ok))

    def update(self, project: str, *, visibility: Visibility) -> ProjectRecord:
        body = ProjectChange(visibility)
        return self._of(project, self._transport.send("PATCH", project_path(project), body, ProjectRecord))

    def delete(self, project: str) -> None:
        self._transport.send("DELETE", project_path(project), again=False)

    def _of(self, project: str, found: ProjectRecord) -> ProjectRecord:
        check_asked(found.name == project, self._transport.url)
        return found


class RemoteArtifacts:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, project: str, *, after: str = "", limit: int | None = None) -> list[ArtifactRecord]:
        url = project_path(project, "artifacts")
        found = all_pages(self._transport, url, Page[ArtifactRecord], after=after, limit=limit)
        check_asked(all(record.project == project for record in found), self._transport.url)
        return found

    def get(self, project: str, artifact: str) -> ArtifactRecord:
        return self._of(project, artifact, self._transport.get(artifact_path(project, artifact), ArtifactRecord))

    def create(self, project: str, artifact: str, *, type: str | None = None, exist_ok: bool = False) -> ArtifactRecord:
        body = NewArtifact(artifact, type, exist_ok)
        url = project_path(project, "artifacts")
        found = self._transport.send("POST", url, body, ArtifactRecord, again=exist_ok)
        return self._of(project, artifact, found)

    def update(
        self, project: str, artifact: str, *, type: str | None = None, description: str | None = None
    ) -> ArtifactRecord:
        body = ArtifactChange(type, description)
        found = self._transport.send("PATCH", artifact_path(project, artifact), body, ArtifactRecord)
        return self._of(project, artifact, found)

    def delete(self, project: str, artifact: str) -> None:
        self._transport.send("DELETE", artifact_path(project, artifact), again=False)

    def _of(self, project: str, artifact: str, found: ArtifactRecord) -> ArtifactRecord:
        check_asked((found.project, found.name) == (project, artifact), self._transport.url)
        return found


class RemoteVersions:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, project: str, artifact: str, *, after: int = -1, limit: int | None = None) -> list[VersionRecord]:
        url = artifact_path(project, artifact, "versions")
        found = all_pages(self._transport, url, Page[VersionRecord], after=after, limit=limit)
        check_asked(all((one.project, one.artifact) == (project, artifact) for one in found), self._transport.url)
        return found

    def resolve(self, project: str, artifact: str, selector: str, *, as_of: int | None = None) -> VersionRecord:
        query = None if as_of is None else {"as_of": as_of}
        found = self._transport.get(artifact_path(project, artifact, "versions", selector), VersionRecord, query)
        return self._of(project, artifact, parse_version(selector), found)

    def update(self, project: str, artifact: str, number: int, change: VersionChange) -> VersionRecord:
        check_metadata({**(change.metadata or {}), **change.set_metadata})
        url = artifact_path(project, artifact, "versions", version_name(number))
        return self._of(project, artifact, number, self._transport.send("PATCH", url, change, VersionRecord))

    def plan_delete(self, project: str, artifact: str, numbers: Sequence[int]) -> DeletionPlan:
        return self._delete(project, artifact, Deletion(list(numbers), dry_run=True))

    def delete(
        self, project: str, artifact: str, numbers: Sequence[int], *, delete_aliases: bool = False
    ) -> DeletionPlan:
        return self._delete(project, artifact, Deletion(list(numbers), delete_aliases))

    def plan_removal(self, project: str, removal: Removal) -> RemovalPlan:
        return self._remove(project, removal, dry_run=True, clean=False)

    def remove(self, project: str, removal: Removal, *, clean: bool = True) -> RemovalPlan:
        return self._remove(project, removal, dry_run=False, clean=clean)

    def _delete(self, project: str, artifact: str, body: Deletion) -> DeletionPlan:
        url = artifact_path(project, artifact, "deletions")
        plan = self._transport.send("POST", url, body, DeletionPlan, again=body.dry_run, wait_s=DELETION_S)
        check_asked((plan.project, plan.artifact) == (project, artifact), self._transport.url)
        return plan

    def _remove(self, project: str, removal: Removal, *, dry_run: bool, clean: bool) -> RemovalPlan:
        body = ProjectDeletion(
            removal.versions, removal.artifacts, removal.whole_project, removal.delete_aliases, dry_run, clean
        )
        url = project_path(project, "deletions")
        plan = self._transport.send("POST", url, body, RemovalPlan, again=dry_run, wait_s=DELETION_S)
        check_asked(plan.project == project, self._transport.url)
        return plan

    def _of(self, project: str, artifact: str, number: int | None, found: VersionRecord) -> VersionRecord:
        """`number` None: whatever an alias means."""
        is_it = (found.project, found.artifact) == (project, artifact) and number in (None, found.number)
        check_asked(is_it, self._transport.url)
        return found


class RemoteAliases:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, project: str, artifact: str, *, as_of: int | None = None) -> dict[str, int]:
        url = artifact_path(project, artifact, "aliases")
        query = {} if as_of is None else {"as_of": as_of}
        found = all_pages(self._transport, url, Page[AliasRecord], query=query)
        asked = ((project, artifact), ("", ""))
        check_asked(all((one.project, one.artifact) in asked for one in found), self._transport.url)
        return {one.alias: one.number for one in found}

    def move(self, project: str, artifact: str, alias: str, number: int) -> None:
        check_alias(alias)
        self._transport.send("PUT", artifact_path(project, artifact, "aliases", alias), AliasMove(number))

    def remove(self, project: str, artifact: str, alias: str) -> None:
        self._transport.send("DELETE", artifact_path(project, artifact, "aliases", alias), again=False)
