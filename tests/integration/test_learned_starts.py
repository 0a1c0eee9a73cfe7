"""A start fetched ahead of its readers: by few ranges, never instead of the truth, and only as long as it is of use."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs

from artfs.cache.object_cache import ObjectCache
from artfs.client.learned.start_files import StartFiles
from artfs.client.learned.starts import OBJECTS_MAX, Starts
from artfs.client.objects import ObjectReader
from artfs.client.windows import PackWindows
from artfs.model.digest import Digest, ObjectKey, ObjectKind
from artfs.registry.embedded import EmbeddedRegistry
from tests.contract.uploading import Content, commit, content_of
from tests.integration.test_windows import CountedObjects, FarPacks

pytestmark = [pytest.mark.falsifies("verified", "cache-limit")]

SIZE_BYTES = 4000


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[EmbeddedRegistry]:
    opened = EmbeddedRegistry(tmp_path / "registry")
    opened.projects.create("p")
    yield opened
    opened.close()


@pytest.fixture
def program(registry: EmbeddedRegistry) -> Content:
    """What a program is made of, stored among much that it does not use."""
    rnd = random.Random(5)
    content = content_of({f"f{i:05}": rnd.randbytes(SIZE_BYTES) for i in range(2000)})
    commit(registry, "p", "program", content)
    return content


class Machine:
    """What outlives a mount: what was learned. Each start has an empty cache."""

    def __init__(self, registry: EmbeddedRegistry, directory: Path) -> None:
        self.registry = registry
        self.files = StartFiles(directory / "learned")
        self.directory = directory
        self.packs = FarPacks()
        self.count = 0

    def start(
        self,
        content: Content,
        keys: list[ObjectKey],
        *,
        cache_bytes: int = 1 << 30,
        ahead: list[ObjectKey] | None = None,
    ) -> int:
        """Read and compare, each with `ahead`; returns how many requests for content that took."""
        ahead = ahead or []
        self.packs.reads.clear()
        self.count += 1
        cache = ObjectCache(self.directory / f"cache{self.count}", cache_bytes, self.registry.identity)
        reader = ObjectReader(
            self.registry,
            packs=self.packs,
            cache=cache,
            windows=PackWindows(self.packs),
            starts=Starts(self.files.load(), self.files.keep),
        )
        try:
            reader.page("p", content.root)
            for key in keys:
                assert reader.read_many("p", [key, *ahead], ahead=len(ahead))[0] == content.objects[key]
        finally:
            reader.close()
        return len(self.packs.reads)


def _modules(content: Content, step: int = 20) -> list[ObjectKey]:
    chunks = [key for key in content.objects if key.kind is ObjectKind.CHUNK]
    return random.Random(1).sample(chunks[::step], len(chunks[::step]))


@pytest.fixture
def machine(registry: EmbeddedRegistry, tmp_path: Path) -> Machine:
    return Machine(registry, tmp_path)


def test_a_second_start_takes_few_requests_and_fewer_bytes_than_the_first(machine: Machine, program: Content) -> None:
    keys = _modules(program)
    machine.start(program, keys)
    first_bytes = sum(machine.packs.reads)
    assert machine.start(program, keys) <= len(keys) // 4
    assert sum(machine.packs.reads) <= first_bytes
    asked = CountedObjects(machine.registry)
    machine.registry.objects = asked  # type: ignore[assignment]  # which passes it on
    machine.start(program, keys)
    assert asked.calls == 1  # for the times of the root page


def test_a_start_that_is_fetched_faster_than_it_is_read_pauses_and_goes_on(
    machine: Machine, program: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("artfs.client.learned.replay.PROVING_BYTES", 5 * SIZE_BYTES)
    keys = _modules(program)
    machine.start(program, keys)
    learned_bytes = len(keys) * SIZE_BYTES
    machine.start(program, keys)
    assert sum(machine.packs.reads) >= learned_bytes
    assert len(machine.packs.reads) <= len(keys) // 2  # and not one by one


def test_nothing_is_guessed_while_a_start_is_known(machine: Machine, program: Content) -> None:
    keys = _modules(program)
    others = [key for key in program.objects if key.kind is ObjectKind.CHUNK and key not in set(keys)]
    machine.start(program, keys)
    machine.start(program, keys)
    second_bytes = sum(machine.packs.reads)
    machine.start(program, keys, ahead=others[:500])
    assert sum(machine.packs.reads) <= 1.2 * second_bytes


def _replace(machine: Machine, **change: object) -> None:
    """Say something else of where the objects of what was learned are."""
    (start,) = machine.files.load()
    places = [one.place for one in start.objects]
    moved = [None if place is None else structs.replace(place, **change) for place in places]
    objects = [structs.replace(one, place=place) for one, place in zip(start.objects, moved, strict=True)]
    assert objects != start.objects
    machine.files.keep(structs.replace(start, objects=objects))


@pytest.mark.parametrize(
    "change",
    [{"url": "file:/nowhere.pack"}, {"offset": 1}, {"size_bytes": 5}, {"codec": 77}, {"stored_bytes": 1 << 40}],
    ids=["elsewhere", "other bytes", "another size", "no codec", "beyond its end"],
)
def test_whatever_was_learned_wrongly_readers_get_the_truth(
    machine: Machine, program: Content, change: dict[str, object]
) -> None:
    keys = _modules(program)
    machine.start(program, keys)
    _replace(machine, **change)
    machine.start(program, keys)
    machine.start(program, keys)


def test_a_small_cache_is_not_exceeded(machine: Machine, program: Content) -> None:
    keys = _modules(program)
    machine.start(program, keys)
    machine.start(program, keys, cache_bytes=200 << 10)
    held = sum(path.stat().st_blocks * 512 for path in (machine.directory / "cache2").rglob("*"))
    assert held <= 200 << 10


def test_a_reader_of_everything_teaches_nothing(machine: Machine, registry: EmbeddedRegistry) -> None:
    rnd = random.Random(6)
    content = content_of({f"f{i:05}": rnd.randbytes(20) for i in range(OBJECTS_MAX + 1)})
    commit(registry, "p", "data", content)
    machine.start(content, [key for key in content.objects if key.kind is ObjectKind.CHUNK])
    assert list(machine.files.load()) == []


def test_what_is_read_ahead_is_not_learned(machine: Machine, program: Content) -> None:
    chunks = [key for key in program.objects if key.kind is ObjectKind.CHUNK]
    machine.start(program, chunks[:50], ahead=chunks[100:1100])
    (start,) = machine.files.load()
    learned = {ObjectKey(ObjectKind(one.kind), Digest(one.digest)) for one in start.objects}
    assert set(chunks[:50]) <= learned
    assert learned.isdisjoint(chunks[100:1100])
