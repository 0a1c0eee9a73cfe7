"""What clients do to runs: begin one or go on with it, send its values and files, delete it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import msgspec

from artfs.errors import InvalidValue, RunNotFound
from artfs.model.lineage import Resume, RunRef, RunState
from artfs.wandb_server import ids
from artfs.wandb_server.artifact_nodes import ArtifactNodes
from artfs.wandb_server.downloads import WriteRunFile, signed_url
from artfs.wandb_server.graphql import Args, Field, Node
from artfs.wandb_server.nodes import json_object
from artfs.wandb_server.run_files import RunFiles
from artfs.wandb_server.run_nodes import RunNodes, plain_config
from artfs.wandb_server.service import Caller
from artfs.wire.runs import HISTORY_ROWS_MAX, HistoryRow, NewRun, RunChange, RunRecord

HISTORY, SUMMARY = "wandb-history.jsonl", "wandb-summary.json"
STATES = {
    "running": RunState.RUNNING,
    "pending": RunState.RUNNING,
    "finished": RunState.FINISHED,
    "failed": RunState.FAILED,
    "crashed": RunState.FAILED,
    "killed": RunState.FAILED,
}


class RunChanges:
    """The mutations about runs."""

    def __init__(self, caller: Caller, entity: str) -> None:
        self._caller = caller
        self._registry = caller.registry
        self._entity = entity
        self._files = RunFiles(caller.service.directory / "run-files")

    def fields(self) -> dict[str, Field]:
        return {
            "upsertBucket": self._upsert,
            "deleteRun": self._delete,
            "createRunFiles": self._create_files,
            "markRunFilesUploaded": lambda args: {"success": True},
            "deleteFiles": self._delete_files,
            "updateRunState": self._update_state,
            "stopRun": lambda args: {"success": False},
            "upsertModel": self._create_project,
            "notifyScriptableRunAlert": lambda args: {"success": True},
        }

    def _create_project(self, args: Args) -> Node:
        given = args["input"]
        name = str(given.get("name") or given.get("modelName") or "")
        record = self._registry.projects.create(name, exist_ok=True)
        told = ArtifactNodes(self._caller, self._entity_of(given)).project_info(record.name)
        return {"inserted": True, "project": told, "model": told}

    def _upsert(self, args: Args) -> Node:
        given = args["input"]
        if given.get("id"):
            ref = ids.decode_run(str(given["id"]))
            record, inserted = self._change(ref.project, ref.id, given), False
        else:
            record, inserted = self._begin(given)
        entity = self._entity_of(given)
        nodes = RunNodes(self._caller, ArtifactNodes(self._caller, entity), entity)
        return {"bucket": nodes.run(record), "inserted": inserted}

    def _begin(self, given: Mapping[str, Any]) -> tuple[RunRecord, bool]:
        project = str(given.get("modelName") or "uncategorized")
        self._registry.projects.create(project, exist_ok=True)
        id_ = str(given.get("name") or "")
        there = self._find(project, id_) if id_ else None
        if there is not None and there.state is RunState.RUNNING:
            return self._change(project, id_, given), False
        new = NewRun(
            id=id_,
            resume=Resume.ALLOW,
            name=str(given.get("displayName") or ""),
            notes=str(given.get("notes") or ""),
            tags=list(given.get("tags") or []),
            group=str(given.get("groupName") or ""),
            job_type=str(given.get("jobType") or ""),
            sweep=str(given.get("sweep") or ""),
            config=plain_config(json_object(given["config"], "configuration")) if given.get("config") else {},
            created_by=f"{self._caller.user}@{given.get('host') or ''}",
        )
        record = self._registry.runs.start(project, new)
        if given.get("state") in STATES and STATES[given["state"]] is not RunState.RUNNING:
            record = self._registry.runs.update(project, record.id, RunChange(state=STATES[given["state"]]))
        return record, there is None

    def _change(self, project: str, run: str, given: Mapping[str, Any]) -> RunRecord:
        change = RunChange(
            name=given.get("displayName"),
            notes=given.get("notes"),
            tags=given.get("tags"),
            state=STATES.get(str(given.get("state") or "")),
            config=plain_config(json_object(given["config"], "configuration")) if given.get("config") else None,
            summary=json_object(given["summaryMetrics"], "summary") if given.get("summaryMetrics") else None,
        )
        return self._registry.runs.update(project, run, change)

    def _find(self, project: str, run: str) -> RunRecord | None:
        try:
            return self._registry.runs.get(project, run)
        except RunNotFound:
            return None

    def _delete(self, args: Args) -> Node:
        ref = ids.decode_run(str(args["input"]["id"]))
        self._registry.runs.delete(ref.project, ref.id)
        self._files.remove(ref.project, ref.id)
        return {"success": True, "clientMutationId": None}

    def _update_state(self, args: Args) -> Node:
        given = args["input"]
        ref = ids.decode_run(str(given["id"]))
        state = STATES.get(str(given.get("state") or "").lower())
        if state is None:
            raise InvalidValue(f"there is no state {given.get('state')!r} of runs")
        self._registry.runs.update(ref.project, ref.id, RunChange(state=state))
        return {"success": True}

    def _create_files(self, args: Args) -> Node:
        given = args["input"]
        project, run = str(given["projectName"]), str(given["runName"])
        self._registry.runs.log(project, run, [])  # whoever may say that it lives may write its files
        files = [
            {"name": name, "uploadUrl": signed_url(self._caller, "run", name, WriteRunFile(project, run, name))}
            for name in map(str, given.get("files") or ())
        ]
        return {"runID": ids.encode("Run", f"{project}/{run}"), "uploadHeaders": [], "files": files}

    def _delete_files(self, args: Args) -> Node:
        for id_ in args["input"].get("files") or ():
            project, run, name = ids.decode("RunFile", str(id_)).split("/", 2)
            self._registry.runs.log(project, run, [])
            self._files.remove(project, run, name)
        return {"success": True}

    def _entity_of(self, given: Mapping[str, Any]) -> str:
        return str(given.get("entityName") or self._entity)


class Lines(msgspec.Struct, frozen=True):
    offset: int = 0
    content: list[str] = []


class Stream(msgspec.Struct, frozen=True):
    """What a client sends of a run while it goes on."""

    files: dict[str, Lines] = {}
    complete: bool | None = None
    exitcode: int | None = None


def take_stream(caller: Caller, run: RunRef, sent: Stream) -> None:
    """Note values, the summary, that the run lives, and how it ended. Repeating it changes nothing."""
    runs = caller.registry.runs
    history = sent.files.get(HISTORY, Lines()).content
    rows = [_row(line) for line in history]
    for begin in range(0, max(1, len(rows)), HISTORY_ROWS_MAX):
        runs.log(run.project, run.id, rows[begin : begin + HISTORY_ROWS_MAX])
    summary = sent.files.get(SUMMARY, Lines()).content
    change = RunChange(
        summary=_values(summary[-1]) if summary else None,
        state=(RunState.FAILED if sent.exitcode else RunState.FINISHED) if sent.complete else None,
        exit_code=sent.exitcode if sent.complete else None,
    )
    if change != RunChange():
        runs.update(run.project, run.id, change)


def _row(line: str) -> HistoryRow:
    values = _values(line)
    step, seconds = values.pop("_step", 0), values.pop("_timestamp", None)
    if not isinstance(step, int):
        raise InvalidValue(f"{step!r} is not a step")
    time_ns = int(seconds * 10**9) if isinstance(seconds, int | float) and seconds > 0 else time.time_ns()
    return HistoryRow(step, time_ns, values)


def _values(line: str) -> dict[str, Any]:
    found = json_object(line, "line")
    return {name: _plain(value) for name, value in found.items() if name != "_wandb"}


def _plain(value: Any) -> Any:
    """Numbers that JSON has not, as text: clients write both forms."""
    if isinstance(value, float) and value != value:
        return "NaN"
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list) else value
