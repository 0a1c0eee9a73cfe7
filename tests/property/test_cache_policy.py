"""The eviction policy on traces: epochs larger than the cache keep their hits, everything else does as well as LRU."""

from __future__ import annotations

import random
from bisect import bisect
from collections import OrderedDict
from collections.abc import Sequence
from itertools import accumulate, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artfs.cache.policy import SAMPLES_MAX, EpochPolicy

pytestmark = [pytest.mark.falsifies("cache-limit")]

Trace = list[int]


def mark(i: int) -> int:
    return (i + 1) * 0x9E3779B97F4A7C15 % 2**61 * 0xBF58476D1CE4E5B9 % 2**64 or 1


def hits_of_policy(trace: Sequence[int], capacity: int) -> list[bool]:
    policy = EpochPolicy(capacity)
    held: OrderedDict[int, None] = OrderedDict()
    marks = {i: mark(i) for i in set(trace)}
    hits: list[bool] = []
    for i in trace:
        hit = i in held
        policy.record(marks[i], hit=hit)
        if hit:
            held.move_to_end(i)
        elif len(held) < capacity:
            held[i] = None
        elif policy.admit:
            held.popitem(last=False)
            held[i] = None
        hits.append(hit)
    return hits


def hits_of_lru(trace: Sequence[int], capacity: int) -> list[bool]:
    held: OrderedDict[int, None] = OrderedDict()
    hits: list[bool] = []
    for i in trace:
        hits.append(i in held)
        held[i] = None
        held.move_to_end(i)
        if len(held) > capacity:
            held.popitem(last=False)
    return hits


def ratio(hits: Sequence[bool]) -> float:
    return sum(hits) / len(hits)


def shuffled(first: int, count: int, epochs: int, seed: int) -> Trace:
    rng = random.Random(seed)
    objects = range(first, first + count)
    return [i for _ in range(epochs) for i in rng.sample(objects, count)]


def sequential(first: int, count: int, epochs: int) -> Trace:
    return [*range(first, first + count)] * epochs


def zipf(first: int, count: int, length: int, exponent: float, seed: int) -> Trace:
    rng = random.Random(seed)
    bounds = list(accumulate(1 / (i + 1) ** exponent for i in range(count)))
    return [first + bisect(bounds, rng.random() * bounds[-1]) for _ in range(length)]


def interleaved(first: Trace, second: Trace, seed: int) -> Trace:
    rng = random.Random(seed)
    choices = [True] * len(first) + [False] * len(second)
    rng.shuffle(choices)
    a, b = iter(first), iter(second)
    return [next(a) if choice else next(b) for choice in choices]


COUNT = 5000
OTHER = 10**6  # where another data set begins
seeds = st.integers(0, 2**32)
some = settings(max_examples=6, deadline=None)


@pytest.mark.parametrize(("share", "wanted"), [(0.5, 0.495), (0.2, 0.195), (0.05, 0.045), (0.9, 0.895)])
def test_shuffled_epochs_hit_the_share_that_fits(share: float, wanted: float) -> None:
    hits = hits_of_policy(shuffled(0, 10_000, 10, 1), int(10_000 * share))
    assert ratio(hits[10_000:]) >= wanted


@given(seeds, st.floats(0.1, 0.9), st.integers(1000, 8000))
@some
def test_shuffled_epochs_of_any_size_hit_nearly_the_share_that_fits(seed: int, share: float, count: int) -> None:
    hits = hits_of_policy(shuffled(0, count, 8, seed), int(count * share))
    assert ratio(hits[count:]) >= share - 0.02


@pytest.mark.parametrize("between", [0, 15])
def test_uses_that_are_told_twice_count_once(between: int) -> None:
    """A file is read in several requests, and others by other readers meanwhile."""
    once = shuffled(0, 8192, 5, seed=3)
    twice = [i for told in zip(once, [once[0]] * between + once, strict=False) for i in told]
    policy = hits_of_policy(twice, 4096)[2 * 2 * 8192 :]
    assert ratio(policy[::2]) > 0.45


