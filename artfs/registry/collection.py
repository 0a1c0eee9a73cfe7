"""Times to live, applied: versions that expired are deleted, and what maintenance left undone is done.

A version whose time has come is deleted unless an alias other than `latest` means it: who gives it a name keeps it, and it goes
when the last name does. That is looked at again in the transaction that deletes. `latest` goes with the version, since an
alias never moves back.

Servers collect again and again. Which of their processes does is settled by a row that says when the last round began.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence

from artfs.errors import ArtfsError
from artfs.model.names import LATEST
from artfs.registry.database import Transaction, rows_in
from artfs.registry.deletion import Chosen, Deletions, Tally, aliases_on
from artfs.registry.liveness import Toll, unattached, walk
from artfs.registry.maintenance import Maintenance
from artfs.registry.resources import Resources
from artfs.wire.deletions import Collected, RemovalPlan

ROUND_VERSIONS = 2000  # what one round of a server does at most
ROUND_DRAFTS = 200
ROUND_PACKS = 4000
ALL = 1 << 30
_ROUND = "collection"

_IS_DUE = (
    "v.expires_at <= ? AND NOT EXISTS (SELECT 1 FROM aliases x WHERE x.artifact_id = v.artifact_id"
    " AND x.version = v.number AND x.alias <> ?)"
)
_DUE = (
    "SELECT p.name, a.id, a.name, v.number, v.id, x.alias FROM versions v JOIN artifacts a ON a.id = v.artifact_id"
    " JOIN projects p ON p.id = a.project_id"
    " LEFT JOIN aliases x ON x.artifact_id = v.artifact_id AND x.version = v.number"
    f" WHERE {_IS_DUE} ORDER BY v.expires_at, v.id LIMIT ?"
)

_log = logging.getLogger(__name__)


class Collection:
    """Keeps no state of its own."""

    def __init__(self, resources: Resources, maintenance: Maintenance, deletions: Deletions) -> None:
        self._resources = resources
        self._database = resources.database
        self._maintenance = maintenance
        self._deletions = deletions

    def plan(self) -> Collected:
        """What `collect` would do now."""
        now_ns = self._resources.clock()
        with self._database.read() as tx:
            due = _due(tx, now_ns, ALL)
            drafts = tx.rows(
                "SELECT id FROM drafts WHERE (state = 'open' AND expires_at <= ?) OR (state = 'ended' AND collected = 0)",
                (now_ns,),
            )
            held = {draft_id: unattached(tx, draft_id) for (draft_id,) in drafts}
            total = walk(
                tx,
                now_ns,
                candidates=sorted({object_ for objects in held.values() for object_ in objects}),
                condemned=_ids(one for chosen in due.values() for one in chosen),
            )
            tolls = {project: walk(tx, now_ns, condemned=_ids(chosen)) for project, chosen in due.items()}
        plans = [_plan(project, [(due[project], toll)]) for project, toll in tolls.items()]
        return Collected(plans, sum(map(bool, held.values())), *total)

    def collect(
        self,
        *,
        wait: bool = True,
        versions: int = ALL,
        drafts: int = ALL,
        packs: int = ALL,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Collected:
        """Delete what expired, end and collect drafts, and clean packs.

        Args:
            wait: for another process that is cleaning packs; else leave them to that one.
            versions, drafts, packs: how many at most.
            stopped: asked between transactions, and before packs are cleaned; what is left is done by a later call.
        """
        now_ns = self._resources.clock()
        with self._database.read() as tx:
            due = _due(tx, now_ns, versions)
        plans = []
        for project, chosen in due.items():
            done: list[tuple[list[Chosen], Toll]] = []
            for batch in self._deletions.in_batches(project, chosen, self._still_due):
                done.append(batch)
                if stopped():
                    break
            plans.append(_plan(project, done))
            if stopped():
                break
        swept = self._maintenance.sweep(wait=wait, drafts=drafts, packs=packs, stopped=stopped)
        objects = sum(plan.object_count for plan in plans) + swept.toll.object_count
        freed_bytes = sum(plan.freed_bytes for plan in plans) + swept.toll.stored_bytes
        return Collected([plan for plan in plans if plan.version_count], swept.draft_count, objects, freed_bytes)

    def try_round(self, every_s: float, stopped: Callable[[], bool]) -> None:
        """Collect a bounded part, unless some process began to within the last `every_s`. A failure is logged."""
        try:
            if not self._claim(every_s):
                return
            done = self.collect(
                wait=False, versions=ROUND_VERSIONS, drafts=ROUND_DRAFTS, packs=ROUND_PACKS, stopped=stopped
            )
            if done.version_count:
                _log.info("deleted %d expired versions, %d bytes", done.version_count, done.freed_bytes)
        except ArtfsError as error:
            _log.warning("collecting what expired is put off: %s", error)

    def _claim(self, every_s: float) -> bool:
        now_ns = self._resources.clock()
        with self._database.read() as tx:
            if not _may_begin(tx, now_ns, every_s):
                return False
        with self._database.write(durable=False) as tx:
            if not _may_begin(tx, now_ns, every_s):
                return False
            tx.run(
                "INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                (_ROUND, str(now_ns)),
            )
            return True

    def _still_due(self, tx: Transaction, batch: list[Chosen]) -> list[Chosen]:
        """Without what was given more time, or a name, meanwhile."""
        sql = f"SELECT v.id FROM versions v WHERE {_IS_DUE} AND v.id IN ({{}})"
        due = {id_ for (id_,) in rows_in(tx, sql, (self._resources.clock(), LATEST), _ids(batch))}
        for one in batch:
            one.versions = {number: id_ for number, id_ in one.versions.items() if id_ in due}
            one.aliases = aliases_on(tx, one.id, one.versions)
        return [one for one in batch if one.versions]


def _may_begin(tx: Transaction, now_ns: int, every_s: float) -> bool:
    row = tx.row("SELECT value FROM settings WHERE name = ?", (_ROUND,))
    return row is None or not int(row[0]) <= now_ns < int(row[0]) + int(every_s * 10**9)


def _due(tx: Transaction, now_ns: int, limit: int) -> dict[str, list[Chosen]]:
    """Versions that expired, the longest ago first, by project."""
    found: dict[tuple[str, int], Chosen] = {}
    for project, artifact_id, artifact, number, id_, alias in tx.rows(_DUE, (now_ns, LATEST, limit)):
        one = found.setdefault((project, artifact_id), Chosen(artifact_id, artifact, {}))
        one.versions[number] = id_
        one.aliases += [] if alias is None else [alias]
    by_project: dict[str, list[Chosen]] = {}
    for (project, _), one in sorted(found.items()):
        by_project.setdefault(project, []).append(one)
    return by_project


def _ids(chosen: Iterable[Chosen]) -> list[int]:
    return [id_ for one in chosen for id_ in one.versions.values()]


def _plan(project: str, done: Sequence[tuple[list[Chosen], Toll]]) -> RemovalPlan:
    tally = Tally(project)
    for chosen, toll in done:
        tally.add(chosen, toll)
    return tally.plan
