"""What is asked of a W&B server, and the shape of its answers: what `wandb` itself asks for, and less.

A collection is an artifact, or a portfolio of versions of others: `artifactMembership` and the `version` of an edge tell the
number that a version has in it. A connection is a list in pages.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

from artfs.wandb_client.graphql import Query

COMMITTED = "COMMITTED"
COMMITTED_ONLY = '{"state": "COMMITTED"}'  # as a filter; a server that does not know it answers all

_Node = TypeVar("_Node")


class _Told(msgspec.Struct, frozen=True, rename="camel"):
    """Part of an answer."""


class PageInfo(_Told, frozen=True):
    has_next_page: bool = False
    end_cursor: str | None = None


class Edge(_Told, Generic[_Node], frozen=True):
    node: _Node | None = None
    version: str | None = None


class Connection(_Told, Generic[_Node], frozen=True):
    edges: list[Edge[_Node]] = []
    page_info: PageInfo = PageInfo()


class Count(_Told, frozen=True):
    total_count: int = 0


class Viewer(_Told, frozen=True):
    entity: str | None = None


class ViewerTold(_Told, frozen=True):
    viewer: Viewer | None = None


class Project(_Told, frozen=True):
    id: str
    name: str
    created_at: str | None = None


class ProjectsTold(_Told, frozen=True):
    models: Connection[Project] | None = None


class ProjectTold(_Told, frozen=True):
    project: Project | None = None


class Type(_Told, frozen=True):
    name: str


class Collection(_Told, frozen=True):
    name: str
    description: str | None = None
    created_at: str | None = None
    default_artifact_type: Type | None = None
    artifacts: Count | None = None


class CollectionId(_Told, frozen=True):
    id: str


class Alias(_Told, frozen=True):
    alias: str
    artifact_collection: CollectionId | None = None


class Version(_Told, frozen=True):
    id: str
    state: str | None = None
    digest: str | None = None
    artifact_type: Type | None = None
    version_index: int | None = None
    size: int | None = None
    file_count: int | None = None
    created_at: str | None = None
    description: str | None = None
    metadata: str | None = None
    aliases: list[Alias] | None = None


class Membership(_Told, frozen=True):
    version_index: int | None = None
    artifact: Version | None = None


class File(_Told, frozen=True):
    direct_url: str | None = None


class Manifest(_Told, frozen=True):
    file: File | None = None


class _TypesOfProject(_Told, frozen=True):
    artifact_types: Connection[Type] | None = None


class TypesTold(_Told, frozen=True):
    project: _TypesOfProject | None = None


class _CollectionsOfType(_Told, frozen=True):
    artifact_collections: Connection[Collection] | None = None


class _TypeOfProject(_Told, frozen=True):
    artifact_type: _CollectionsOfType | None = None


class CollectionsTold(_Told, frozen=True):
    project: _TypeOfProject | None = None


class _CollectionOfProject(_Told, frozen=True):
    artifact_collection: Collection | None = None


class CollectionTold(_Told, frozen=True):
    project: _CollectionOfProject | None = None


class Versions(_Told, frozen=True):
    id: str
    artifacts: Connection[Version] | None = None


class _VersionsOfProject(_Told, frozen=True):
    artifact_collection: Versions | None = None


class VersionsTold(_Told, frozen=True):
    project: _VersionsOfProject | None = None


class Selected(_Told, frozen=True):
    id: str
    artifact_membership: Membership | None = None


class _SelectedOfProject(_Told, frozen=True):
    artifact_collection: Selected | None = None


class VersionTold(_Told, frozen=True):
    project: _SelectedOfProject | None = None


class _ArtifactWithManifest(_Told, frozen=True):
    current_manifest: Manifest | None = None


class ManifestTold(_Told, frozen=True):
    artifact: _ArtifactWithManifest | None = None


_COLLECTION = """
fragment CollectionFields on ArtifactCollection {
  name
  description
  createdAt
  defaultArtifactType { name }
  artifacts(first: 1, filters: $filters) { totalCount }
}
"""

_VERSION = """
fragment VersionFields on Artifact {
  id
  state
  digest
  versionIndex
  size
  fileCount
  createdAt
  description
  metadata
  artifactType { name }
  aliases { alias artifactCollection { id } }
}
"""

VIEWER = Query("ArtfsViewer", "query ArtfsViewer { viewer { entity } }", ViewerTold)

PROJECTS = Query(
    "ArtfsProjects",
    """
query ArtfsProjects($entity: String!, $first: Int!, $after: String) {
  models(entityName: $entity, first: $first, after: $after) {
    edges { node { id name createdAt } }
    pageInfo { hasNextPage endCursor }
  }
}
""",
    ProjectsTold,
)

PROJECT = Query(
    "ArtfsProject",
    """
query ArtfsProject($entity: String!, $project: String!) {
  project(entityName: $entity, name: $project) { id name createdAt }
}
""",
    ProjectTold,
)

TYPES = Query(
    "ArtfsTypes",
    """
query ArtfsTypes($entity: String!, $project: String!, $first: Int!, $after: String) {
  project(entityName: $entity, name: $project) {
    artifactTypes(first: $first, after: $after) {
      edges { node { name } }
      pageInfo { hasNextPage endCursor }
    }
  }
}
""",
    TypesTold,
)

COLLECTIONS = Query(
    "ArtfsCollections",
    """
query ArtfsCollections(
  $entity: String!, $project: String!, $type: String!, $filters: JSONString, $first: Int!, $after: String
) {
  project(entityName: $entity, name: $project) {
    artifactType(name: $type) {
      artifactCollections(first: $first, after: $after) {
        edges { node { __typename ...CollectionFields } }
        pageInfo { hasNextPage endCursor }
      }
    }
  }
}
"""
    + _COLLECTION,
    CollectionsTold,
)

COLLECTION = Query(
    "ArtfsCollection",
    """
query ArtfsCollection($entity: String!, $project: String!, $artifact: String!, $filters: JSONString) {
  project(entityName: $entity, name: $project) {
    artifactCollection(name: $artifact) { __typename ...CollectionFields }
  }
}
"""
    + _COLLECTION,
    CollectionTold,
)

VERSIONS = Query(
    "ArtfsVersions",
    """
query ArtfsVersions(
  $entity: String!, $project: String!, $artifact: String!, $filters: JSONString, $first: Int!, $after: String
) {
  project(entityName: $entity, name: $project) {
    artifactCollection(name: $artifact) {
      id
      artifacts(first: $first, after: $after, filters: $filters) {
        edges { version node { ...VersionFields } }
        pageInfo { hasNextPage endCursor }
      }
    }
  }
}
"""
    + _VERSION,
    VersionsTold,
)

VERSION = Query(
    "ArtfsVersion",
    """
query ArtfsVersion($entity: String!, $project: String!, $artifact: String!, $selector: String!) {
  project(entityName: $entity, name: $project) {
    artifactCollection(name: $artifact) {
      id
      artifactMembership(aliasName: $selector) {
        versionIndex
        artifact { ...VersionFields }
      }
    }
  }
}
"""
    + _VERSION,
    VersionTold,
)

MANIFEST = Query(
    "ArtfsManifest",
    """
query ArtfsManifest($id: ID!) {
  artifact(id: $id) { currentManifest { file { directUrl } } }
}
""",
    ManifestTold,
)
