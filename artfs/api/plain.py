"""Values as JSON has them: what scripts put into metadata, configurations and histories, and what they get back."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import date
from pathlib import PurePath
from typing import Any

from artfs.errors import InvalidValue

_NOT_NUMBERS = {math.inf: "Infinity", -math.inf: "-Infinity"}


def plain(what: str, value: Any) -> Any:
    """`value` as it will be read back; scalars and arrays of NumPy and the like become numbers and lists.

    Raises InvalidValue, saying `what` it was, for what JSON cannot hold, NaN and infinities among it.
    """
    try:
        return json.loads(json.dumps(value, default=_converted, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidValue(f"{what} cannot be written as JSON: {error}", hint="keep large things in files") from None


def plain_dict(what: str, value: Any) -> dict[str, Any]:
    """The same for a mapping. Raises InvalidValue for anything else."""
    found = plain(what, value)
    if not isinstance(found, dict):
        raise InvalidValue(f"{what} is a {type(value).__name__}, not a mapping", hint="give a dict")
    return found


def plain_tags(tags: Sequence[str]) -> list[str]:
    """Tags as a list of text. Raises InvalidValue."""
    if isinstance(tags, str) or not all(isinstance(tag, str) for tag in tags):
        raise InvalidValue(f"{tags!r} is no list of tags", hint="write tags=['baseline']")
    return list(tags)


def plain_values(what: str, values: Any) -> dict[str, Any]:
    """The same for what a run logs, where NaN and infinities do occur: they become the words for them."""
    return plain_dict(what, _worded(plain_with_nan(what, values)))


def plain_with_nan(what: str, values: Any) -> Any:
    try:
        return json.loads(json.dumps(values, default=_converted))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidValue(f"{what} cannot be written as JSON: {error}", hint="log numbers and text") from None


def _worded(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return _NOT_NUMBERS.get(value, "NaN")
    if isinstance(value, dict):
        return {key: _worded(item) for key, item in value.items()}
    return [_worded(item) for item in value] if isinstance(value, list) else value


def _converted(value: Any) -> Any:
    """What is no JSON by itself. Raises TypeError."""
    for method in ("tolist", "item"):
        if callable(getattr(value, method, None)):
            return getattr(value, method)()
    if isinstance(value, set | frozenset):
        return sorted(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, PurePath):
        return str(value)
    if hasattr(value, "items"):
        return dict(value.items())
    raise TypeError(f"a {type(value).__name__} is not JSON")
