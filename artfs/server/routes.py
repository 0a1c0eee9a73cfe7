"""The table of what can be asked, and how one row of it is answered. docs/openapi.json is generated from the same table.

A handler is an ordinary function of a `Call`; it runs in a thread, and what it returns becomes JSON. The few that stream or
wait are coroutines.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from artfs.errors import ArtfsError, DraftNotFound, InvalidName, InvalidValue, TokenNotFound
from artfs.registry.guarded import GuardedRegistry
from artfs.wire.http import NAME_PATTERN, PAGE_MAX, Page

if TYPE_CHECKING:
    from artfs.server.service import Service

NUMBER_MAX = 1 << 62
TEXT_CHARACTERS_MAX = 128
_T = TypeVar("_T")
_A = TypeVar("_A", str, int)


@dataclass(frozen=True, slots=True)
class Call:
    """One request: who may do what, and what is asked."""

    registry: GuardedRegistry
    path: dict[str, str]
    query: dict[str, str]
    body: Any = None

    def number(self, name: str, default: int) -> int:
        """A number of the query. Raises InvalidValue."""
        return query_number(self.query, name, default)

    @property
    def as_of(self) -> int | None:
        return self.number("as_of", 0) if "as_of" in self.query else None

    @property
    def limit(self) -> int:
        """How many items of a list are wanted."""
        return max(1, min(self.number("limit", PAGE_MAX), PAGE_MAX))


def query_number(query: dict[str, str], name: str, default: int) -> int:
    text = query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal()) or len(text) > 19 or int(text) > NUMBER_MAX:
        raise InvalidValue(f"{name}={text!r} is not a number", hint="write digits")
    return int(text)


Handler = Callable[[Call], Any]
Streamer = Callable[["Service", Request, Call], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One of a query's, for the documentation."""

    name: str
    meaning: str
    type: str = "integer"
    least: int = 0
    choices: tuple[str, ...] = ()


LIMIT = Parameter("limit", f"items at most; {PAGE_MAX} if larger or not given", least=1)
PAGING = (Parameter("after", "the `next` of the page before", "string"), LIMIT)
PAGING_NUMBERS = (Parameter("after", "the `next` of the page before"), LIMIT)
AS_OF = (Parameter("as_of", "answer as of this change number"),)


class Segment(NamedTuple):
    """One that varies in a path."""

    meaning: str
    pattern: str
    error: type[ArtfsError] = InvalidName


SEGMENTS = {
    "project": Segment("a project's name", NAME_PATTERN),
    "artifact": Segment("an artifact's name", NAME_PATTERN),
    "alias": Segment("an alias", NAME_PATTERN),
    "selector": Segment("an alias, or `v` and a version's number", NAME_PATTERN),
    "version": Segment("`v` and a version's number", "^v(0|[1-9][0-9]{0,17})$"),
    "user": Segment("a user's name", NAME_PATTERN),
    "token": Segment("a token's public id", "^[0-9a-f]{16}$", TokenNotFound),
    "draft": Segment("an upload's id", "^[0-9a-f]{32}$", DraftNotFound),
    "pack": Segment("a pack's id", "^[0-9a-f]{32}$", InvalidValue),
    "run": Segment("a run's id", NAME_PATTERN),
    "sweep": Segment("a sweep's id", NAME_PATTERN),
    "shared": Segment("a shared draft's id", "^[0-9a-f]{32}$", DraftNotFound),
    "digest": Segment("a SHA-256 digest in hexadecimal", "^[0-9a-f]{64}$", InvalidValue),
}
_COMPILED = {name: re.compile(segment.pattern.removesuffix("$") + r"\Z") for name, segment in SEGMENTS.items()}


def check_path(values: dict[str, str]) -> None:
    """Raises InvalidName, InvalidValue or NotFound for a part of a path that cannot be what it must be."""
    for name, value in values.items():
        if not _COMPILED[name].match(value):
            segment = SEGMENTS[name]
            raise segment.error(f"{value[:TEXT_CHARACTERS_MAX]!r} is not {segment.meaning}", hint="docs/api.md")


def check_query(query: dict[str, str], parameters: Sequence[Parameter]) -> None:
    """Raises InvalidValue for a parameter that is not known, which may be a misspelt one, or cannot be what it must be."""
    known = [parameter.name for parameter in parameters]
    for name in query:
        if name not in known:
            raise InvalidValue(
                f"there is no parameter {name[:TEXT_CHARACTERS_MAX]!r} here",
                hint=f"known: {', '.join(known) or 'none'}",
            )
    for parameter in parameters:
        value = query.get(parameter.name)
        if value is None:
            continue
        if parameter.type == "integer":
            if query_number(query, parameter.name, 0) < parameter.least:
                raise InvalidValue(f"{parameter.name}={value} is too small", hint=f"at least {parameter.least}")
        elif parameter.choices:
            if value not in parameter.choices:
                raise InvalidValue(
                    f"{parameter.name}={value[:TEXT_CHARACTERS_MAX]!r} is not known",
                    hint=f"one of {', '.join(parameter.choices)}",
                )
        elif len(value) > TEXT_CHARACTERS_MAX or not value.isprintable():
            raise InvalidValue(f"{parameter.name}={value[:TEXT_CHARACTERS_MAX]!r} cannot be a name", hint="docs/api.md")


@dataclass(frozen=True, slots=True)
class Operation:
    """A row: a method and a path, what it takes, what it answers."""

    method: str
    path: str
    summary: str
    handler: Handler | None = None
    streamer: Streamer | None = None
    body: Any = None
    answer: Any = None
    status: int = 200
    query: Sequence[Parameter] = field(default=())
    binary: bool = False


def page_after(ask: Callable[[_A, int], Sequence[_T]], after: _A, limit: int, key: Callable[[_T], _A]) -> Page[_T]:
    """A page of at most `limit` records that may be large: of what `ask(after, count)` answers, perhaps fewer than it has."""
    items = list(ask(after, limit + 1))
    if len(items) > limit or not items or not ask(key(items[-1]), 1):
        return page_of(items, limit, key)
    return Page(items, key(items[-1]))


def page_of(items: list[_T], limit: int, key: Callable[[_T], str | int]) -> Page[_T]:
    """A page of at most `limit` from `items`, of which one more than that was asked for."""
    more = len(items) > limit
    return Page(items[:limit], key(items[limit - 1]) if more else None)
