"""What the README and docs/ show of the benchmark is what was measured."""

from __future__ import annotations

import pytest

from tests.bench.published import PAGE, RESULT, kept_result, page, parts_of_readme
from tests.bench.report import short_table

pytestmark = pytest.mark.skipif(not RESULT.exists(), reason="no full run has been published yet")


def test_the_readme_shows_the_result_that_is_kept() -> None:
    assert parts_of_readme()[1] == short_table(kept_result()), "run python -m tests.bench.published"


def test_the_page_shows_the_result_that_is_kept() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(kept_result()), "run python -m tests.bench.published"


def test_what_is_shown_was_checked_and_at_full_size() -> None:
    result = kept_result()
    assert not result["quick"]
    assert result["failed_rows"] == {}
    assert result["repeat"] >= 5
    assert {case["row"] for case in result["cases"]} == set(range(1, 13))
