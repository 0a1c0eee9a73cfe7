"""docs/security.md: a row for each threat, each held by tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/security.md"
_NAMED = re.compile(r"`([a-z_/]+)::(test_[a-z0-9_]+)`")


def _rows() -> list[tuple[str, list[tuple[str, str]]]]:
    """Each threat of the table, and the tests that its row names, by module and function."""
    lines = PAGE.read_text(encoding="utf-8").partition("## Threats")[2].partition("\n## ")[0].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("| ")]
    return [(row[0], _NAMED.findall(row[-1])) for row in cells[1:] if not row[0].startswith("---")]


@pytest.mark.parametrize(("threat", "tests"), [pytest.param(*row, id=row[0]) for row in _rows()])
def test_every_threat_has_tests_that_there_are(threat: str, tests: list[tuple[str, str]]) -> None:
    assert tests, f"{threat}: no test holds it"
    for module, name in tests:
        text = (ROOT / "tests" / f"{module}.py").read_text(encoding="utf-8")
        assert re.search(rf"^\s*(async )?def {name}\(", text, re.MULTILINE), f"{module} has no {name}"


def test_every_test_of_a_threat_is_named() -> None:
    """A module in tests/security is there for a row, and so is the fuzzer."""
    named = {module for _, tests in _rows() for module, _ in tests}
    modules = [*(ROOT / "tests/security").glob("test_*.py"), *(ROOT / "tests/fuzz").glob("test_*.py")]
    assert {f"{path.parent.name}/{path.stem}" for path in modules} - named == set()


def test_the_names_are_as_short_as_they_are_here() -> None:
    assert len(_rows()) >= 20
