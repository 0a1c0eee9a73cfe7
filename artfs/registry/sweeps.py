"""Sweeps: groups of runs that try variants of one thing. They know what was tried, not what to try next."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from artfs.errors import AlreadyExists, SweepNotFound
from artfs.model.lineage import choose_id
from artfs.model.names import check_label, check_name
from artfs.registry.catalog import Project, find_project, rows_that_fit
from artfs.registry.database import Transaction, allocate
from artfs.registry.resources import Resources
from artfs.registry.versions import encode_metadata
from artfs.wire.runs import NewSweep, SweepRecord

_SWEEP = "SELECT s.id, s.sweep, s.name, s.config, s.created_at, s.created_by FROM sweeps s WHERE s.project_id = ?"


class Sweep(NamedTuple):
    """A sweep's row."""

    id: int
    sweep: str
    name: str
    config: str
    created_at_ns: int
    created_by: str

    def record(self, project: str) -> SweepRecord:
        config = msgspec.json.decode(self.config)
        return SweepRecord(project, self.sweep, self.name, config, self.created_at_ns, self.created_by)


def peek_sweep(tx: Transaction, project: Project, sweep: str) -> Sweep | None:
    row = tx.row(f"{_SWEEP} AND s.sweep = ?", (project.id, sweep))
    return None if row is None else Sweep(*row)


def find_sweep(tx: Transaction, project: Project, sweep: str) -> Sweep:
    """Raises SweepNotFound."""
    found = peek_sweep(tx, project, sweep)
    if found is None:
        raise SweepNotFound(f"there is no sweep {project.name}/{sweep}", hint="it is made before its runs")
    return found


class Sweeps:
    """The `Sweeps` service."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._database = resources.database

    def list(
        self, project: str, *, after: str = "", limit: int | None = None, bytes_max: int | None = None
    ) -> list[SweepRecord]:
        """With `bytes_max` fewer, rather than much more than that together."""
        with self._database.read() as tx:
            of = find_project(tx, project)
            sizes = "SELECT length(s.config) FROM sweeps s WHERE s.project_id = ? AND s.sweep > ? ORDER BY s.sweep"
            fitting = rows_that_fit(tx, sizes, (of.id, after), limit, bytes_max)
            rows = tx.rows(f"{_SWEEP} AND s.sweep > ? ORDER BY s.sweep LIMIT ?", (of.id, after, fitting))
        return [Sweep(*row).record(project) for row in rows]

    def get(self, project: str, sweep: str) -> SweepRecord:
        with self._database.read() as tx:
            return find_sweep(tx, find_project(tx, project), sweep).record(project)

    def create(self, project: str, new: NewSweep) -> SweepRecord:
        if new.id:
            check_name("sweep", new.id)
        check_label("name", new.name)
        config = encode_metadata(new.config, "config")
        with self._database.write() as tx:
            of = find_project(tx, project)
            id_ = new.id or choose_id(self._resources.random_bytes)
            if peek_sweep(tx, of, id_) is not None:
                raise AlreadyExists(f"the sweep {project}/{id_} exists", hint="choose another id")
            created = Sweep(
                allocate(tx, "sweeps"), id_, new.name or id_, config, self._resources.clock(), new.created_by
            )
            tx.run(
                "INSERT INTO sweeps (id, project_id, sweep, name, config, created_at, created_by)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (created.id, of.id, *created[1:]),
            )
        return created.record(project)

    def delete(self, project: str, sweep: str) -> None:
        with self._database.write() as tx:
            tx.run("DELETE FROM sweeps WHERE id = ?", (find_sweep(tx, find_project(tx, project), sweep).id,))
