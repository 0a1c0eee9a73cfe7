"""Paths of the API, with names quoted, and whole lists from pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import quote

from artfs.client.remote.transport import Transport
from artfs.wire.http import API, PAGE_MAX, Page

_T = TypeVar("_T")


def path(*parts: str) -> str:
    return "/".join((API, *(quote(part, safe="") for part in parts)))


def project_path(project: str, *parts: str) -> str:
    return path("projects", project, *parts)


def artifact_path(project: str, artifact: str, *parts: str) -> str:
    return project_path(project, "artifacts", artifact, *parts)


def all_pages(
    transport: Transport,
    url: str,
    type_: type[Page[_T]],
    *,
    after: str | int = "",
    limit: int | None = None,
    query: Mapping[str, Any] | None = None,
) -> list[_T]:
    """The items of a list from `after` on, `limit` at most."""
    found: list[_T] = []
    following: str | int | None = after
    while following is not None and (limit is None or len(found) < limit):
        wanted = PAGE_MAX if limit is None else min(PAGE_MAX, limit - len(found))
        asked = {**(query or {}), "limit": wanted}
        if following not in ("", -1):
            asked["after"] = following
        page = transport.get(url, type_, asked)
        found += page.items
        following = page.next
    return found
