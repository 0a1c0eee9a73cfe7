"""Records as JSON and back. Digests are written in their text form, other bytes in base64."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from artfs.errors import InvalidValue
from artfs.model.digest import Digest

_T = TypeVar("_T")

UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are no JSON of a type."""


def encode(value: Any) -> bytes:
    """Any record, or lists and dicts of them."""
    return _encoder.encode(value)


def decode(data: bytes | bytearray | memoryview, type_: type[_T]) -> _T:
    """Raises InvalidValue naming what does not fit."""
    try:
        return msgspec.json.decode(data, type=type_, dec_hook=_from_text)
    except UNDECODABLE as error:
        raise InvalidValue(f"this JSON is not a {getattr(type_, '__name__', type_)}: {error}") from None


def _to_text(value: Any) -> Any:
    if isinstance(value, Digest):
        return value.text
    raise NotImplementedError(f"{type(value)} in a record")


def _from_text(type_: type, value: Any) -> Any:
    if type_ is Digest:
        return Digest.parse(str(value))
    raise NotImplementedError(f"{type_} in a record")


_encoder = msgspec.json.Encoder(enc_hook=_to_text)
