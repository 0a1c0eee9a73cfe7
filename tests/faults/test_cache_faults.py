"""Whatever happens to the cache's files, disk or processes: reads get slower, never wrong, and never fail."""

from __future__ import annotations

import fcntl
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from artfs.cache.object_cache import ObjectCache
from artfs.cache.writer import segment_bytes_for
from artfs.errors import Busy, StorageFailed
from artfs.model.digest import Digest, ObjectKey, ObjectKind

pytestmark = [pytest.mark.falsifies("verified", "cache-limit")]

LIMIT = 4 << 20
Objects = dict[ObjectKey, bytes]


def chunks(seed: int, count: int = 10, size_bytes: int = 12_000) -> Objects:
    rng = random.Random(seed)
    datas = [rng.randbytes(size_bytes) for _ in range(count)]
    return {ObjectKey(ObjectKind.CHUNK, Digest.of(data)): data for data in datas}


def held(cache: ObjectCache, objects: Objects) -> int:
    found = cache.get("p", list(objects))
    assert all(found[key] == objects[key] for key in found)
    return len(found)


def du(root: Path) -> int:
    """What `du` says, of a directory that changes meanwhile."""
    found = 0
    for path in (root, *root.rglob("*")):
        try:
            found += path.lstat().st_blocks * 512
        except FileNotFoundError:
            continue
    return found


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def tmpfs(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MiB."""
    where = tmp_path / "small"
    where.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(where)], check=True)
    try:
        yield where
    finally:
        subprocess.run(["umount", "-l", str(where)], check=True)


def fill_up(path: Path) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(fd, bytes(4096))
    except OSError:
        pass
    finally:
        os.close(fd)


def filled(root: Path, batches: int = 10) -> Objects:
    everything: Objects = {}
    with ObjectCache(root, LIMIT) as cache:
        for seed in range(batches):
            everything |= chunks(seed)
            cache.put("p", chunks(seed))
        assert held(cache, everything) == len(everything)
    return everything


@pytest.mark.parametrize("seed", [*range(4), *(pytest.param(seed, marks=pytest.mark.deep) for seed in range(4, 8))])
def test_flipped_bits_anywhere_are_misses(root: Path, seed: int) -> None:
    everything = filled(root)
    rng = random.Random(seed)
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        data = bytearray(path.read_bytes())
        for _ in range(20):
            if data:
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
    with ObjectCache(root, LIMIT) as cache:
        held(cache, everything)
        cache.put("p", everything)
        assert held(cache, everything) >= 0.9 * len(everything)


def test_bits_flipped_under_a_running_process_are_misses(root: Path) -> None:
    with ObjectCache(root, LIMIT) as cache:
        kept = chunks(1)
        cache.put("p", kept)
        assert held(cache, kept) == 10
        (path,) = root.glob("v1/segments/*")
        with path.open("r+b") as file:
            for data in kept.values():
                at = path.read_bytes().index(data)
                file.seek(at + 100)
                file.write(bytes([data[100] ^ 0x10]))
                file.flush()
        assert held(cache, kept) == 0
        cache.put("p", kept)
        assert held(cache, kept) == 10


@pytest.mark.parametrize("damage", ["truncate", "empty", "remove", "swap", "garbage", "link", "directory"])
@pytest.mark.parametrize("running", [True, False])
def test_segments_that_were_tampered_with_are_misses(root: Path, damage: str, running: bool) -> None:
    everything = filled(root)
    cache = ObjectCache(root, LIMIT)
    if running:
        held(cache, everything)
    for path in sorted(root.glob("v1/segments/*"))[::2]:
        data = path.read_bytes()
        if damage in ("truncate", "empty"):
            os.truncate(path, len(data) // 2 if damage == "truncate" else 0)
        elif damage == "swap":
            other = sorted(root.glob("v1/segments/*"))[1]
            path.rename(root / "aside")
            other.rename(path)
            (root / "aside").rename(other)
        elif damage == "garbage":
            path.write_bytes(random.Random(1).randbytes(len(data)))
        else:
            path.unlink()
            if damage == "link":
                (root / "elsewhere").write_bytes(data)
                path.symlink_to(root / "elsewhere")
            elif damage == "directory":
                path.mkdir()
    held(cache, everything)
    cache.put("p", everything)
    assert held(cache, everything) >= 0.5 * len(everything)
    cache.close()


@pytest.mark.parametrize("damage", ["remove", "truncate", "garbage", "zeros"])
def test_a_damaged_index_costs_the_content_and_nothing_else(root: Path, damage: str) -> None:
    everything = filled(root)
    index = root / "v1" / "index"
    size = index.stat().st_size
    if damage == "remove":
        index.unlink()
    else:
        index.write_bytes({"truncate": b"", "garbage": random.Random(1).randbytes(size), "zeros": bytes(size)}[damage])
    with ObjectCache(root, LIMIT) as cache:
        held(cache, everything)
        cache.put("p", everything)
        assert held(cache, everything) == len(everything)
        assert cache.info().object_count == len(everything)
    assert du(root) <= LIMIT


def test_an_index_truncated_under_a_running_process_fails_nobody(root: Path) -> None:
    everything = filled(root)
    with ObjectCache(root, LIMIT) as cache:
        os.truncate(root / "v1" / "index", 5000)
        held(cache, everything)
        cache.put("p", chunks(99))
        held(cache, chunks(99))


def test_a_full_disk_fails_nobody_and_replaces_what_is_old(tmpfs: Path, caplog: pytest.LogCaptureFixture) -> None:
    with ObjectCache(tmpfs / "cache", 64 << 20) as cache:
        kept = 0
        for seed in range(60):
            objects = chunks(seed)
            cache.get("p", list(objects))
            cache.put("p", objects)
            kept += held(cache, objects)
        assert kept >= 500
        assert held(cache, chunks(59)) == 10


def test_a_full_disk_costs_nothing_that_is_pinned(tmpfs: Path) -> None:
    pinned = chunks(0)
    with ObjectCache(tmpfs / "cache", 64 << 20) as cache:
        cache.pin("keep", "p", pinned)
        for seed in range(4):  # in one segment with what is pinned
            cache.put("p", chunks(seed))
    fill_up(tmpfs / "other")
    with ObjectCache(tmpfs / "cache", 64 << 20) as cache:
        for seed in range(4, 60):
            objects = chunks(seed)
            cache.get("p", list(objects))
            cache.put("p", objects)
        assert held(cache, pinned) == len(pinned)


def test_the_last_twentieth_of_a_disk_is_left_to_others(tmpfs: Path) -> None:
    with ObjectCache(tmpfs / "cache", 64 << 20) as cache:
        cache.info()  # which opens it
        segment, disk = segment_bytes_for(64 << 20), os.statvfs(tmpfs)
        left = segment + disk.f_blocks * disk.f_frsize // 30
        with (tmpfs / "other").open("wb") as other:
            os.posix_fallocate(other.fileno(), 0, disk.f_bavail * disk.f_frsize - left)
        cache.put("p", chunks(1))
        assert held(cache, chunks(1)) == 0


def test_a_disk_filled_by_others_stops_caching_but_not_reading(tmpfs: Path, caplog: pytest.LogCaptureFixture) -> None:
    with ObjectCache(tmpfs / "cache", 64 << 20) as cache:
        cache.put("p", chunks(1))
        assert held(cache, chunks(1)) == 10
        fill_up(tmpfs / "other")
        for seed in range(2, 50):
            cache.put("p", chunks(seed))
        assert sum(held(cache, chunks(seed)) for seed in range(50)) >= 10
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) <= 1


def test_a_read_only_disk_fails_nobody_and_is_reported_once(tmpfs: Path, caplog: pytest.LogCaptureFixture) -> None:
    kept = chunks(1)
    with ObjectCache(tmpfs / "cache", 1 << 20) as cache:
        cache.put("p", kept)
        cache.close()
    subprocess.run(["mount", "-o", "remount,ro", str(tmpfs)], check=True)
    with ObjectCache(tmpfs / "cache", 1 << 20) as cache:
        for seed in range(5):
            assert held(cache, kept) in (0, 10)
            cache.put("p", chunks(seed))
        with pytest.raises(StorageFailed, match="Read-only"):
            cache.clear()
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1


def test_a_cache_directory_that_vanishes_is_made_again(root: Path) -> None:
    with ObjectCache(root, LIMIT) as cache:
        cache.put("p", chunks(1))
        shutil.rmtree(root)
        assert held(cache, chunks(1)) in (0, 10)
        cache.put("p", chunks(2))
        cache.put("p", chunks(3))
        assert held(cache, chunks(3)) == 10
    assert root.is_dir()


def test_something_else_in_the_directorys_place_fails_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    with ObjectCache(tmp_path / "file" / "cache", LIMIT) as cache:
        cache.put("p", chunks(1))
        assert held(cache, chunks(1)) == 0
        with pytest.raises(StorageFailed, match="Not a directory"):
            cache.info()
    assert len(caplog.records) == 1


def test_links_in_the_place_of_directories_are_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in (".", "v1", "v1/segments"):
        root = tmp_path / f"cache-{name.replace('/', '-')}"
        link = root / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(elsewhere) if name != "." else root.symlink_to(elsewhere)
        with ObjectCache(root, LIMIT) as cache:
            cache.put("p", chunks(1))
            assert held(cache, chunks(1)) == 0
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("name", ["lock", "index.tmp", "counts", "segments/1"])
def test_a_link_in_the_place_of_a_file_is_not_followed(root: Path, tmp_path: Path, name: str) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    link = root / "v1" / name
    link.parent.mkdir(parents=True)
    link.symlink_to(victim)
    for _ in range(2):
        with ObjectCache(root, LIMIT) as cache:
            cache.put("p", chunks(1))
            held(cache, chunks(1))
    assert victim.read_bytes() == b"precious"


def test_a_link_in_the_place_of_the_index_is_not_followed(root: Path, tmp_path: Path) -> None:
    filled(root, 1)
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (root / "v1" / "index").unlink()
    (root / "v1" / "index").symlink_to(victim)
    with ObjectCache(root, LIMIT) as cache:
        cache.put("p", chunks(1))
        held(cache, chunks(1))
    assert victim.read_bytes() == b"precious"


@pytest.mark.deep
def test_a_process_stopped_while_it_makes_room_holds_up_nobody(root: Path) -> None:
    kept = filled(root)
    with ObjectCache(root, LIMIT) as cache, (root / "v1" / "lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        begin = time.monotonic()
        assert held(cache, kept) == len(kept)
        for seed in range(100, 200):
            cache.put("p", chunks(seed))
        assert time.monotonic() - begin < 5
        fcntl.flock(lock, fcntl.LOCK_UN)
        while not held(cache, chunks(200)):
            cache.put("p", chunks(200))
            assert time.monotonic() - begin < 30


def test_commands_say_that_the_cache_is_busy(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(root)
    monkeypatch.setattr("artfs.cache.upkeep.UPKEEP_WAIT_S", 0.1)
    with ObjectCache(root, LIMIT) as cache, (root / "v1" / "lock").open("rb") as lock:
        plan = cache.plan_cleanup(0)
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(Busy, match="another process"):
            cache.cleanup(plan)


OUT_OF_DESCRIPTORS = """
import os, resource, sys
from pathlib import Path
from artfs.cache.object_cache import ObjectCache
from artfs.model.digest import Digest, ObjectKey, ObjectKind
def chunk(i):
    data = i.to_bytes(4, "little") * 3000
    return {ObjectKey(ObjectKind.CHUNK, Digest.of(data)): data}
cache = ObjectCache(Path(sys.argv[1]), 16 << 20)
for i in range(500):
    cache.put("p", chunk(i))
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
taken = []
try:
    while True:
        taken.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
for i in range(1000):
    found = cache.get("p", list(chunk(i)))
    assert found in ({}, chunk(i))
    cache.put("p", chunk(i + 1000))
for fd in taken:
    os.close(fd)
assert sum(bool(cache.get("p", list(chunk(i)))) for i in range(500)) == 500
cache.close()
"""


def test_a_process_without_free_descriptors_goes_on(root: Path) -> None:
    subprocess.run([sys.executable, "-c", OUT_OF_DESCRIPTORS, str(root)], check=True, timeout=60)


WRITER = """
import random, sys
from pathlib import Path
from artfs.cache.object_cache import ObjectCache
from artfs.model.digest import Digest, ObjectKey, ObjectKind
cache = ObjectCache(Path(sys.argv[1]), int(sys.argv[2]))
rng = random.Random(int(sys.argv[3]))
print("ready", flush=True)
for _ in range(int(sys.argv[4])):
    data = random.Random(rng.randrange(2000))
    batch = {}
    for _ in range(rng.randrange(1, 20)):
        content = data.randbytes(data.randrange(30_000))
        batch[ObjectKey(ObjectKind.CHUNK, Digest.of(content))] = content
    found = cache.get("p", list(batch))
    assert all(found[key] == batch[key] for key in found)
    cache.put("p", {key: content for key, content in batch.items() if key not in found})
    if rng.random() < 0.01:
        cache.cleanup(cache.plan_cleanup(int(sys.argv[2]) // 2))
cache.close()
"""


def writer(root: Path, seed: int, rounds: int) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", WRITER, str(root), str(LIMIT), str(seed), str(rounds)]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def stop(processes: list[subprocess.Popen[str]]) -> None:
    for process in processes:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_several_processes_stay_within_one_limit(root: Path) -> None:
    writers = [writer(root, seed, 300) for seed in range(3)]
    try:
        deadline = time.monotonic() + 90
        while any(process.poll() is None for process in writers):
            assert time.monotonic() < deadline
            assert du(root) <= LIMIT
        assert [process.returncode for process in writers] == [0, 0, 0]
    finally:
        stop(writers)
    with ObjectCache(root, LIMIT) as cache:
        assert cache.info().object_count > 100
        assert cache.verify().damaged_count == 0


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_any_moment_leaves_a_usable_cache(root: Path, seed: int) -> None:
    rng = random.Random(seed)
    for round in range(6):
        killed = writer(root, seed * 100 + round, 100_000)
        try:
            deadline = time.monotonic() + rng.random() * 0.5
            while time.monotonic() < deadline:
                assert du(root) <= LIMIT
            killed.send_signal(signal.SIGKILL)
        finally:
            stop([killed])
        assert du(root) <= LIMIT
        with ObjectCache(root, LIMIT) as cache:
            cache.put("p", chunks(seed))
            assert held(cache, chunks(seed)) == 10
            assert cache.verify().damaged_count == 0
            assert not list(root.rglob("*.tmp"))


def test_temporary_files_are_swept_at_the_start(root: Path) -> None:
    filled(root, 1)
    for name in ("v1/index.tmp", "v1/segments/5.tmp", "v1/pins/abc.tmp"):
        (root / name).write_bytes(bytes(100_000))
    with ObjectCache(root, LIMIT) as cache:
        assert held(cache, chunks(0)) == 10
    assert not list(root.rglob("*.tmp"))


def test_a_crash_while_a_segment_is_removed_costs_what_was_in_it(root: Path) -> None:
    everything = filled(root)
    os.truncate(next(root.glob("v1/segments/*")), 0)
    with ObjectCache(root, LIMIT) as cache:
        cache.put("p", everything)
        assert held(cache, everything) == len(everything)
