"""Durations as people write them: `90d`, `12h`, `30m`."""

from __future__ import annotations

import re

from artfs.errors import InvalidValue

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400, "y": 365 * 86_400}
_DURATION = re.compile(r"([1-9][0-9]{0,6})\s*([smhdwy])\Z")


NEVER = "never"


def parse_ttl_s(text: str) -> int:
    """Seconds that something is to live; 0 for ever, written `never`. Raises InvalidValue."""
    return 0 if text.strip() == NEVER else parse_duration_s(text)


def parse_duration_s(text: str) -> int:
    """Seconds. Raises InvalidValue."""
    match = _DURATION.match(text.strip())
    if match is None:
        raise InvalidValue(f"{text!r} is not a duration", hint="write a number and s, m, h, d, w or y, such as 90d")
    return int(match[1]) * _UNITS_S[match[2]]
