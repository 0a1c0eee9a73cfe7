"""docs/reliability.md and the list of promises in docs/semantics.md, from the marks of the tests and a run of them.

scripts/reliability            run every test that tries to falsify a promise, deep ones too, and write both
python -m tests.reliability.page [TRIALS]     write both, of the trials in a file or of those in docs/reliability.json
"""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from tests.bench.measure import machine_facts
from tests.docs.marked import parts_of
from tests.reliability.promises import PROMISES, ROOT, files_of_promises

KEPT = ROOT / "docs/reliability.json"
PAGE = ROOT / "docs/reliability.md"
SEMANTICS = ROOT / "docs/semantics.md"
ONE_CASE = "a case that is a test of its own"  # of a test that says nothing else
BEGIN, END = "<!-- made by python -m tests.reliability.page -->\n", "<!-- end -->\n"


@dataclass
class Trials:
    """What was tried to falsify one promise."""

    tests: int = 0
    failures: int = 0
    seconds: float = 0.0
    tried: Counter[str] = field(default_factory=Counter)
    measured: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def add(self, line: dict[str, Any]) -> None:
        self.tests += 1
        self.failures += not line["passed"]
        self.seconds += line["seconds"]
        self.tried.update(line["tried"] or {ONE_CASE: 1})
        for what, values in line.get("measured", {}).items():
            self.measured[what] += values


def distribution(values: Sequence[float]) -> dict[str, float]:
    """How figures lie: how many there are, and the smallest, middle, ninth of ten and largest."""
    ordered = sorted(values)
    at = {"min": 0, "median": (len(ordered) - 1) // 2, "p90": (len(ordered) - 1) * 9 // 10, "max": -1}
    return {"count": len(ordered), **{name: round(ordered[index], 3) for name, index in at.items()}}


def summed(lines: Iterable[dict[str, Any]]) -> dict[str, Trials]:
    found: dict[str, Trials] = defaultdict(Trials)
    for line in lines:
        for promise in line["promises"]:
            found[promise].add(line)
    return found


def latest(lines: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each test once, as it ended last: of several runs in one file those count that came later."""
    return list({line["test"]: line for line in lines}.values())


def keep(lines: Sequence[dict[str, Any]], day: date) -> None:
    """Sum up a run in docs/reliability.json."""
    promises = {
        name: {
            "tests": found.tests,
            "failures": found.failures,
            "seconds": round(found.seconds),
            "tried": dict(sorted(found.tried.items())),
            "measured": {what: distribution(values) for what, values in sorted(found.measured.items()) if values},
        }
        for name, found in sorted(summed(lines).items())
    }
    kept = {
        "date": day.isoformat(),
        "artfs": machine_facts()["artfs"],
        "tests": len(lines),
        "seconds": round(sum(line["seconds"] for line in lines)),
        "promises": promises,
    }
    KEPT.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def page(kept: dict[str, Any]) -> str:
    """docs/reliability.md."""
    rows, details = [], []
    for name, promise in PROMISES.items():
        found = kept["promises"].get(name, {"tests": 0, "failures": 0, "seconds": 0, "tried": {}})
        total = sum(found["tried"].values())
        rows.append(
            f"| {promise} | {found['tests']} | {total:,} | {found['failures']} | `scripts/reliability {name}` |"
        )
        details.append(f"\n### {promise}\n")
        most_first = sorted(found["tried"].items(), key=lambda told: -told[1])
        details += [f"- {count:,} x {what}" for what, count in most_first]
        details += [_figures(what, lie) for what, lie in found.get("measured", {}).items()]
    told = {name: kept[name] for name in ("date", "artfs", "tests")}
    return _PAGE.format(**told, minutes=kept["seconds"] // 60, rows="\n".join(rows), details="\n".join(details))


def _figures(what: str, lie: dict[str, float]) -> str:
    shown = ", ".join(f"{name} {lie[name]:g}" for name in ("min", "median", "p90", "max"))
    return f"- {what}: {shown} (of {lie['count']:,})"


_PAGE = """# How the promises were tested

Made by `python -m tests.reliability.page` on {date} with artfs {artfs}, of what {tests:,} tests counted in {minutes} minutes;
do not edit. Tests that were not run are not in it; `scripts/reliability` runs all, which takes hours. Every promise of
[semantics.md](semantics.md) has tests that try to falsify it. A trial is one fault, one kill, one random history, one call: the
test says what it counts. A failure is a test that did not pass. A test of several promises counts for each.

| promise | tests | trials | failures | to repeat |
|---|---|---|---|---|
{rows}

## What was tried
{details}
"""


def listed() -> str:
    """The promises and their tests, as docs/semantics.md shows them."""
    tests = files_of_promises()
    rows = [f"| {promise} | {_files(tests[name])} |" for name, promise in PROMISES.items()]
    return "\n".join(["| promise | tests |", "|---|---|", *rows, ""])


def _files(files: Sequence[str]) -> str:
    by_directory: dict[str, list[str]] = defaultdict(list)
    for file in files:
        directory, _, name = file.removeprefix("tests/").rpartition("/")
        by_directory[directory].append(name.removeprefix("test_").removesuffix(".py"))
    return "; ".join(f"{directory}: {', '.join(names)}" for directory, names in by_directory.items())


def parts_of_semantics() -> tuple[str, str, str]:
    """What is before the list of promises, the list, and what is after it."""
    return parts_of(SEMANTICS, BEGIN, END)


def main(arguments: Sequence[str]) -> int:
    if arguments:
        lines = [json.loads(line) for line in Path(arguments[0]).read_text(encoding="utf-8").splitlines()]
        keep(latest(lines), datetime.now(UTC).date())
    if KEPT.exists():
        PAGE.write_text(page(json.loads(KEPT.read_text(encoding="utf-8"))), encoding="utf-8")
    before, _, after = parts_of_semantics()
    SEMANTICS.write_text(before + BEGIN + listed() + END + after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
