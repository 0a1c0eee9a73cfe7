"""Pure parts of the Python API: paths, values as JSON, edits of versions, queries of runs, listings."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from artfs.api.listing import PAGE_ITEMS, Listing, pages_of
from artfs.api.paths import VersionPath, artifact_path, project_path, run_path
from artfs.api.plain import plain, plain_dict, plain_values
from artfs.api.run_query import best, matches, ordered
from artfs.api.saved_mapping import SavedMapping
from artfs.api.version_edit import VersionEdit
from artfs.errors import InvalidName, InvalidValue
from artfs.model.digest import Digest
from artfs.model.lineage import RunRef, RunState
from artfs.wire.records import VersionChange, VersionRecord
from artfs.wire.runs import RunRecord

VERSION = VersionRecord(
    "p", "a", 3, Digest(bytes(32)), "dataset", "words", {"x": 1, "deep": {"l": [1]}}, 0, 0, 0, "", ["latest", "old"]
)
RUN = RunRecord("p", "r0", 0, "r0", RunState.FINISHED, "g", "", "", {"lr": 0.1}, {"acc": 0.5}, 10, "me", 20)


@pytest.mark.parametrize(
    ("text", "project", "artifact", "selector"),
    [
        ("bikes", "default", "bikes", "latest"),
        ("bikes:v3", "default", "bikes", "v3"),
        ("vision/bikes:best", "vision", "bikes", "best"),
        ("geoff/vision/bikes:best", "vision", "bikes", "best"),
        ("geoff/vision/bikes", "vision", "bikes", "latest"),
    ],
)
def test_versions_are_named_with_more_or_less(text: str, project: str, artifact: str, selector: str) -> None:
    assert VersionPath.parse(text, "default") == VersionPath(project, artifact, selector)


@pytest.mark.parametrize("text", ["", "a/b/c/d", "a b", "a:v03", "a:b/c", "a:b:c", "a//b", ":v1", "bad entity/p/a"])
def test_what_names_no_version_is_refused(text: str) -> None:
    with pytest.raises(InvalidName):
        VersionPath.parse(text, "default")


def test_runs_artifacts_and_projects_are_named_with_an_entity_or_without() -> None:
    assert run_path("id", "p") == run_path("p/id", "q") == run_path("e/p/id", "q") == RunRef("p", "id")
    assert artifact_path("e/p/a", "q") == artifact_path("p/a", "q") == artifact_path("a", "p") == ("p", "a")
    assert project_path("e/p", "q") == project_path("p", "q") == project_path(None, "p") == project_path("", "p") == "p"
    for parse in (run_path, artifact_path, project_path):
        with pytest.raises(InvalidName):
            parse("a/b/c/d", "p")


def test_values_become_what_json_gives_back() -> None:
    given = {
        "np": np.float64(0.5),
        "ints": np.arange(3),
        "zero": np.array(7),
        "tuple": (1, 2),
        "set": {3, 1, 2},
        "when": datetime(2026, 1, 31, tzinfo=UTC),
        "path": Path("/a/b"),
        4: True,
    }
    assert plain("it", given) == {
        "np": 0.5,
        "ints": [0, 1, 2],
        "zero": 7,
        "tuple": [1, 2],
        "set": [1, 2, 3],
        "when": "2026-01-31T00:00:00+00:00",
        "path": "/a/b",
        "4": True,
    }


@pytest.mark.parametrize("value", [{"a": math.nan}, {"a": object()}, {"a": b"bytes"}, {("t", 1): 1}])
def test_what_json_cannot_hold_is_refused(value: Any) -> None:
    with pytest.raises(InvalidValue, match="it cannot"):
        plain_dict("it", value)
    with pytest.raises(InvalidValue, match="not a mapping"):
        plain_dict("it", [1])


def test_numbers_that_are_none_are_logged_as_words() -> None:
    given = {"a": math.nan, "b": {"c": [math.inf, -math.inf, 1.5]}, "d": np.float32("nan")}
    assert plain_values("it", given) == {"a": "NaN", "b": {"c": ["Infinity", "-Infinity", 1.5]}, "d": "NaN"}


def test_an_edit_is_what_differs_and_nothing_else() -> None:
    edit = VersionEdit(VERSION)
    assert edit.change(VERSION) is None
    edit.metadata["deep"]["l"].append(2)
    edit.metadata["new"] = (1,)
    del edit.metadata["x"]
    edit.aliases += ["best", "best"]
    edit.aliases.remove("old")
    edit.description = "other"
    edit.set_ttl(timedelta(hours=1))
    assert edit.change(VERSION) == VersionChange(
        description="other",
        set_metadata={"deep": {"l": [1, 2]}, "new": [1]},
        removed_metadata=["x"],
        added_aliases=["best"],
        removed_aliases=["old"],
        ttl_s=3600,
    )
    assert VERSION.metadata == {"x": 1, "deep": {"l": [1]}}
    edit.set_ttl(None)
    change = edit.change(VERSION)
    assert change is not None
    assert change.ttl_s == 0


def test_a_truth_is_not_a_number() -> None:
    for value in (True, 1.0):
        edit = VersionEdit(VERSION)
        edit.metadata["x"] = value
        change = edit.change(VERSION)
        assert change is not None
        assert change.set_metadata == {"x": value}


def _run(id: str, **changes: Any) -> RunRecord:
    return msgspec.structs.replace(RUN, id=id, **changes)


def test_runs_are_ordered_by_numbers_and_those_without_come_last() -> None:
    runs = [
        _run("none", summary={}),
        _run("low", summary={"acc": 0.1}),
        _run("nan", summary={"acc": math.nan}),
        _run("word", summary={"acc": "NaN"}),
        _run("high", summary={"acc": 0.9}),
    ]
    assert [run.id for run in ordered(runs, "-summary.acc")][0:2] == ["high", "low"]
    assert [run.id for run in ordered(runs, "+summary.acc")][0:2] == ["low", "high"]
    assert {run.id for run in ordered(runs, "-summary.acc")[2:]} == {"none", "nan", "word"}
    found = best(runs, "-summary.acc")
    assert found is not None
    assert found.id == "high"
    assert best(runs[:1], "-summary.acc") is None
    assert best([], "-summary.acc") is None


@pytest.mark.parametrize(
    ("filters", "is_match"),
    [
        ({}, True),
        ({"group": "g", "state": "finished"}, True),
        ({"group": "g", "state": "failed"}, False),
        ({"config.lr": 0.1, "summary.acc": {"$gte": 0.5, "$lt": 1}}, True),
        ({"summary.acc": {"$gt": 0.5}}, False),
        ({"summary.nothing": {"$gt": 0.5}}, False),
        ({"summary.nothing": None}, True),
        ({"config.lr": {"$lt": "text"}}, False),
        ({"group": {"$in": ["f", "g"]}, "name": {"$nin": ["r1"]}}, True),
    ],
)
def test_filters_all_hold(filters: dict[str, Any], is_match: bool) -> None:
    assert matches(RUN, filters) is is_match


def test_a_listing_asks_for_pages_as_they_are_needed() -> None:
    asked: list[int | None] = []

    def ask(last: int | None) -> list[int]:
        asked.append(last)
        first = -1 if last is None else last
        return list(range(first + 1, min(first + 1 + PAGE_ITEMS, 2500)))

    listing = Listing(pages_of(ask, lambda number: number))
    assert asked == []
    assert (listing[0], listing[PAGE_ITEMS - 1], asked) == (0, PAGE_ITEMS - 1, [None])
    assert (listing[PAGE_ITEMS], asked) == (PAGE_ITEMS, [None, PAGE_ITEMS - 1])
    assert (len(listing), listing[-1], list(listing)) == (2500, 2499, list(range(2500)))
    assert len(asked) == 3
    with pytest.raises(IndexError):
        listing[2500]
    assert list(Listing(pages_of(lambda _: [], lambda number: number))) == []


def test_a_listing_that_failed_asks_again() -> None:
    def pages() -> Iterator[list[int]]:
        yield [1]
        raise InvalidValue("no")

    listing = Listing(pages())
    assert listing[0] == 1
    with pytest.raises(InvalidValue):
        len(listing)


def test_a_mapping_keeps_what_is_set_before_it_is_read() -> None:
    kept: list[dict[str, Any]] = []
    mapping = SavedMapping({"a": 1}, lambda values: plain_dict("it", values), kept.append)
    mapping.b = (2,)
    mapping["c"] = 3
    mapping.update({"d": 4}, e=5)
    mapping.update()
    mapping.setdefaults({"a": 9, "f": 6})
    assert kept == [{"b": [2]}, {"c": 3}, {"d": 4, "e": 5}, {"f": 6}]
    assert dict(mapping) == mapping.as_dict() == {"a": 1, "b": [2], "c": 3, "d": 4, "e": 5, "f": 6}
    assert (mapping.a, mapping.get("z", 0), "z" in mapping, len(mapping)) == (1, 0, False, 6)
    with pytest.raises(InvalidValue):
        mapping["bad"] = object()
    assert "bad" not in mapping

    def refuse(values: dict[str, Any]) -> None:
        raise InvalidValue("not kept")

    refusing = SavedMapping({}, lambda values: plain_dict("it", values), refuse)
    with pytest.raises(InvalidValue):
        refusing["a"] = 1
    assert dict(refusing) == {}
