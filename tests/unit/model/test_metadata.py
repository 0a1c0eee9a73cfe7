"""Metadata is a JSON object, or a clear error."""

from __future__ import annotations

import pytest

from artfs.errors import InvalidValue
from artfs.model.metadata import parse_metadata


def test_an_object_is_read() -> None:
    assert parse_metadata('{"split": "train", "n": [1, 2.5, null]}') == {"split": "train", "n": [1, 2.5, None]}


@pytest.mark.parametrize("text", ["", "{", "[1]", '"x"', "null", '{"a": NaN}', '{"a": -Infinity}', "[" * 100_000])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match="metadata"):
        parse_metadata(text)
