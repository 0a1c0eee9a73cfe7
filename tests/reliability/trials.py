"""How often the promises were put to the test: told by the tests, kept by the run of them.

from tests.reliability.trials import measured, tried

tried("a bit flipped in a cached chunk")           # one more; a test that says nothing counts as one
tried("kills at a point of a commit", points)      # as many
measured("recovery after a kill, seconds", times)  # figures of a promise that is about one: the page shows how they lie

With ARTFS_TEST_TRIALS=FILE in the environment a run of pytest appends a line of JSON to FILE for every test that carries
the mark `falsifies`: see tests/reliability/page.py, which makes docs/reliability.md of it.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

_now: Counter[str] = Counter()  # of the test that runs in this process
_figures: defaultdict[str, list[float]] = defaultdict(list)  # likewise
_PROPERTY = "trials"


def tried(what: str, number: int = 1) -> None:
    """The running test tried `number` more faults, histories or calls of a kind."""
    _now[what] += number


def measured(what: str, values: Iterable[float]) -> None:
    """The running test measured these figures; `what` ends with their unit."""
    _figures[what] += values


def forget() -> None:
    """Another test begins."""
    _now.clear()
    _figures.clear()


def note(item: pytest.Item, report: pytest.TestReport) -> None:
    """Let the report say what its test tried, so that it reaches the process that collects the reports."""
    promises = sorted({name for mark in item.iter_markers("falsifies") for name in mark.args})
    if promises and report.when == "call":
        told = {"promises": promises, "tried": dict(_now), "measured": dict(_figures)}
        report.user_properties.append((_PROPERTY, json.dumps(told)))


def keep(report: pytest.TestReport) -> None:
    """A line of what a test tried, in the file that is asked for. Skipped tests tried nothing."""
    file = os.environ.get("ARTFS_TEST_TRIALS")
    if file is None or os.environ.get("PYTEST_XDIST_WORKER") or report.skipped:
        return
    for name, value in report.user_properties:
        if name == _PROPERTY:
            line: dict[str, Any] = {
                "test": report.nodeid,
                "passed": report.passed,
                "seconds": round(report.duration, 1),
            }
            with Path(file).open("a", encoding="utf-8") as lines:
                lines.write(json.dumps({**line, **json.loads(str(value))}) + "\n")


def count_examples(item: pytest.Item) -> None:
    """Count what hypothesis tried in a test of a property, by what it says of that."""
    for number in re.findall(r"(\d+) passing, ", getattr(item, "hypothesis_statistics", "")):
        tried("an example that hypothesis made", int(number))
