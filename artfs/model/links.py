"""Where symbolic links lead, and which of them a version can hold: relative ones that stay inside it.

A `..` goes up from where the names before it lead, so a link among those is followed as the kernel does. What is no link is taken
for a directory, and so is what is absent: it may become one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

LINKS_MAX = 40
"""How many links are followed on one way, as by the kernel: one that passes more, or goes in a circle, leads nowhere."""

Names = tuple[str, ...]
"""A path from the root of a tree."""

TargetAt = Callable[[Names], str | None]
"""The target of the symbolic link at a path that passes no other; None for anything else, and for nothing."""


class Outside(NamedTuple):
    """A place out of the tree: `path` is absolute, or goes up from the root."""

    path: str


def follow(directory: Names, target: str, target_at: TargetAt) -> Names | Outside | None:
    """Where a link in `directory` leads, also if nothing is there; None if that is nowhere."""
    if target.startswith("/"):
        return Outside(target)
    here = list(directory)
    coming = _parts(target)
    links = 1
    while coming:
        name = coming.pop()
        if name != "..":
            here.append(name)
            passed = target_at(tuple(here))
            if passed is None:
                continue
            links += 1
            if links > LINKS_MAX:
                return None
            if passed.startswith("/"):
                return Outside("/".join((passed.rstrip("/"), *reversed(coming))))
            coming += _parts(passed)
        elif not here:
            return Outside("/".join(("..", *reversed(coming))))
        here.pop()
    return tuple(here)


def way_out(directory: Names, target: str, target_at: TargetAt) -> str | None:
    """Where a link in `directory` leads if a version cannot hold it, None if it can.

    A link that leads out only because it passes one that does is left to that one. So most need no look at the tree: all in which
    no `..` comes after a name.
    """
    found = follow(directory, target, target_at if _goes_up_again(target) else no_links)
    return found.path if isinstance(found, Outside) else None


def no_links(names: Names) -> None:
    """`TargetAt` of a tree without links."""


def _goes_up_again(target: str) -> bool:
    if ".." not in target:
        return False
    parts = _parts(target)
    while parts and parts[-1] == "..":
        parts.pop()
    return ".." in parts


def _parts(target: str) -> list[str]:
    """The names on the way, the first of them at the end."""
    return [part for part in reversed(target.split("/")) if part not in ("", ".")]
