"""Which runs of a project are meant, and in which order. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from artfs.errors import InvalidValue
from artfs.wire.runs import RunRecord

_FACTS: dict[str, Callable[[RunRecord], Any]] = {
    "name": lambda run: run.id,  # what the W&B library calls so in filters
    "id": lambda run: run.id,
    "display_name": lambda run: run.name,
    "group": lambda run: run.group,
    "sweep": lambda run: run.sweep,
    "job_type": lambda run: run.job_type,
    "jobType": lambda run: run.job_type,
    "state": lambda run: run.state.value,
    "created_at": lambda run: run.created_at_ns,
    "created_by": lambda run: run.created_by,
}
_PARTS: dict[str, Callable[[RunRecord], dict[str, Any]]] = {
    "config": lambda run: run.config,
    "summary": lambda run: run.summary,
    "summary_metrics": lambda run: run.summary,
}
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": lambda found, wanted: bool(found == wanted),
    "$ne": lambda found, wanted: bool(found != wanted),
    "$in": lambda found, wanted: found in wanted,
    "$nin": lambda found, wanted: found not in wanted,
    "$gt": lambda found, wanted: _is_ordered(found, wanted) and found > wanted,
    "$gte": lambda found, wanted: _is_ordered(found, wanted) and found >= wanted,
    "$lt": lambda found, wanted: _is_ordered(found, wanted) and found < wanted,
    "$lte": lambda found, wanted: _is_ordered(found, wanted) and found <= wanted,
}
NEWEST_FIRST = "-created_at"


def check_filters(filters: Mapping[str, Any]) -> None:
    """Raises InvalidValue for what `matches` does not know."""
    for name, wanted in filters.items():
        _getter(name)
        if isinstance(wanted, Mapping):
            unknown = sorted(set(wanted) - set(_COMPARISONS))
            if unknown:
                raise InvalidValue(f"no comparison is called {unknown[0]!r}", hint=f"known: {', '.join(_COMPARISONS)}")


def matches(run: RunRecord, filters: Mapping[str, Any]) -> bool:
    """Whether all filters hold: `{"state": "finished", "config.lr": {"$lt": 0.1}}`."""
    for name, wanted in filters.items():
        found = _getter(name)(run)
        rules = wanted if isinstance(wanted, Mapping) else {"$eq": wanted}
        if not all(_COMPARISONS[rule](found, value) for rule, value in rules.items()):
            return False
    return True


def ordered(runs: list[RunRecord], order: str) -> list[RunRecord]:
    """Runs by a fact or value: `+created_at`, `-summary.val_acc`; either way numbers, then text, then those without."""
    get = _getter(order.lstrip("+-"))
    numbers = [run for run in runs if _is_number(get(run))]
    texts = [run for run in runs if isinstance(get(run), str)]
    others = [run for run in runs if not _is_number(get(run)) and not isinstance(get(run), str)]
    for some in (numbers, texts):
        some.sort(key=get, reverse=order.startswith("-"))
    return numbers + texts + others


def best(runs: list[RunRecord], order: str) -> RunRecord | None:
    """The first of them in that order; None if none has a number there."""
    get = _getter(order.lstrip("+-"))
    return next((run for run in ordered(runs, order)[:1] if _is_number(get(run))), None)


def _getter(name: str) -> Callable[[RunRecord], Any]:
    if name in _FACTS:
        return _FACTS[name]
    part, dot, key = name.partition(".")
    if not dot or part not in _PARTS:
        raise InvalidValue(f"runs have no {name!r}", hint=f"known: {', '.join(_FACTS)}, config.KEY, summary.KEY")
    return lambda run: _PARTS[part](run).get(key)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and value == value


def _is_ordered(found: Any, wanted: Any) -> bool:
    numbers = isinstance(found, int | float) and isinstance(wanted, int | float)
    return numbers or (isinstance(found, str) and isinstance(wanted, str))
