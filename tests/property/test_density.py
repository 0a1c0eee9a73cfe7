"""How much is fetched from far packs for whole traces of reads: few requests where all is read, few bytes where little is."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artfs.client.density import SMALL_PACK_BYTES, WINDOW_BYTES_MAX, Density, PackReads

pytestmark = [pytest.mark.falsifies("lazy")]

FILE_BYTES = 12 << 10
PACK_FILES = (32 << 20) // FILE_BYTES
FILES = 20_000


@dataclass
class Fetched:
    """What a trace cost: requests (without those for indexes and places), and bytes for each byte asked for."""

    requests: int = 0
    files: int = 0
    packs: dict[int, PackReads] = field(default_factory=dict)
    ratio: float = 0.0


def fetched(order: Sequence[int], files: int = FILES, *, room: int | None = None) -> Fetched:
    """Read files of one size, of which PACK_FILES lie in each pack in their order; `room` files are kept at most."""
    density, found, ahead = Density(), Fetched(), set[int]()
    held: dict[int, int] = {}
    for file in order:
        number, place = divmod(file, PACK_FILES)
        pack = found.packs.setdefault(number, PackReads())
        if file in held:
            if file in ahead:
                ahead.discard(file)
                density.used(pack, FILE_BYTES)
            continue
        if file in ahead:
            density.lost(pack)
            ahead -= {other for other in ahead if other // PACK_FILES == number}
        in_pack = min(PACK_FILES, files - number * PACK_FILES)
        density.reaches(pack, in_pack * FILE_BYTES)
        density.asked(pack, place * FILE_BYTES, FILE_BYTES)
        start, end = density.window(pack, place * FILE_BYTES, FILE_BYTES)
        first, last = -(-start // FILE_BYTES), min(-(-end // FILE_BYTES), in_pack)
        new = [number * PACK_FILES + i for i in range(first, last) if number * PACK_FILES + i not in held]
        found.requests += 1
        found.files += max(new) - min(new) + 1
        ahead.update(other for other in new if other != file)
        held.update(dict.fromkeys(new, 0))
        while room is not None and len(held) > room:
            del held[next(iter(held))]
    found.ratio = found.files / len(order)
    return found


def shuffled(files: int, count: int, seed: int = 1, first: int = 0) -> list[int]:
    return random.Random(seed).sample(range(first, first + files), count)


@given(st.integers(0, 2**32))
@settings(max_examples=5, deadline=None)
def test_a_shuffled_epoch_takes_few_requests_and_hardly_a_byte_twice(seed: int) -> None:
    found = fetched(shuffled(FILES, FILES, seed))
    assert found.requests <= FILES / 60
    assert found.ratio <= 1.05


@given(st.integers(0, 2**32), st.sampled_from([0.001, 0.005, 0.01]))
@settings(max_examples=8, deadline=None)
def test_a_sparse_sample_fetches_less_than_twice_itself(seed: int, share: float) -> None:
    assert fetched(shuffled(FILES, int(FILES * share), seed)).ratio < 2


def test_a_larger_sample_costs_no_more_requests_than_an_epoch() -> None:
    assert fetched(shuffled(FILES, FILES // 20)).requests <= FILES / 60


def test_files_in_order_are_taken_along_from_the_first_few_on() -> None:
    found = fetched(range(FILES))
    assert found.requests <= 100
    assert found.ratio <= 1.02


def test_one_directory_in_any_order_does_not_bring_the_others() -> None:
    found = fetched(shuffled(200, 200, first=5000))
    assert found.requests <= 25
    assert found.ratio <= 2.5


def test_a_pack_that_is_read_through_does_not_make_another_dense() -> None:
    through = list(range(PACK_FILES))
    sparse = [number * PACK_FILES + place for number in (1, 2, 3) for place in shuffled(PACK_FILES, 6, number)]
    found = fetched([*through, *sparse], 4 * PACK_FILES)
    assert found.files <= len(through) + 10 * len(sparse)


def test_pages_of_directories_do_not_make_a_sample_of_files_dense() -> None:
    """A small pack, which is taken along whole, says nothing about how densely the others are read."""
    density, pages, packs = Density(), PackReads(), [PackReads() for _ in range(8)]
    for pack in packs:
        density.reaches(pack, 32 << 20)
    density.reaches(pages, SMALL_PACK_BYTES)
    density.asked(pages, 0, FILE_BYTES)
    density.used(pages, SMALL_PACK_BYTES - FILE_BYTES)
    for file in range(26):  # of each pack, so one in a hundred
        for pack in packs:
            offset = file * 101 * FILE_BYTES
            density.asked(pack, offset, FILE_BYTES)
            assert density.window(pack, offset, FILE_BYTES) == (offset, offset + FILE_BYTES)


def test_what_cannot_be_kept_is_fetched_again_less_and_less() -> None:
    order = [file for epoch in range(4) for file in shuffled(FILES, FILES, epoch)]
    assert fetched(order[:FILES], room=FILES // 20).ratio > 4
    late = fetched(order, room=FILES // 20).files - fetched(order[: 3 * FILES], room=FILES // 20).files
    assert late <= 2 * FILES


@pytest.mark.parametrize("length", [1, FILE_BYTES, WINDOW_BYTES_MAX + 5])
def test_a_window_holds_what_was_asked_for(length: int) -> None:
    density, pack = Density(), PackReads()
    for offset in range(0, 64 << 20, 3 << 20):
        density.asked(pack, offset, length)
        start, end = density.window(pack, offset, length)
        assert start <= offset < offset + length <= end
