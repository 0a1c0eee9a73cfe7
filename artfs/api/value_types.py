"""Types of a table's values, as the format of W&B's tables knows them: inferred, merged, read from JSON and written to it. Pure.

The names (`wb_type`) and the shape of the JSON were taken from files that wandb 0.31.0 wrote, and from what its
`Table.from_json` accepts. Every place may be missing (null) once a null was seen in it, which the format writes as a union
with `none`.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

UNKNOWN, NUMBER, STRING, BOOLEAN, TIMESTAMP, ANY = "unknown", "number", "string", "boolean", "timestamp", "any"
LIST, DICT = "list", "typedDict"
FOREIGN = "foreign"
"""A type that artfs does not know, such as an image's: kept as it was read."""

_SIMPLE = {UNKNOWN, NUMBER, STRING, BOOLEAN, TIMESTAMP, ANY}
_DICT_ONCE = "dictionary"  # its name in older files
_ARRAY = "ndarray"
_ORDINARY = 2.0**1000
_OF_CLASS = {int: NUMBER, float: NUMBER, str: STRING, bool: BOOLEAN, datetime.datetime: TIMESTAMP}


class TypesDiffer(Exception):
    """Two values that cannot be in one column; `first` and `second` say what they are."""

    def __init__(self, first: ValueType, second: ValueType) -> None:
        super().__init__(f"{first} and {second}")
        self.first = first
        self.second = second


@dataclass(frozen=True, slots=True)
class ValueType:
    """What may stand in one place: a column, an element of a list, a key of a dictionary."""

    kind: str
    optional: bool = False
    element: ValueType | None = None  # of a list
    fields: Mapping[str, ValueType] = field(default_factory=dict)  # of a dictionary
    foreign: Any = None  # JSON

    def merged(self, other: ValueType) -> ValueType:
        """The type of a place in which both stand. Raises TypesDiffer."""
        if self == other:
            return self
        optional = self.optional or other.optional
        if ANY in (self.kind, other.kind):
            return ValueType(ANY, optional)
        if other.kind == UNKNOWN:
            return replace(self, optional=optional)
        if self.kind == UNKNOWN:
            return replace(other, optional=optional)
        if self.kind != other.kind or self.foreign != other.foreign:
            raise TypesDiffer(self, other)
        element = self.element.merged(other.element) if self.element and other.element else None
        return ValueType(self.kind, optional, element, _merged_fields(self.fields, other.fields), self.foreign)

    def json(self) -> dict[str, Any]:
        """As the format writes it."""
        if not self.optional:
            return self._json_of_kind()
        allowed = [("None", {"wb_type": "none"}), (str(replace(self, optional=False)), self._json_of_kind())]
        return {
            "params": {"allowed_types": [told for _, told in sorted(allowed, key=lambda one: one[0])]},
            "wb_type": "union",
        }

    def _json_of_kind(self) -> dict[str, Any]:
        if self.kind == FOREIGN:
            return dict(self.foreign)
        if self.kind == LIST:
            return {"params": {"element_type": (self.element or ValueType(UNKNOWN)).json()}, "wb_type": LIST}
        if self.kind == DICT:
            return typed_dict(self.fields)
        return {"wb_type": self.kind}

    def __str__(self) -> str:
        """As W&B calls it: `None or Number[]`."""
        name = self.kind.capitalize()
        if self.kind == LIST:
            name = f"{self.element}[]"
        elif self.kind == DICT:
            name = "{" + ", ".join(f"{key!r}: {kind}" for key, kind in self.fields.items()) + "}"
        elif self.kind == FOREIGN:
            name = str(self.foreign.get("wb_type"))
        return " or ".join(sorted(["None", name])) if self.optional else name


MISSING = ValueType(UNKNOWN, optional=True)
"""Of a place where nothing but null was seen."""


def typed_dict(fields: Mapping[str, ValueType]) -> dict[str, Any]:
    return {"params": {"type_map": {key: kind.json() for key, kind in fields.items()}}, "wb_type": DICT}


def type_of(value: Any, *, mixed: bool = False) -> ValueType:
    """The type of a cell's value (see cells.py). `mixed`: elements of a list may differ. Raises TypesDiffer."""
    if value is None:
        return MISSING
    simple = _OF_CLASS.get(type(value))
    if simple is not None:
        return ValueType(simple)
    if isinstance(value, dict):
        return ValueType(DICT, fields={key: type_of(one, mixed=mixed) for key, one in value.items()})
    element = ValueType(UNKNOWN)
    for one in value:
        try:
            element = element.merged(type_of(one, mixed=mixed))
        except TypesDiffer:
            if not mixed:
                raise
            element = ValueType(ANY, element.optional)
    return ValueType(LIST, element=element)


def fits_as_it_is(value: Any, kind: ValueType) -> bool:
    """Whether a place of this type takes `value` without a conversion and stays of this type: most cells of a table, fast.

    False may mean only that a closer look is needed.
    """
    if value is None:
        return kind.optional
    simple = _OF_CLASS.get(type(value))
    if simple != kind.kind or simple == TIMESTAMP:
        return False
    if simple == NUMBER:
        return bool(-_ORDINARY <= value <= _ORDINARY)  # false for NaN
    return simple == BOOLEAN or bool(value.isascii())


def from_json(told: Any) -> ValueType:
    """The type that a file tells. Raises ValueError if it is not a type at all."""
    if not isinstance(told, dict) or not isinstance(told.get("wb_type"), str):
        raise ValueError(f"{told!r} is not a type")
    name, params = told["wb_type"], told.get("params") or {}
    if name in _SIMPLE:
        return ValueType(name)
    if name == "none":
        return MISSING
    if name == "union":
        return _of_union([from_json(one) for one in params.get("allowed_types", [])], told)
    if name == LIST:
        return ValueType(LIST, element=from_json(params.get("element_type", {"wb_type": UNKNOWN})))
    if name in (DICT, _DICT_ONCE):
        return ValueType(DICT, fields={str(key): from_json(one) for key, one in params.get("type_map", {}).items()})
    return ValueType(FOREIGN, foreign=told)


def array_place(told: Any) -> tuple[str, str] | None:
    """Path and key of the file in which a column of arrays was stored beside the table; None for any other type."""
    if not isinstance(told, dict):
        return None
    params = told.get("params") or {}
    if told.get("wb_type") == "union":
        return next(filter(None, map(array_place, params.get("allowed_types", []))), None)
    place = params.get("serialization_path") if told.get("wb_type") == _ARRAY else None
    return (str(place["path"]), str(place["key"])) if place else None


def _of_union(allowed: list[ValueType], told: Any) -> ValueType:
    kinds = [one for one in allowed if one != MISSING]
    optional = len(kinds) < len(allowed) or any(one.optional for one in kinds)
    if len(kinds) > 1:
        return ValueType(FOREIGN, foreign=told)
    return replace(kinds[0], optional=optional) if kinds else MISSING


def _merged_fields(one: Mapping[str, ValueType], other: Mapping[str, ValueType]) -> dict[str, ValueType]:
    """A key that only one of them has may be missing."""
    return {key: one.get(key, MISSING).merged(other.get(key, MISSING)) for key in {**one, **other}}
