"""What everybody may rely on of the cache, on a real directory: bounded, verified, shared, private."""

from __future__ import annotations

import random
import stat
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path

import pytest

from artfs.cache.directory import CacheDirectory
from artfs.cache.index import Index
from artfs.cache.layout import mark_of
from artfs.cache.object_cache import ObjectCache
from artfs.cache.reader import USES_MAX
from artfs.model.digest import Digest, ObjectKey, ObjectKind

pytestmark = [pytest.mark.falsifies("cache-limit", "verified")]

LIMIT = 4 << 20
Objects = dict[ObjectKey, bytes]


class Clock:
    """Nanoseconds that pass when asked."""

    def __init__(self) -> None:
        self.now_ns = 10**18

    def __call__(self) -> int:
        self.now_ns += 1000
        return self.now_ns


def chunks(seed: int, count: int = 10, size_bytes: int = 12_000) -> Objects:
    rng = random.Random(seed)
    datas = [rng.randbytes(size_bytes) for _ in range(count)]
    return {ObjectKey(ObjectKind.CHUNK, Digest.of(data)): data for data in datas}


def du(root: Path) -> int:
    return int(subprocess.check_output(["du", "-s", "--block-size=1", str(root)]).split()[0])


def segment_files(root: Path) -> list[Path]:
    return sorted(root.glob("v1/segments/*"))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def cache(root: Path, clock: Clock) -> Iterator[ObjectCache]:
    with ObjectCache(root, LIMIT, "registry", clock) as opened:
        yield opened


def reopened(root: Path, clock: Clock, limit_bytes: int = LIMIT, scope: str = "registry") -> ObjectCache:
    return ObjectCache(root, limit_bytes, scope, clock)


def held(cache: ObjectCache, objects: Objects, project: str = "p") -> int:
    found = cache.get(project, list(objects))
    assert all(found[key] == objects[key] for key in found)
    return len(found)


def test_an_index_that_says_an_object_is_another_projects_is_not_believed(root: Path, cache: ObjectCache) -> None:
    objects = chunks(1)
    cache.put("p", objects)
    mine, others = (sha256(f"registry/{project}".encode()).digest()[:16] for project in ("p", "q"))
    index = Index.open(CacheDirectory(root))
    assert index is not None
    for key in objects:
        slot = index.find(mark_of(mine, key))
        assert slot is not None
        index.insert(slot._replace(mark=mark_of(others, key)), {slot.segment})
    assert held(cache, objects, "q") == 0
    assert held(cache, objects) == len(objects)


def test_what_was_put_is_found_and_nothing_else(cache: ObjectCache) -> None:
    kept, other = chunks(1), chunks(2)
    cache.put("p", kept)
    assert cache.get("p", [*kept, *other]) == kept


def test_objects_of_any_size_come_back(cache: ObjectCache) -> None:
    for size in (0, 1, 63, 4096, 100_000, 700_000):
        objects = chunks(size, 1, size)
        cache.put("p", objects)
        assert cache.get("p", list(objects)) == objects


def test_all_of_many_objects_put_at_once_is_there(root: Path) -> None:
    """The index grows before it is so crowded that it loses more than a few."""
    put = chunks(seed=3, count=48_000, size_bytes=8)
    with ObjectCache(root, 1 << 30, "registry") as cache:
        for start in range(0, len(keys := list(put)), 5000):
            cache.put("p", {key: put[key] for key in keys[start : start + 5000]})
        assert len(cache.get("p", keys)) >= len(put) - 50


def test_many_objects_share_few_files(cache: ObjectCache, root: Path) -> None:
    cache.put("p", chunks(1, 1000, 500))
    assert len(segment_files(root)) <= 8


def test_other_processes_and_later_ones_find_it(cache: ObjectCache, root: Path, clock: Clock) -> None:
    kept = chunks(1)
    cache.put("p", kept)
    with reopened(root, clock) as other:
        assert held(other, kept) == 10
        other.put("p", chunks(2))
    assert held(cache, chunks(2)) == 10
    cache.close()
    with reopened(root, clock) as later:
        assert held(later, kept | chunks(2)) == 20


def test_an_object_is_served_only_in_its_project_and_registry(cache: ObjectCache, root: Path, clock: Clock) -> None:
    kept = chunks(1)
    cache.put("p", kept)
    assert cache.get("q", list(kept)) == {}
    with reopened(root, clock, scope="another") as elsewhere:
        assert elsewhere.get("p", list(kept)) == {}


