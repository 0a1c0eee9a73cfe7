"""Changing a version by key: writers that save at once lose nothing that they did not both change."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from artfs.errors import InvalidName, InvalidValue, VersionNotFound
from artfs.wire.records import VersionChange, VersionRecord
from artfs.wire.service import ALIASES_MAX, Registry
from tests.contract.uploading import START_NS, Clock, commit

pytestmark = [pytest.mark.falsifies("changes")]

ROUNDS = 15
WAIT_S = 60.0


def change(registry: Registry, number: int = 0, **changed: object) -> VersionRecord:
    return registry.versions.update("vision", "bikes", number, VersionChange(**changed))  # type: ignore[arg-type]  # by name


def at_once(*acts: Callable[[int], object]) -> None:
    """Let each act on its own thread, ROUNDS times, each time all together."""
    barrier = Barrier(len(acts))

    def repeat(act: Callable[[int], object]) -> None:
        for number in range(ROUNDS):
            barrier.wait(WAIT_S)
            act(number)

    with ThreadPoolExecutor(len(acts)) as threads:
        for done in [threads.submit(repeat, act) for act in acts]:
            done.result(WAIT_S)


def test_keys_are_set_and_removed_and_others_stay(registry: Registry) -> None:
    commit(registry, "vision", "bikes", {"a": b"1"})
    change(registry, metadata={"a": 1, "b": {"c": [1, 2]}})
    assert change(registry, set_metadata={"d": None, "a": 2}).metadata == {"a": 2, "b": {"c": [1, 2]}, "d": None}
    assert change(registry, removed_metadata=["b", "never was"]).metadata == {"a": 2, "d": None}
    assert change(registry, metadata={"x": 1}, set_metadata={"y": 2}, removed_metadata=["x"]).metadata == {"y": 2}
    assert change(registry).metadata == {"y": 2}
    assert change(registry, metadata={}).metadata == {}


def test_aliases_are_added_and_removed_and_others_stay(registry: Registry) -> None:
    commit(registry, "vision", "bikes", {"a": b"1"}, "old", "kept")
    commit(registry, "vision", "bikes", {"a": b"2"}, "other")
    assert change(registry, added_aliases=["new"], removed_aliases=["old"]).aliases == ["kept", "new"]
    assert change(registry, removed_aliases=["other", "never-was"]).aliases == ["kept", "new"]
    assert registry.aliases.list("vision", "bikes") == {"kept": 0, "latest": 1, "new": 0, "other": 1}
    assert change(registry, added_aliases=["other"]).aliases == ["kept", "new", "other"]


def test_all_of_a_change_happens_or_none(registry: Registry, clock: Clock) -> None:
    commit(registry, "vision", "bikes", {"a": b"1"})
    before = registry.versions.resolve("vision", "bikes", "v0")
    with pytest.raises(InvalidName):
        change(registry, description="new", set_metadata={"a": 1}, added_aliases=["v7"])
    with pytest.raises(InvalidValue):
        change(registry, description="new", added_aliases=["new"], ttl_s=-1)
    with pytest.raises(InvalidValue):
        change(registry, description="new", added_aliases=[f"a{i}" for i in range(ALIASES_MAX + 1)])
    with pytest.raises(VersionNotFound):
        change(registry, 9, added_aliases=["new"])
    assert registry.versions.resolve("vision", "bikes", "v0") == before


def test_a_time_to_live_counts_from_the_change(registry: Registry, clock: Clock) -> None:
    commit(registry, "vision", "bikes", {"a": b"1"})
    clock.now_ns = START_NS + 10**15
    expires_at_ns = change(registry, ttl_s=60).expires_at_ns
    assert expires_at_ns is not None
    assert START_NS + 10**15 < expires_at_ns - 60 * 10**9 < START_NS + 10**15 + 10**9
    assert change(registry, description="new").expires_at_ns == expires_at_ns
    assert change(registry, ttl_s=0).expires_at_ns is None


def test_writers_at_once_lose_nothing_that_they_did_not_both_change(registry: Registry) -> None:
    commit(registry, "vision", "bikes", {"a": b"1"}, *(f"gone-{number}" for number in range(ROUNDS)))
    change(registry, metadata={f"gone-{number}": number for number in range(ROUNDS)})

    def one(number: int) -> None:
        change(registry, set_metadata={f"one-{number}": number}, added_aliases=[f"one-{number}"], description="one")

    def two(number: int) -> None:
        change(registry, set_metadata={f"two-{number}": number}, added_aliases=[f"two-{number}"], ttl_s=1000)

    def three(number: int) -> None:
        change(registry, removed_metadata=[f"gone-{number}"], removed_aliases=[f"gone-{number}"])

    at_once(one, two, three)
    record = registry.versions.resolve("vision", "bikes", "v0")
    names = {f"{who}-{number}" for who in ("one", "two") for number in range(ROUNDS)}
    assert record.metadata == {name: int(name[4:]) for name in names}
    assert set(record.aliases) == {*names, "latest"}
    assert record.description == "one"
    assert record.expires_at_ns is not None


def test_of_what_both_change_one_is_kept_whole(registry: Registry) -> None:
    commit(registry, "vision", "bikes", {"a": b"1"})

    def writer(name: str) -> Callable[[int], object]:
        return lambda number: change(
            registry, set_metadata={"who": name, "what": f"{name} {number}"}, description=f"{name} {number}"
        )

    at_once(writer("one"), writer("two"))
    record = registry.versions.resolve("vision", "bikes", "v0")
    assert record.metadata == {"who": record.description[:3], "what": record.description}
