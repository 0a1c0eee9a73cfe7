"""Forms that are common to all that clients are told: pages of lists, times, JSON in text."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from artfs.errors import InvalidValue
from artfs.wandb_server.graphql import Args, Field, Node

PAGE_DEFAULT = 50
PAGE_MAX = 10_000

_T = TypeVar("_T")


def connection(
    name: str, items: Callable[[Args], Sequence[_T]], node: Callable[[_T], Node], *, version: bool = False
) -> Field:
    """A field that is answered in pages: `first` items behind the place that `after` names."""

    def answer(args: Args) -> Node:
        found = items(args)
        first = PAGE_DEFAULT if args.get("first") is None else max(0, min(int(args["first"]), PAGE_MAX))
        begin = _offset(args.get("after"))
        end = min(len(found), begin + first)
        edges = []
        for i in range(begin, end):
            one = node(found[i])
            edge = {"__typename": f"{name}Edge", "cursor": _cursor(i + 1), "node": one}
            edges.append(edge | ({"version": f"v{one['versionIndex']}"} if version else {}))
        return {
            "__typename": f"{name}Connection",
            "totalCount": len(found),
            "pageInfo": page_info(_cursor(end) if edges else None, end < len(found)),
            "edges": edges,
        }

    return answer


def page_info(end: str | None = None, more: bool = False) -> Node:
    return {
        "__typename": "PageInfo",
        "endCursor": end,
        "hasNextPage": more,
        "startCursor": None,
        "hasPreviousPage": False,
    }


def iso_time(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def json_object(text: Any, what: str) -> dict[str, Any]:
    """A JSON object that a client wrote as text. Raises InvalidValue."""
    try:
        found = json.loads(text) if isinstance(text, str) else text
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InvalidValue(f"the {what} is not a JSON object in text")
    return found


def _cursor(offset: int) -> str:
    return base64.b64encode(f"{offset}".encode()).decode()


def _offset(cursor: Any) -> int:
    if cursor in (None, ""):
        return 0
    try:
        return max(0, int(base64.b64decode(str(cursor), validate=True)))
    except (ValueError, binascii.Error):
        raise InvalidValue(f"{str(cursor)[:100]!r} is not a place in a list") from None
