"""Objects in memory: recency for what is used, a part that stays, and no more than the limit."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artfs.client.memory import OVERHEAD_BYTES, ObjectMemory

pytestmark = [pytest.mark.falsifies("bounded")]

LIMIT = 100 * 1000
DATA = bytes(1000 - OVERHEAD_BYTES)


def test_the_least_recently_used_makes_room() -> None:
    memory: ObjectMemory[int] = ObjectMemory(LIMIT)
    for name in range(100):
        memory.add(name, DATA)
    assert memory.get(0) is not None
    memory.add(100, DATA)
    assert 1 not in memory
    assert 0 in memory


def test_what_is_taken_along_displaces_nothing() -> None:
    memory: ObjectMemory[int] = ObjectMemory(LIMIT)
    for name in range(80):
        memory.add(name, DATA)
    memory.add_ahead(200, DATA)
    assert 200 not in memory
    assert all(name in memory for name in range(80))


def test_what_is_kept_stays_whatever_else_is_used() -> None:
    memory: ObjectMemory[int] = ObjectMemory(LIMIT, 0.5)
    for name in range(60):
        memory.add(name, DATA)
        memory.keep(name, DATA)
    for name in range(1000, 1500):
        memory.add(name, DATA)
    assert [name for name in range(60) if name in memory] == list(range(50))
    memory.keep_fewer(20)
    assert [name for name in range(60) if name in memory] == list(range(20, 50))


def test_kept_objects_give_their_share_of_hits_in_shuffled_epochs() -> None:
    memory: ObjectMemory[int] = ObjectMemory(LIMIT, 0.5)
    hits = 0
    for epoch in range(5):
        for name in random.Random(epoch).sample(range(500), 500):
            if memory.get(name) is not None:
                hits += epoch > 0
                continue
            memory.add(name, DATA)
            memory.keep(name, DATA)
    assert hits >= 4 * 50


@given(st.lists(st.tuples(st.sampled_from("akdx"), st.integers(0, 9), st.integers(0, 900)), max_size=60))
def test_it_never_holds_more_than_its_limit(calls: list[tuple[str, int, int]]) -> None:
    memory: ObjectMemory[int] = ObjectMemory(3000, 0.5)
    for call, name, size_bytes in calls:
        if call == "a":
            memory.add(name, bytes(size_bytes))
        elif call == "k":
            memory.keep(name, bytes(size_bytes))
        elif call == "x":
            memory.add_ahead(name, bytes(size_bytes))
        else:
            memory.drop(name)
        assert memory.size_bytes <= 3000
