"""Filters and orders of lists of runs, in the form that clients write them: MongoDB's, as far as it is of use here."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from artfs.errors import InvalidValue
from artfs.wire.runs import RunRecord

DEPTH_MAX = 20
_MISSING = object()

_COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}


def matches(run: RunRecord, condition: Mapping[str, Any], depth: int = 0) -> bool:
    """Whether a run is what a filter asks for. Raises InvalidValue for a filter that is not known."""
    if depth > DEPTH_MAX:
        raise InvalidValue("a filter of too many levels")
    return all(_holds(run, name, wanted, depth) for name, wanted in condition.items())


def ordered(runs: Iterable[RunRecord], order: str) -> list[RunRecord]:
    """By a field, `-` for the greatest first; runs without it come last."""
    name = order.lstrip("+-") or "created_at"
    found = list(runs)
    there = [run for run in found if isinstance(_value(run, name), int | float | str)]
    names = {id(run) for run in there}
    kinds = sorted(
        there, key=lambda run: (isinstance(_value(run, name), str), _value(run, name)), reverse=order.startswith("-")
    )
    return kinds + [run for run in found if id(run) not in names]


def _holds(run: RunRecord, name: str, wanted: Any, depth: int) -> bool:
    if name in ("$and", "$or", "$nor"):
        parts = [matches(run, one, depth + 1) for one in wanted if isinstance(one, Mapping)]
        return all(parts) if name == "$and" else any(parts) is (name == "$or")
    if name.startswith("$"):
        raise InvalidValue(f"the filter {name!r} is not known here", hint="use $and, $or and comparisons")
    value = _value(run, name)
    if not isinstance(wanted, Mapping):
        return _is(value, wanted)
    return all(_compares(value, how, to) for how, to in wanted.items())


def _compares(value: Any, how: str, to: Any) -> bool:
    if how in _COMPARED:
        try:
            return value is not _MISSING and _COMPARED[how](value, to)
        except TypeError:
            return False
    if how in ("$in", "$nin"):
        return any(_is(value, one) for one in to) is (how == "$in")
    if how in ("$eq", "$ne"):
        return _is(value, to) is (how == "$eq")
    if how == "$exists":
        return (value is not _MISSING) is bool(to)
    raise InvalidValue(f"the filter {how!r} is not known here", hint="use $eq, $ne, $in, $gt and the like")


def _is(value: Any, wanted: Any) -> bool:
    if value is _MISSING:
        return wanted is None
    return wanted in value if isinstance(value, list) and not isinstance(wanted, list) else bool(value == wanted)


def _value(run: RunRecord, name: str) -> Any:
    """What a filter's name means in a run."""
    plain: dict[str, Any] = {
        "name": run.id,
        "display_name": run.name,
        "displayName": run.name,
        "group": run.group,
        "sweep": run.sweep,
        "state": run.state.value,
        "job_type": run.job_type,
        "jobType": run.job_type,
        "tags": run.tags,
        "created_at": run.number,
        "createdAt": run.number,
        "heartbeat_at": run.heard_of_at_ns,
    }
    if name in plain:
        return plain[name]
    head, _, rest = name.partition(".")
    values = {"config": run.config, "summary_metrics": run.summary, "summaryMetrics": run.summary}.get(head)
    if values is None:
        raise InvalidValue(f"runs have no {name[:100]!r}", hint="filter by name, state, group, config.KEY and the like")
    rest = rest.removesuffix(".value") if head == "config" else rest
    return values.get(rest, _MISSING)
