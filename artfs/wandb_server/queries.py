"""The fields at the top: who the caller is, projects and what is in them, and all that changes something."""

from __future__ import annotations

import json
from typing import Any

from artfs.errors import AccessDenied, NotFound
from artfs.model.access import Operation
from artfs.wandb_server import ids
from artfs.wandb_server.artifact_changes import ArtifactChanges, ArtifactWriting
from artfs.wandb_server.artifact_nodes import ArtifactNodes, all_artifacts
from artfs.wandb_server.committing import find_version
from artfs.wandb_server.graphql import Args, Node
from artfs.wandb_server.introspection import described
from artfs.wandb_server.nodes import connection, iso_time, json_object
from artfs.wandb_server.run_changes import RunChanges
from artfs.wandb_server.run_filters import matches, ordered
from artfs.wandb_server.run_nodes import RunNodes
from artfs.wandb_server.service import Caller
from artfs.wandb_server.sweeps import SweepChanges, SweepNodes
from artfs.wire.records import DEFAULT_TYPE, ProjectRecord
from artfs.wire.runs import RunRecord

CLIENT_MAX, CLIENT_MIN = "0.31.0", "0.16.0"  # what this was tested with


def query_root(caller: Caller) -> Node:
    return Queries(caller).fields()


def mutation_root(caller: Caller) -> Node:
    entity = caller.user
    fields: dict[str, Any] = {"__typename": "Mutation"}
    fields |= RunChanges(caller, entity).fields() | SweepChanges(caller, entity).fields()
    return fields | ArtifactWriting(caller, entity).fields() | ArtifactChanges(caller, entity).fields()


class Queries:
    """What one caller may read."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._registry = caller.registry

    def fields(self) -> dict[str, Any]:
        return {
            "__typename": "Query",
            "__type": lambda args: described(str(args.get("name") or "")),
            "viewer": lambda args: self._viewer(),
            "serverInfo": {
                "__typename": "ServerInfo",
                "features": [],
                "cliVersionInfo": {"max_cli_version": CLIENT_MAX, "min_cli_version": CLIENT_MIN},
                "latestLocalVersionInfo": None,
            },
            "project": self._project,
            "model": self._project,
            "models": connection("Project", lambda args: self._registry.projects.list(), self._by_record),
            "entity": self._entity,
            "organization": None,
            "artifact": self._artifact,
            "artifactCollection": self._collection,
            "clientIDMapping": self._client_id,
        }

    def _viewer(self) -> Node:
        user = self._caller.identity.user
        teams: list[Node] = [{"node": {"name": user.name}}]
        return {
            "__typename": "User",
            "id": ids.encode("User", user.name),
            "entity": user.name,
            "name": user.name,
            "username": user.name,
            "email": None,
            "admin": user.admin,
            "flags": json.dumps({"code_saving_enabled": True}),
            "deletedAt": None,
            "apiKeys": {"edges": []},
            "teams": {"edges": teams},
        }

    def _entity(self, args: Args) -> Node:
        name = str(args.get("name") or self._caller.user)
        return {
            "__typename": "Entity",
            "id": ids.encode("Entity", name),
            "name": name,
            "organization": None,
            "user": None,
            "isTeam": False,
            "entityType": "user",
            "available": False,
            "codeSavingEnabled": True,
            "xxhashDigestsEnabled": False,
            "project": lambda args: self._named(str(args.get("name") or ""), name),
        }

    def _artifact(self, args: Args) -> Node | None:
        try:
            return ArtifactNodes(self._caller, self._caller.user).artifact(find_version(self._caller, str(args["id"])))
        except NotFound:
            return None

    def _collection(self, args: Args) -> Node | None:
        project, _, artifact = ids.decode("ArtifactCollection", str(args["id"])).partition("/")
        return ArtifactNodes(self._caller, self._caller.user).find_collection(project, artifact)

    def _client_id(self, args: Args) -> Node | None:
        upload = self._caller.service.uploads.by_client_id(str(args["clientID"]))
        if upload is None or not self._registry.guard.may_read(upload.project):
            return None
        found = ids.upload_id(upload.id) if upload.version is None else ids.artifact_id(upload.version)
        return {"serverID": found}

    def _project(self, args: Args) -> Node | None:
        name = args.get("name")
        return self._named(str(name), str(args.get("entityName") or self._caller.user)) if name else None

    def _named(self, name: str, entity: str) -> Node | None:
        try:
            return self._told(self._registry.projects.get(name), entity)
        except NotFound:
            return None

    def _by_record(self, record: ProjectRecord) -> Node:
        return self._told(record, self._caller.user)

    def _told(self, record: ProjectRecord, entity: str) -> Node:
        project = record.name
        artifacts = ArtifactNodes(self._caller, entity)
        runs = RunNodes(self._caller, artifacts, entity)
        sweeps = SweepNodes(self._caller, runs, artifacts)

        def types(args: Args) -> list[str]:
            return sorted({one.type or DEFAULT_TYPE for one in all_artifacts(self._caller, project)})

        def membership(args: Args) -> Node | None:
            artifact, _, selector = str(args["name"]).partition(":")
            return artifacts.membership(project, artifact, selector or "latest")

        def type_(args: Args) -> Node | None:
            name = str(args["name"])
            return artifacts.type(project, name) if name in types(args) else None

        return artifacts.project_info(project) | {
            "createdAt": iso_time(record.created_at_ns),
            "updatedAt": iso_time(record.created_at_ns),
            "isBenchmark": False,
            "access": record.visibility.value.upper(),
            "views": "{}",
            "readOnly": lambda args: not self._may_write(project),
            "user": None,
            "artifact": lambda args: artifacts.by_name(project, str(args["name"])),
            "artifactType": type_,
            "artifactTypes": connection("ArtifactType", types, lambda name: artifacts.type(project, name)),
            "artifactCollection": lambda args: artifacts.find_collection(project, str(args["name"])),
            "artifactCollections": connection(
                "ArtifactCollection", lambda args: all_artifacts(self._caller, project), artifacts.collection
            ),
            "artifactCollectionMembership": membership,
            "run": lambda args: runs.find(project, str(args.get("name") or "")) if args.get("name") else None,
            "bucket": lambda args: runs.find(project, str(args.get("name") or "")),
            "sweep": lambda args: sweeps.find(project, str(args.get("sweepName") or args.get("name") or "")),
            "sweeps": connection("Sweep", lambda args: self._registry.sweeps.list(project), sweeps.sweep),
            "totalSweeps": lambda args: len(self._registry.sweeps.list(project)),
            "runs": connection("Run", lambda args: self._runs(project, args), runs.run),
            "runCount": lambda args: len(self._runs(project, args)),
        }

    def _may_write(self, project: str) -> bool:
        try:
            self._registry.guard.require(Operation.WRITE, project)
        except AccessDenied:
            return False
        return True

    def _runs(self, project: str, args: Args) -> list[RunRecord]:
        condition = json_object(args.get("filters") or "{}", "filter")
        found = [run for run in self._registry.runs.list(project) if matches(run, condition)]
        return ordered(found, str(args.get("order") or "+created_at"))
