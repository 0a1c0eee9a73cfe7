"""Files whose whole MD5 their source knows: through the reader, what it keeps on disk, and its next process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import md5
from pathlib import Path
from random import Random
from typing import TypeVar

import pytest

from artfs.cache.object_cache import ObjectCache
from artfs.client.references.policy import Policy
from artfs.client.references.reader import OpenedReference
from artfs.client.references.references import References
from artfs.client.references.source import Located, Told
from artfs.errors import ArtfsError, DamagedObject, ReferenceUnavailable
from artfs.model.digest import Digest
from artfs.model.reference import Reference
from artfs.vfs.ports import Bytes

pytestmark = [pytest.mark.falsifies("verified", "references")]

MIB = 1 << 20
BLOCKS = 4
BODY = Random(1).randbytes(BLOCKS * MIB - 100)
OTHER = BODY[: 2 * MIB + 5] + b"!" + BODY[2 * MIB + 6 :]  # in block 2
URI = "memory:/data/a.bin"
ETAG = '"state"'
ORDERS = {"in order": [0, 1, 2, 3], "backwards": [3, 2, 1, 0], "at random": [2, 0, 3, 1]}

_T = TypeVar("_T")


class Storage:
    """Implements `Source`: one file, which may become another or be gone (None), while its MD5 stays what it is."""

    is_local = False

    def __init__(self, body: bytes | None = BODY) -> None:
        self.body = body
        self.md5 = md5(body or b"", usedforsecurity=False).digest()
        self.spans: list[tuple[int, int] | None] = []
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True

    def whole_md5(self, uri: str) -> bytes | None:
        return self.md5

    def locate(self, uri: str, objects_max: int) -> list[Located]:
        raise ReferenceUnavailable("it has no listing")

    def receive(
        self,
        uri: str,
        span: tuple[int, int] | None,
        etag: str,
        expected_bytes: int,
        take: Callable[[Told, Iterator[Bytes]], _T],
    ) -> _T:
        self.spans.append(span)
        if self.body is None:
            raise ReferenceUnavailable("gone")
        offset, length = span or (0, len(self.body))
        told = Told(len(self.body), etag, etag, offset, is_whole=span is None)
        return take(told, iter([self.body[offset : offset + length]]))


class Machine:
    """A client's reader of that file, with what it keeps on disk; `again` is its next process, which asks `storage`."""

    def __init__(self, root: Path, storage: Storage, *, cache_bytes: int = 64 * MIB, size_bytes: int = 0) -> None:
        self.storage = storage
        self._root = root
        self._cache_bytes = cache_bytes
        self._size_bytes = size_bytes or len(BODY)
        self._references: References | None = None
        self.again(storage)

    def again(self, storage: Storage) -> None:
        self.close()
        self.storage = storage
        cache = ObjectCache(self._root / "cache", self._cache_bytes) if self._cache_bytes else None
        self._references = References(
            Policy(schemes=()), cache=cache, seen=self._root / "references.db", sources={"memory": storage}
        )

    def close(self) -> None:
        if self._references is not None:
            self._references.close()
            assert self.storage.is_closed

    def open(self) -> OpenedReference:
        assert self._references is not None
        return self._references.reader.open("p", Digest.of(b"a"), Reference(URI, self._size_bytes, ETAG))

    def block(self, number: int) -> bytes:
        return bytes(self.open().read(number * MIB, MIB))

    def blocks(self, numbers: Iterable[int]) -> None:
        body = self.storage.body or BODY
        for number in numbers:
            assert self.block(number) == body[number * MIB : (number + 1) * MIB]

    def all(self) -> bytes:
        return b"".join(self.open().stream())


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path, Storage())
    yield made
    made.close()


def doubting() -> Storage:
    """The bytes are what they were, and their MD5 is said to be another: who computes it anew tells so."""
    storage = Storage()
    storage.md5 = bytes(16)
    return storage


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_what_was_verified_is_not_computed_again_by_the_next_process(machine: Machine, order: list[int]) -> None:
    machine.blocks(order)
    machine.again(doubting())
    assert machine.open().held(0, 10) == BODY[:10]
    assert machine.all() == BODY
    assert machine.storage.spans == []


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_what_is_wrong_is_told_by_name_and_the_next_read_fetches_it_again(machine: Machine, order: list[int]) -> None:
    machine.storage.body = OTHER
    with pytest.raises(DamagedObject, match=r"data/a\.bin"):
        machine.blocks(order)
    assert machine.open().held(0, 10) is None
    machine.storage.body = BODY
    machine.storage.spans.clear()
    machine.blocks(order)
    assert len(machine.storage.spans) == BLOCKS
    machine.again(doubting())
    assert machine.all() == BODY


def test_what_was_wrong_is_forgotten_by_the_next_process_too(machine: Machine) -> None:
    machine.storage.body = OTHER
    with pytest.raises(DamagedObject):
        machine.all()
    machine.again(Storage())
    assert machine.all() == BODY


