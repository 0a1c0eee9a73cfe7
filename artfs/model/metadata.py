"""Metadata of versions as users write it: a JSON object."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from artfs.errors import InvalidValue

_FORM = """write it as '{"key": "value"}'"""


def parse_metadata(text: str) -> dict[str, Any]:
    """The JSON object in `text`. Raises InvalidValue for anything else; NaN and infinities are not JSON."""
    try:
        value = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise InvalidValue(f"the metadata is not valid JSON: {error}", hint=_FORM) from None
    if not isinstance(value, dict):
        raise InvalidValue("the metadata is not a JSON object", hint=_FORM)
    return value


def check_metadata(value: dict[str, Any]) -> None:
    """Raises InvalidValue for what JSON cannot hold: other objects, NaN and infinities, which would silently change."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidValue(f"the metadata is not valid JSON: {error}", hint=_FORM) from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
