"""Runs: what they are, how far they came, and whether they still live.

That a run has died is never written down: it is what anybody concludes who reads that it runs and has long been silent. So one
that was only held up (a suspended machine, a network that was away) lives again as soon as it is heard of.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from artfs.errors import AlreadyExists, InvalidValue, RunNotFound
from artfs.model.lineage import RUN_LAPSE_S, Resume, RunRef, RunState, choose_id
from artfs.model.names import check_label, check_name
from artfs.registry.catalog import Project, find_project, rows_that_fit
from artfs.registry.database import Row, Transaction, allocate, batches, rows_in
from artfs.registry.resources import Resources
from artfs.registry.sweeps import find_sweep
from artfs.registry.versions import encode_metadata
from artfs.wire.runs import HISTORY_ROWS_MAX, HistoryRow, NewRun, RunChange, RunRecord

NUMBER_MAX = (1 << 63) - 1
EXIT_CODE_MAX = (1 << 31) - 1
ID_ATTEMPTS = 100
TAGS_MAX = 100
NOTES_CHARACTERS_MAX = 64 << 10
STEPS_AT_ONCE = 16  # of a history that are in memory with what was logged before: each may be large
RUN_LAPSE_NS = RUN_LAPSE_S * 10**9

RUN_COLUMNS = (
    "p.name, r.run, r.id, r.name, r.notes, r.tags, r.state, r.run_group, r.job_type, coalesce(s.sweep, ''),"
    " r.created_at, r.created_by, r.heard_of_at, r.ended_at, r.exit_code"
)
RUN_TABLES = "runs r JOIN projects p ON p.id = r.project_id LEFT JOIN sweeps s ON s.id = r.sweep_id"
_RUN = f"SELECT {RUN_COLUMNS}, r.config, r.summary FROM {RUN_TABLES}"


class Run(NamedTuple):
    """A run's row, as far as edges need it."""

    id: int
    ref: RunRef


def find_run(tx: Transaction, ref: RunRef) -> Run:
    """Raises ProjectNotFound and RunNotFound."""
    project = find_project(tx, ref.project)
    run = peek_run(tx, project, ref.id)
    if run is None:
        raise not_found(ref)
    return run


def peek_run(tx: Transaction, project: Project, run: str) -> Run | None:
    row = tx.row("SELECT id FROM runs WHERE project_id = ? AND run = ?", (project.id, run))
    return None if row is None else Run(row[0], RunRef(project.name, run))


def not_found(ref: RunRef) -> RunNotFound:
    return RunNotFound(f"there is no run {ref}", hint=f"artfs runs {ref.project} lists them")


def run_record(row: Row, now_ns: int) -> RunRecord:
    """The record of a row of RUN_COLUMNS, with config and summary if they follow."""
    project, run, number, name, notes, tags, state, group, job_type, sweep = row[:10]
    created_at, created_by, heard_of_at, ended_at, code = row[10:15]
    config, summary = (msgspec.json.decode(text) for text in row[15:17] or ("{}", "{}"))
    if state == RunState.RUNNING.value and now_ns - heard_of_at > RUN_LAPSE_NS:
        state, ended_at = RunState.FAILED.value, heard_of_at
    return RunRecord(
        project=project,
        id=run,
        number=number,
        name=name,
        notes=notes,
        tags=msgspec.json.decode(tags),
        state=RunState(state),
        group=group,
        job_type=job_type,
        sweep=sweep,
        config=config,
        summary=summary,
        created_at_ns=created_at,
        created_by=created_by,
        heard_of_at_ns=heard_of_at,
        ended_at_ns=ended_at,
        exit_code=code,
    )


def _checked_tags(tags: Sequence[str]) -> str:
    """Tags as they are stored, each once. Raises InvalidValue."""
    if len(tags) > TAGS_MAX:
        raise InvalidValue(f"{len(tags)} tags", hint=f"a run has at most {TAGS_MAX}")
    for tag in tags:
        if not check_label("tag", tag):
            raise InvalidValue("a tag is empty", hint="leave it out")
    return msgspec.json.encode(list(dict.fromkeys(tags))).decode()


def _check_notes(notes: str) -> None:
    if len(notes) > NOTES_CHARACTERS_MAX:
        raise InvalidValue(
            f"notes of {len(notes)} characters", hint=f"at most {NOTES_CHARACTERS_MAX}; put more into an artifact"
        )


def _merged(encoded: str, values: dict[str, Any] | None, what: str) -> str:
    """The stored object with the keys of `values` set. Raises InvalidValue."""
    return encode_metadata({**msgspec.json.decode(encoded), **values}, what) if values else encoded


