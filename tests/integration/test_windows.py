"""Reading packs that are far: few requests where much of a pack is read, few bytes where little is."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from artfs.cache.object_cache import ObjectCache
from artfs.client.allowance import RATIO_MAX, Allowance
from artfs.client.objects import ObjectReader
from artfs.client.pack_source import LocalPacks, PackVanished
from artfs.client.windows import PackWindows
from artfs.model.digest import Digest, ObjectKey, ObjectKind
from artfs.registry.embedded import EmbeddedRegistry
from artfs.vfs.ports import Bytes
from artfs.wire.records import Location
from tests.contract.uploading import Content, commit, content_of

pytestmark = [pytest.mark.falsifies("lazy", "verified")]

WAIT_S = 30.0


class FarPacks(LocalPacks):
    """Real packs behind a counter of requests and bytes; what is read may be held up or changed."""

    def __init__(self) -> None:
        self.reads: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self.broken_at: int | None = None

    def read(self, url: str, offset: int, length: int) -> bytes:
        assert self.gate.wait(WAIT_S)
        self.reads.append(length)
        data = bytearray(super().read(url, offset, length))
        if self.broken_at is not None and offset <= self.broken_at < offset + length:
            data[self.broken_at - offset] ^= 1
        return bytes(data)

    def read_end(self, url: str, length: int) -> Bytes:
        path = Path(url.removeprefix("file:"))
        if not path.exists():
            raise PackVanished(url)
        data = path.read_bytes()[-length:]
        self.reads.append(len(data))
        return data


class CountedObjects:
    """Asks the real service, and counts how often."""

    def __init__(self, registry: EmbeddedRegistry) -> None:
        self._inner = registry.objects
        self.calls = 0

    def locate(self, project: str, keys: Sequence[ObjectKey]) -> list[Location | None]:
        self.calls += 1
        return self._inner.locate(project, keys)


def _walk_page_by_page(reader: ObjectReader, digest: Digest) -> int:
    """Visit every directory as a mount does, one page at a time, and count them."""
    page = reader.page("vision", digest).page
    below = [key.digest for key in page.children() if key.kind is ObjectKind.TREE]
    return 1 + sum(_walk_page_by_page(reader, child) for child in below)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[EmbeddedRegistry]:
    opened = EmbeddedRegistry(tmp_path / "registry")
    opened.projects.create("vision")
    yield opened
    opened.close()


@pytest.fixture
def packs() -> FarPacks:
    return FarPacks()


def _noise(registry: EmbeddedRegistry, count: int, size_bytes: int, seed: int = 1) -> tuple[Content, list[ObjectKey]]:
    """A version of random files, and their keys in a random order."""
    rnd = random.Random(seed)
    content = content_of({f"f{seed}-{i:05}": rnd.randbytes(size_bytes) for i in range(count)})
    commit(registry, "vision", f"a{seed}", content)
    keys = [key for key in content.objects if key.kind is ObjectKind.CHUNK]
    return content, rnd.sample(keys, len(keys))


def _reader(
    registry: EmbeddedRegistry, packs: FarPacks, *, memory_bytes: int = 128 << 20, cache: ObjectCache | None = None
) -> ObjectReader:
    return ObjectReader(registry, packs=packs, windows=PackWindows(packs), memory_bytes=memory_bytes, cache=cache)


def test_small_files_in_random_order_take_a_request_for_many(registry: EmbeddedRegistry, packs: FarPacks) -> None:
    content, keys = _noise(registry, 4000, 7000)
    reader = _reader(registry, packs)
    assert all(reader.read("vision", key) == content.objects[key] for key in keys)
    assert len(packs.reads) <= len(keys) // 60
    assert sum(packs.reads) <= 1.25 * sum(len(data) for data in content.objects.values())


def test_a_pack_that_is_read_here_and_there_costs_little(registry: EmbeddedRegistry, packs: FarPacks) -> None:
    keys = [_noise(registry, 200, 10_000, seed)[1][0] for seed in range(8)]
    reader = _reader(registry, packs)
    for key in keys:
        reader.read("vision", key)
    assert sum(packs.reads) == 10_000 * len(keys)


def test_a_sparse_sample_fetches_little_more_than_itself(registry: EmbeddedRegistry, packs: FarPacks) -> None:
    content, keys = _noise(registry, 4000, 10_000)
    reader = _reader(registry, packs)
    sample = keys[:40]
    assert all(reader.read("vision", key) == content.objects[key] for key in sample)
    assert sum(packs.reads) <= 3 * sum(len(content.objects[key]) for key in sample)


def test_files_that_lie_together_are_taken_along_early(registry: EmbeddedRegistry, packs: FarPacks) -> None:
    content, _ = _noise(registry, 3000, 10_000)
    reader = _reader(registry, packs)
    together = [key for key in content.objects if key.kind is ObjectKind.CHUNK][1000:1200]
    for key in random.Random(1).sample(together, len(together)):
        reader.read("vision", key)
    assert len(packs.reads) <= 25
    assert sum(packs.reads) <= 4 * 200 * 10_000


def test_where_nothing_can_be_kept_single_objects_are_read_again(registry: EmbeddedRegistry, packs: FarPacks) -> None:
    _, keys = _noise(registry, 2000, 10_000)
    reader = _reader(registry, packs, memory_bytes=200_000)
    asked = random.Random(3).choices(keys, k=3000)
    for key in asked:
        reader.read("vision", key)
    late = packs.reads[-500:]
    assert sum(late) <= 2 * 10_000 * len(late)


def test_what_was_taken_along_is_in_the_cache_on_disk(
    registry: EmbeddedRegistry, packs: FarPacks, tmp_path: Path
) -> None:
    content, keys = _noise(registry, 500, 10_000)
    with ObjectCache(tmp_path / "cache", 1 << 30) as cache:
        first = _reader(registry, packs, cache=cache)
        for key in keys[:12]:
            first.read("vision", key)
        packs.reads.clear()
        again = _reader(registry, packs, cache=cache)
        assert all(again.read("vision", key) == content.objects[key] for key in keys)
    assert packs.reads == []


def test_threads_that_read_in_one_window_cause_one_request(registry: EmbeddedRegistry, packs: FarPacks) -> None:
    content, keys = _noise(registry, 600, 10_000)
    reader = _reader(registry, packs)
    for key in keys[:6]:  # the next window is the whole pack
        reader.read("vision", key)
    left = [key for key in keys if reader.peek("vision", key) is None][:16]
    assert len(left) == 16
    packs.reads.clear()
    packs.gate.clear()
    with ThreadPoolExecutor(16) as threads:
        first = threads.submit(reader.read, "vision", left[0])
        _wait_until_loading(reader)
        others = [threads.submit(reader.read, "vision", key) for key in left[1:]]
        packs.gate.set()
        assert [bytes(one.result(WAIT_S)) for one in (first, *others)] == [content.objects[key] for key in left]
    assert len(packs.reads) == 1


def test_a_damaged_neighbour_harms_nobody_else(registry: EmbeddedRegistry, packs: FarPacks) -> None:
    content, keys = _noise(registry, 600, 10_000)
    reader = _reader(registry, packs)
    (damaged,) = registry.objects.locate("vision", keys[-1:])
    assert damaged is not None
    packs.broken_at = damaged.offset + 5
    assert all(reader.read("vision", key) == content.objects[key] for key in keys[:-1])
    assert reader.peek("vision", keys[-1]) is None
    packs.broken_at = None
    assert reader.read("vision", keys[-1]) == content.objects[keys[-1]]


def test_a_pack_that_was_rewritten_is_found_again(registry: EmbeddedRegistry, packs: FarPacks) -> None:
    content, keys = _noise(registry, 300, 10_000)
    kept = keys[:150]
    other = Content(content.root, dict(content.objects), content.size_bytes, content.file_count)
    reader = _reader(registry, packs, memory_bytes=50_000)
    for key in keys[:3]:
        reader.read("vision", key)
    rest = content_of({f"k{i}": other.objects[key] for i, key in enumerate(kept)})
    commit(registry, "vision", "a1", rest)
    registry.versions.delete("vision", "a1", [0])
    assert all(reader.read("vision", key) == content.objects[key] for key in kept)


def _wait_until_loading(reader: ObjectReader) -> None:
    deadline = threading.Event()
    for _ in range(3000):
        if reader.status()["loading"] > 1:
            return
        deadline.wait(0.01)
    pytest.fail("nothing is being loaded")


def test_what_is_taken_along_is_bounded_by_what_is_used(registry: EmbeddedRegistry, packs: FarPacks) -> None:
    free_bytes, ratio_max, read_bytes = 1 << 20, 8, 0
    samples = [_noise(registry, 150, 10_000, seed)[1][:5] for seed in range(12)]
    windows = PackWindows(packs, allowance=Allowance(free_bytes, ratio_max))
    reader = ObjectReader(registry, packs=packs, windows=windows)
    for key in (key for keys in zip(*samples, strict=True) for key in keys):
        read_bytes += len(reader.read("vision", key))
        assert sum(packs.reads) <= free_bytes + (1 + ratio_max) * read_bytes
    assert sum(packs.reads) > free_bytes  # it was a bound, and not only a wish


def test_what_is_used_allows_to_take_more_along(registry: EmbeddedRegistry, packs: FarPacks) -> None:
    _, keys = _noise(registry, 3000, 7000)
    windows = PackWindows(packs, allowance=Allowance(0, RATIO_MAX))
    reader = ObjectReader(registry, packs=packs, windows=windows)
    for key in keys:
        reader.read("vision", key)
    assert len(packs.reads) <= len(keys) // 50


def test_pages_of_many_directories_are_located_together(registry: EmbeddedRegistry, packs: FarPacks) -> None:
    tree = {f"d{i:03}": {f"e{j}": {"f": b"%d %d" % (i, j)} for j in range(4)} for i in range(200)}
    commit(registry, "vision", "deep", content_of(tree))
    counted = CountedObjects(registry)
    registry.objects = counted  # type: ignore[assignment]  # the real one, counted
    reader = ObjectReader(registry, packs=packs, windows=PackWindows(packs))
    root = registry.versions.resolve("vision", "deep", "latest").root
    seen = _walk_page_by_page(reader, root)
    assert seen == 1 + 200 + 800
    assert counted.calls + len(packs.reads) <= seen // 4


def test_epochs_larger_than_the_cache_fetch_what_does_not_fit_and_nothing_besides(
    registry: EmbeddedRegistry, packs: FarPacks, tmp_path: Path
) -> None:
    content, keys = _noise(registry, 1500, 10_000)
    total = sum(len(content.objects[key]) for key in keys)
    with ObjectCache(tmp_path / "cache", total // 2) as cache:
        reader = _reader(registry, packs, cache=cache, memory_bytes=total // 16)
        for epoch in range(5):
            packs.reads.clear()
            for key in random.Random(epoch).sample(keys, len(keys)):
                assert reader.read("vision", key) == content.objects[key]
            assert cache.info().size_bytes <= total // 2
            if epoch >= 3:
                assert sum(packs.reads) <= 0.55 * total
                assert max(packs.reads) <= 10_000


def test_what_is_on_this_machine_is_not_taken_along_again(
    registry: EmbeddedRegistry, packs: FarPacks, tmp_path: Path
) -> None:
    content, keys = _noise(registry, 1000, 10_000)
    in_order = [key for key in content.objects if key.kind is ObjectKind.CHUNK]
    with ObjectCache(tmp_path / "cache", 1 << 30) as cache:
        cache.put("vision", {key: content.objects[key] for key in in_order[:800]})
        reader = _reader(registry, packs, cache=cache)
        assert all(reader.read("vision", key) == content.objects[key] for key in keys)
        assert sum(packs.reads) <= 1.3 * 200 * 10_000 + (64 << 10)


def test_what_was_taken_along_and_is_damaged_on_disk_is_fetched_again(
    registry: EmbeddedRegistry, packs: FarPacks, tmp_path: Path
) -> None:
    content, keys = _noise(registry, 500, 10_000)
    with ObjectCache(tmp_path / "cache", 1 << 30) as cache:
        reader = _reader(registry, packs, cache=cache, memory_bytes=30_000)
        for key in keys[:40]:
            reader.read("vision", key)
        reader.held("vision", keys[40:50])  # opens the segment: what follows is found without a thread
        assert reader.peek("vision", keys[50]) in (content.objects[keys[50]], None)  # None: not every file system tells
        for segment in (tmp_path / "cache/v1/segments").iterdir():
            data = bytearray(segment.read_bytes())
            for key in keys[60:]:
                at = data.find(bytes(content.objects[key])[:100])
                if at >= 0:
                    data[at + 5] ^= 1
            segment.write_bytes(data)
        assert reader.peek("vision", keys[70]) is None
        assert all(reader.read("vision", key) == content.objects[key] for key in keys)
