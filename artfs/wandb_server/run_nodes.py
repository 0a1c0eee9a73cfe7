"""Runs and their files as clients ask for them, and what clients write of runs in a form of their own."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping
from typing import Any

from artfs.errors import NotFound
from artfs.model.lineage import VersionRef
from artfs.wandb_server import ids
from artfs.wandb_server.artifact_nodes import ArtifactNodes
from artfs.wandb_server.downloads import ReadRunFile, WriteRunFile, signed_url
from artfs.wandb_server.graphql import Args, Node
from artfs.wandb_server.nodes import connection, iso_time
from artfs.wandb_server.run_files import RunFile, RunFiles
from artfs.wandb_server.service import Caller
from artfs.wire.records import VersionRecord
from artfs.wire.runs import HistoryRow, RunRecord

OWN_KEYS = ("_wandb",)  # of a configuration: what the client says of itself
NUMBER_MAX = 1 << 62


def plain_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Values by name, of `{name: {"value": ..., "desc": ...}}`."""
    return {
        name: told["value"] if isinstance(told, Mapping) and "value" in told else told
        for name, told in config.items()
        if name not in OWN_KEYS
    }


def told_config(config: Mapping[str, Any]) -> str:
    return json.dumps({name: {"value": value, "desc": None} for name, value in config.items()})


def told_row(row: HistoryRow) -> str:
    return json.dumps({"_step": row.step, "_timestamp": row.time_ns / 10**9, **row.values})


class RunNodes:
    """What one caller is told of runs."""

    def __init__(self, caller: Caller, artifacts: ArtifactNodes, entity: str) -> None:
        self._caller = caller
        self._registry = caller.registry
        self._artifacts = artifacts
        self._entity = entity
        self._files = RunFiles(caller.service.directory / "run-files")

    def find(self, project: str, run: str) -> Node | None:
        try:
            return self.run(self._registry.runs.get(project, run))
        except NotFound:
            return None

    def run(self, record: RunRecord) -> dict[str, Any]:
        who = record.created_by.partition("@")[0]
        return {
            "__typename": "Run",
            "id": ids.encode("Run", str(record.ref)),
            "name": record.id,
            "displayName": record.name,
            "description": None,
            "notes": record.notes,
            "tags": record.tags,
            "state": record.state.value,
            "group": record.group,
            "jobType": record.job_type,
            "sweepName": record.sweep or None,
            "sweep": None,
            "commit": None,
            "readOnly": False,
            "stopped": False,
            "createdAt": iso_time(record.created_at_ns),
            "heartbeatAt": iso_time(record.heard_of_at_ns),
            "config": told_config(record.config),
            "summaryMetrics": json.dumps(record.summary),
            "systemMetrics": "{}",
            "user": {"__typename": "User", "name": who, "username": who},
            "project": self._artifacts.project_info(record.project),
            "projectId": ids.project_number(record.project),
            **self._history(record),
            **self._lineage(record),
            **self._run_files(record),
        }

    def _history(self, record: RunRecord) -> dict[str, Any]:
        def rows(args: Args) -> list[HistoryRow]:
            after = int(args.get("minStep") or 0) - 1
            end = NUMBER_MAX if args.get("maxStep") is None else int(args["maxStep"])
            found: list[HistoryRow] = []
            while page := self._registry.runs.history(record.project, record.id, after=after, limit=1000):
                found += [row for row in page if row.step < end]
                after = page[-1].step
                if after >= end:
                    break
            return found

        def history(args: Args) -> list[str]:
            found = rows(args)
            return [told_row(row) for row in found[: int(args.get("samples") or len(found))]]

        def sampled(args: Args) -> list[list[Node]]:
            return [_sampled(rows(args), json.loads(spec)) for spec in args.get("specs") or []]

        return {
            "history": history,
            "sampledHistory": sampled,
            "events": [],
            "historyKeys": lambda args: _history_keys(rows({})),
            "historyLineCount": lambda args: len(rows({})),
            "eventsLineCount": 0,
            "logLineCount": 0,
            "historyTail": lambda args: json.dumps([told_row(row) for row in rows({})[-1:]] or ["{}"]),
            "eventsTail": json.dumps(["{}"]),
            "wandbConfig": json.dumps({"t": {}}),
            "parquetHistory": {
                "parquetUrls": [],
                "liveData": lambda args: [json.loads(told_row(row)) for row in rows({})],
            },
        }

    def _lineage(self, record: RunRecord) -> dict[str, Any]:
        def versions(kind: str) -> list[VersionRecord]:
            edges = self._registry.lineage.of_run(record.project, record.id)
            refs: list[VersionRef] = getattr(edges, kind)
            return [self._registry.versions.resolve(one.project, one.artifact, f"v{one.number}") for one in refs]

        artifact = self._artifacts.artifact
        return {
            "outputArtifacts": connection("Artifact", lambda args: versions("logged"), artifact),
            "inputArtifacts": connection("Artifact", lambda args: versions("used"), artifact),
        }

    def _run_files(self, record: RunRecord) -> dict[str, Any]:
        def files(args: Args) -> list[RunFile]:
            names = [posixpath.normpath(str(name)) for name in args.get("names") or ()]
            pattern = str(args.get("pattern") or "")
            found = self._files.list(record.project, record.id)
            if names:
                there = {file.name: file for file in found}
                return [there.get(name, RunFile(name, 0, 0, "")) for name in names]
            return [file for file in found if _is_like(file.name, pattern)]

        def file(one: RunFile) -> Node:
            read = signed_url(self._caller, "run", one.name, ReadRunFile(record.project, record.id, one.name))

            def url(args: Args) -> str:
                if not args.get("upload"):
                    return read
                allowed = WriteRunFile(record.project, record.id, one.name)
                return signed_url(self._caller, "run", one.name, allowed)

            return {
                "__typename": "File",
                "id": ids.encode("RunFile", f"{record.project}/{record.id}/{one.name}"),
                "name": one.name,
                "displayName": one.name,
                "url": url,
                "directUrl": read,
                "sizeBytes": one.size_bytes,
                "mimetype": "application/octet-stream",
                "updatedAt": iso_time(one.changed_at_ns),
                "md5": one.md5,
            }

        return {
            "files": connection("File", files, file),
            "fileCount": lambda args: len(self._files.list(record.project, record.id)),
        }


