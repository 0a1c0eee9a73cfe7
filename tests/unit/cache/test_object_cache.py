"""The cache keeps what fits, serves nothing wrong, and fails by being slow."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from artfs.cache.object_cache import ObjectCache
from artfs.model.digest import Digest, ObjectKey, ObjectKind


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000_000.0

    def __call__(self) -> float:
        return self.now_s


def objects(seed: int, count: int = 10, size_bytes: int = 1000) -> dict[ObjectKey, bytes | memoryview]:
    rng = random.Random(seed)
    datas = [rng.randbytes(size_bytes) for _ in range(count)]
    return {ObjectKey(ObjectKind.CHUNK, Digest.of(data)): data for data in datas}


def du(root: Path) -> int:
    return sum(path.stat().st_size for path in root.iterdir())


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def opened(root: Path, clock: Clock, limit_bytes: int = 1 << 20, scope: str = "registry") -> ObjectCache:
    return ObjectCache(root, limit_bytes, scope, clock)


def test_what_was_put_is_there_also_for_another_process_and_nothing_else_is(root: Path, clock: Clock) -> None:
    kept, other = objects(1), objects(2)
    first, second = opened(root, clock), opened(root, clock)
    first.put("p", kept)
    assert second.get("p", [*kept, *other]) == kept
    first.close()
    second.close()


def test_an_object_is_served_only_within_its_project_and_registry(root: Path, clock: Clock) -> None:
    kept = objects(1)
    cache, elsewhere = opened(root, clock), opened(root, clock, scope="another")
    cache.put("p", kept)
    assert cache.get("q", list(kept)) == {}
    assert elsewhere.get("p", list(kept)) == {}
    cache.close()
    elsewhere.close()


@pytest.mark.parametrize("damage", ["flip", "truncate", "delete", "link"])
def test_a_damaged_object_is_a_miss_and_is_forgotten(root: Path, clock: Clock, damage: str) -> None:
    kept = objects(1)
    cache = opened(root, clock)
    cache.put("p", kept)
    (segment,) = root.glob("*.seg")
    data = bytearray(segment.read_bytes())
    if damage == "flip":
        data[4500] ^= 1
        segment.write_bytes(data)
    elif damage == "truncate":
        segment.write_bytes(data[:4500])
    else:
        segment.unlink()
        if damage == "link":
            (root / "elsewhere").write_bytes(data)
            segment.symlink_to(root / "elsewhere")
    found = cache.get("p", list(kept))
    assert found.items() <= kept.items()
    assert len(found) == {"flip": 9, "truncate": 4, "delete": 0, "link": 0}[damage]
    assert cache.info().object_count == len(found)
    cache.close()


def test_the_limit_holds_and_the_least_recently_used_goes_first(root: Path, clock: Clock) -> None:
    cache = opened(root, clock, limit_bytes=3_000_000)
    batches = [objects(seed, 10, 50_000) for seed in range(8)]
    for batch in batches:
        clock.now_s += 100
        cache.put("p", batch)
        cache.get("p", list(batches[0]))  # always in use
        assert du(root) <= 3_000_000
    present = [bool(cache.get("p", list(batch))) for batch in batches]
    assert present[0]
    assert present[-1]
    assert not present[1]
    cache.close()


def test_more_than_the_limit_is_not_kept(root: Path, clock: Clock) -> None:
    cache = opened(root, clock, limit_bytes=100_000)
    cache.put("p", objects(1, 2, 60_000))
    assert cache.info().object_count == 0
    cache.close()


def test_cleanup_removes_by_last_use_until_the_size_is_reached(root: Path, clock: Clock) -> None:
    cache = opened(root, clock)
    batches = [objects(seed, 10, 10_000) for seed in range(5)]
    for batch in batches:
        clock.now_s += 100
        cache.put("p", batch)
    clock.now_s += 100
    cache.get("p", list(batches[0]))
    plan = cache.plan_cleanup(cache.info().size_bytes - 150_000)
    assert plan.object_count == 20
    assert plan.freed_bytes == 200_000
    cache.cleanup(plan)
    assert [bool(cache.get("p", list(batch))) for batch in batches] == [True, False, False, True, True]
    cache.cleanup(cache.plan_cleanup(0))
    assert cache.info().size_bytes == 0
    assert list(root.glob("*.seg")) == []
    cache.close()


def test_verify_counts_and_removes_what_is_damaged(root: Path, clock: Clock) -> None:
    cache = opened(root, clock)
    cache.put("p", objects(1))
    cache.put("p", objects(2))
    segment = next(root.glob("*.seg"))
    data = bytearray(segment.read_bytes())
    data[0] ^= 1
    segment.write_bytes(data)
    report = cache.verify()
    assert (report.checked_count, report.damaged_count) == (20, 1)
    assert cache.verify().damaged_count == 0
    assert cache.info().object_count == 19
    cache.close()


def test_a_damaged_index_starts_an_empty_cache(root: Path, clock: Clock) -> None:
    cache = opened(root, clock)
    cache.put("p", objects(1))
    cache.close()
    (root / "index.db").write_bytes(b"not a database" * 1000)
    for name in ("index.db-wal", "index.db-shm"):
        (root / name).unlink(missing_ok=True)
    again = opened(root, clock)
    assert again.get("p", list(objects(1))) == {}
    again.put("p", objects(2))
    assert again.get("p", list(objects(2))) == objects(2)
    assert again.info().segment_count == 1
    again.close()


def test_a_cache_that_cannot_be_used_is_a_miss(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = opened(tmp_path / "file" / "cache", clock)
    cache.put("p", objects(1))
    assert cache.get("p", list(objects(1))) == {}
    assert cache.info().size_bytes == 0
    cache.close()


def test_files_of_crashed_processes_are_swept_once_they_are_old(root: Path, clock: Clock) -> None:
    cache = opened(root, clock)
    cache.put("p", objects(1))
    cache.close()
    for name in (".1-aa.tmp", "ffff.seg"):
        (root / name).write_bytes(b"left")
        os.utime(root / name, (clock.now_s - 10_000, clock.now_s - 10_000))
    again = opened(root, clock)
    assert again.get("p", list(objects(1))) == objects(1)
    assert sorted(path.suffix for path in root.iterdir() if path.suffix in (".tmp", ".seg")) == [".seg"]
    again.close()


def test_nobody_else_may_look(root: Path, clock: Clock) -> None:
    cache = opened(root, clock)
    cache.put("p", objects(1))
    assert root.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o077 for path in root.iterdir()} == {0}
    cache.close()


WRITER = """
import random, sys
from pathlib import Path
from artfs.cache.object_cache import ObjectCache
from artfs.model.digest import Digest, ObjectKey, ObjectKind
cache = ObjectCache(Path(sys.argv[1]), 500_000, "registry")
for seed in range(40):
    rng = random.Random(int(sys.argv[2]) * 1000 + seed)
    datas = [rng.randbytes(5000) for _ in range(5)]
    batch = {ObjectKey(ObjectKind.CHUNK, Digest.of(d)): d for d in datas}
    cache.put("p", batch)
    assert cache.get("p", list(batch)).items() <= batch.items()
cache.close()
"""


def test_several_processes_share_one_limit(root: Path, clock: Clock) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(root), str(n)]) for n in range(3)]
    try:
        assert [writer.wait(timeout=60) for writer in writers] == [0, 0, 0]
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
    cache = opened(root, clock, limit_bytes=500_000)
    assert 0 < cache.info().size_bytes <= 500_000 + 100_000
    assert cache.verify().damaged_count == 0
    assert du(root) <= 700_000
    cache.close()
