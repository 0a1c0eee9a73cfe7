"""Runs and sweeps, on every registry."""

from __future__ import annotations

from typing import Any

import pytest

from artfs.errors import (
    AlreadyExists,
    InvalidName,
    InvalidValue,
    ProjectNotFound,
    RunNotFound,
    SweepNotFound,
)
from artfs.model.lineage import RUN_LAPSE_S, Resume, RunState
from artfs.wire.runs import HISTORY_ROWS_MAX, HistoryRow, NewRun, NewSweep, RunChange
from artfs.wire.service import Registry
from tests.contract.uploading import Clock

pytestmark = [pytest.mark.falsifies("lineage")]


def test_a_run_is_what_it_was_started_with(registry: Registry) -> None:
    new = NewRun("r1", name="first", group="night", job_type="train", config={"lr": 0.1, "layers": [1, 2]})
    started = registry.runs.start("vision", new)
    assert (started.project, started.id, started.name) == ("vision", "r1", "first")
    assert (started.group, started.job_type, started.sweep) == ("night", "train", "")
    assert started.config == {"lr": 0.1, "layers": [1, 2]}
    assert started.state is RunState.RUNNING
    assert (started.summary, started.ended_at_ns, started.exit_code) == ({}, None, None)
    assert registry.runs.get("vision", "r1") == started


def test_a_run_without_an_id_gets_one_of_its_own(registry: Registry) -> None:
    ids = [registry.runs.start("vision", NewRun()).id for _ in range(5)]
    assert len(set(ids)) == 5
    assert all(len(id_) == 8 and id_.isalnum() and id_ == id_.lower() for id_ in ids)
    assert [run.id for run in registry.runs.list("vision")] == ids
    assert [run.name for run in registry.runs.list("vision")] == ids


def test_a_second_run_of_an_id_is_refused(registry: Registry) -> None:
    registry.runs.start("vision", NewRun("r1"))
    with pytest.raises(AlreadyExists):
        registry.runs.start("vision", NewRun("r1"))
    registry.projects.create("audio")
    assert registry.runs.start("audio", NewRun("r1")).project == "audio"


def test_a_run_goes_on_with_what_it_had_and_what_is_new(registry: Registry) -> None:
    registry.runs.start("vision", NewRun("r1", name="first", group="night", config={"lr": 1, "seed": 3}))
    registry.runs.update("vision", "r1", RunChange(state=RunState.FAILED, exit_code=1, summary={"loss": 2}))
    resumed = registry.runs.start("vision", NewRun("r1", Resume.ALLOW, job_type="train", config={"lr": 2}))
    assert resumed.state is RunState.RUNNING
    assert (resumed.ended_at_ns, resumed.exit_code) == (None, None)
    assert (resumed.name, resumed.group, resumed.job_type) == ("first", "night", "train")
    assert resumed.config == {"lr": 2, "seed": 3}
    assert resumed.summary == {"loss": 2}
    assert registry.runs.list("vision") == [resumed]


def test_what_must_go_on_must_be_there(registry: Registry) -> None:
    with pytest.raises(RunNotFound):
        registry.runs.start("vision", NewRun("r1", Resume.MUST))
    with pytest.raises(RunNotFound):
        registry.runs.start("vision", NewRun(resume=Resume.MUST))
    started = registry.runs.start("vision", NewRun("r1", Resume.ALLOW))
    assert registry.runs.start("vision", NewRun("r1", Resume.MUST)).number == started.number


def test_what_is_absent_is_told(registry: Registry) -> None:
    with pytest.raises(ProjectNotFound):
        registry.runs.start("nowhere", NewRun())
    with pytest.raises(ProjectNotFound):
        registry.runs.list("nowhere")
    for call in (
        lambda: registry.runs.get("vision", "r1"),
        lambda: registry.runs.update("vision", "r1", RunChange()),
        lambda: registry.runs.log("vision", "r1", []),
        lambda: registry.runs.history("vision", "r1"),
        lambda: registry.runs.delete("vision", "r1"),
    ):
        with pytest.raises(RunNotFound):
            call()
    with pytest.raises(SweepNotFound):
        registry.runs.start("vision", NewRun(sweep="none"))
    assert registry.runs.list("vision") == []


def test_names_that_cannot_be_are_refused(registry: Registry) -> None:
    for id_ in ("a/b", ".hidden", "ä", "x" * 129):
        with pytest.raises(InvalidName):
            registry.runs.start("vision", NewRun(id_))
    for new in (NewRun(name="x" * 129), NewRun(group="a\nb"), NewRun(job_type="\0")):
        with pytest.raises(InvalidValue):
            registry.runs.start("vision", new)
    with pytest.raises(InvalidName):
        registry.sweeps.create("vision", NewSweep("a b"))