class Runs:
    """The `Runs` service."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._database = resources.database

    def list(
        self,
        project: str,
        *,
        group: str = "",
        sweep: str = "",
        after: int = -1,
        limit: int | None = None,
        bytes_max: int | None = None,
    ) -> list[RunRecord]:
        """With `bytes_max` fewer, rather than much more than that together."""
        condition, named = "r.project_id = ? AND r.id > ?", []
        for column, value in (("r.run_group", group), ("s.sweep", sweep)):
            if value:
                condition += f" AND {column} = ?"
                named.append(value)
        with self._database.read() as tx:
            of = find_project(tx, project)
            sizes = f"SELECT length(r.config) + length(r.summary) FROM {RUN_TABLES} WHERE {condition} ORDER BY r.id"
            fitting = rows_that_fit(tx, sizes, (of.id, after, *named), limit, bytes_max)
            rows = tx.rows(f"{_RUN} WHERE {condition} ORDER BY r.id LIMIT ?", (of.id, after, *named, fitting))
        now_ns = self._resources.clock()
        return [run_record(row, now_ns) for row in rows]

    def get(self, project: str, run: str) -> RunRecord:
        with self._database.read() as tx:
            return self._record(tx, find_run(tx, RunRef(project, run)))

    def start(self, project: str, new: NewRun) -> RunRecord:
        if new.id:
            check_name("run", new.id)
        for what, text in (("name", new.name), ("group", new.group), ("job type", new.job_type)):
            check_label(what, text)
        _check_notes(new.notes)
        tags = _checked_tags(new.tags)
        config = encode_metadata(new.config, "config")
        with self._database.write() as tx:
            of = find_project(tx, project)
            sweep_id = find_sweep(tx, of, new.sweep).id if new.sweep else None
            id_ = new.id or self._free_id(tx, of)
            run = peek_run(tx, of, id_)
            if run is None:
                if new.resume is Resume.MUST:
                    raise not_found(RunRef(project, id_))
                run = self._insert(tx, of, id_, new, sweep_id, config, tags)
            elif new.resume is Resume.NEVER:
                raise AlreadyExists(
                    f"the run {run.ref} exists", hint="choose another id; resume='allow' goes on with it"
                )
            else:
                self._go_on(tx, run, new, sweep_id, tags)
            return self._record(tx, run)

    def update(self, project: str, run: str, change: RunChange) -> RunRecord:
        if change.name is not None:
            check_label("name", change.name)
        _check_notes(change.notes or "")
        tags = None if change.tags is None else _checked_tags(change.tags)
        if change.exit_code is not None and abs(change.exit_code) > EXIT_CODE_MAX:
            raise InvalidValue(f"{change.exit_code} is no exit code", hint="it is the status of a process")
        with self._database.write() as tx:
            found = find_run(tx, RunRef(project, run))
            now_ns = self._resources.clock()
            row = tx.row("SELECT config, summary FROM runs WHERE id = ?", (found.id,))
            assert row is not None
            tx.run(
                "UPDATE runs SET config = ?, summary = ?, heard_of_at = ? WHERE id = ?",
                (
                    _merged(row[0], change.config, "config"),
                    _merged(row[1], change.summary, "summary"),
                    now_ns,
                    found.id,
                ),
            )
            if change.name is not None:
                tx.run("UPDATE runs SET name = ? WHERE id = ?", (change.name or run, found.id))
            if change.notes is not None:
                tx.run("UPDATE runs SET notes = ? WHERE id = ?", (change.notes, found.id))
            if tags is not None:
                tx.run("UPDATE runs SET tags = ? WHERE id = ?", (tags, found.id))
            if change.state is not None:
                self._set_state(tx, found, change.state, now_ns)
            if change.exit_code is not None:
                tx.run("UPDATE runs SET exit_code = ? WHERE id = ?", (change.exit_code, found.id))
            return self._record(tx, found)

    def log(self, project: str, run: str, rows: Sequence[HistoryRow]) -> None:
        steps = _by_step(rows)
        with self._database.write(durable=bool(rows)) as tx:
            found = find_run(tx, RunRef(project, run))
            tx.run("UPDATE runs SET heard_of_at = ? WHERE id = ?", (self._resources.clock(), found.id))
            if not rows:  # every run says so again and again: its summary is not written anew for that
                return
            row = tx.row("SELECT summary FROM runs WHERE id = ?", (found.id,))
            assert row is not None
            last = {key: value for one in rows for key, value in one.values.items()}
            tx.run("UPDATE runs SET summary = ? WHERE id = ?", (_merged(row[0], last, "summary"), found.id))
            for some in batches(sorted(steps), STEPS_AT_ONCE):
                self._log_steps(tx, found, [steps[step] for step in some])

    def _log_steps(self, tx: Transaction, run: Run, rows: Sequence[HistoryRow]) -> None:
        sql = "SELECT step, logged FROM run_history WHERE run_id = ? AND step IN ({})"
        known: dict[int, str] = dict(rows_in(tx, sql, (run.id,), [row.step for row in rows]))
        tx.run_many(
            "INSERT INTO run_history (run_id, step, time, logged) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (run_id, step) DO UPDATE SET time = excluded.time, logged = excluded.logged",
            (
                (run.id, row.step, row.time_ns, _merged(known.get(row.step, "{}"), row.values, "row of history"))
                for row in rows
            ),
        )

    def history(
        self, project: str, run: str, *, after: int = -1, limit: int | None = None, bytes_max: int | None = None
    ) -> Sequence[HistoryRow]:
        """With `bytes_max` fewer, rather than much more than that together."""
        with self._database.read() as tx:
            found = find_run(tx, RunRef(project, run))
            sizes = "SELECT length(logged) FROM run_history WHERE run_id = ? AND step > ? ORDER BY step"
            fitting = rows_that_fit(tx, sizes, (found.id, after), limit, bytes_max)
            rows = tx.rows(
                "SELECT step, time, logged FROM run_history WHERE run_id = ? AND step > ? ORDER BY step LIMIT ?",
                (found.id, after, fitting),
            )
        return [HistoryRow(step, time_ns, msgspec.json.decode(logged)) for step, time_ns, logged in rows]

    def delete(self, project: str, run: str) -> None:
        with self._database.write() as tx:
            tx.run("DELETE FROM runs WHERE id = ?", (find_run(tx, RunRef(project, run)).id,))

    def _record(self, tx: Transaction, run: Run) -> RunRecord:
        row = tx.row(f"{_RUN} WHERE r.id = ?", (run.id,))
        assert row is not None
        return run_record(row, self._resources.clock())

    def _free_id(self, tx: Transaction, project: Project) -> str:
        for _ in range(ID_ATTEMPTS):
            id_ = choose_id(self._resources.random_bytes)
            if peek_run(tx, project, id_) is None:
                return id_
        raise AlreadyExists(f"no id was found that no run of {project.name!r} has", hint="name the run")

    def _insert(
        self, tx: Transaction, project: Project, id_: str, new: NewRun, sweep_id: int | None, config: str, tags: str
    ) -> Run:
        run = Run(allocate(tx, "runs"), RunRef(project.name, id_))
        now_ns = self._resources.clock()
        tx.run(
            "INSERT INTO runs (id, project_id, run, name, notes, tags, state, run_group, job_type, sweep_id, config, summary,"
            " created_at, created_by, heard_of_at) VALUES (?, ?, ?, ?, ?, ?, 'running', ?, ?, ?, ?, '{}', ?, ?, ?)",
            (
                run.id,
                project.id,
                id_,
                new.name or id_,
                new.notes,
                tags,
                new.group,
                new.job_type,
                sweep_id,
                config,
                now_ns,
                new.created_by,
                now_ns,
            ),
        )
        return run

    def _go_on(self, tx: Transaction, run: Run, new: NewRun, sweep_id: int | None, tags: str) -> None:
        """Let a run be running again; what `new` says of it besides is true from now on."""
        now_ns = self._resources.clock()
        row = tx.row(
            "SELECT name, notes, tags, run_group, job_type, sweep_id, config FROM runs WHERE id = ?", (run.id,)
        )
        assert row is not None
        name, notes, old_tags, group, job_type, sweep, config = row
        tx.run(
            "UPDATE runs SET name = ?, notes = ?, tags = ?, run_group = ?, job_type = ?, sweep_id = ?,"
            " config = ?, heard_of_at = ? WHERE id = ?",
            (
                new.name or name,
                new.notes or notes,
                tags if new.tags else old_tags,
                new.group or group,
                new.job_type or job_type,
                sweep if sweep_id is None else sweep_id,
                _merged(config, new.config, "config"),
                now_ns,
                run.id,
            ),
        )
        self._set_state(tx, run, RunState.RUNNING, now_ns)

    def _set_state(self, tx: Transaction, run: Run, state: RunState, now_ns: int) -> None:
        ended_at_ns = None if state is RunState.RUNNING else now_ns
        tx.run("UPDATE runs SET state = ?, ended_at = ? WHERE id = ?", (state.value, ended_at_ns, run.id))
        if state is RunState.RUNNING:
            tx.run("UPDATE runs SET exit_code = NULL WHERE id = ?", (run.id,))


def _by_step(rows: Sequence[HistoryRow]) -> dict[int, HistoryRow]:
    """Rows by step, those of one step merged. Raises InvalidValue."""
    if len(rows) > HISTORY_ROWS_MAX:
        raise InvalidValue(f"{len(rows)} rows of history at once", hint=f"send at most {HISTORY_ROWS_MAX}")
    steps: dict[int, HistoryRow] = {}
    for row in rows:
        if not (0 <= row.step <= NUMBER_MAX and 0 <= row.time_ns <= NUMBER_MAX):
            raise InvalidValue(f"there is no step {row.step} at {row.time_ns} ns", hint="neither is below 0")
        before = steps.get(row.step)
        values = row.values if before is None else {**before.values, **row.values}
        steps[row.step] = HistoryRow(row.step, row.time_ns, values)
    return steps
