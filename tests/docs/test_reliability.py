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
