"""Uploads, deletions, expiry and repacking in every order: what a version or an upload holds is there, and nothing else is.

Each history has a few callers whose steps are put in an order by a seed; some of them are killed at a step. What must be there
is decided by brute force, from the versions that are left.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from psycopg.conninfo import make_conninfo

from artfs.errors import ArtifactNotFound, DraftClosed, DraftNotFound, VersionNotFound
from artfs.model.digest import ObjectKey
from artfs.registry.embedded import EmbeddedRegistry
from artfs.registry.sql_registry import SqlRegistry
from artfs.wire.deletions import Removal
from artfs.wire.records import SealRequest
from tests.contract.uploading import (
    Clock,
    Content,
    Tree,
    children_of,
    commit,
    content_of,
    fetch,
    fetch_again,
    write_pack,
)
from tests.faults.interleaving import Turns, stepped_registry
from tests.registries import OWN_REGISTRIES, migrated_database, open_postgres_registry
from tests.reliability.trials import tried
from tests.stores import keys_in_packs

pytestmark = [pytest.mark.falsifies("deletion", "whole")]

Version = tuple[str, int]
ARTIFACTS = ("bikes", "cars")
MEMORY = "/dev/shm"
SPARE = "spare"  # an artifact that is deleted whole
CALLERS_MAX, CALLS_MAX = 4, 4
HOUR_S = 3600
REGISTRY_HISTORIES = 200  # then another one, so that none grows large
TREES: tuple[Tree, ...] = (  # few and overlapping, so that histories often meet the same objects again
    {"a": b"a"},
    {"a": b"a", "b": b"bb"},
    {"c": {"a": b"a", "b": b"bb"}, "b": b"bb"},
    {"a": {"c": {"a": b"a", "b": b"bb"}}, "b": b"x" * 3000},
    {"c": {"a": b"a", "b": b"bb"}, "x": b"x" * 3000},
)
CONTENTS = [content_of(tree, large_bytes=1000) for tree in TREES]
KNOWN = {key: data for content in CONTENTS for key, data in content.objects.items()}


@dataclass
class History:
    """One project, and what callers did to it so far.

    Attributes:
        contents: what callers put; the fewer there are, the more they meet.
        sealed: what versions hold.
        doomed: versions that somebody deletes, or whose time to live may be over.
    """

    registry: SqlRegistry
    clock: Clock
    project: str
    chance: random.Random
    turns: Turns
    contents: list[Content] = field(default_factory=lambda: CONTENTS)
    sealed: dict[Version, Content] = field(default_factory=dict)
    doomed: set[Version] = field(default_factory=set)

    # --- what callers do

    def program(self, seed: int) -> Callable[[], None]:
        chance = random.Random(seed)
        calls = [self.put, self.put, self.give_up, self.delete, self.delete, self.read, self.time_passes, self.collect]
        chosen = [chance.choice(calls) for _ in range(chance.randint(1, CALLS_MAX))]
        if chance.random() < 0.1:
            chosen.append(self.delete_much)

        def run() -> None:
            for call in chosen:
                call(chance)

        return run

    def put(self, chance: random.Random) -> None:
        content, artifact = chance.choice(self.contents), chance.choice(ARTIFACTS)
        draft = self.registry.drafts.open(self.project)
        ttl_s = 1 if chance.random() < 0.2 else None
        try:
            self._send(draft.id, draft.project_uid, content)
            request = SealRequest(artifact, content.root, ttl_s=ttl_s, keep_identical=chance.random() < 0.5)
            made = self.registry.drafts.seal(draft.id, request).version
        except (DraftNotFound, DraftClosed):
            assert draft.expires_at_ns <= self.clock.now_ns, "an upload was lost before its time"
            return
        version = made.artifact, made.number
        self.sealed[version] = content
        if ttl_s is not None:
            self.doomed.add(version)
        self._look(version)

    def give_up(self, chance: random.Random) -> None:
        draft = self.registry.drafts.open(self.project)
        try:
            self._send(draft.id, draft.project_uid, chance.choice(self.contents))
        except (DraftNotFound, DraftClosed):
            assert draft.expires_at_ns <= self.clock.now_ns, "an upload was lost before its time"
        self.registry.drafts.abandon(draft.id)

    def _send(self, draft: str, project_uid: bytes, content: Content) -> None:
        """As a client does; anything that the registry misses afterwards is an error of its own."""
        missing = self.registry.drafts.missing(draft, list(content.objects))
        for part in (missing[: len(missing) // 2], missing[len(missing) // 2 :]):
            if part:
                objects = [(key, content.objects[key]) for key in part]
                pack = write_pack(self.registry, project_uid, objects, random_bytes=self.chance.randbytes)
                self.registry.drafts.put_pack(draft, pack)

    def delete(self, chance: random.Random) -> None:
        listed = self._listed(chance.choice(ARTIFACTS))
        if listed:
            artifact, number = version = chance.choice(listed)
            self.doomed.add(version)
            try:
                self.registry.versions.delete(self.project, artifact, [number], delete_aliases=True)
            except VersionNotFound:
                return  # somebody else was faster

    def delete_much(self, chance: random.Random) -> None:
        """In several transactions."""
        listed = self._listed(ARTIFACTS[0])
        self.doomed |= {*listed, (SPARE, 0)}
        removal = Removal({ARTIFACTS[0]: [number for _, number in listed]}, [SPARE], delete_aliases=True)
        try:
            self.registry.versions.remove(self.project, removal)
        except (VersionNotFound, ArtifactNotFound):
            return

    def read(self, chance: random.Random) -> None:
        for version in self._listed(chance.choice(ARTIFACTS)):
            self._look(version)

    def time_passes(self, chance: random.Random) -> None:
        """Every open draft expires, or hardly any."""
        self.clock.advance_s(chance.choice([1, 25]) * HOUR_S)
        self.registry.drafts.abandon(self.registry.drafts.open(self.project).id)

    def collect(self, chance: random.Random) -> None:
        self.registry.collection.collect(wait=chance.random() < 0.5)

    def _listed(self, artifact: str) -> list[Version]:
        try:
            return [(artifact, version.number) for version in self.registry.versions.list(self.project, artifact)]
        except ArtifactNotFound:
            return []

    def _look(self, version: Version) -> None:
        """What a version holds is there and right, as long as nobody deletes it."""
        content = self.sealed.get(version)
        for key, data in (content.objects if content is not None else {}).items():
            found = fetch_again(self.registry, self.project, key)
            assert found == data or (found is None and version in self.doomed), f"{key} of {version} is lost"

    # --- what must hold

    def assert_complete(self) -> dict[Version, Content]:
        """Every version that nobody deleted is there, with all it holds; what is there."""
        listed = {version for artifact in (*ARTIFACTS, SPARE) for version in self._listed(artifact)}
        assert self.sealed.keys() - self.doomed <= listed
        unknown = listed - self.sealed.keys()
        assert not unknown or self.turns.killed, f"{unknown} were never sealed"
        found: dict[Version, Content] = {}
        for artifact, number in listed:
            root = self.registry.versions.resolve(self.project, artifact, f"v{number}").root_key
            found[artifact, number] = next(content for content in CONTENTS if content.root_key == root)
            for key, data in found[artifact, number].objects.items():
                assert fetch(self.registry, self.project, key) == data, f"{key} of v{number} is lost"
        return found

    def assert_exact(self) -> None:
        """When all drafts have expired there is nothing that no version holds, in the database or in a pack."""
        self.clock.advance_s(100 * HOUR_S)
        self.registry.collection.collect()
        reachable: set[ObjectKey] = set()
        pending = [content.root_key for content in self.assert_complete().values()]
        while pending:
            key = pending.pop()
            if key not in reachable:
                reachable.add(key)
                pending += children_of(key, KNOWN[key])
        located = self.registry.objects.locate(self.project, list(KNOWN))
        assert {key for key, at in zip(KNOWN, located, strict=True) if at is not None} == reachable
        uid = self.registry.projects.get(self.project).uid
        assert keys_in_packs(self.registry.resources.store, uid) == sorted(reachable)


def play(registry: SqlRegistry, turns: Turns, clock: Clock, seed: int) -> None:
    """One history, in a project of its own."""
    chance = random.Random(seed)
    history = History(registry, clock, f"h{seed}", chance, turns, chance.sample(CONTENTS, chance.choice([1, 2, 5])))
    registry.projects.create(history.project)
    for artifact, content in (
        (chance.choice(ARTIFACTS), chance.choice(history.contents)),
        (SPARE, chance.choice(CONTENTS)),
    ):
        made = commit(registry, history.project, artifact, content).version
        history.sealed[artifact, made.number] = content
    programs = [history.program(chance.randrange(1 << 32)) for _ in range(chance.randint(2, CALLERS_MAX))]
    kill_at = {0: chance.randint(0, 30)} if chance.random() < 0.3 else {}
    try:
        turns.run(programs, chance, kill_at)
        history.assert_complete()
        history.assert_exact()
    except BaseException as error:
        error.add_note(f"history {seed}: {turns.steps}")
        raise
    tried("an interleaving of uploads, deletions, expiry and repacking")
    tried("a step of such an interleaving", len(turns.steps))
    tried("a caller killed at a step", len(turns.killed))


@contextmanager
def _stepped(kind: str) -> Iterator[tuple[SqlRegistry, Turns, Clock]]:
    """In memory where there is such a place: nothing here is about what a disk keeps, and it is ten times as quick."""
    memory = MEMORY if os.access(MEMORY, os.W_OK) else None
    root, turns, clock = Path(tempfile.mkdtemp(prefix="artfs-turns-", dir=memory)), Turns(), Clock()
    try:
        with _opened(kind, root / "registry", clock) as registry:
            yield stepped_registry(registry, turns), turns, clock
    finally:
        shutil.rmtree(root)


@contextmanager
def _opened(kind: str, root: Path, clock: Clock) -> Iterator[SqlRegistry]:
    if kind == "sqlite":
        with closing(EmbeddedRegistry(root, clock=clock)) as registry:
            yield registry
        return
    with migrated_database() as url:
        hasty = make_conninfo(url, options="-c synchronous_commit=off")
        with closing(open_postgres_registry(hasty, root, clock=clock)) as registry:
            yield registry


def play_many(kind: str, seeds: range) -> None:
    for first in range(seeds.start, seeds.stop, REGISTRY_HISTORIES):
        with _stepped(kind) as (registry, turns, clock):
            for seed in range(first, min(first + REGISTRY_HISTORIES, seeds.stop)):
                play(registry, turns, clock, seed)


@pytest.mark.parametrize("kind", OWN_REGISTRIES)
def test_in_whatever_order_nothing_is_lost_and_nothing_is_left(kind: str) -> None:
    play_many(kind, range(40 if kind == "sqlite" else 10))


@pytest.mark.deep
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", OWN_REGISTRIES)
def test_in_thousands_of_orders_nothing_is_lost_and_nothing_is_left(kind: str) -> None:
    play_many(kind, range(1000, 5000 if kind == "sqlite" else 2500))


def test_the_same_seed_gives_the_same_order() -> None:
    """Else a failure could not be looked at."""
    orders = []
    for _ in range(2):
        with _stepped("sqlite") as (registry, turns, clock):
            play(registry, turns, clock, 7)
            orders.append(list(turns.steps))
    assert orders[0] == orders[1]
    assert len({who for who, _ in orders[0]}) > 1
