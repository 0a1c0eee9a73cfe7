"""Deleting versions, artifacts and projects, and planning it: what nothing else holds goes along.

Few versions go in one transaction. More go in batches, each in a transaction of its own that is meant to be as short as
TRANSACTION_S, and between two batches others have the database to themselves: a commit beside a large deletion waits for one
batch at most. Whatever a batch takes the last holder from dies with it, so the sum over batches is what one
transaction would have freed, and an interrupted deletion has deleted a part and nothing by halves. Packs are cleaned once, at
the end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from artfs.errors import NotEmpty, StillAliased, VersionNotFound
from artfs.model.names import version_name
from artfs.registry.aliases import remove_alias
from artfs.registry.catalog import Project, Projects, find_artifact, find_project, find_versions
from artfs.registry.changes import append_change, append_version_changes
from artfs.registry.database import Transaction, batches, rows_in
from artfs.registry.liveness import Toll, remove_condemned, remove_doomed, walk
from artfs.registry.maintenance import Maintenance
from artfs.registry.resources import Resources
from artfs.wire.deletions import ArtifactRemoval, Removal, RemovalPlan

AT_ONCE = 16  # versions that are deleted in one transaction, all or none
TRANSACTION_S = 0.1
BATCH_MAX = 512
PAUSE_S = 0.01  # longer than a waiting writer's poll
ARTIFACTS_AT_ONCE = 64


@dataclass(slots=True)
class Chosen:
    """What goes of one artifact: rows of versions by number, and the aliases that mean them."""

    id: int
    name: str
    versions: dict[int, int]
    aliases: list[str] = field(default_factory=list)
    is_whole: bool = False

    @property
    def shown(self) -> ArtifactRemoval:
        return ArtifactRemoval(self.name, sorted(self.versions), self.aliases, self.is_whole)


Check = Callable[[Transaction, list[Chosen]], list[Chosen]]


class Tally:
    """What was deleted so far, in the shape of a plan."""

    def __init__(self, project: str, *, whole_project: bool = False) -> None:
        self._project = project
        self._whole_project = whole_project
        self._artifacts: dict[str, ArtifactRemoval] = {}
        self._objects = 0
        self._bytes = 0

    def add(self, chosen: Iterable[Chosen], toll: Toll) -> None:
        for one in chosen:
            old = self._artifacts.get(one.name, ArtifactRemoval(one.name, [], []))
            self._artifacts[one.name] = ArtifactRemoval(
                one.name,
                sorted((*old.numbers, *one.versions)),
                sorted((*old.aliases, *one.aliases)),
                old.is_whole or one.is_whole,
            )
        self._objects += toll.object_count
        self._bytes += toll.stored_bytes

    @property
    def plan(self) -> RemovalPlan:
        artifacts = [one for _, one in sorted(self._artifacts.items()) if one.numbers or one.is_whole]
        return RemovalPlan(self._project, artifacts, self._objects, self._bytes, self._whole_project)


class Pace:
    """How many versions the next transaction takes, from how long the last ones took."""

    def __init__(self) -> None:
        self.size = AT_ONCE

    def took(self, elapsed_s: float) -> None:
        if elapsed_s > TRANSACTION_S:
            self.size = max(1, self.size // 2)
        elif elapsed_s < TRANSACTION_S / 2:
            self.size = min(BATCH_MAX, self.size * 2)


class Deletions:
    """Makes plans and carries them out."""

    def __init__(
        self,
        resources: Resources,
        maintenance: Maintenance,
        projects: Projects,
        *,
        now_s: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._resources = resources
        self._database = resources.database
        self._maintenance = maintenance
        self._projects = projects
        self._now_s = now_s
        self._pause = pause

    def plan(self, project: str, removal: Removal) -> RemovalPlan:
        with self._database.read() as tx:
            chosen = choose(tx, find_project(tx, project), removal)
            toll = walk(tx, self._resources.clock(), condemned=[id_ for one in chosen for id_ in one.versions.values()])
        tally = Tally(project, whole_project=removal.whole_project)
        tally.add(chosen, toll)
        return tally.plan

    def delete(self, project: str, removal: Removal, *, clean: bool = True) -> RemovalPlan:
        try:
            if removal.artifacts or removal.whole_project or sum(map(len, removal.versions.values())) > AT_ONCE:
                return self._delete_much(project, removal)
            tally = Tally(project)
            with self._database.write() as tx:
                chosen = choose(tx, find_project(tx, project), removal)
                _refuse_aliased(project, chosen, removal)
                tally.add(chosen, self._remove(tx, project, chosen))
            self._resources.after_change()
            return tally.plan
        finally:
            if clean:
                self._maintenance.clean_packs()

    def _delete_much(self, project: str, removal: Removal) -> RemovalPlan:
        tally = Tally(project, whole_project=removal.whole_project)
        with self._database.read() as tx:
            found = find_project(tx, project)
            if removal.whole_project:
                _refuse_uploads(tx, found, self._resources.clock())
            chosen = choose(tx, found, removal)
        _refuse_aliased(project, chosen, removal)

        def unaliased(tx: Transaction, batch: list[Chosen]) -> list[Chosen]:
            _refuse_aliased(project, batch, removal)
            return batch

        for removed, toll in self.in_batches(project, chosen, unaliased):
            tally.add(removed, toll)
        whole = [one for one in chosen if one.is_whole]
        for some in batches(whole, ARTIFACTS_AT_ONCE):
            tally.add(*self._remove_artifacts(project, some))
        if removal.whole_project:
            self._projects.delete(project)
        elif chosen and not whole and not tally.plan.version_count:
            raise VersionNotFound(f"somebody else deleted these versions of project {project!r}")
        return tally.plan

    def in_batches(self, project: str, chosen: Sequence[Chosen], check: Check) -> Iterator[tuple[list[Chosen], Toll]]:
        """Delete the versions; what each transaction did. Those that somebody else deleted meanwhile are passed over.

        Args:
            check: says in each transaction what of a batch goes.
        """
        pace = Pace()
        todo = [(one, number, id_) for one in chosen for number, id_ in sorted(one.versions.items())]
        at = 0
        while at < len(todo):
            batch, at = todo[at : at + pace.size], at + pace.size
            with self._database.write() as tx:
                began_s = self._now_s()
                still = check(tx, _still_there(tx, batch))
                toll = self._remove(tx, project, still)
            pace.took(self._now_s() - began_s)
            self._resources.after_change()
            yield still, toll
            self._pause(PAUSE_S)

    def _remove(self, tx: Transaction, project: str, chosen: Sequence[Chosen]) -> Toll:
        toll = walk(tx, self._resources.clock(), condemned=[id_ for one in chosen for id_ in one.versions.values()])
        for one in chosen:
            for alias in one.aliases:
                remove_alias(tx, project, one.name, one.id, alias)
        remove_condemned(tx)
        names = [(one.name, version_name(number)) for one in chosen for number in sorted(one.versions)]
        append_version_changes(tx, project, names)
        remove_doomed(tx)
        return toll

    def _remove_artifacts(self, project: str, chosen: Sequence[Chosen]) -> tuple[list[Chosen], Toll]:
        """Delete artifacts, with the versions that were committed to them meanwhile."""
        with self._database.write() as tx:
            left = [
                Chosen(one.id, one.name, *_all_of(tx, one.id), is_whole=True)
                for one in chosen
                if tx.row("SELECT 1 FROM artifacts WHERE id = ?", (one.id,)) is not None
            ]
            toll = self._remove(tx, project, left)
            for one in left:
                tx.run("DELETE FROM artifacts WHERE id = ?", (one.id,))
                append_change(tx, "artifact", project, one.name)
        self._resources.after_change()
        return left, toll


def choose(tx: Transaction, project: Project, removal: Removal) -> list[Chosen]:
    """The rows that a removal is about. Raises ArtifactNotFound and VersionNotFound."""
    whole = set(removal.artifacts)
    if removal.whole_project:
        whole |= {name for (name,) in tx.rows("SELECT name FROM artifacts WHERE project_id = ?", (project.id,))}
    chosen = []
    for name in sorted(whole | set(removal.versions)):
        artifact = find_artifact(tx, project, name)
        if name in whole:
            chosen.append(Chosen(artifact.id, name, *_all_of(tx, artifact.id), is_whole=True))
            continue
        versions = find_versions(tx, project, artifact, removal.versions[name])
        chosen.append(Chosen(artifact.id, name, versions, aliases_on(tx, artifact.id, versions)))
    return chosen


def _all_of(tx: Transaction, artifact_id: int) -> tuple[dict[int, int], list[str]]:
    """All versions of an artifact, and all aliases."""
    versions: dict[int, int] = dict(tx.rows("SELECT number, id FROM versions WHERE artifact_id = ?", (artifact_id,)))
    return versions, aliases_on(tx, artifact_id, versions)


def aliases_on(tx: Transaction, artifact_id: int, numbers: Iterable[int]) -> list[str]:
    """By name."""
    wanted = frozenset(numbers)
    rows = tx.rows("SELECT alias, version FROM aliases WHERE artifact_id = ? ORDER BY alias", (artifact_id,))
    return [alias for alias, number in rows if number in wanted]


def _still_there(tx: Transaction, batch: Sequence[tuple[Chosen, int, int]]) -> list[Chosen]:
    """The part of what was chosen that a batch is about, as it is now."""
    ids = {id_ for (id_,) in rows_in(tx, "SELECT id FROM versions WHERE id IN ({})", (), [id_ for *_, id_ in batch])}
    found: dict[int, Chosen] = {}
    for one, number, id_ in batch:
        if id_ in ids:
            found.setdefault(one.id, Chosen(one.id, one.name, {}, is_whole=one.is_whole)).versions[number] = id_
    for one in found.values():
        one.aliases = aliases_on(tx, one.id, one.versions)
    return list(found.values())


def _refuse_aliased(project: str, chosen: Iterable[Chosen], removal: Removal) -> None:
    """Raises StillAliased."""
    if removal.delete_aliases:
        return
    for one in chosen:
        if one.aliases and not one.is_whole:
            raise StillAliased(
                f"{project}/{one.name} has aliases on what is to be deleted: {', '.join(one.aliases)}",
                hint="move or remove them first, or delete them along",
            )


def _refuse_uploads(tx: Transaction, project: Project, now_ns: int) -> None:
    """Raises NotEmpty before anything is deleted."""
    row = tx.row(
        "SELECT count(*) FROM drafts WHERE project_id = ? AND state = 'open' AND expires_at > ?", (project.id, now_ns)
    )
    if row is not None and row[0]:
        raise NotEmpty(f"the project {project.name!r} has {row[0]} uploads", hint="end these first")
