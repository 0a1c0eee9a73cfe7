"""Sweeps as clients make and ask for them, and what agents are told to try."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from random import SystemRandom
from typing import Any

import yaml

from artfs.errors import InvalidValue, NotFound
from artfs.model.access import Operation
from artfs.model.lineage import choose_id
from artfs.wandb_server import ids
from artfs.wandb_server.artifact_nodes import ArtifactNodes
from artfs.wandb_server.graphql import Args, Field, Node
from artfs.wandb_server.nodes import connection, iso_time, json_object
from artfs.wandb_server.run_nodes import RunNodes
from artfs.wandb_server.service import Caller
from artfs.wandb_server.sweep_choices import GRID, check_config, choose_grid, choose_random, grid_size
from artfs.wire.runs import NewSweep, RunRecord, SweepRecord

PENDING, RUNNING, FINISHED = "PENDING", "RUNNING", "FINISHED"
STATES = (PENDING, RUNNING, FINISHED, "CANCELED", "PAUSED", "STOPPED")
CONFIG_CHARACTERS_MAX = 1 << 20
_EXIT: list[Node] = [{"type": "exit"}]


class SweepNodes:
    """What one caller is told of sweeps."""

    def __init__(self, caller: Caller, runs: RunNodes, artifacts: ArtifactNodes) -> None:
        self._caller = caller
        self._runs = runs
        self._artifacts = artifacts

    def find(self, project: str, name: str) -> Node | None:
        try:
            return self.sweep(self._caller.registry.sweeps.get(project, name))
        except NotFound:
            return None

    def sweep(self, record: SweepRecord) -> dict[str, Any]:
        def runs(args: Args) -> Sequence[RunRecord]:
            return self._caller.registry.runs.list(record.project, sweep=record.id)

        return {
            "__typename": "Sweep",
            "id": ids.encode("Sweep", f"{record.project}/{record.id}"),
            "name": record.id,
            "displayName": record.name,
            "method": record.config.get("method"),
            "state": _state_of(self._caller, record)[0],
            "description": record.config.get("description"),
            "bestLoss": None,
            "config": yaml.safe_dump(record.config, sort_keys=False),
            "createdAt": iso_time(record.created_at_ns),
            "updatedAt": iso_time(record.created_at_ns),
            "heartbeatAt": iso_time(record.created_at_ns),
            "earlyStopJobRunning": False,
            "controller": None,
            "controllerRunName": None,
            "scheduler": None,
            "project": self._artifacts.project_info(record.project),
            "runCount": lambda args: len(runs(args)),
            "runCountExpected": _expected(record),
            "runs": connection("Run", runs, self._runs.run),
            "agents": [],
            "agent": None,
        }


class SweepChanges:
    """The mutations about sweeps."""

    def __init__(self, caller: Caller, entity: str) -> None:
        self._caller = caller
        self._registry = caller.registry
        self._entity = entity

    def fields(self) -> dict[str, Field]:
        return {"upsertSweep": self._upsert, "createAgent": self._create_agent, "agentHeartbeat": self._heartbeat}

    def _upsert(self, args: Args) -> Node:
        given = args["input"]
        warnings: list[str] = []
        if given.get("id"):
            record = self._existing(str(given["id"]), str(given.get("projectName") or ""))
        else:
            record, warnings = self._created(given)
        state = str(given.get("state") or "").upper()
        if state:
            if state not in STATES:
                raise InvalidValue(f"there is no state {state!r} of sweeps", hint=f"one of {', '.join(STATES)}")
            self._registry.guard.require(Operation.WRITE, record.project)
            _set_state(self._caller, record, state)
        entity = str(given.get("entityName") or self._entity)
        artifacts = ArtifactNodes(self._caller, entity)
        told = SweepNodes(self._caller, RunNodes(self._caller, artifacts, entity), artifacts).sweep(record)
        return {"sweep": told, "configValidationWarnings": warnings}

    def _created(self, given: Mapping[str, Any]) -> tuple[SweepRecord, list[str]]:
        config = _config(str(given.get("config") or ""))
        warnings = check_config(config)
        project = str(given.get("projectName") or config.get("project") or "uncategorized")
        self._registry.projects.create(project, exist_ok=True)
        name = str(given.get("displayName") or config.get("name") or "")
        record = self._registry.sweeps.create(project, NewSweep(name=name, config=config, created_by=self._caller.user))
        return record, warnings

    def _existing(self, id_: str, project: str) -> SweepRecord:
        """By the id that was told, or by its name."""
        try:
            project, _, id_ = ids.decode("Sweep", id_).partition("/")
        except NotFound:
            if not project:
                raise
        return self._registry.sweeps.get(project, id_)

    def _create_agent(self, args: Args) -> Node:
        given = args["input"]
        record = self._existing(str(given["sweep"]), str(given.get("projectName") or ""))
        self._registry.guard.require(Operation.WRITE, record.project)
        name = os.urandom(8).hex()
        return {"agent": {"id": ids.encode("Agent", f"{record.project}/{record.id}/{name}"), "name": name}}

    def _heartbeat(self, args: Args) -> Node:
        given = args["input"]
        project, sweep, _ = ids.decode("Agent", str(given["id"])).split("/")
        record = self._registry.sweeps.get(project, sweep)
        self._registry.guard.require(Operation.WRITE, project)
        running = json_object(given.get("runState") or "{}", "state of runs")
        commands = [] if any(running.values()) else self._next(record)
        return {"agent": {"id": given["id"]}, "commands": json.dumps(commands)}

    def _next(self, record: SweepRecord) -> list[Node]:
        state, tried = _state_of(self._caller, record)
        expected = _expected(record)
        if state not in (PENDING, RUNNING):
            return [] if state == "PAUSED" else _EXIT
        if expected is not None and tried >= expected:
            _set_state(self._caller, record, FINISHED)
            return _EXIT
        number = _take_number(self._caller, record)
        parameters = record.config["parameters"]
        if record.config.get("method") == GRID:
            chosen = choose_grid(parameters, number)
            if chosen is None:
                return _EXIT
        else:
            chosen = choose_random(parameters, SystemRandom())
        told = {name: {"value": value} for name, value in chosen.items()}
        return [{"type": "run", "run_id": choose_id(os.urandom), "args": told, "program": record.config.get("program")}]


class _PlainLoader(yaml.SafeLoader):
    """YAML in which nothing refers to what was before: a few lines of it can stand for terabytes."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias")
        return super().compose_node(parent, index)


