"""docs/semantics.md lists every promise with its tests, and docs/reliability.md is made of docs/reliability.json."""

from __future__ import annotations

import json

import pytest

from tests.reliability import page
from tests.reliability.promises import PROMISES, files_of_promises


def test_every_promise_has_a_test() -> None:
    tests = files_of_promises()
    assert list(tests) == list(PROMISES)
    assert [name for name, files in tests.items() if not files] == []


def test_the_list_in_semantics_is_up_to_date() -> None:
    assert page.parts_of_semantics()[1] == page.listed(), "run python -m tests.reliability.page"


@pytest.mark.skipif(not page.KEPT.exists(), reason="there is no result of scripts/reliability yet")
def test_the_page_is_made_of_the_kept_result() -> None:
    kept = json.loads(page.KEPT.read_text(encoding="utf-8"))
    assert page.PAGE.read_text(encoding="utf-8") == page.page(kept), "run python -m tests.reliability.page"
    assert sum(found["failures"] for found in kept["promises"].values()) == 0
    assert set(kept["promises"]) == set(PROMISES)


def test_measured_figures_are_shown_with_how_they_lie() -> None:
    line = {"test": "t", "passed": True, "seconds": 1.0, "promises": ["supervised"], "tried": {"kills": 10}}
    lines = [{**line, "measured": {"recovery, seconds": [n / 10 for n in range(10, 0, -1)]}}, {**line, "measured": {}}]
    found = page.summed(lines)["supervised"]
    assert found.tried == {"kills": 20}
    lie = page.distribution(found.measured["recovery, seconds"])
    assert lie == {"count": 10, "min": 0.1, "median": 0.5, "p90": 0.9, "max": 1.0}
    kept = {"tests": 2, "failures": 0, "seconds": 2, "tried": {"kills": 20}, "measured": {"recovery, seconds": lie}}
    shown = page.page(
        {"date": "2026-01-01", "artfs": "v1", "tests": 2, "seconds": 60, "promises": {"supervised": kept}}
    )
    assert "- recovery, seconds: min 0.1, median 0.5, p90 0.9, max 1 (of 10)" in shown
