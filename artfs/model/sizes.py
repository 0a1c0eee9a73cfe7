"""Numbers of bytes as people write them: `1GB` is 10^9, `1GiB` is 2^30, a bare number is bytes."""

from __future__ import annotations

import re

from artfs.errors import InvalidValue

_SIZE = re.compile(r"\s*([0-9]{1,18}(?:\.[0-9]{1,18})?)\s*([kmgtp]?)(i?)b?\s*\Z", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}


def parse_size(text: str) -> int:
    """Bytes meant by `text`. Raises InvalidValue when it is not a size."""
    match = _SIZE.match(text)
    if match is None or (match[3] and not match[2]):
        raise InvalidValue(f"{text!r} is not a size", hint="write for example 500MB, 10GiB or 1000000")
    base = 1024 if match[3] else 1000
    return int(float(match[1]) * base ** _POWERS[match[2].lower()])


def format_size(size_bytes: int) -> str:
    """`size_bytes` in binary units with three significant digits: `1.21 MiB`."""
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(size) < 1024:
            return f"{size:.0f} B" if unit == "B" else f"{size:.{max(0, 2 - len(str(int(abs(size)))) + 1)}f} {unit}"
        size /= 1024
    return f"{size:.2f} PiB"
