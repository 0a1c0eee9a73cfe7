"""Durations as people write them."""

from __future__ import annotations

import pytest

from artfs.errors import InvalidValue
from artfs.model.durations import parse_duration_s, parse_ttl_s


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1),
        ("30m", 1800),
        ("12h", 43_200),
        ("90d", 7_776_000),
        ("2w", 1_209_600),
        ("1y", 31_536_000),
        (" 5 d ", 432_000),
    ],
)
def test_a_number_and_a_unit_are_a_duration(text: str, seconds: int) -> None:
    assert parse_duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "90", "d", "0d", "-1d", "1.5h", "1d2h", "1D", "99999999s", "١d", "1d\n2"])
def test_anything_else_is_not(text: str) -> None:
    with pytest.raises(InvalidValue):
        parse_duration_s(text)


def test_a_time_to_live_may_be_for_ever() -> None:
    assert (parse_ttl_s("never"), parse_ttl_s("30d")) == (0, 2_592_000)
    for text in ("0", "for ever", ""):
        with pytest.raises(InvalidValue):
            parse_ttl_s(text)