def _is_like(name: str, pattern: str) -> bool:
    """SQL's LIKE, as far as clients use it: with `%` at an end."""
    middle = pattern.strip("%")
    if pattern.startswith("%"):
        return middle in name if pattern.endswith("%") else name.endswith(middle)
    return not pattern or (name.startswith(middle) if pattern.endswith("%") else name == middle)


def _sampled(rows: list[HistoryRow], spec: Any) -> list[Node]:
    keys = spec.get("keys") if isinstance(spec, dict) else None
    told = [json.loads(told_row(row)) for row in rows]
    if keys:
        told = [{key: one[key] for key in keys} for one in told if all(key in one for key in keys)]
    samples = spec.get("samples") if isinstance(spec, dict) else None
    every = max(1, -(-len(told) // samples)) if isinstance(samples, int) and samples > 0 else 1
    return told[::every]


def _history_keys(rows: list[HistoryRow]) -> Node | None:
    """Which values there are, and the last of each."""
    keys: dict[str, dict[str, Any]] = {}
    for row in rows:
        for name, value in _flat(row.values, ""):
            known = keys.setdefault(name, {"typeCounts": {}, "monotonic": False})
            known["previousValue"] = value
            kind = "number" if isinstance(value, int | float) and not isinstance(value, bool) else "string"
            known["typeCounts"][kind] = known["typeCounts"].get(kind, 0) + 1
    for known in keys.values():
        known["typeCounts"] = [{"type": kind, "count": count} for kind, count in known["typeCounts"].items()]
    return {"sets": [], "keys": keys, "lastStep": rows[-1].step} if rows else None


def _flat(values: Mapping[str, Any], prefix: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in values.items():
        if isinstance(value, Mapping) and "_type" not in value:
            found += _flat(value, f"{prefix}{name}.")
        else:
            found.append((prefix + name, value))
    return found
