"""The result of a full run where people look for it: docs/benchmark.json, and what is made from it, held to it by a test."""

from __future__ import annotations

import json
from typing import Any

from tests.bench.measure import ROOT
from tests.bench.report import short_table, table
from tests.docs.marked import parts_of

RESULT = ROOT / "docs/benchmark.json"
PAGE = ROOT / "docs/benchmark-result.md"
README = ROOT / "README.md"
BEGIN, END = "<!-- made by scripts/bench --all --publish -->\n", "<!-- end -->\n"


def publish(result: dict[str, Any]) -> None:
    """Write all three."""
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    republish()


def republish() -> None:
    """Write what is made from the result that is kept."""
    result = kept_result()
    PAGE.write_text(page(result), encoding="utf-8")
    before, _, after = parts_of_readme()
    README.write_text(before + BEGIN + short_table(result) + END + after, encoding="utf-8")


def kept_result() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RESULT.read_text(encoding="utf-8"))
    return found


def page(result: dict[str, Any]) -> str:
    return f"# Result of the benchmark\n\n{table(result)}"


def parts_of_readme() -> tuple[str, str, str]:
    """What is before the table, the table, and what is after it."""
    return parts_of(README, BEGIN, END)


if __name__ == "__main__":
    republish()