def test_what_json_cannot_hold_is_refused(registry: Registry) -> None:
    with pytest.raises(InvalidValue):
        registry.runs.start("vision", NewRun(config={"x": object()}))
    registry.runs.start("vision", NewRun("r1", config={"large": 1 << 63, "nested": {"empty": None, "nul": "a\0b"}}))
    assert registry.runs.get("vision", "r1").config == {"large": 1 << 63, "nested": {"empty": None, "nul": "a\0b"}}
    with pytest.raises(InvalidValue):
        registry.runs.update("vision", "r1", RunChange(summary={"x": object()}))
    with pytest.raises(InvalidValue):
        registry.runs.log("vision", "r1", [HistoryRow(0, 0, {"x": object()})])
    assert registry.runs.get("vision", "r1").summary == {}


def test_a_change_sets_what_it_names_and_leaves_the_rest(registry: Registry) -> None:
    registry.runs.start("vision", NewRun("r1", config={"a": 1}))
    registry.runs.update("vision", "r1", RunChange(config={"b": 2}, summary={"x": 1}))
    changed = registry.runs.update("vision", "r1", RunChange(name="better", summary={"y": None}))
    assert (changed.name, changed.config, changed.summary) == ("better", {"a": 1, "b": 2}, {"x": 1, "y": None})
    assert changed.state is RunState.RUNNING
    assert registry.runs.get("vision", "r1") == changed


@pytest.mark.parametrize(("state", "code"), [(RunState.FINISHED, 0), (RunState.FAILED, 3)])
def test_a_run_that_ends_says_how(registry: Registry, clock: Clock, state: RunState, code: int) -> None:
    started = registry.runs.start("vision", NewRun("r1"))
    clock.advance_s(10)
    ended = registry.runs.update("vision", "r1", RunChange(state=state, exit_code=code))
    assert (ended.state, ended.exit_code) == (state, code)
    assert ended.ended_at_ns is not None
    assert ended.ended_at_ns - started.created_at_ns >= 10 * 10**9
    clock.advance_s(10 * RUN_LAPSE_S)
    assert registry.runs.get("vision", "r1").state is state


def test_a_run_that_is_silent_for_long_has_failed_until_it_is_heard_of_again(registry: Registry, clock: Clock) -> None:
    registry.runs.start("vision", NewRun("r1"))
    registry.runs.start("vision", NewRun("r2"))
    for _ in range(3):
        clock.advance_s(RUN_LAPSE_S - 1)
        registry.runs.log("vision", "r1", [])
    lived, died = registry.runs.list("vision")
    assert (lived.state, lived.ended_at_ns) == (RunState.RUNNING, None)
    assert (died.state, died.ended_at_ns, died.exit_code) == (RunState.FAILED, died.heard_of_at_ns, None)
    registry.runs.update("vision", "r2", RunChange())
    assert registry.runs.get("vision", "r2").state is RunState.RUNNING


def test_history_is_told_by_step_and_the_summary_has_the_last_values(registry: Registry) -> None:
    registry.runs.start("vision", NewRun("r1"))
    registry.runs.log("vision", "r1", [HistoryRow(0, 5, {"loss": 3.5}), HistoryRow(2, 7, {"loss": 1})])
    registry.runs.log("vision", "r1", [HistoryRow(1, 6, {"loss": 2, "acc": [1, "x"]})])
    assert registry.runs.history("vision", "r1") == [
        HistoryRow(0, 5, {"loss": 3.5}),
        HistoryRow(1, 6, {"loss": 2, "acc": [1, "x"]}),
        HistoryRow(2, 7, {"loss": 1}),
    ]
    assert registry.runs.get("vision", "r1").summary == {"loss": 2, "acc": [1, "x"]}
    assert [row.step for row in registry.runs.history("vision", "r1", after=0, limit=1)] == [1]


def test_values_of_one_step_are_merged(registry: Registry) -> None:
    registry.runs.start("vision", NewRun("r1"))
    registry.runs.log("vision", "r1", [HistoryRow(4, 1, {"a": 1, "b": 1})])
    twice = [HistoryRow(4, 2, {"b": 2}), HistoryRow(4, 3, {"c": 3})]
    registry.runs.log("vision", "r1", twice)
    registry.runs.log("vision", "r1", twice)  # as when an answer was lost
    assert registry.runs.history("vision", "r1") == [HistoryRow(4, 3, {"a": 1, "b": 2, "c": 3})]


def test_history_is_bounded_by_call_and_whole_over_pages(registry: Registry) -> None:
    registry.runs.start("vision", NewRun("r1"))
    rows = [HistoryRow(step, step, {"x": step}) for step in range(HISTORY_ROWS_MAX + 1)]
    with pytest.raises(InvalidValue):
        registry.runs.log("vision", "r1", rows)
    assert registry.runs.history("vision", "r1") == []
    registry.runs.log("vision", "r1", rows[:-1])
    registry.runs.log("vision", "r1", rows[-1:])
    assert registry.runs.history("vision", "r1") == rows
    for wrong in (HistoryRow(-1, 0, {}), HistoryRow(1 << 63, 0, {}), HistoryRow(0, -1, {})):
        with pytest.raises(InvalidValue):
            registry.runs.log("vision", "r1", [wrong])


