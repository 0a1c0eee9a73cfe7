"""Parts of a document that are made, between two lines that mark them."""

from __future__ import annotations

from pathlib import Path


def parts_of(file: Path, begin: str, end: str) -> tuple[str, str, str]:
    """What is before the part that is made, that part, and what is after it. Raises ValueError if there is no place for it."""
    before, _, rest = file.read_text(encoding="utf-8").partition(begin)
    shown, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"{file.name} has no place for what is made: {begin.strip()}")
    return before, shown, after
