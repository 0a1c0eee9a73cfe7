"""What scripts change of a version: by key, in place or whole, and together with others."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

import artfs
from artfs.errors import InvalidName, InvalidValue
from tests.integration.api.conftest import Putting

pytestmark = [pytest.mark.falsifies("changes")]

WRITERS = 6


@pytest.fixture
def bikes(make: Putting) -> artfs.Artifact:
    make("bikes", {"a": "a"}, aliases=["old"], description="before", metadata={"oldKey": 1, "deep": {"list": [1]}})
    return artfs.Api().artifact("bikes:v0")


def _again() -> artfs.Artifact:
    return artfs.Api().artifact("bikes:v0")


def test_properties_are_set_and_saved_as_the_faq_does(bikes: artfs.Artifact) -> None:
    bikes.description = "My new description"
    bikes.metadata["oldKey"] = "new value"
    bikes.aliases.append("best")
    bikes.aliases.remove("latest")
    bikes.save()
    found = _again()
    assert (found.description, found.metadata["oldKey"], sorted(found.aliases)) == (
        "My new description",
        "new value",
        ["best", "old"],
    )
    bikes.metadata = {"newKey": "new value"}
    bikes.aliases = ["replaced"]
    bikes.save()
    assert (_again().metadata, _again().aliases) == ({"newKey": "new value"}, ["replaced"])


def test_nothing_is_kept_before_save(bikes: artfs.Artifact) -> None:
    bikes.description, bikes.metadata["k"] = "x", 1
    bikes.aliases.append("best")
    assert (_again().description, "k" in _again().metadata, "best" in _again().aliases) == ("before", False, False)


def test_changes_deep_inside_metadata_are_noticed(bikes: artfs.Artifact) -> None:
    bikes.metadata["deep"]["list"].append(2)
    bikes.save()
    assert _again().metadata == {"oldKey": 1, "deep": {"list": [1, 2]}}
    del bikes.metadata["oldKey"]
    bikes.metadata["deep"] = True
    bikes.save()
    assert _again().metadata == {"deep": True}
    bikes.metadata["deep"] = 1
    bikes.save()
    assert _again().metadata["deep"] is not True


def test_metadata_reads_as_it_will_be_read_back(bikes: artfs.Artifact) -> None:
    import numpy as np

    bikes.metadata = {"score": np.float32(0.5), "shape": (1, 2), "mean": np.arange(3)}
    bikes.save()
    assert bikes.metadata == _again().metadata == {"score": 0.5, "shape": [1, 2], "mean": [0, 1, 2]}


def test_what_cannot_be_kept_is_refused_and_changes_nothing(bikes: artfs.Artifact) -> None:
    bikes.metadata["x"] = float("nan")
    with pytest.raises(InvalidValue):
        bikes.save()
    bikes.metadata = {}
    bikes.aliases.append("v3")
    with pytest.raises(InvalidName):
        bikes.save()
    with pytest.raises(InvalidValue):
        bikes.aliases = "best"
    assert _again().metadata == {"oldKey": 1, "deep": {"list": [1]}}


def test_saving_loads_what_others_did_meanwhile(bikes: artfs.Artifact) -> None:
    other = _again()
    other.metadata["theirs"] = 1
    other.aliases.append("theirs")
    other.save()
    bikes.metadata["mine"] = 1
    bikes.save()
    assert bikes.metadata == {"oldKey": 1, "deep": {"list": [1]}, "mine": 1, "theirs": 1}
    assert sorted(bikes.aliases) == ["latest", "old", "theirs"]
    assert bikes.description == "before"


def test_an_alias_that_moved_away_meanwhile_is_not_removed_from_there(bikes: artfs.Artifact, make: Putting) -> None:
    make("bikes", {"a": "b"}, aliases=["old"])
    bikes.aliases.remove("old")
    bikes.save()
    assert artfs.Api().artifact("bikes:old").version == "v1"


def test_writers_that_save_at_once_lose_nothing(bikes: artfs.Artifact) -> None:
    ready = threading.Barrier(WRITERS)

    def work(number: int) -> None:
        mine = _again()
        mine.metadata[f"key{number}"] = number
        mine.aliases.append(f"alias{number}")
        if number == 0:
            mine.description = "changed by one"
            del mine.metadata["oldKey"]
        ready.wait(30)
        mine.save()

    with ThreadPoolExecutor(WRITERS) as threads:
        for done in [threads.submit(work, i) for i in range(WRITERS)]:
            done.result(60)
    found = _again()
    assert found.metadata == {"deep": {"list": [1]}, **{f"key{i}": i for i in range(WRITERS)}}
    assert sorted(found.aliases) == sorted(["latest", "old", *(f"alias{i}" for i in range(WRITERS))])
    assert found.description == "changed by one"


def test_time_to_live_is_set_told_and_taken_back(bikes: artfs.Artifact) -> None:
    bikes.ttl = timedelta(days=3)
    bikes.save()
    for found in (bikes, _again()):
        assert found.ttl is not None
        assert timedelta(days=2, hours=23) < found.ttl <= timedelta(days=3)
    bikes.ttl = None
    bikes.save()
    assert _again().ttl is None
    with pytest.raises(InvalidValue):
        bikes.ttl = timedelta(0)
