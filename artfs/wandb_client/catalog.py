"""The catalog of a W&B server, asked for: every call is one question, or one for each page.

Decides what of it is shown: what is committed, under a name that can be one here. Remembers nothing but the key's entity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from artfs.errors import (
    ArtifactNotFound,
    InvalidValue,
    NotAuthenticated,
    PathNotFound,
    ProjectNotFound,
    RegistryUnavailable,
    VersionNotFound,
)
from artfs.wandb_client import queries
from artfs.wandb_client.answers import KEY_HINT
from artfs.wandb_client.graphql import GraphQL, Query
from artfs.wandb_client.known_versions import KnownVersions
from artfs.wandb_client.queries import COMMITTED_ONLY, Connection, Edge
from artfs.wandb_client.records import (
    ArtifactPlace,
    ShownNames,
    VersionRecords,
    artifact_record,
    number_of,
    project_record,
    version_of,
)
from artfs.wandb_client.versions import WandbVersion
from artfs.wire.records import ArtifactRecord, ProjectRecord, VersionRecord

PAGE = 1000
VERSIONS_PAGE = 500  # with their metadata
PAGES_MAX = 2000  # of one list

_T = TypeVar("_T")
_Node = TypeVar("_Node")


class AskedCatalog:
    """Safe from any thread. Raises the matching NotFound, and what `GraphQL.ask` raises.

    Args:
        entity: empty for the one that the key is of.
        known: learns of every version that is met.
    """

    def __init__(self, graphql: GraphQL, entity: str, known: KnownVersions) -> None:
        self._graphql = graphql
        self._entity = entity
        self._known = known
        self._names = ShownNames()

    @property
    def entity(self) -> str:
        """Whose projects these are. Raises InvalidValue if the key is of nobody."""
        if not self._entity:
            viewer = self._graphql.ask(queries.VIEWER, {}).viewer
            if viewer is None:
                raise NotAuthenticated(f"{self._graphql.url} does not know the API key", hint=KEY_HINT)
            if not viewer.entity:
                raise InvalidValue("the API key has no entity of its own", hint="write wandb+https://HOST/ENTITY")
            self._entity = viewer.entity  # threads that meet ask twice, and are told the same
        return self._entity

    def projects(self) -> dict[str, ProjectRecord]:
        edges = self._pages(queries.PROJECTS, {"entity": self.entity}, lambda told: told.models, PAGE)
        found = [edge.node for edge in edges if edge.node is not None]
        shown = [one for one in found if self._names.shows("project", one.name, f"a project of {self.entity}")]
        return {one.name: project_record(one) for one in sorted(shown, key=lambda one: one.name)}

    def project(self, project: str) -> ProjectRecord:
        found = self._graphql.ask(queries.PROJECT, self._place(project)).project
        if found is None or found.name != project:
            raise _no_project(project)
        return project_record(found)

    def artifacts(self, project: str) -> dict[str, ArtifactRecord]:
        found: dict[str, ArtifactRecord] = {}
        for type_ in self._types(project):
            given = self._place(project, type=type_, filters=COMMITTED_ONLY)
            for edge in self._pages(queries.COLLECTIONS, given, lambda told: _collections(told, project), PAGE):
                one = edge.node
                if one is not None and self._names.shows("artifact", one.name, f"an artifact of {project}"):
                    found[one.name] = artifact_record(project, one)
        return dict(sorted(found.items()))

    def artifact(self, project: str, artifact: str) -> ArtifactRecord:
        given = self._place(project, artifact=artifact, filters=COMMITTED_ONLY)
        found = _present(self._graphql.ask(queries.COLLECTION, given).project, project).artifact_collection
        if found is None or found.name != artifact:
            raise _no_artifact(project, artifact)
        return artifact_record(project, found)

    def versions(self, project: str, artifact: str) -> VersionRecords:
        given = self._place(project, artifact=artifact, filters=COMMITTED_ONLY)
        collection = ""

        def pick(told: queries.VersionsTold) -> Connection[queries.Version] | None:
            nonlocal collection
            found = _present(told.project, project).artifact_collection
            if found is None:
                raise _no_artifact(project, artifact)
            collection = found.id
            return found.artifacts

        records: dict[int, VersionRecord] = {}
        for edge in self._pages(queries.VERSIONS, given, pick, VERSIONS_PAGE):
            place = ArtifactPlace(self.entity, project, artifact, collection)
            record = self._noted(place, number_of(edge), edge.node)
            if record is not None:
                records[record.number] = record
        aliases = {alias: record.number for record in records.values() for alias in record.aliases}
        return VersionRecords(dict(sorted(records.items())), aliases)

    def version(self, project: str, artifact: str, selector: str) -> VersionRecord:
        given = self._place(project, artifact=artifact, selector=selector)
        found = _present(self._graphql.ask(queries.VERSION, given).project, project).artifact_collection
        if found is None:
            raise _no_artifact(project, artifact)
        membership = found.artifact_membership
        if membership is not None:
            place = ArtifactPlace(self.entity, project, artifact, found.id)
            record = self._noted(place, membership.version_index, membership.artifact)
            if record is not None and selector in (record.name, *record.aliases):
                return record
        raise VersionNotFound(f"there is no version {selector!r} of {project}/{artifact}")

    def manifest(self, version: WandbVersion) -> bytes | bytearray:
        """Its text. Raises VersionNotFound for one that is there no more, and what `GraphQL.fetch` raises."""
        artifact = self._graphql.ask(queries.MANIFEST, {"id": version.id}).artifact
        if artifact is None:
            raise VersionNotFound(
                f"there is no version v{version.number} of {version.project}/{version.artifact} any more"
            )
        manifest = artifact.current_manifest
        if manifest is None or manifest.file is None or not manifest.file.direct_url:
            raise PathNotFound(f"v{version.number} of {version.project}/{version.artifact} has no manifest")
        return self._graphql.fetch(manifest.file.direct_url)

    def _types(self, project: str) -> list[str]:
        def pick(told: queries.TypesTold) -> Connection[queries.Type] | None:
            return _present(told.project, project).artifact_types

        edges = self._pages(queries.TYPES, self._place(project), pick, PAGE)
        return [edge.node.name for edge in edges if edge.node is not None]

    def _noted(self, place: ArtifactPlace, number: int | None, told: queries.Version | None) -> VersionRecord | None:
        found = version_of(place, number, told, self._names)
        if found is None:
            return None
        self._known.note(found[0])
        return found[1]

    def _place(self, project: str, **more: str) -> dict[str, str]:
        return {"entity": self.entity, "project": project, **more}

    def _pages(
        self, query: Query[_T], given: dict[str, str], pick: Callable[[_T], Connection[_Node] | None], first: int
    ) -> Iterator[Edge[_Node]]:
        """What is in a connection. Raises RegistryUnavailable for one without end."""
        after: str | None = None
        for _ in range(PAGES_MAX):
            page = pick(self._graphql.ask(query, {**given, "first": first, "after": after}))
            if page is None:
                return
            yield from page.edges
            if not page.page_info.has_next_page:
                return
            following = page.page_info.end_cursor
            if not following or following == after or not page.edges:
                break
            after = following
        raise RegistryUnavailable(f"{self._graphql.url} answers {query.name} without end", hint="is it a W&B server?")


def _collections(told: queries.CollectionsTold, project: str) -> Connection[queries.Collection] | None:
    type_ = _present(told.project, project).artifact_type
    return None if type_ is None else type_.artifact_collections


def _present(found: _T | None, project: str) -> _T:
    if found is None:
        raise _no_project(project)
    return found


def _no_project(project: str) -> ProjectNotFound:
    return ProjectNotFound(f"there is no project {project!r}")


def _no_artifact(project: str, artifact: str) -> ArtifactNotFound:
    return ArtifactNotFound(f"there is no artifact {artifact!r} in {project}")
