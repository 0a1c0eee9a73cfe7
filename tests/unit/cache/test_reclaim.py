"""Which segments make room: those whose objects were not used for longest, at little copying."""

from __future__ import annotations

from array import array

from hypothesis import given
from hypothesis import strategies as st

from artfs.cache.layout import DEAD, PINNED
from artfs.cache.reclaim import SAMPLE, SegmentUse, plan_cutoff, plan_reclaim, sample_stamps

MIB = 1 << 20


def test_the_segment_used_longest_ago_goes() -> None:
    uses = [SegmentUse(1, MIB, [50] * 8), SegmentUse(2, MIB, [10] * 8), SegmentUse(3, MIB, [90] * 8)]
    assert plan_reclaim(uses, MIB // 2).segments == [2]


def test_dead_records_go_before_any_living_ones() -> None:
    uses = [SegmentUse(1, MIB, [10] * 8), SegmentUse(2, MIB, [DEAD] * 6 + [20, 20])]
    assert plan_reclaim(uses, MIB // 4).segments == [2]


def test_a_segment_without_records_goes_first() -> None:
    uses = [SegmentUse(1, MIB, [10] * 8), SegmentUse(2, MIB, [])]
    assert plan_reclaim(uses, MIB).segments == [2]


def test_what_was_used_lately_is_carried_over() -> None:
    uses = [SegmentUse(i, MIB, [i] * 6 + [1000 + i] * 2) for i in range(1, 9)]
    plan = plan_reclaim(uses, MIB)
    assert plan.segments == [1, 2]
    assert plan.keep_from_ns <= 1000


def test_pinned_objects_are_never_counted_on() -> None:
    uses = [SegmentUse(1, MIB, [PINNED] * 8), SegmentUse(2, MIB, [PINNED] * 8)]
    assert plan_reclaim(uses, MIB).segments == []


stamps = st.lists(st.integers(1, 1000) | st.just(PINNED), max_size=SAMPLE).map(sorted)


@given(st.lists(st.tuples(st.integers(4096, MIB), stamps), max_size=20), st.integers(1, 8 * MIB))
def test_a_plan_frees_what_is_needed_or_all_that_can_go(segments: list[tuple[int, list[int]]], need: int) -> None:
    uses = {i: SegmentUse(i, size, list(found)) for i, (size, found) in enumerate(segments)}
    plan = plan_reclaim(list(uses.values()), need)
    freed = sum(uses[i].disk_bytes * uses[i].stale_share(plan.keep_from_ns) for i in plan.segments)
    evictable = sum(use.disk_bytes * use.stale_share(PINNED) for use in uses.values())
    assert freed >= min(need, evictable) - 1
    assert len(set(plan.segments)) == len(plan.segments)


def test_a_sample_covers_the_whole_segment() -> None:
    sample = sample_stamps(array("Q", range(2, 10_002)))
    assert SAMPLE <= len(sample) <= 2 * SAMPLE
    assert sample[0] < 200
    assert sample[-1] > 9800


@given(st.lists(st.tuples(st.integers(2, 100) | st.just(PINNED), st.integers(64, 5000)), max_size=50), st.integers())
def test_a_cleanup_removes_the_oldest_and_no_more_than_it_must(uses: list[tuple[int, int]], excess: int) -> None:
    keep_from, count, freed = plan_cutoff(uses, excess)
    living = sorted(uses)
    assert freed == sum(size for _, size in living[:count])
    assert all(stamp < PINNED for stamp, _ in living[:count])
    assert all(stamp >= keep_from for stamp, _ in living[count:])
    if count:
        assert sum(size for _, size in living[: count - 1]) < excess