def _config(text: str) -> dict[str, Any]:
    if len(text) > CONFIG_CHARACTERS_MAX:
        raise InvalidValue(f"a configuration of {len(text)} characters", hint="leave out what is not needed")
    try:
        found = yaml.load(text, _PlainLoader)
        json.dumps(found)
    except (yaml.YAMLError, TypeError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InvalidValue("the sweep's configuration is not YAML of names and values")
    return found


def _expected(record: SweepRecord) -> int | None:
    """How many runs there will be; None where nothing ends it."""
    cap = record.config.get("run_cap")
    most = int(cap) if isinstance(cap, int) and cap > 0 else None
    if record.config.get("method") != GRID:
        return most
    size = grid_size(record.config.get("parameters") or {})
    return size if most is None else min(size, most)


def _state_of(caller: Caller, record: SweepRecord) -> tuple[str, int]:
    """The state, and how many runs were given to agents."""
    sql = "SELECT state, tried FROM sweeps WHERE project = ? AND sweep = ?"
    rows = caller.service.state.rows(sql, (record.project, record.id))
    return (str(rows[0][0]), int(rows[0][1])) if rows else (PENDING, 0)


def _set_state(caller: Caller, record: SweepRecord, state: str) -> None:
    with caller.service.state.write() as tx:
        sql = "INSERT INTO sweeps VALUES (?, ?, ?, 0) ON CONFLICT (project, sweep) DO UPDATE SET state = excluded.state"
        tx.run(sql, (record.project, record.id, state))


def _take_number(caller: Caller, record: SweepRecord) -> int:
    """The number of the run that is tried now, which no other agent gets."""
    with caller.service.state.write() as tx:
        sql = (
            "INSERT INTO sweeps VALUES (?, ?, ?, 1) ON CONFLICT (project, sweep)"
            " DO UPDATE SET state = excluded.state, tried = tried + 1 RETURNING tried"
        )
        return int(tx.rows(sql, (record.project, record.id, RUNNING))[0][0]) - 1
