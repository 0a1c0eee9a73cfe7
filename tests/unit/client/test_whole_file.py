"""The MD5 of a whole file over blocks in any order: each is hashed once, and nothing is believed before its end."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from hashlib import md5
from random import Random

import pytest

from artfs.client.references.whole_file import Find, WholeFile
from artfs.errors import DamagedObject
from artfs.model.digest import Digest

pytestmark = [pytest.mark.falsifies("verified", "references")]

BLOCKS = [f"block {number}".encode() for number in range(6)]
RIGHT = md5(b"".join(BLOCKS), usedforsecurity=False).digest()
WRONG = md5(b"other", usedforsecurity=False).digest()


class Reading:
    """Blocks that come, and what is held of them."""

    def __init__(self, expected: bytes, *, holds: bool = True) -> None:
        self.whole = WholeFile("data/a.bin", expected, bytes(16), len(BLOCKS), None)
        self.held: dict[int, bytes] = {}
        self.looked_at: list[int] = []
        self._holds = holds

    def find(self, number: int) -> tuple[Digest, bytes] | None:
        data = self.held.get(number)
        if data is None:
            return None
        self.looked_at.append(number)
        return Digest.of(data), data

    def come(self, numbers: Iterable[int], *, is_new: bool = True) -> None:
        for number in numbers:
            self.whole.admit(BLOCKS[number], self.whole.epoch)
            self.held[number] = BLOCKS[number]
            self.whole.came(number, is_new=is_new)
            self.whole.run(self.find if self._holds else self._only(number), wait=False)
            if not self._holds:
                del self.held[number]
        if self.whole.is_due:
            self.whole.run(self.find, wait=True)

    def _only(self, number: int) -> Find:
        return lambda wanted: self.find(wanted) if wanted == number else None


ORDERS = {"in order": range(6), "backwards": range(5, -1, -1), "at random": [3, 0, 5, 1, 4, 2]}


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_what_is_right_is_verified_when_all_has_come_and_each_block_is_looked_at_once(order: Iterable[int]) -> None:
    reading = Reading(RIGHT)
    for number in order:
        assert not reading.whole.is_verified
        reading.come([number])
    assert reading.whole.is_verified
    assert reading.looked_at == [*range(6)]
    assert not reading.whole.is_due


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_what_is_wrong_is_told_by_its_name_and_everything_is_forgotten(order: Iterable[int]) -> None:
    reading = Reading(WRONG)
    epoch = reading.whole.epoch
    with pytest.raises(DamagedObject, match=r"data/a\.bin"):
        reading.come(order)
    assert not reading.whole.is_verified
    reading.held.clear()
    with pytest.raises(DamagedObject, match="fetched again"):
        reading.whole.admit(BLOCKS[0], epoch)
    reading.come([0])  # it begins anew
    assert not reading.whole.is_due


def test_the_only_block_of_a_file_is_checked_before_it_is_kept() -> None:
    whole = WholeFile("a.bin", md5(b"all", usedforsecurity=False).digest(), bytes(16), 1, None)
    whole.admit(b"all", whole.epoch)
    with pytest.raises(DamagedObject, match=r"a\.bin"):
        whole.admit(b"other", whole.epoch)
    assert not whole.is_due


def test_in_order_nothing_needs_to_be_held() -> None:
    reading = Reading(RIGHT, holds=False)
    reading.come(range(6))
    assert reading.whole.is_verified


def test_a_block_that_is_held_no_more_leaves_the_file_unverified_until_it_comes_again() -> None:
    reading = Reading(RIGHT, holds=False)
    reading.come([0, 1, 3, 4, 5, 2])
    assert not reading.whole.is_verified
    assert not reading.whole.is_due
    reading.come([4, 3], is_new=False)
    assert not reading.whole.is_verified
    reading.come([4, 5], is_new=False)
    assert reading.whole.is_verified


def test_a_digest_that_was_lost_takes_back_that_the_file_is_verified() -> None:
    reading = Reading(RIGHT)
    reading.come(range(6))
    del reading.held[3]
    reading.looked_at.clear()
    reading.come([3])
    assert reading.whole.is_verified
    assert reading.looked_at == [*range(6)]


def test_a_lost_digest_of_a_block_that_was_hashed_already_begins_anew() -> None:
    reading = Reading(WRONG)
    reading.come([0, 1, 2])
    reading.come([1])
    reading.looked_at.clear()
    with pytest.raises(DamagedObject):
        reading.come([3, 4, 5])
    assert reading.looked_at == [3, 4, 5]


def test_other_bytes_for_a_block_are_told_and_only_what_was_not_verified_is_thrown_away() -> None:
    reading = Reading(RIGHT)
    reading.come(range(3))
    assert isinstance(reading.whole.differing(), DamagedObject)
    reading.come(range(6))
    epoch = reading.whole.epoch
    assert isinstance(reading.whole.differing(), DamagedObject)
    assert reading.whole.epoch == epoch
    assert reading.whole.is_verified


@pytest.mark.parametrize("seed", range(20))
def test_blocks_that_come_to_many_threads_at_once(seed: int) -> None:
    whole = WholeFile("a.bin", RIGHT, bytes(16), len(BLOCKS), None)
    held: dict[int, bytes] = {}
    together = threading.Barrier(len(BLOCKS))

    def find(number: int) -> tuple[Digest, bytes] | None:
        data = held.get(number)
        return None if data is None else (Digest.of(data), data)

    def come(number: int) -> None:
        together.wait(30)
        held[number] = BLOCKS[number]
        whole.came(number, is_new=True)
        whole.run(find, wait=False)
        if whole.is_due:
            whole.run(find, wait=True)

    with ThreadPoolExecutor(len(BLOCKS)) as threads:
        for coming in [threads.submit(come, number) for number in Random(seed).sample(range(6), 6)]:
            coming.result(60)
    assert whole.is_verified
