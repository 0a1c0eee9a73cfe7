"""Collections, their versions, and files of these, as clients ask for them. Each is made of the registry's own record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from artfs.errors import NotFound
from artfs.model.lineage import RunRef, VersionRef
from artfs.wandb_server import ids
from artfs.wandb_server.contents import File
from artfs.wandb_server.downloads import file_url, manifest_url
from artfs.wandb_server.graphql import Args, Node
from artfs.wandb_server.nodes import connection, iso_time
from artfs.wandb_server.service import Caller
from artfs.wandb_server.tags import tags_of
from artfs.wire.records import DEFAULT_TYPE, ArtifactRecord, ProjectRecord, VersionRecord

TTL_OFF = -2
BATCH = 1000


def ref_of(version: VersionRecord) -> VersionRef:
    return VersionRef(version.project, version.artifact, version.number)


class ArtifactNodes:
    """What one caller is told, under the entity that it named: a registry has no entities of its own."""

    def __init__(self, caller: Caller, entity: str) -> None:
        self._caller = caller
        self._registry = caller.registry
        self._entity = entity

    def project_info(self, project: str) -> dict[str, Any]:
        entity = {"__typename": "Entity", "id": ids.encode("Entity", self._entity), "name": self._entity}
        return {
            "__typename": "Project",
            "id": ids.encode("Project", project),
            "internalId": ids.encode("ProjectInternalId", str(ids.project_number(project))),
            "name": project,
            "entityName": self._entity,
            "entity": entity | {"organization": None},
        }

    def collection(self, record: ArtifactRecord) -> Node:
        def versions(args: Args) -> list[VersionRecord]:
            found = all_versions(self._caller, record.project, record.name)
            return found if str(args.get("order") or "").startswith("+") else found[::-1]

        def latest(args: Args) -> Node | None:
            found = all_versions(self._caller, record.project, record.name)
            return self.artifact(found[-1]) if found else None

        def aliases(args: Args) -> list[str]:
            return sorted(self._registry.aliases.list(record.project, record.name))

        return {
            "__typename": "ArtifactSequence",
            "id": ids.encode("ArtifactCollection", f"{record.project}/{record.name}"),
            "name": record.name,
            "description": record.description,
            "state": "READY",
            "createdAt": iso_time(record.created_at_ns),
            "updatedAt": iso_time(record.created_at_ns),
            "project": self.project_info(record.project),
            "defaultArtifactType": self.type(record.project, record.type or DEFAULT_TYPE),
            "tags": connection("Tag", lambda args: (), lambda tag: {}),
            "aliases": connection(
                "ArtifactAlias", aliases, lambda alias: self._alias(record.project, record.name, alias)
            ),
            "artifacts": connection("VersionedArtifact", versions, self.artifact, version=True),
            "artifactMembership": lambda args: self.membership(record.project, record.name, str(args["aliasName"])),
            "latestArtifact": latest,
            "digestAlgorithm": "MANIFEST_MD5",
        }

    def type(self, project: str, name: str) -> Node:
        def collections(args: Args) -> list[ArtifactRecord]:
            return [one for one in all_artifacts(self._caller, project) if (one.type or DEFAULT_TYPE) == name]

        return {
            "__typename": "ArtifactType",
            "id": ids.encode("ArtifactType", f"{project}/{name}"),
            "name": name,
            "description": None,
            "createdAt": iso_time(self._registry.projects.get(project).created_at_ns),
            "artifactCollections": connection("ArtifactCollection", collections, self.collection),
            "artifactCollection": lambda args: self.find_collection(project, str(args["name"])),
            "artifact": lambda args: self.by_name(project, str(args["name"])),
        }

    def find_collection(self, project: str, name: str) -> Node | None:
        try:
            return self.collection(self._registry.artifacts.get(project, name))
        except NotFound:
            return None

    def find_version(self, project: str, name: str) -> VersionRecord | None:
        """`artifact`, `artifact:alias` or `artifact:vN`; None for what is not there."""
        artifact, _, selector = name.partition(":")
        try:
            return self._registry.versions.resolve(project, artifact, selector or "latest")
        except NotFound:
            return None

    def by_name(self, project: str, name: str) -> Node | None:
        found = self.find_version(project, name)
        return None if found is None else self.artifact(found)

    def membership(self, project: str, artifact: str, selector: str) -> Node | None:
        version = self.find_version(project, f"{artifact}:{selector}")
        if version is None:
            return None

        def files(args: Args) -> list[File]:
            names = args.get("names")
            return [one for one in self.files(version) if names is None or one.path in names]

        return {
            "__typename": "ArtifactCollectionMembership",
            "id": ids.encode("ArtifactCollectionMembership", str(ref_of(version))),
            "versionIndex": version.number,
            "createdAt": iso_time(version.created_at_ns),
            "aliases": [self._alias(project, artifact, alias) for alias in version.aliases],
            "artifactCollection": lambda args: self.find_collection(project, artifact),
            "artifact": lambda args: self.artifact(version),
            "files": connection("File", files, lambda file: self.file(version, file)),
        }

    def artifact(self, version: VersionRecord) -> dict[str, Any]:
        record = lambda args: self.find_collection(version.project, version.artifact)  # noqa: E731  # asked for twice
        aliases = [self._alias(version.project, version.artifact, alias) for alias in version.aliases]
        return {
            "__typename": "Artifact",
            "id": ids.artifact_id(ref_of(version)),
            "artifactSequence": record,
            "artifactCollection": record,
            "versionIndex": version.number,
            "artifactType": {"__typename": "ArtifactType", "name": version.type},
            "description": version.description or None,
            "metadata": msgspec.json.encode(version.metadata).decode(),
            "ttlDurationSeconds": _ttl(version),
            "ttlIsInherited": False,
            "tags": lambda args: [
                self._tag(ref_of(version), tag) for tag in tags_of(self._caller.service.state, ref_of(version))
            ],
            "historyStep": None,
            "state": "COMMITTED",
            "size": version.size_bytes,
            "storageBytes": version.size_bytes,
            "digest": lambda args: self._caller.service.contents.digest(self._project(version), version.root),
            "digestAlgorithm": "MANIFEST_MD5",
            "commitHash": ids.encode("Commit", version.digest.text)[:32],
            "fileCount": version.file_count,
            "createdAt": iso_time(version.created_at_ns),
            "updatedAt": iso_time(version.created_at_ns),
            "aliases": [alias | {"artifactCollection": record} for alias in aliases],
            "artifactMemberships": connection(
                "ArtifactCollectionMembership",
                lambda args: [version],
                lambda one: self.membership(one.project, one.artifact, one.name) or {},
            ),
            **self._content(version),
            **self._lineage(version),
        }

    def files(self, version: VersionRecord) -> list[File]:
        return self._caller.service.contents.files(self._project(version), version.root)

    def file(self, version: VersionRecord, file: File) -> Node:
        url = None if file.ref else file_url(self._caller, version.project, file)
        return {
            "__typename": "File",
            "id": ids.encode("File", f"{ref_of(version)}/{file.path}"),
            "name": file.path,
            "displayName": file.path,
            "url": url,
            "directUrl": url or file.ref,
            "sizeBytes": file.entry.size_bytes,
            "storagePath": f"wandb_artifacts/{file.md5}" if file.md5 else None,
            "mimetype": "application/octet-stream",
            "updatedAt": iso_time(version.created_at_ns),
            "digest": file.digest,
            "md5": file.digest,
        }

    def _content(self, version: VersionRecord) -> dict[str, Any]:
        def by_entries(args: Args) -> Sequence[File]:
            entries = args.get("entries") or []
            wanted = {one.get("name") or one.get("path") for one in entries if isinstance(one, dict)}
            digests = {one.get("digest") for one in entries if isinstance(one, dict)}
            found = [one for one in self.files(version) if one.path in wanted]
            return found or [one for one in self.files(version) if one.digest in digests]

        def manifest(args: Args) -> Node:
            url = manifest_url(self._caller, ref_of(version))
            return {
                "__typename": "ArtifactManifest",
                "id": ids.encode("ArtifactManifest", str(ref_of(version))),
                "digest": lambda args: self._caller.service.contents.digest(self._project(version), version.root),
                "file": {"__typename": "File", "id": ids.encode("File", str(ref_of(version))), "directUrl": url},
            }

        return {
            "currentManifest": manifest,
            "files": connection("File", lambda args: self.files(version), lambda file: self.file(version, file)),
            "filesByManifestEntries": connection("File", by_entries, lambda file: self.file(version, file)),
        }

    def _lineage(self, version: VersionRecord) -> dict[str, Any]:
        lineage, ref = self._registry.lineage, ref_of(version)

        def created_by(args: Args) -> Node | None:
            runs = lineage.of_version(ref.project, ref.artifact, ref.number).logged_by
            return self.run_info(runs[0]) if runs else None

        def used_by(args: Args) -> list[RunRef]:
            return lineage.of_version(ref.project, ref.artifact, ref.number).used_by

        return {"createdBy": created_by, "usedBy": connection("Run", used_by, self.run_info)}

    def run_info(self, run: RunRef) -> Node:
        return {
            "__typename": "Run",
            "id": ids.encode("Run", str(run)),
            "name": run.id,
            "project": self.project_info(run.project),
        }

    def _project(self, version: VersionRecord) -> ProjectRecord:
        return self._registry.projects.get(version.project)

    def _alias(self, project: str, artifact: str, alias: str) -> dict[str, Any]:
        name = f"{project}/{artifact}:{alias}"
        return {"__typename": "ArtifactAlias", "id": ids.encode("ArtifactAlias", name), "alias": alias}

    def _tag(self, ref: VersionRef, tag: str) -> Node:
        return {"__typename": "Tag", "id": ids.encode("Tag", f"{ref}/{tag}"), "name": tag, "attributes": None}


def all_artifacts(caller: Caller, project: str) -> list[ArtifactRecord]:
    return caller.registry.artifacts.list(project)


def all_versions(caller: Caller, project: str, artifact: str) -> list[VersionRecord]:
    """Oldest first."""
    found: list[VersionRecord] = []
    while page := caller.registry.versions.list(
        project, artifact, after=found[-1].number if found else -1, limit=BATCH
    ):
        found += page
    return found


def _ttl(version: VersionRecord) -> int:
    if version.expires_at_ns is None:
        return TTL_OFF
    return max(1, round((version.expires_at_ns - version.created_at_ns) / 10**9))