def test_a_stream_of_a_wrong_file_does_not_end_well(machine: Machine) -> None:
    machine.storage.body = OTHER
    with pytest.raises(DamagedObject):
        machine.all()
    with pytest.raises(DamagedObject):
        machine.all()
    machine.storage.body = BODY
    assert machine.all() == BODY


def test_a_file_of_one_block_is_verified_before_anybody_gets_it(tmp_path: Path) -> None:
    storage = Storage(b"right")
    storage.body = b"wrong"
    machine = Machine(tmp_path, storage, size_bytes=5)
    opened = machine.open()
    with pytest.raises(DamagedObject, match=r"data/a\.bin"):
        opened.read(0, 1)
    assert opened.held(0, 1) is None
    storage.body = b"right"
    assert opened.read(0, 5) == b"right"
    machine.again(doubting())
    assert machine.all() == b"right"
    assert machine.storage.spans == []
    machine.close()


def test_blocks_that_are_not_held_leave_it_unverified_until_it_is_read_in_order(tmp_path: Path) -> None:
    storage = Storage()
    storage.body = OTHER
    machine = Machine(tmp_path, storage, cache_bytes=0)
    for number in (3, 1, 2):
        machine.blocks([number])
        machine.again(storage)  # which has nothing in memory
    machine.blocks([0])  # the last one that was missing: the others are nowhere
    with pytest.raises(DamagedObject):
        machine.blocks([1, 2, 3])
    storage.body = BODY
    machine.blocks([0, 1, 2, 3])
    machine.close()


def test_a_block_that_was_wrong_once_does_not_keep_the_right_one_out(tmp_path: Path) -> None:
    storage = Storage()
    storage.body = OTHER
    machine = Machine(tmp_path, storage, cache_bytes=0)
    machine.blocks([2])
    storage.body = BODY
    machine.again(storage)
    with pytest.raises(DamagedObject, match="other bytes than before"):
        machine.block(2)
    assert machine.all() == BODY
    machine.close()


def test_a_wrong_block_after_all_was_verified_is_told_and_harms_nothing(tmp_path: Path) -> None:
    storage = Storage()
    machine = Machine(tmp_path, storage, cache_bytes=0)
    assert machine.all() == BODY
    storage.body = OTHER
    machine.again(storage)
    with pytest.raises(DamagedObject, match="other bytes than before"):
        machine.block(2)
    storage.body = BODY
    assert machine.all() == BODY
    machine.again(doubting())
    assert machine.all() == BODY  # still verified
    machine.close()


@pytest.mark.parametrize("body", [BODY, OTHER], ids=["right", "wrong"])
def test_what_several_processes_read_parts_of_is_verified_by_the_next_one(tmp_path: Path, body: bytes) -> None:
    storages = [Storage(), Storage()]
    here, there = Machine(tmp_path, storages[0]), Machine(tmp_path, storages[1])
    storages[0].body = storages[1].body = body
    for machine, number in ((here, 0), (there, 1), (here, 2), (there, 3)):
        machine.blocks([number])
    here.close()
    there.close()
    storage = Storage()
    next_one = Machine(tmp_path, storage)
    assert next_one.open().held(0, 10) is None  # not before it is verified
    if body is BODY:
        next_one.block(0)
        assert storage.spans == []
    else:
        with pytest.raises(DamagedObject):
            next_one.block(0)
    assert next_one.all() == BODY
    next_one.again(doubting())
    assert next_one.open().held(0, 10) == BODY[:10]
    next_one.close()


def test_prefetching_verifies(machine: Machine) -> None:
    machine.storage.body = OTHER
    with pytest.raises(DamagedObject):
        machine.open().prefetch()
    machine.storage.body = BODY
    assert machine.open().prefetch() == 0
    machine.again(doubting())
    assert machine.all() == BODY


@pytest.mark.parametrize("seed", range(5))
def test_many_readers_of_a_wrong_file_get_the_right_one_in_the_end(tmp_path: Path, seed: int) -> None:
    """No block of the wrong file stays behind, whatever was on its way when it was thrown away."""
    storage = Storage()
    storage.body = OTHER
    machine = Machine(tmp_path, storage)
    numbers = [number % BLOCKS for number in range(4 * BLOCKS)]
    Random(seed).shuffle(numbers)
    with ThreadPoolExecutor(6) as threads:
        failures = [*threads.map(lambda number: _failure(machine, number), numbers)]
    assert any(isinstance(failure, DamagedObject) for failure in failures)
    storage.body = BODY
    attempts = 0
    while _failure(machine, *range(BLOCKS)) is not None:
        attempts += 1
        assert attempts < 3
    assert machine.all() == BODY
    machine.close()


def _failure(machine: Machine, *numbers: int) -> ArtfsError | None:
    try:
        for number in numbers:
            machine.block(number)
    except ArtfsError as error:
        return error
    return None


def test_other_schemes_are_given_and_the_policy_has_no_say_in_them(machine: Machine) -> None:
    assert machine.all() == BODY  # its policy follows nothing
