"""What a cell of a table may hold, and how other values become that. Pure.

A cell holds None, a number, a string, a boolean, a datetime in UTC, or lists and dictionaries of all of them but datetimes.
A value is converted when it is put into a table, so that a table holds already what will be read back from its file. NumPy,
pandas and their like are known by what their objects look like only.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from artfs.errors import InvalidValue

DEPTH_MAX = 64  # of lists and dictionaries in each other
INTEGER_BITS_MAX = 1024  # more than any float has

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MILLISECOND = datetime.timedelta(milliseconds=1)
_OBJECT_MARK = "_type"
_MISSING_OF_PANDAS = ("NAType", "NaTType")


def cell(value: Any, *, mixed: bool = False) -> Any:
    """`value` as a table keeps it, in a column of one type or a `mixed` one. Raises InvalidValue for what cannot be kept."""
    return _plain(value, int(mixed))


def milliseconds(moment: datetime.datetime) -> int:
    """Since the epoch, rounded down: how the format writes a datetime."""
    return (moment - _EPOCH) // _MILLISECOND


def from_milliseconds(count: float) -> datetime.datetime:
    """Raises InvalidValue for what is in no year that Python knows."""
    try:
        return _EPOCH + count * _MILLISECOND
    except (OverflowError, ValueError):
        raise InvalidValue(f"{count!r} is not a time in milliseconds since 1970") from None


def _plain(value: Any, depth: int) -> Any:
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind.__name__ in _MISSING_OF_PANDAS:
        return None
    if hasattr(value, "tolist"):
        return _plain(_of_array(value), depth)
    if isinstance(value, int):
        return _integer(value)
    if isinstance(value, float):
        return None if value != value else float(value)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, datetime.date):
        return _moment(value, depth)
    return _container(value, depth)


def _container(value: Any, depth: int) -> Any:
    if depth == DEPTH_MAX:
        raise InvalidValue(f"lists and dictionaries in each other are deeper than {DEPTH_MAX}")
    if isinstance(value, list | tuple):
        return [_plain(one, depth + 1) for one in value]
    if isinstance(value, Mapping):
        return {_key(key): _plain(one, depth + 1) for key, one in value.items()}
    hint = "a table holds None, numbers, strings, booleans, datetimes, lists and dictionaries"
    if isinstance(value, bytes | bytearray | memoryview):
        hint = "decode text; keep other bytes in a file of the artifact, and its path in the table"
    elif isinstance(value, set | frozenset):
        hint = "a set has no order; give a list"
    raise InvalidValue(f"a table cannot hold a value of type {type(value).__name__}", hint=hint)


def _of_array(value: Any) -> Any:
    """The Python value of a NumPy scalar, the lists of an array (or tensor, or series)."""
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    if kind == "M":
        value = value.astype("datetime64[us]")  # finer ones would become integers
    plain = value.tolist()
    if not hasattr(plain, "tolist"):
        return plain
    if kind != "f":
        raise InvalidValue(f"a table cannot hold a value of type {type(plain).__name__}")
    return float(plain)  # longdouble has no Python value


def _integer(value: int) -> int:
    if value.bit_length() > INTEGER_BITS_MAX:
        raise InvalidValue(
            f"an integer of {value.bit_length()} bits is more than a table holds", hint="write it as a string"
        )
    return int(value)


def _text(value: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InvalidValue(f"{value!r} is not valid Unicode") from None
    return str.__str__(value)


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise InvalidValue(f"{key!r} cannot be a key in a table", hint="keys of dictionaries are strings")
    if key == _OBJECT_MARK:
        raise InvalidValue(f"a dictionary with the key {key!r} would be read as an object", hint="use another key")
    return _text(key)


def _moment(value: datetime.date, depth: int) -> datetime.datetime:
    """In UTC, cut to milliseconds. A date is its first moment; what has no zone is taken to be in UTC.

    The format writes a number, which only the type of the column tells from another number.
    """
    if depth:
        message = (
            "a datetime is kept in a column of datetimes only, not in lists, dictionaries and columns of mixed types"
        )
        raise InvalidValue(message, hint="write value.isoformat(), or give it a column of its own")
    if not isinstance(value, datetime.datetime):
        value = datetime.datetime(value.year, value.month, value.day, tzinfo=datetime.UTC)
    if value.tzinfo is None:
        value = value.replace(tzinfo=datetime.UTC)
    return from_milliseconds(milliseconds(value))
