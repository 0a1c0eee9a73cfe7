"""Any history of two processes on one cache, against what was put: right bytes or none, and never above the limit."""

from __future__ import annotations

import random
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from artfs.cache.object_cache import ObjectCache
from artfs.model.digest import Digest, ObjectKey, ObjectKind
from tests.reliability.trials import tried

pytestmark = [pytest.mark.falsifies("model", "cache-limit", "verified")]

LIMIT = 1 << 20
Objects = dict[ObjectKey, bytes]
batches = st.integers(0, 60)
processes = st.integers(0, 1)
projects = st.sampled_from(["p", "q"])


def batch_of(seed: int) -> Objects:
    rng = random.Random(seed)
    datas = [rng.randbytes(rng.choice([0, 30, 5000, 12_000, 40_000])) for _ in range(rng.randrange(1, 12))]
    return {ObjectKey(rng.choice(list(ObjectKind)), Digest.of(data)): data for data in datas}


class CacheHistory(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="artfs-cache-"))
        self.clock_ns = 10**18
        self.put_ever: set[tuple[str, ObjectKey]] = set()
        self.pinned: dict[str, set[tuple[str, ObjectKey]]] = {}

    def clock(self) -> int:
        self.clock_ns += 1
        return self.clock_ns

    @initialize()
    def begin(self) -> None:
        self.caches = [ObjectCache(self.root / "cache", LIMIT, "r", self.clock) for _ in range(2)]

    @rule(process=processes, project=projects, seed=batches)
    def put(self, process: int, project: str, seed: int) -> None:
        self.caches[process].put(project, batch_of(seed))
        self.put_ever |= {(project, key) for key in batch_of(seed)}

    @rule(process=processes, project=projects, seed=batches)
    def get(self, process: int, project: str, seed: int) -> None:
        objects = batch_of(seed)
        found = self.caches[process].get(project, list(objects))
        for key, data in found.items():
            assert data == objects[key]
            assert (project, key) in self.put_ever

    @rule(process=processes, project=projects, seed=st.integers(0, 3))
    def pin_what_is_held(self, process: int, project: str, seed: int) -> None:
        cache = self.caches[process]
        here = list(cache.get(project, list(batch_of(seed))))
        assert cache.pin(f"{project}/{seed}", project, here) == len(here)
        self.pinned.setdefault(f"{project}/{seed}", set()).update((project, key) for key in here)

    @rule(process=processes, project=projects, seed=st.integers(0, 3))
    def unpin(self, process: int, project: str, seed: int) -> None:
        self.caches[process].unpin(f"{project}/{seed}")
        self.pinned.pop(f"{project}/{seed}", None)

    @rule(process=processes, size=st.integers(0, LIMIT))
    def clean_up(self, process: int, size: int) -> None:
        cache = self.caches[process]
        cache.cleanup(cache.plan_cleanup(size))

    @rule(process=processes)
    def reopen(self, process: int) -> None:
        self.caches[process].close()
        self.caches[process] = ObjectCache(self.root / "cache", LIMIT, "r", self.clock)

    @rule(process=processes)
    def verify(self, process: int) -> None:
        assert self.caches[process].verify().damaged_count == 0

    @invariant()
    def limit_holds(self) -> None:
        tried("a step of a random history of two processes on one cache")
        if (self.root / "cache").exists():
            du = subprocess.check_output(["du", "-s", "--block-size=1", str(self.root / "cache")])
            assert int(du.split()[0]) <= LIMIT

    @invariant()
    def pinned_objects_are_held(self) -> None:
        for pinned in self.pinned.values():
            for project, key in pinned:
                assert self.caches[0].get(project, [key])

    def teardown(self) -> None:
        for cache in getattr(self, "caches", []):
            cache.close()
        shutil.rmtree(self.root)


TestCacheHistory = CacheHistory.TestCase
TestCacheHistory.settings = settings(max_examples=30, stateful_step_count=40, deadline=None)


@pytest.mark.deep
@pytest.mark.timeout(1800)
def test_long_histories_of_two_processes_on_one_cache() -> None:
    run_state_machine_as_test(CacheHistory, settings=settings(max_examples=200, stateful_step_count=60))