def test_an_object_is_served_only_as_its_kind(cache: ObjectCache) -> None:
    ((key, data),) = chunks(1, 1).items()
    cache.put("p", {key: data})
    assert cache.get("p", [ObjectKey(ObjectKind.TREE, key.digest)]) == {}


def test_wrong_bytes_are_never_served_whoever_put_them(cache: ObjectCache) -> None:
    key = next(iter(chunks(1)))
    cache.put("p", {key: b"something else"})
    assert cache.get("p", [key]) == {}
    cache.put("p", {key: chunks(1)[key]})
    assert cache.get("p", [key]) == {key: chunks(1)[key]}


def test_the_limit_holds_at_every_moment_and_most_of_it_is_used(cache: ObjectCache, root: Path) -> None:
    for seed in range(100):
        cache.put("p", chunks(seed))
        assert du(root) <= LIMIT
    assert du(root) >= 0.8 * LIMIT
    assert held(cache, chunks(99)) == 10


def test_the_least_recently_used_goes_first(cache: ObjectCache) -> None:
    for seed in range(60):
        cache.get("p", list(chunks(seed)))
        cache.put("p", chunks(seed))
        cache.get("p", list(chunks(0)))
    assert held(cache, chunks(0)) == 10
    assert held(cache, chunks(59)) == 10
    assert held(cache, chunks(1)) == 0


def test_the_limit_is_shared_by_all_processes(cache: ObjectCache, root: Path, clock: Clock) -> None:
    with reopened(root, clock) as other:
        for seed in range(60):
            (cache if seed % 2 else other).put("p", chunks(seed))
            assert du(root) <= LIMIT
    assert held(cache, chunks(58) | chunks(59)) == 20