@given(st.floats(0.1, 0.9))
@some
def test_sequential_epochs_hit_nearly_the_share_that_fits(share: float) -> None:
    hits = hits_of_policy(sequential(0, COUNT, 6), int(COUNT * share))
    assert ratio(hits[COUNT:]) >= share - 0.02


@given(seeds, st.floats(0.6, 1.3), st.floats(0.02, 0.5))
@some
def test_popularity_is_served_within_3_percent_of_lru(seed: int, exponent: float, share: float) -> None:
    trace = zipf(0, COUNT, 8 * COUNT, exponent, seed)
    capacity = int(COUNT * share)
    assert ratio(hits_of_policy(trace, capacity)) >= 0.97 * ratio(hits_of_lru(trace, capacity))


@given(seeds)
@some
def test_epochs_beside_popular_objects_do_better_than_lru(seed: int) -> None:
    trace = interleaved(shuffled(0, COUNT, 6, seed), zipf(OTHER, COUNT, 6 * COUNT, 1.0, seed), seed)
    assert ratio(hits_of_policy(trace, COUNT // 2)) > ratio(hits_of_lru(trace, COUNT // 2)) + 0.02


@given(seeds, st.sampled_from([(1.0, 1.0), (0.25, 1.0), (1.0, 0.4)]))
@some
def test_another_data_set_takes_over_within_an_epoch_or_two(seed: int, parts: tuple[float, float]) -> None:
    before, after = (int(COUNT * part) for part in parts)
    capacity = min(before, after) // 2
    trace = shuffled(0, before, 6, seed) + shuffled(OTHER, after, 6, seed + 1)
    hits = hits_of_policy(trace, capacity)
    start = len(trace) - 6 * after
    by_epoch = [ratio(hits[start + a * after : start + b * after]) for a, b in pairwise(range(7))]
    assert by_epoch[2] >= 0.6 * capacity / after
    assert by_epoch[3] >= 0.9 * capacity / after


def test_equal_data_sets_swap_within_one_epoch_and_back() -> None:
    trace = shuffled(0, COUNT, 4, 1) + shuffled(OTHER, COUNT, 4, 2) + shuffled(0, COUNT, 4, 3)
    hits = hits_of_policy(trace, COUNT // 2)
    for second_epoch in (1, 5, 9):
        assert ratio(hits[second_epoch * COUNT : (second_epoch + 1) * COUNT]) >= 0.47


def test_a_scan_of_something_else_costs_at_most_two_epochs() -> None:
    trace = shuffled(0, COUNT, 4, 1) + sequential(OTHER, COUNT, 1) + shuffled(0, COUNT, 4, 2)
    hits = hits_of_policy(trace, COUNT // 2)
    assert ratio(hits[7 * COUNT :]) >= 0.48


def test_after_epochs_popular_objects_get_in() -> None:
    trace = shuffled(0, COUNT, 5, 1) + zipf(OTHER, COUNT, 8 * COUNT, 1.0, 2)
    last = slice(-2 * COUNT, None)
    assert ratio(hits_of_policy(trace, COUNT // 2)[last]) >= 0.97 * ratio(hits_of_lru(trace, COUNT // 2)[last])


def test_what_fits_is_kept_whole() -> None:
    assert all(hits_of_policy(shuffled(0, COUNT, 4, 1), COUNT)[COUNT:])


@given(st.lists(st.tuples(st.integers(1, 2**64 - 1), st.booleans()), max_size=300), st.integers(1, 50))
def test_any_trace_is_taken(accesses: list[tuple[int, bool]], capacity: int) -> None:
    policy = EpochPolicy(capacity, samples_max=16)
    for accessed, hit in accesses:
        policy.record(accessed, hit=hit)
        assert policy.admit in (True, False)


def test_memory_is_bounded_however_many_objects_are_read() -> None:
    sampled: list[int] = []
    for capacity in (10, 10_000, 10_000_000):
        policy = EpochPolicy(capacity)
        for i in range(60_000):
            policy.record(mark(i), hit=False)
        sampled.append(policy.sampled_objects)
    assert max(sampled) <= SAMPLES_MAX
