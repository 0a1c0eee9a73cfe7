"""The lines of the table: what was raced, what should be reached, and whether it was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.bench.measure import Figure, Race

ARTFS = "artfs"


@dataclass(frozen=True)
class Goal:
    """`test` looks at a race and says whether the goal is met; a number or contestant that is missing makes it unknown."""

    text: str
    test: Callable[[dict[str, Figure]], bool]

    def met(self, race: Race) -> bool | None:
        try:
            return self.test(race.figures)
        except KeyError:
            return None


def reaches(value: float, text: str) -> Goal:
    """artfs's figure is `value` or more."""
    return Goal(text, lambda found: found[ARTFS].median >= value)


def within(value: float, text: str) -> Goal:
    """artfs's figure is `value` or less."""
    return Goal(text, lambda found: found[ARTFS].median <= value)


def outdoes(peer: str, factor: float, text: str) -> Goal:
    """artfs's figure is at least `factor` times the peer's."""
    return Goal(text, lambda found: found[ARTFS].median >= factor * found[peer].median)


def counts_within(name: str, value: float, text: str) -> Goal:
    """A count of artfs's is `value` or less."""
    return Goal(text, lambda found: found[ARTFS].count(name) <= value)


@dataclass
class Case:
    """One line of the table."""

    row: int
    what: str
    unit: str
    race: Race
    more_is_better: bool = True
    at_least: Sequence[Goal] = ()
    aim: Sequence[Goal] = ()
    notes: list[str] = field(default_factory=list)

    def ratio(self, peer: str) -> float | None:
        """How many times better than the peer artfs is."""
        figures = self.race.figures
        if ARTFS not in figures or peer not in figures:
            return None
        ours, theirs = figures[ARTFS].median, figures[peer].median
        return ours / max(theirs, 1e-12) if self.more_is_better else theirs / max(ours, 1e-12)

    @property
    def failed(self) -> bool:
        return ARTFS not in self.race.figures

    def as_json(self) -> dict[str, Any]:
        return {
            "row": self.row,
            "what": self.what,
            "unit": self.unit,
            "more_is_better": self.more_is_better,
            "figures": {name: _figure(figure) for name, figure in self.race.figures.items()},
            "refused": self.race.refused,
            "ratios": {name: self.ratio(name) for name in self.race.figures if name != ARTFS},
            "at_least": [{"goal": goal.text, "met": goal.met(self.race)} for goal in self.at_least],
            "aim": [{"goal": goal.text, "met": goal.met(self.race)} for goal in self.aim],
            "notes": self.notes,
        }


def _figure(figure: Figure) -> dict[str, Any]:
    return {
        "median": figure.median,
        "low": figure.low,
        "high": figure.high,
        "samples": [sample.value for sample in figure.samples],
        "counts": figure.counts,
    }