def test_a_lowered_limit_is_kept_from_the_start(cache: ObjectCache, root: Path, clock: Clock) -> None:
    for seed in range(30):
        cache.put("p", chunks(seed))
    cache.close()
    with reopened(root, clock, LIMIT // 4) as smaller:
        assert held(smaller, chunks(29)) > 0
        assert du(root) <= LIMIT // 4


def test_an_object_too_large_for_the_cache_is_not_kept(cache: ObjectCache, root: Path) -> None:
    cache.put("p", chunks(1))
    huge = chunks(2, 1, LIMIT)
    cache.put("p", huge)
    assert cache.get("p", list(huge)) == {}
    assert held(cache, chunks(1)) == 10


def test_a_cache_of_no_size_keeps_nothing(root: Path, clock: Clock) -> None:
    with reopened(root, clock, 0) as none:
        none.put("p", chunks(1))
        assert none.get("p", list(chunks(1))) == {}
    assert not root.exists()


def test_shuffled_epochs_larger_than_the_cache_keep_their_hits(root: Path, clock: Clock) -> None:
    cache = reopened(root, clock, 2 * LIMIT)
    data = {key: value for seed in range(130) for key, value in chunks(seed).items()}
    order = list(data)
    rng = random.Random(1)
    hits = 0
    for epoch in range(6):
        rng.shuffle(order)
        for key in order:
            found = cache.get("p", [key])
            hits += bool(found) and epoch >= 2
            if not found:
                cache.put("p", {key: data[key]})
    cache.close()
    fits = 2 * LIMIT / (len(data) * 12_000)
    assert hits / (4 * len(order)) >= 0.85 * fits


def test_cleanup_removes_by_last_use_until_the_size_is_reached(cache: ObjectCache, root: Path) -> None:
    for seed in range(20):
        cache.put("p", chunks(seed))
    cache.get("p", list(chunks(0)))
    plan = cache.plan_cleanup(1_300_000)
    assert held(cache, chunks(3)) == 10  # planning changes nothing; this use comes too late for the plan
    report = cache.cleanup(plan)
    assert du(root) <= 1_300_000
    assert report.size_bytes == du(root)
    assert report.object_count == plan.object_count - 10
    assert held(cache, chunks(0) | chunks(19) | chunks(18)) == 30
    assert held(cache, chunks(1) | chunks(2)) == 0


def test_cleanup_to_nothing_leaves_nothing_but_an_empty_index(cache: ObjectCache, root: Path) -> None:
    cache.put("p", chunks(1))
    cache.cleanup(cache.plan_cleanup(0))
    assert segment_files(root) == []
    assert cache.info().object_count == 0
    cache.put("p", chunks(2))
    assert held(cache, chunks(2)) == 10


def test_a_cleanup_that_has_nothing_to_do_says_so(cache: ObjectCache) -> None:
    cache.put("p", chunks(1))
    plan = cache.plan_cleanup(LIMIT)
    assert (plan.object_count, plan.freed_bytes) == (0, 0)
    assert cache.cleanup(plan).object_count == 0
    assert held(cache, chunks(1)) == 10


def test_pinned_objects_outlast_everything_else_until_unpinned(cache: ObjectCache, root: Path) -> None:
    pinned = chunks(0, 20)
    cache.put("p", pinned)
    assert cache.pin("p/a:v1", "p", pinned) == 20
    for seed in range(1, 60):
        cache.put("p", chunks(seed))
    assert held(cache, pinned) == 20
    cache.cleanup(cache.plan_cleanup(0))
    assert held(cache, pinned) == 20
    assert cache.info().pins == ["p/a:v1"]
    assert cache.info().pinned_count == 20
    assert cache.unpin("p/a:v1") == 20
    cache.cleanup(cache.plan_cleanup(0))
    assert held(cache, pinned) == 0


def test_what_is_pinned_before_it_is_put_is_kept_too(cache: ObjectCache, root: Path, clock: Clock) -> None:
    pinned = chunks(0, 20)
    with reopened(root, clock) as other:
        assert other.pin("p/a:v1", "p", pinned) == 0
    cache.put("p", pinned)
    cache.get("p", list(pinned))
    for seed in range(1, 60):
        cache.put("p", chunks(seed))
    assert held(cache, pinned) == 20


def test_an_object_stays_while_any_pin_holds_it(cache: ObjectCache) -> None:
    shared = chunks(0)
    cache.put("p", shared | chunks(1))
    cache.pin("p/a:v1", "p", shared | chunks(1))
    cache.pin("p/a:v2", "p", shared)
    assert cache.unpin("p/a:v1") == 10
    cache.cleanup(cache.plan_cleanup(0))
    assert held(cache, shared) == 10
    assert held(cache, chunks(1)) == 0


def test_a_cache_full_of_pinned_objects_keeps_its_limit(cache: ObjectCache, root: Path) -> None:
    for seed in range(60):
        objects = chunks(seed)
        cache.put("p", objects)
        cache.pin("p/a:v1", "p", objects)
        assert du(root) <= LIMIT
    assert held(cache, chunks(0)) == 10


def test_verify_finds_removes_and_names_what_is_damaged(cache: ObjectCache, root: Path) -> None:
    kept = chunks(1)
    cache.put("p", kept)
    cache.close()
    (segment,) = segment_files(root)
    data = bytearray(segment.read_bytes())
    data[-5] ^= 1
    segment.write_bytes(data)
    with ObjectCache(root, LIMIT, "registry") as again:
        seen: list[tuple[int, int]] = []
        report = again.verify(lambda done, total: seen.append((done, total)))
        assert report.checked_count == 10
        assert report.damaged == [list(kept)[-1]]
        assert report.damaged_count == 1
        assert seen[-1][0] <= seen[-1][1]
        assert again.verify().damaged_count == 0
        assert again.info().object_count == 9


def test_clear_removes_all_also_under_another_process(cache: ObjectCache, root: Path, clock: Clock) -> None:
    with reopened(root, clock) as other:
        other.put("p", chunks(1))
        cache.put("p", chunks(2))
        assert cache.clear().object_count == 20
        assert segment_files(root) == []
        assert held(other, chunks(1) | chunks(2)) == 0
        other.put("p", chunks(3))
        assert held(other, chunks(3)) == 10
        assert held(cache, chunks(3)) == 10


def test_info_counts_objects_hits_and_misses_of_all_processes(cache: ObjectCache, root: Path, clock: Clock) -> None:
    with reopened(root, clock) as other:
        other.put("p", chunks(1))
        assert held(other, chunks(1)) == 10
    cache.get("p", [*chunks(1), *chunks(2)])
    info = cache.info()
    assert (info.root, info.limit_bytes, info.size_bytes) == (root, LIMIT, du(root))
    assert (info.object_count, info.hits, info.misses) == (10, 20, 10)


def test_short_runs_do_not_leave_many_files(root: Path, clock: Clock) -> None:
    for seed in range(20):
        with reopened(root, clock) as run:
            run.put("p", chunks(seed, 2, 1000))
    assert len(segment_files(root)) == 1
    with reopened(root, clock) as run:
        assert sum(held(run, chunks(seed, 2, 1000)) for seed in range(20)) == 40


@pytest.mark.parametrize("begun_before", [False, True])
def test_space_that_others_set_aside_is_not_given_away(root: Path, clock: Clock, *, begun_before: bool) -> None:
    with ExitStack() as stack:
        for number in range(4 if begun_before else 0):  # segments that the others go on with
            stack.enter_context(reopened(root, clock)).put("p", chunks(50 + number, 1))
    with ExitStack() as stack:
        others = [stack.enter_context(reopened(root, clock)) for _ in range(4)]
        one = stack.enter_context(reopened(root, clock))
        for number, other in enumerate(others):
            other.put("p", chunks(number, 1))
        for seed in range(100, 150):  # more than fits
            one.put("p", chunks(seed))
            assert sum(held(other, chunks(number, 1)) for number, other in enumerate(others)) == len(others)
        for number, other in enumerate(others):
            other.put("p", chunks(10 + number, 18))
            assert held(other, chunks(10 + number, 18)) == 18
        assert du(root) <= LIMIT


def test_space_set_aside_is_given_back(cache: ObjectCache, root: Path) -> None:
    cache.put("p", chunks(1, 1, 100))
    cache.close()
    assert du(root) < 100_000


def test_the_index_grows_with_the_objects(root: Path, clock: Clock) -> None:
    with reopened(root, clock, 64 << 20) as large:
        batches = [chunks(seed, 1000, 20) for seed in range(12)]
        for batch in batches:
            large.put("p", batch)
        assert sum(held(large, batch) for batch in batches) >= 0.99 * 12_000


def test_nobody_else_may_look(cache: ObjectCache, root: Path) -> None:
    cache.put("p", chunks(1))
    cache.pin("p/a:v1", "p", chunks(1))
    cache.info()
    for path in (root, *root.rglob("*")):
        assert stat.S_IMODE(path.lstat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_a_directory_that_others_could_enter_is_closed_to_them(root: Path, clock: Clock) -> None:
    root.mkdir(mode=0o755)
    root.chmod(0o755)
    with reopened(root, clock) as cache:
        cache.put("p", chunks(1))
    assert stat.S_IMODE(root.stat().st_mode) == 0o700


def test_what_is_small_and_in_memory_is_had_at_once(cache: ObjectCache) -> None:
    small, large, absent = chunks(40), chunks(41, 2, 200_000), chunks(42, 1)
    cache.put("p", {**small, **large})
    assert held(cache, small) == len(small)  # its segment is open
    assert cache.get("p", [*small, *large, *absent], at_once=True) == small
    assert cache.get("other", list(small), at_once=True) == {}
    assert cache.status() == {"hits": 2 * len(small), "misses": 0}


def test_nothing_that_does_not_match_its_digest_is_had_at_once(root: Path, cache: ObjectCache) -> None:
    objects = chunks(43, 1)
    cache.put("p", objects)
    assert held(cache, objects) == 1
    (segment,) = segment_files(root)
    stored = bytearray(segment.read_bytes())
    stored[stored.index(next(iter(objects.values()))) + 100] ^= 1
    segment.write_bytes(stored)
    assert cache.get("p", list(objects), at_once=True) == {}
    assert held(cache, objects) == 0


def test_what_was_used_at_once_is_kept_longer(root: Path, clock: Clock, cache: ObjectCache) -> None:
    old, new = chunks(44), chunks(45)
    cache.put("p", old)
    cache.put("p", new)
    assert held(cache, {**old, **new}) == 20
    assert cache.get("p", list(old), at_once=True) == old
    cache.put("p", chunks(46, 1))  # notes the uses
    cache.cleanup(cache.plan_cleanup(du(root) - 8 * 12_000))
    assert held(cache, old) > held(cache, new)


def test_uses_that_nobody_has_noted_yet_are_bounded(cache: ObjectCache) -> None:
    objects = chunks(47)
    cache.put("p", objects)
    assert held(cache, objects) == len(objects)
    at_once = sum(len(cache.get("p", list(objects), at_once=True)) for _ in range(USES_MAX // len(objects) + 10))
    assert at_once == USES_MAX
    assert held(cache, objects) == len(objects)
    assert cache.get("p", list(objects), at_once=True) == objects