def test_runs_are_listed_in_the_order_of_starts_by_group_and_sweep(registry: Registry) -> None:
    registry.sweeps.create("vision", NewSweep("s1"))
    for id_, group, sweep in (("z", "night", ""), ("a", "day", "s1"), ("m", "night", "s1"), ("k", "", "")):
        registry.runs.start("vision", NewRun(id_, group=group, sweep=sweep))
    runs = registry.runs.list("vision")
    assert [run.id for run in runs] == ["z", "a", "m", "k"]
    assert sorted({run.number for run in runs}) == [run.number for run in runs]
    assert [run.id for run in registry.runs.list("vision", group="night")] == ["z", "m"]
    assert [run.id for run in registry.runs.list("vision", sweep="s1")] == ["a", "m"]
    assert [run.id for run in registry.runs.list("vision", group="night", sweep="s1")] == ["m"]
    assert [run.id for run in registry.runs.list("vision", after=runs[0].number, limit=2)] == ["a", "m"]
    assert registry.runs.list("vision", group="dusk") == []


def test_a_deleted_run_is_gone_and_its_id_free(registry: Registry) -> None:
    first = registry.runs.start("vision", NewRun("r1"))
    registry.runs.log("vision", "r1", [HistoryRow(0, 0, {"x": 1})])
    registry.runs.delete("vision", "r1")
    assert registry.runs.list("vision") == []
    again = registry.runs.start("vision", NewRun("r1"))
    assert again.number > first.number
    assert registry.runs.history("vision", "r1") == []


def test_sweeps_are_made_listed_and_deleted(registry: Registry) -> None:
    made = registry.sweeps.create("vision", NewSweep("s2", config={"metric": {"name": "acc", "goal": "maximize"}}))
    named = registry.sweeps.create("vision", NewSweep("s1", name="a search"))
    assert (made.name, named.name) == ("s2", "a search")
    assert registry.sweeps.list("vision") == [named, made]
    assert registry.sweeps.list("vision", after="s1") == [made]
    assert registry.sweeps.list("vision", limit=1) == [named]
    assert registry.sweeps.get("vision", "s2") == made
    with pytest.raises(AlreadyExists):
        registry.sweeps.create("vision", NewSweep("s1"))
    registry.sweeps.delete("vision", "s1")
    for call in (registry.sweeps.get, registry.sweeps.delete):
        with pytest.raises(SweepNotFound):
            call("vision", "s1")


def test_a_sweep_without_an_id_gets_one(registry: Registry) -> None:
    made = registry.sweeps.create("vision", NewSweep())
    assert len(made.id) == 8
    assert registry.sweeps.get("vision", made.id) == made


def test_runs_outlive_their_sweep(registry: Registry) -> None:
    registry.sweeps.create("vision", NewSweep("s1"))
    registry.runs.start("vision", NewRun("r1", sweep="s1"))
    assert registry.runs.get("vision", "r1").sweep == "s1"
    registry.sweeps.delete("vision", "s1")
    assert registry.runs.get("vision", "r1").sweep == ""


def test_runs_go_with_their_project(registry: Registry) -> None:
    registry.projects.create("audio")
    registry.sweeps.create("audio", NewSweep("s1"))
    registry.runs.start("audio", NewRun("r1", sweep="s1"))
    registry.runs.log("audio", "r1", [HistoryRow(0, 0, {"x": 1})])
    registry.projects.delete("audio")
    registry.projects.create("audio")
    assert (registry.runs.list("audio"), registry.sweeps.list("audio")) == ([], [])


def nested(depth: int) -> dict[str, Any]:
    """Objects and lists in one another, as many as `depth`."""
    value: Any = 1
    for i in range(depth - 1):
        value = {"a": value} if i % 2 else [value, "[[{"]
    return {"outer": value}


def test_what_is_nested_too_deep_for_some_reader_is_refused(registry: Registry) -> None:
    deepest, deeper = nested(100), nested(101)
    registry.runs.start("vision", NewRun("r1", config=deepest))
    for call in (
        lambda: registry.runs.start("vision", NewRun("r2", config=deeper)),
        lambda: registry.runs.start("vision", NewRun("r2", config=nested(900))),
        lambda: registry.runs.update("vision", "r1", RunChange(summary=deeper)),
        lambda: registry.runs.log("vision", "r1", [HistoryRow(0, 0, deeper)]),
        lambda: registry.sweeps.create("vision", NewSweep("s", config=deeper)),
    ):
        with pytest.raises(InvalidValue, match="deep"):
            call()
    wide = {"wide": [[i, {"[{": "]"}] for i in range(1000)]}
    assert registry.runs.update("vision", "r1", RunChange(summary=wide)).summary == wide
    assert [run.config for run in registry.runs.list("vision")] == [deepest]
    assert registry.sweeps.list("vision") == []
