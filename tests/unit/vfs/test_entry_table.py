"""Inode numbers of files: shared by equals, never by others, gone when forgotten."""

from __future__ import annotations

import random
import tracemalloc

import pytest

from artfs.model.digest import Digest
from artfs.vfs.entry_table import NUMBER_MASK, EntryPlace, EntryTable
from artfs.vfs.page_numbers import PageKey, PageNumbers

pytestmark = [pytest.mark.falsifies("bounded")]


def page(number: int) -> PageKey:
    return PageKey("project", Digest(bytes([number]) * 32))


@pytest.fixture
def pages() -> PageNumbers:
    return PageNumbers()


@pytest.fixture
def table(pages: PageNumbers) -> EntryTable:
    return EntryTable(pages)


def test_equal_identities_share_a_number_and_the_last_place(table: EntryTable, pages: PageNumbers) -> None:
    with pages.held(page(1)) as first, pages.held(page(2)) as second:
        number = table.count_lookup(77, 5, first, 3)
        assert table.count_lookup(77, 5, second, 9) == number
        assert table.place(number) == EntryPlace(second, 9)
    assert len(table) == 1
    assert len(pages) == 1, "only the page that is referred to is kept"


def test_different_identities_never_share_a_number(table: EntryTable, pages: PageNumbers) -> None:
    with pages.held(page(1)) as held:
        numbers = [table.count_lookup(77, fingerprint, held, fingerprint) for fingerprint in range(100)]
        assert len(set(numbers)) == 100
        assert [table.count_lookup(77, fingerprint, held, fingerprint) for fingerprint in range(100)] == numbers
        assert [table.place(number) for number in numbers] == [EntryPlace(held, i) for i in range(100)]


@pytest.mark.parametrize("preferred", [0, 1, NUMBER_MASK])
def test_reserved_numbers_are_never_given_out(table: EntryTable, pages: PageNumbers, preferred: int) -> None:
    with pages.held(page(1)) as held:
        for fingerprint in range(5):
            number = table.count_lookup(preferred, fingerprint, held, 0)
            assert 2 <= number <= NUMBER_MASK


def test_an_entry_lives_until_all_its_lookups_are_taken_back(table: EntryTable, pages: PageNumbers) -> None:
    with pages.held(page(1)) as held:
        (number,) = {table.count_lookup(9, 9, held, 0) for _ in range(5)}
    assert not table.forget(number, 4)
    assert table.place(number) is not None
    assert table.forget(number, 1)
    assert table.place(number) is None
    assert len(pages) == 0


def test_forgetting_what_is_not_known_is_harmless(table: EntryTable) -> None:
    assert not table.forget(123456, 1)


def test_random_histories_agree_with_a_dictionary(table: EntryTable, pages: PageNumbers) -> None:
    """Few distinct preferred numbers, so that probing, and moving back after it, happen all the time."""
    choose = random.Random(3)
    owners: dict[int, int] = {}  # inode number → identity
    counts: dict[int, int] = {}
    with pages.held(page(1)) as held:
        for step in range(30_000):
            if counts and choose.random() < (0.45 if step < 15_000 else 0.6):
                number = choose.choice(list(counts))
                counts[number] -= 1
                assert table.forget(number, 1) == (counts[number] == 0)
                if counts[number] == 0:
                    del owners[number], counts[number]
            else:
                identity = choose.randrange(4000)
                number = table.count_lookup((identity % 3) << 58 | (identity % 100), identity, held, identity)
                assert owners.setdefault(number, identity) == identity
                counts[number] = counts.get(number, 0) + 1
            assert len(table) == len(counts)
        for number, identity in owners.items():
            assert table.place(number) == EntryPlace(held, identity)


def test_a_hundred_thousand_entries_cost_less_than_100_bytes_each(table: EntryTable, pages: PageNumbers) -> None:
    choose = random.Random(5)
    with pages.held(page(1)) as held:
        tracemalloc.start()
        try:
            numbers = [
                table.count_lookup(choose.getrandbits(61), choose.getrandbits(64), held, i & 0xFFF)
                for i in range(100_000)
            ]
            used_bytes = tracemalloc.get_traced_memory()[0] - len(numbers) * 48
            assert used_bytes < 100 * len(numbers)
            for number in numbers:
                assert table.forget(number, 1)
            del numbers
            assert tracemalloc.get_traced_memory()[0] < 1 << 20
        finally:
            tracemalloc.stop()
