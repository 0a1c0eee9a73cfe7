"""Reading objects of a real registry: verified, together, once, and despite what happens to packs meanwhile."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from artfs.client.objects import ObjectReader
from artfs.client.pack_source import LocalPacks, PackVanished
from artfs.client.spans import GAP_BYTES_MAX, coalesce
from artfs.errors import DamagedObject, DamagedPack, ObjectMissing, StorageFailed
from artfs.model.digest import Digest, ObjectKey, ObjectKind
from artfs.registry.embedded import EmbeddedRegistry
from artfs.wire.records import Location
from tests.contract.uploading import Content, commit, content_of

pytestmark = [pytest.mark.falsifies("verified", "lazy")]

WAIT_S = 30.0


class Packs(LocalPacks):
    """Real packs; every range is recorded, and what is read may be changed or held up."""

    def __init__(self) -> None:
        self.ranges: list[tuple[str, int, int]] = []
        self.change: Callable[[str, bytes], bytes] = lambda _, data: data
        self.gate = threading.Event()
        self.gate.set()

    def read(self, url: str, offset: int, length: int) -> bytes:
        self.ranges.append((url, offset, length))
        assert self.gate.wait(WAIT_S)
        return self.change(url, super().read(url, offset, length))


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[EmbeddedRegistry]:
    opened = EmbeddedRegistry(tmp_path / "registry")
    opened.projects.create("vision")
    yield opened
    opened.close()


@pytest.fixture
def packs() -> Packs:
    return Packs()


def _noise(count: int, size_bytes: int, seed: int = 1) -> dict[str, bytes]:
    rnd = random.Random(seed)
    return {f"f{i:04}": rnd.randbytes(size_bytes) for i in range(count)}


def _chunks(content: Content) -> list[ObjectKey]:
    return [key for key in content.objects if key.kind is ObjectKind.CHUNK]


def test_neighbours_are_read_with_one_range(registry: EmbeddedRegistry, packs: Packs) -> None:
    content = content_of(_noise(100, 10_000))
    commit(registry, "vision", "bikes", content)
    keys = _chunks(content)
    reader = ObjectReader(registry, packs=packs)
    assert [bytes(data) for data in reader.read_many("vision", keys)] == [content.objects[key] for key in keys]
    assert len(packs.ranges) == 1


def test_small_gaps_are_read_through_and_large_ones_are_not() -> None:
    def place(offset: int, url: str = "file:/a") -> Location:
        return Location(100, 0, url, offset, 100, 0)

    def key(i: int) -> ObjectKey:
        return ObjectKey(ObjectKind.CHUNK, Digest.of(b"%d" % i))

    far = 100 + GAP_BYTES_MAX
    places = [place(0), place(far), place(2 * far + 1), place(0, "file:/b")]
    spans = coalesce({key(i): where for i, where in enumerate(places)})
    assert [(span.url, span.offset, len(span.objects)) for span in spans] == [
        ("file:/a", 0, 2),
        ("file:/a", 2 * far + 1, 1),
        ("file:/b", 0, 1),
    ]


def test_sixteen_threads_that_want_one_cold_object_cause_one_read(registry: EmbeddedRegistry, packs: Packs) -> None:
    content = content_of(_noise(1, 500_000))
    commit(registry, "vision", "bikes", content)
    (key,) = _chunks(content)
    reader = ObjectReader(registry, packs=packs)
    packs.gate.clear()
    started = threading.Barrier(17, timeout=WAIT_S)

    def read() -> bytes:
        started.wait()
        return bytes(reader.read("vision", key))

    with ThreadPoolExecutor(16) as threads:
        reads = [threads.submit(read) for _ in range(16)]
        started.wait()
        packs.gate.set()
        assert {read.result(WAIT_S) for read in reads} == {content.objects[key]}
    assert len(packs.ranges) == 1


def test_what_was_read_is_in_memory(registry: EmbeddedRegistry, packs: Packs) -> None:
    content = content_of({"f": b"x" * 1000})
    commit(registry, "vision", "bikes", content)
    (key,) = _chunks(content)
    reader = ObjectReader(registry, packs=packs)
    assert reader.peek("vision", key) is None
    reader.read("vision", key)
    assert reader.peek("vision", key) == b"x" * 1000
    reader.read("vision", key)
    assert len(packs.ranges) == 1


def test_memory_is_bounded(registry: EmbeddedRegistry) -> None:
    content = content_of(_noise(50, 10_000))
    commit(registry, "vision", "bikes", content)
    reader = ObjectReader(registry, memory_bytes=100_000)
    for key in _chunks(content):
        reader.read("vision", key)
    assert 0 < reader.status()["bytes"] <= 100_000


def test_pages_come_decoded_with_the_time_their_entries_entered(registry: EmbeddedRegistry) -> None:
    before = commit(registry, "vision", "bikes", {"old": b"old"}, now_ns=5_000).version
    after = commit(registry, "vision", "bikes", {"old": b"old", "new": b"new"}, now_ns=9_000).version
    reader = ObjectReader(registry)
    assert reader.peek_page("vision", after.digest) is None
    dated = reader.page("vision", after.digest)
    assert reader.peek_page("vision", after.digest) is dated
    assert [dated.times[i] for i in range(2)] == [9_000, 5_000]
    assert reader.page("vision", before.digest).created_at_ns == 5_000


def test_a_flipped_bit_is_read_again_and_then_named(registry: EmbeddedRegistry, packs: Packs) -> None:
    content = content_of(_noise(1, 5_000))
    commit(registry, "vision", "bikes", content)
    (key,) = _chunks(content)
    reader = ObjectReader(registry, packs=packs)
    packs.change = lambda _, data: data[:-1] + bytes([data[-1] ^ 1])
    with pytest.raises(DamagedObject, match=key.digest.text) as caught:
        reader.read("vision", key)
    assert ".pack" in caught.value.message
    assert len(packs.ranges) == 2
    assert reader.peek("vision", key) is None


def test_a_read_that_was_bad_once_is_good_the_second_time(registry: EmbeddedRegistry, packs: Packs) -> None:
    content = content_of(_noise(1, 5_000))
    commit(registry, "vision", "bikes", content)
    (key,) = _chunks(content)
    reader = ObjectReader(registry, packs=packs)
    packs.change = lambda _, data: bytes(len(data)) if len(packs.ranges) == 1 else data
    assert reader.read("vision", key) == content.objects[key]


@pytest.mark.parametrize("data", [b"a" * 100_000, random.Random(2).randbytes(5_000)], ids=["compressed", "raw"])
def test_no_damage_to_stored_bytes_reaches_a_reader(registry: EmbeddedRegistry, packs: Packs, data: bytes) -> None:
    content = content_of({"f": data})
    commit(registry, "vision", "bikes", content)
    (key,) = _chunks(content)
    rnd = random.Random(3)

    def flip(_: str, stored: bytes) -> bytes:
        bit = rnd.randrange(8 * len(stored))
        changed = bytearray(stored)
        changed[bit // 8] ^= 1 << bit % 8
        return bytes(changed)

    packs.change = flip
    for _ in range(100):
        with pytest.raises(DamagedObject):
            ObjectReader(registry, packs=packs).read("vision", key)


def test_damage_to_one_object_does_not_fail_those_who_wait_for_another(
    registry: EmbeddedRegistry, packs: Packs
) -> None:
    content = content_of(_noise(2, 200_000))
    commit(registry, "vision", "bikes", content)
    bad, good = _chunks(content)
    stored = content.objects[bad]
    reader = ObjectReader(registry, packs=packs)
    packs.change = lambda _, data: data.replace(stored[:64], bytes(64))
    packs.gate.clear()
    with ThreadPoolExecutor(2) as threads:
        both = threads.submit(reader.read_many, "vision", [bad, good])
        _wait_until(lambda: len(packs.ranges) == 1)
        one = threads.submit(reader.read, "vision", good)
        packs.gate.set()
        with pytest.raises(DamagedObject):
            both.result(WAIT_S)
        assert one.result(WAIT_S) == content.objects[good]


def _wait_until(condition: Callable[[], bool]) -> None:
    waited = threading.Event()
    for _ in range(int(WAIT_S * 100)):
        if condition():
            return
        waited.wait(0.01)
    raise AssertionError("the condition did not come true")


def test_a_pack_that_was_cut_short_is_damage(registry: EmbeddedRegistry) -> None:
    content = content_of(_noise(1, 5_000))
    commit(registry, "vision", "bikes", content)
    (key,) = _chunks(content)
    (location,) = registry.objects.locate("vision", [key])
    assert location is not None
    path = Path(location.url.removeprefix("file:"))
    path.write_bytes(path.read_bytes()[: location.offset + 100])
    with pytest.raises(DamagedPack, match="ends before"):
        ObjectReader(registry).read("vision", key)


def test_an_object_that_moved_to_another_pack_is_found_again(registry: EmbeddedRegistry) -> None:
    keep, drop = _noise(1, 5_000, seed=1), {f"g{i}": data for i, data in enumerate(_noise(20, 5_000, seed=2).values())}
    content = content_of({**keep, **drop})
    commit(registry, "vision", "bikes", content)
    commit(registry, "vision", "bikes", keep)
    (key,) = _chunks(content_of(keep))
    reader = ObjectReader(registry, memory_bytes=1)
    reader.read("vision", key)
    before = registry.objects.locate("vision", [key])
    registry.versions.delete("vision", "bikes", [0], delete_aliases=True)
    assert registry.objects.locate("vision", [key]) != before
    assert reader.read("vision", key) == content.objects[key]


def test_a_pack_that_is_gone_for_good_is_named(registry: EmbeddedRegistry) -> None:
    content = content_of(_noise(1, 5_000))
    commit(registry, "vision", "bikes", content)
    (key,) = _chunks(content)
    (location,) = registry.objects.locate("vision", [key])
    assert location is not None
    path = Path(location.url.removeprefix("file:"))
    path.unlink()
    with pytest.raises(DamagedPack, match=path.name):
        ObjectReader(registry).read("vision", key)


def test_an_object_that_is_not_stored_is_named(registry: EmbeddedRegistry) -> None:
    key = ObjectKey(ObjectKind.CHUNK, Digest.of(b"never stored"))
    with pytest.raises(ObjectMissing, match=key.digest.text):
        ObjectReader(registry).read("vision", key)


def test_an_object_of_another_project_is_missing(registry: EmbeddedRegistry) -> None:
    registry.projects.create("private")
    content = content_of({"f": b"secret"})
    commit(registry, "private", "bikes", content)
    reader = ObjectReader(registry)
    (key,) = _chunks(content)
    reader.read("private", key)
    with pytest.raises(ObjectMissing):
        reader.read("vision", key)


def test_local_packs_tell_a_deleted_pack_from_one_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(PackVanished):
        LocalPacks().read(f"file:{tmp_path / 'gone.pack'}", 0, 1)
    with pytest.raises(StorageFailed):
        LocalPacks().read(f"file:{tmp_path}", 0, 1)
