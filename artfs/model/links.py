"""Which symbolic links a version can hold: relative ones that stay inside it, judged by their text alone."""

from __future__ import annotations


def leaves_version(depth: int, target: str) -> bool:
    """Whether a link in a directory `depth` levels below the root is absolute or climbs above the root."""
    if target.startswith("/"):
        return True
    for part in target.split("/"):
        if part == "..":
            depth -= 1
            if depth < 0:
                return True
        elif part not in ("", "."):
            depth += 1
    return False
